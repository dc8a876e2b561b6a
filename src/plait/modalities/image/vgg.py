"""VGG-11, 13, 16 and 19 (Simonyan and Zisserman 2014), with and without batch norm, as torchvision publishes them.

In: pixels `(R, 3, Y, X)`.
Out: `Features` `(R, L, E)`: the grid of the last convolution, before the last pooling, as in Show, Attend and Tell
(196 tokens at 224 px, 16 at 64 px).
Invariant: with `weights` it is torchvision's network to the letter, batch norm with its published statistics; from scratch
a group norm stands where the batch norm stood.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from plait.modalities.encoder import EncoderOptions
from plait.modalities.image.grid import GridEncoder, Trunk
from plait.modalities.image.weights import (
    FrozenBatchNorm,
    check_published,
    group_norm,
    init_convolutions,
    load_published,
)

Depth = Literal[11, 13, 16, 19]

CONVOLUTIONS: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions of each of the five stages (table 1 of the paper: A, B, D, E); a pooling stands between stages."""

STAGE_CHANNELS = (64, 128, 256, 512, 512)


class VGGTrunk(Trunk):
    """The convolutions of VGG; the numbers in `features` are torchvision's places."""

    num_channels = STAGE_CHANNELS[-1]

    def __init__(self, depth: int, *, channels: int, norm: Literal["batch", "group"] | None) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for stage, (repeats, num_out) in enumerate(zip(CONVOLUTIONS[depth], STAGE_CHANNELS, strict=True)):
            if stage:
                parts.append(nn.MaxPool2d(2))
            for _ in range(repeats):
                parts.append(nn.Conv2d(channels, num_out, 3, padding=1))
                if norm:
                    parts.append(FrozenBatchNorm(num_out) if norm == "batch" else group_norm(num_out))
                parts.append(nn.ReLU())
                channels = num_out
        self.features = nn.Sequential(*parts)
        init_convolutions(self)

    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R E rows columns"]:
        """The grid of the last convolution."""
        return self.features(pixels)

    def grid_side(self, side: int) -> int:
        """Four poolings halve the side, each rounding down."""
        return side // 16


class VGGConfig(EncoderOptions):
    """VGG, from scratch or with torchvision's published weights."""

    kind: Literal["vgg"] = "vgg"
    depth: Depth = 11
    batch_norm: bool = True
    """With `weights`: the file is one of the `_bn` files. From scratch: a group norm behind each convolution."""
    weights: str | None = None
    """A local file: torchvision's `vgg{depth}[_bn]-*.pth`, or the same as .safetensors. None = from scratch."""
    freeze: bool = False
    """Keep the convolutions as they are; only the projection trains."""

    def build(self, width: int, *, channels: int = 3, read_weights: bool = True) -> GridEncoder:
        """The encoder; `read_weights=False` where a run's own numbers follow."""
        check_published(self.weights, channels)
        norm = ("batch" if self.weights else "group") if self.batch_norm else None
        trunk = VGGTrunk(self.depth, channels=channels, norm=norm)
        if self.weights and read_weights:
            load_published(trunk, self.weights, family=published_family())
        return GridEncoder(trunk, width, freeze=self.freeze)


def published_family() -> dict[str, Callable[[], Trunk]]:
    """The eight published networks by the words that configure them."""
    return {
        f"kind: vgg, depth: {depth}, batch_norm: {str(norm == 'batch').lower()}": partial(
            VGGTrunk, depth, channels=3, norm=norm
        )
        for depth in CONVOLUTIONS
        for norm in (None, "batch")
    }
