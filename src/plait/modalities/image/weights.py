"""Published weights: a state dict read from a local file and loaded into a trunk by key, and the norms that go with it.

In: the path of a `.pth` file (torchvision's, or any state dict) or of a `.safetensors` file.
Out: the trunk, holding those numbers; or one message that lists the keys and shapes that do not fit.
Invariant: nothing is unpickled beyond tensors, nothing is fetched, and no key is left out silently but those of the
classifier, which Plait has no use for.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from plait.errors import UserError

UNUSED_PREFIXES = ("classifier.", "fc.")
"""Keys of the part that names ImageNet's classes: accepted and not used."""

UNUSED_SUFFIX = ".num_batches_tracked"
"""A counter that some published files have and others lack; frozen statistics have no use for it."""


class FrozenBatchNorm(nn.Module):
    """Batch norm that always uses the published statistics, in training as well; its scale and shift train.

    Statistics of the batch would let its samples leak into each other, and small batches would spoil them.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.register_buffer("running_mean", torch.zeros(num_channels))
        self.register_buffer("running_var", torch.ones(num_channels))

    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R C Y X"]:
        """`weight · (pixels − mean) / sqrt(variance + eps) + bias`, as batch norm in `eval()`."""
        return nn.functional.batch_norm(
            pixels, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


def group_norm(num_channels: int) -> nn.GroupNorm:
    """The norm of a network from scratch: groups of 8 channels or more, at most 32 groups."""
    groups = max(g for g in range(1, 33) if num_channels % g == 0 and (g == 1 or num_channels // g >= 8))
    return nn.GroupNorm(groups, num_channels)


def init_convolutions(module: nn.Module) -> None:
    """He's initialisation for every convolution; biases begin at zero."""
    for part in module.modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def check_published(weights: str | None, channels: int) -> None:
    """Published weights are for pictures of three channels."""
    if weights and channels != 3:
        right = "Leave `weights` out, or read the pictures as RGB."
        raise UserError(
            f"published weights need 3 channels, these pictures have {channels}", where=weights, right=right
        )


def read_state(path: str) -> dict[str, Tensor]:
    """The tensors of a state dict by key."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError("no such weights file", where=path, right="Give the path of a .pth or .safetensors file.")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        right = "A state dict saved by torch.save, or a .safetensors file, would be."
        raise UserError(f"not a readable weights file ({reason})", where=path, right=right) from error
    if not (isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())):
        raise UserError("the file holds no plain state dict", where=path, right="It must map keys to tensors.")
    return dict(state)


def load_published(trunk: nn.Module, path: str, *, family: Mapping[str, Callable[[], nn.Module]]) -> None:
    """Load the state dict at `path` into `trunk`, or say what does not fit and which member of the family would."""
    state = read_state(path)
    used = {k: v for k, v in state.items() if not k.startswith(UNUSED_PREFIXES) and not k.endswith(UNUSED_SUFFIX)}
    expected = shapes_of(trunk)
    found = {key: tuple(value.shape) for key, value in used.items()}
    if found == expected:
        trunk.load_state_dict(used)
        return
    shared = expected.keys() & found.keys()
    problems = [
        *_listed("missing", sorted(expected.keys() - found.keys())),
        *_listed("not known", sorted(found.keys() - expected.keys())),
        *_listed(
            "of another shape", [f"{k} {found[k]} ≠ {expected[k]}" for k in sorted(shared) if found[k] != expected[k]]
        ),
    ]
    raise UserError("the weights do not fit: " + "; ".join(problems), where=path, right=_what_fits(found, family))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a module's state dict."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def _what_fits(found: dict[str, tuple[int, ...]], family: Mapping[str, Callable[[], nn.Module]]) -> str:
    for words, build in family.items():
        with torch.device("meta"):
            if shapes_of(build()) == found:
                return f"This file fits `{words}`."
    return "Known files: those that torchvision publishes for " + ", ".join(f"`{words}`" for words in family) + "."


def _listed(what: str, names: Iterable[str], limit: int = 6) -> list[str]:
    names = list(names)
    if not names:
        return []
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return [f"{len(names)} {what}: {', '.join(names[:limit])}{more}"]
