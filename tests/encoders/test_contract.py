"""One suite over every encoder: padding, independence of the batch, masks, num_tokens, gradients, saving, determinism."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from plait.embeddings import ScratchConfig, Word2VecConfig
from plait.encoders import (
    AlexNetConfig,
    AudioTransformerConfig,
    Encoder,
    ResNetConfig,
    TextTransformerConfig,
    VGGConfig,
    ViTConfig,
)
from plait.modalities.image.grid import GridEncoder
from plait.modalities.image.resnet import ResNetTrunk
from plait.modalities.image.weights import FrozenBatchNorm
from plait.types import Items

WIDTH = 32
NUM_MELS = 20


@dataclass(frozen=True)
class Case:
    """An encoder, and items for it: lengths are given, so that every kind of item is made the same way."""

    build: Callable[[], Encoder]
    values: Callable[[int, int], Tensor]
    """(items, length) → values; `length` is ignored for pictures."""
    lengths: tuple[int, ...]

    @property
    def is_picture(self) -> bool:
        return set(self.lengths) == {1}

    def items(self) -> Items:
        lengths = torch.tensor(self.lengths)
        return Items(self.values(len(lengths), max(self.lengths)), lengths, torch.arange(len(lengths))[:, None])

    def size(self, items: Items, index: int) -> tuple[int, ...]:
        return tuple(items.values.shape[2:]) if self.is_picture else (int(items.lengths[index]),)


def alone(items: Items, index: int) -> Items:
    """One item by itself, without any padding."""
    length = int(items.lengths[index])
    values = items.values[index : index + 1]
    values = values if values.ndim == 4 else values[:, :length]
    return Items(values, items.lengths[index : index + 1], torch.zeros(1, 1, dtype=torch.long))


def pixels(rows: int, columns: int) -> Callable[[int, int], Tensor]:
    return lambda num_items, _: torch.randn(num_items, 3, rows, columns)


def mels(num_items: int, frames: int) -> Tensor:
    return torch.randn(num_items, frames, NUM_MELS)


def ids(num_items: int, length: int) -> Tensor:
    return torch.randint(1, 40, (num_items, length))


def picture(build: Callable[[], Encoder], rows: int = 32, columns: int = 32) -> Case:
    return Case(build, pixels(rows, columns), (1, 1, 1))


def sound(config: AudioTransformerConfig) -> Case:
    return Case(lambda: config.build(WIDTH, num_mels=NUM_MELS), mels, (61, 1, 37, 8))


def text(config: TextTransformerConfig, vectors: Tensor | None = None) -> Case:
    return Case(lambda: config.build(WIDTH, vocabulary_size=40, pad_id=0, vectors=vectors), ids, (9, 1, 4))


CASES = {
    "resnet-9": picture(lambda: ResNetConfig().build(WIDTH)),
    "resnet-9-wide": picture(lambda: ResNetConfig().build(WIDTH), 64, 80),
    "resnet-18": picture(lambda: ResNetConfig(depth=18).build(WIDTH), 28, 28),
    "resnet-50": picture(lambda: ResNetConfig(depth=50).build(WIDTH), 28, 28),
    "resnet-18-batch-norm": picture(
        lambda: GridEncoder(ResNetTrunk(18, channels=3, norm=FrozenBatchNorm), WIDTH, freeze=False), 28, 28
    ),
    "vgg-11": picture(lambda: VGGConfig().build(WIDTH), 28, 28),
    "vgg-11-plain": picture(lambda: VGGConfig(batch_norm=False).build(WIDTH), 28, 28),
    "alexnet": picture(lambda: AlexNetConfig().build(WIDTH)),
    "vit": picture(lambda: ViTConfig(layers=2).build(WIDTH)),
    "vit-odd-size": picture(lambda: ViTConfig(layers=1, patch=6).build(WIDTH), 45, 28),
    "audio": sound(AudioTransformerConfig()),
    "audio-4": sound(AudioTransformerConfig(stride=4, layers=1)),
    "audio-causal": sound(AudioTransformerConfig(causal=True)),
    "text": text(TextTransformerConfig()),
    "text-causal": text(TextTransformerConfig(causal=True, embedding=ScratchConfig())),
    "text-projected": text(TextTransformerConfig(embedding=Word2VecConfig()), torch.randn(40, 12)),
}


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def encoder(case: Case) -> Encoder:
    """Built once for the tests that only read it."""
    return case.build().eval()


@torch.no_grad()
def test_padding_and_neighbours_change_nothing(case: Case, encoder: Encoder) -> None:
    items = case.items()
    together = encoder(items)
    for index in range(len(items.lengths)):
        single = encoder(alone(items, index))
        assert single.mask.all()
        num_tokens = single.values.shape[1]
        torch.testing.assert_close(together.values[index, :num_tokens], single.values[0], rtol=1e-5, atol=1e-5)
        assert not together.mask[index, num_tokens:].any()
        assert (together.values[index, num_tokens:] == 0).all()


@torch.no_grad()
def test_values_behind_an_item_are_never_read(case: Case, encoder: Encoder) -> None:
    if case.is_picture:
        pytest.skip("a picture has no padding")
    items = case.items()
    spoilt = items.values.clone()
    for index, length in enumerate(items.lengths):
        spoilt[index, length:] = float("nan") if spoilt.is_floating_point() else 39
    before, after = encoder(items), encoder(replace(items, values=spoilt))
    assert torch.equal(before.values, after.values)
    assert torch.equal(before.mask, after.mask)


@torch.no_grad()
def test_num_tokens_is_the_real_count(case: Case, encoder: Encoder) -> None:
    items = case.items()
    features = encoder(items)
    counts = [encoder.num_tokens(*case.size(items, index)) for index in range(len(items.lengths))]
    assert features.mask.sum(1).tolist() == counts
    assert features.values.shape == (len(counts), max(counts), encoder.width)
    grids = [encoder.grid(*case.size(items, index)) for index in range(len(items.lengths))]
    assert [math.prod(grid) for grid in grids] == counts
    assert {len(grid) for grid in grids} == {2 if case.is_picture else 1}
    assert features.mask.dtype == torch.bool


def test_every_parameter_gets_a_gradient(case: Case) -> None:
    encoder, items = case.build().train(), case.items()
    features = encoder(items)
    (features.values * torch.randn_like(features.values)).sum().backward()
    without = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without, f"parameters without a gradient: {without}"


@torch.no_grad()
def test_saved_and_loaded_gives_the_same_features_and_the_same_seed_the_same_weights(case: Case) -> None:
    torch.manual_seed(7)
    first = case.build().eval()
    torch.manual_seed(7)
    second, items = case.build().eval(), case.items()
    expected = first(items).values
    assert torch.equal(second(items).values, expected)
    for parameter in second.parameters():
        parameter.zero_()
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(second(items).values, expected)


@torch.no_grad()
def test_training_changes_nothing_but_dropout(case: Case) -> None:
    """Batch statistics would let samples leak into each other: norms behave the same in training."""
    encoder, items = case.build(), case.items()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(encoder.train()(items).values, encoder.eval()(items).values, rtol=0, atol=0)


@torch.no_grad()
def test_features_have_unit_size(case: Case, encoder: Encoder) -> None:
    """Fusions mix the modalities' tokens: none may drown the others at the start."""
    features = encoder(case.items())
    size = features.values[features.mask].square().mean().sqrt()
    assert 0.7 < size < 1.5
