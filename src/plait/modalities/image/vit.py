"""Vision Transformer (Dosovitskiy et al. 2020): patches of a picture → self-attention over them.

In: pixels `(R, C, Y, X)`.
Out: `Features` `(R, L, E)`, one token per patch, row by row (64 tokens at 64 px with patches of 8).
Invariant: the grid has at least 4 × 4 patches; a picture is scaled (bilinear) to whole patches, never cut.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.layers import Linear, SelfAttentionBlock
from plait.modalities.encoder import Encoder, EncoderOptions, check_heads
from plait.modalities.image.grid import MIN_GRID, place
from plait.types import Features, Items


class ViTConfig(EncoderOptions):
    """A Vision Transformer, from scratch."""

    kind: Literal["vit"] = "vit"
    patch: int = Field(default=8, ge=2, le=64)
    """Pixels along the side of a patch."""
    layers: int = Field(default=4, ge=1, le=48)
    num_heads: int = Field(default=4, ge=1, le=32)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self, width: int, *, channels: int = 3, read_weights: bool = True) -> ViT:
        """The encoder."""
        check_heads(width, self.num_heads, where="encoders.image.num_heads")
        return ViT(self, width, channels=channels)


class ViT(Encoder):
    """Patches, a norm, their places, then blocks of self-attention and a last norm."""

    def __init__(self, config: ViTConfig, width: int, *, channels: int) -> None:
        super().__init__()
        self.width = width
        self.patch = config.patch
        self.embed = Linear(channels * config.patch**2, width)
        self.embed_norm = nn.LayerNorm(width)
        self.place_scale = nn.Parameter(torch.ones(width))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, config.num_heads, dropout=config.dropout) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Items) -> Features:
        """Every patch of every picture, having read all others."""
        pixels = self.whole_patches(items.values)
        rows, columns = (side // self.patch for side in pixels.shape[2:])
        patches = pixels.unflatten(3, (columns, self.patch)).unflatten(2, (rows, self.patch))
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        tokens = self.embed_norm(self.embed(patches))
        features = place(tokens, rows=rows, columns=columns, scale=self.place_scale)
        values = self.dropout(features.values)
        for block in self.blocks:
            values = block(values, features.mask)
        return Features(self.norm(values), features.mask)

    def grid(self, *size: int) -> tuple[int, ...]:
        """Rows and columns of patches of a picture of `(rows, columns)` pixels."""
        return tuple(self._num_patches(side) for side in size)

    def num_tokens(self, *size: int) -> int:
        """All of them."""
        return math.prod(self.grid(*size))

    def whole_patches(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R C rows columns"]:
        """The pictures scaled to a whole number of patches, at least 4 × 4."""
        size = [self._num_patches(side) * self.patch for side in pixels.shape[2:]]
        if size == list(pixels.shape[2:]):
            return pixels
        return F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)

    def _num_patches(self, side: int) -> int:
        return max(MIN_GRID, -(-side // self.patch))
