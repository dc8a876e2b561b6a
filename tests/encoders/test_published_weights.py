"""State dicts of torchvision load by key and give torchvision's numbers; anything else is refused by name.

The lists of keys and shapes and the reference forward passes are written from torchvision's published source,
github.com/pytorch/vision: torchvision/models/{alexnet,vgg,resnet}.py; no weights are fetched.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from plait.encoders import AlexNetConfig, ResNetConfig, VGGConfig
from plait.errors import UserError
from plait.modalities.image.alexnet import AlexNetTrunk
from plait.modalities.image.resnet import ResNetTrunk
from plait.modalities.image.vgg import VGGTrunk
from plait.modalities.image.weights import FrozenBatchNorm, read_state, shapes_of
from plait.types import Items

Shapes = dict[str, tuple[int, ...]]

ALEXNET: Shapes = {
    "features.0.weight": (64, 3, 11, 11),
    "features.0.bias": (64,),
    "features.3.weight": (192, 64, 5, 5),
    "features.3.bias": (192,),
    "features.6.weight": (384, 192, 3, 3),
    "features.6.bias": (384,),
    "features.8.weight": (256, 384, 3, 3),
    "features.8.bias": (256,),
    "features.10.weight": (256, 256, 3, 3),
    "features.10.bias": (256,),
}
VGG = {
    11: "64 M 128 M 256 256 M 512 512 M 512 512 M",
    13: "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M",
    16: "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    19: "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}
RESNET = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
UNUSED: Shapes = {"classifier.1.weight": (3, 2), "classifier.1.bias": (3,), "fc.weight": (3, 2), "fc.bias": (3,)}


def norm_shapes(name: str, channels: int) -> Shapes:
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}


def vgg_shapes(depth: int, batch_norm: bool) -> Shapes:
    shapes: Shapes = {}
    place, channels = 0, 3
    for part in VGG[depth].split():
        if part == "M":
            place += 1
            continue
        shapes |= {f"features.{place}.weight": (int(part), channels, 3, 3), f"features.{place}.bias": (int(part),)}
        channels = int(part)
        if batch_norm:
            shapes |= norm_shapes(f"features.{place + 1}", channels)
        place += 3 if batch_norm else 2
    return shapes


def resnet_shapes(depth: int) -> Shapes:
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm_shapes("bn1", 64)}
    channels = 64
    for stage, (repeats, planes) in enumerate(zip(RESNET[depth], (64, 128, 256, 512), strict=True), start=1):
        for index in range(repeats):
            block = f"layer{stage}.{index}"
            if depth == 50:
                kernels = [(planes, channels, 1, 1), (planes, planes, 3, 3), (4 * planes, planes, 1, 1)]
            else:
                kernels = [(planes, channels, 3, 3), (planes, planes, 3, 3)]
            for number, kernel in enumerate(kernels, start=1):
                shapes |= {f"{block}.conv{number}.weight": kernel, **norm_shapes(f"{block}.bn{number}", kernel[0])}
            out = kernels[-1][0]
            if index == 0 and (stage > 1 or out != channels):
                shapes |= {
                    f"{block}.downsample.0.weight": (out, channels, 1, 1),
                    **norm_shapes(f"{block}.downsample.1", out),
                }
            channels = out
    return shapes


def random_state(shapes: Shapes) -> dict[str, Tensor]:
    """Numbers of a size that a deep network can bear; counters as newer files have them."""
    state: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.endswith("running_var"):
            state[key] = torch.rand(shape) + 0.5
            state[key.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
        elif len(shape) == 1:
            state[key] = torch.rand(shape) * 0.5 + (0.5 if "weight" in key else -0.25)
        else:
            fan_in = torch.Size(shape[1:]).numel()
            state[key] = torch.randn(shape) * (2 / fan_in) ** 0.5
    return state


def test_keys_and_shapes_are_torchvisions() -> None:
    with torch.device("meta"):
        assert shapes_of(AlexNetTrunk(channels=3, norm=False)) == ALEXNET
        for depth in VGG:
            assert shapes_of(VGGTrunk(depth, channels=3, norm=None)) == vgg_shapes(depth, False)
            assert shapes_of(VGGTrunk(depth, channels=3, norm="batch")) == vgg_shapes(depth, True)
        for depth in RESNET:
            assert shapes_of(ResNetTrunk(depth, channels=3, norm=FrozenBatchNorm)) == resnet_shapes(depth)


def test_number_of_parameters_is_the_published_one() -> None:
    """Parameters in torchvision's documentation of the weights less those of the classifier: (fan in + 1) · fan out each."""
    vgg_head = (25088 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000
    published = {
        "alexnet": (61_100_840 - ((9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000), ALEXNET),
        "vgg11": (132_863_336 - vgg_head, vgg_shapes(11, False)),
        "vgg16": (138_357_544 - vgg_head, vgg_shapes(16, False)),
        "vgg19_bn": (143_678_248 - vgg_head, vgg_shapes(19, True)),
        "resnet18": (11_689_512 - 513 * 1000, resnet_shapes(18)),
        "resnet34": (21_797_672 - 513 * 1000, resnet_shapes(34)),
        "resnet50": (25_557_032 - 2049 * 1000, resnet_shapes(50)),
    }
    for name, (count, shapes) in published.items():
        assert sum(torch.Size(s).numel() for k, s in shapes.items() if "running" not in k) == count, name


def norm(state: dict[str, Tensor], name: str, values: Tensor) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(values, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], training=False)


def reference_alexnet(state: dict[str, Tensor], values: Tensor) -> Tensor:
    for place, stride, padding, pool in [
        (0, 4, 2, True),
        (3, 1, 2, True),
        (6, 1, 1, False),
        (8, 1, 1, False),
        (10, 1, 1, False),
    ]:
        weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
        values = F.relu(F.conv2d(values, weight, bias, stride=stride, padding=padding))
        values = F.max_pool2d(values, 3, 2) if pool else values
    return values


def reference_vgg_bn(state: dict[str, Tensor], values: Tensor, depth: int) -> Tensor:
    place = 0
    for part in VGG[depth].removesuffix(" M").split():
        if part == "M":
            values, place = F.max_pool2d(values, 2, 2), place + 1
            continue
        values = F.conv2d(values, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1)
        values, place = F.relu(norm(state, f"features.{place + 1}", values)), place + 3
    return values


def reference_resnet(state: dict[str, Tensor], values: Tensor, depth: int) -> Tensor:
    values = F.relu(norm(state, "bn1", F.conv2d(values, state["conv1.weight"], stride=2, padding=3)))
    values = F.max_pool2d(values, 3, 2, 1)
    last, strided = (3, 2) if depth == 50 else (2, 1)
    for stage, repeats in enumerate(RESNET[depth], start=1):
        for index in range(repeats):
            block, stride = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1
            shortcut = values
            if f"{block}.downsample.0.weight" in state:
                shortcut = F.conv2d(values, state[f"{block}.downsample.0.weight"], stride=stride)
                shortcut = norm(state, f"{block}.downsample.1", shortcut)
            for number in range(1, last + 1):
                weight = state[f"{block}.conv{number}.weight"]
                step = stride if number == strided else 1
                values = F.conv2d(values, weight, stride=step, padding=weight.shape[-1] // 2)
                values = norm(state, f"{block}.bn{number}", values)
                values = F.relu(values + (shortcut if number == last else 0))
    return values


def test_alexnet_loads_and_computes_the_same(tmp_path: Path) -> None:
    state = random_state(ALEXNET | UNUSED)
    torch.save(state, tmp_path / "alexnet.pth")
    encoder = AlexNetConfig(weights=str(tmp_path / "alexnet.pth")).build(16)
    pixels = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(encoder.trunk(pixels), reference_alexnet(state, pixels), rtol=1e-4, atol=1e-4)


def test_vgg_with_batch_norm_loads_and_computes_the_same(tmp_path: Path) -> None:
    state = random_state(vgg_shapes(11, True) | UNUSED)
    save_file(state, tmp_path / "vgg.safetensors")
    encoder = VGGConfig(weights=str(tmp_path / "vgg.safetensors")).build(16).train()
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(encoder.trunk(pixels), reference_vgg_bn(state, pixels, 11), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_loads_and_computes_the_same(depth: int, tmp_path: Path) -> None:
    state = random_state(resnet_shapes(depth) | UNUSED)
    torch.save(state, tmp_path / "resnet.pth")
    config = ResNetConfig(depth=depth, weights=str(tmp_path / "resnet.pth"))  # pyright: ignore[reportArgumentType]
    encoder = config.build(16).train()
    pixels = torch.randn(1, 3, 64, 64)
    expected = reference_resnet(state, pixels, depth)
    torch.testing.assert_close(encoder.trunk(pixels), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_frozen_batch_norm_is_batch_norm_in_eval() -> None:
    ours, theirs = FrozenBatchNorm(6).train(), nn.BatchNorm2d(6).eval()
    state = random_state(dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (6,)))
    theirs.load_state_dict(state)
    ours.load_state_dict({key: value for key, value in state.items() if key != "num_batches_tracked"})
    pixels = torch.randn(3, 6, 4, 5)
    assert torch.equal(ours(pixels), theirs(pixels))
    assert torch.equal(ours.running_mean, state["running_mean"])


def items(pixels: Tensor) -> Items:
    return Items(pixels, torch.ones(len(pixels)).long(), torch.arange(len(pixels))[:, None])


def test_freeze_keeps_the_trunk_and_trains_the_rest(tmp_path: Path) -> None:
    torch.save(random_state(ALEXNET), tmp_path / "a.pth")
    encoder = AlexNetConfig(weights=str(tmp_path / "a.pth"), freeze=True).build(16)
    encoder(items(torch.randn(1, 3, 64, 64))).values.square().sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in encoder.trunk.parameters())
    assert all(p.grad is not None for n, p in encoder.named_parameters() if not n.startswith("trunk."))


def test_a_run_is_built_without_the_file(tmp_path: Path) -> None:
    """A run's folder can be moved: its own numbers follow, so the published file is not needed again."""
    state = random_state(ALEXNET)
    torch.save(state, tmp_path / "a.pth")
    config = AlexNetConfig(weights=str(tmp_path / "a.pth"))
    trained = config.build(16)
    (tmp_path / "a.pth").unlink()
    loaded = config.build(16, read_weights=False)
    loaded.load_state_dict(trained.state_dict())
    assert torch.equal(loaded.trunk.state_dict()["features.0.weight"], state["features.0.weight"])


def test_missing_file() -> None:
    with pytest.raises(UserError, match=r"nowhere.pth: no such weights file. Give the path"):
        ResNetConfig(depth=18, weights="nowhere.pth").build(16)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_unreadable_file(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match="not a readable weights file"):
        ResNetConfig(depth=18, weights=str(tmp_path / name)).build(16)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match="not a readable weights file"):
        ResNetConfig(depth=18, weights=str(tmp_path / name)).build(16)


def test_a_pickled_model_is_not_unpickled(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "model.pth")
    with pytest.raises(UserError, match="not a readable weights file"):
        read_state(str(tmp_path / "model.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no plain state dict"):
        read_state(str(tmp_path / "list.pth"))


def test_the_message_names_keys_shapes_and_what_fits(tmp_path: Path) -> None:
    state = random_state(ALEXNET)
    state["features.3.weight"] = torch.zeros(192, 64, 3, 3)
    state["features.9.weight"] = state.pop("features.10.weight")
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError) as caught:
        AlexNetConfig(weights=str(tmp_path / "a.pth")).build(16)
    message = str(caught.value)
    assert "1 missing: features.10.weight" in message
    assert "1 not known: features.9.weight" in message
    assert "features.3.weight (192, 64, 3, 3) ≠ (192, 64, 5, 5)" in message


def test_the_message_says_which_network_the_file_is(tmp_path: Path) -> None:
    torch.save(random_state(vgg_shapes(11, False)), tmp_path / "vgg.pth")
    with pytest.raises(UserError, match="This file fits `kind: vgg, depth: 11, batch_norm: false`"):
        VGGConfig(depth=13, weights=str(tmp_path / "vgg.pth")).build(16)


def test_what_published_weights_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="depth 9 has no published weights"):
        ResNetConfig(weights=str(tmp_path / "r.pth")).build(16)
    with pytest.raises(UserError, match="need 3 channels, these pictures have 1"):
        AlexNetConfig(weights=str(tmp_path / "a.pth")).build(16, channels=1)
