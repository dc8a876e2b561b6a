"""Pictures → a grid of tokens: what AlexNet, VGG and ResNet share around their convolutions.

In: pixels `(R, C, Y, X)`, normalised, of any size from 28 px up.
Out: `Features` `(R, L, E)`, L = rows × columns of the grid, row by row, nothing masked.
Invariant: the grid has at least 4 × 4 places (smaller pictures are scaled up until it has), and every token carries its place,
because whatever reads the tokens reads them as a set.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.layers import Linear
from plait.modalities.encoder import Encoder, grid_positions
from plait.types import Features, Items

MIN_GRID = 4
"""A grid has at least this many rows and columns."""


class Trunk(nn.Module, ABC):
    """Convolutions: pixels → a grid of `num_channels` numbers per place. Its keys are torchvision's."""

    num_channels: int

    @abstractmethod
    def forward(self, pixels: Float[Tensor, "R C Y X"]) -> Float[Tensor, "R E rows columns"]:
        """The grid of each picture."""

    @abstractmethod
    def grid_side(self, side: int) -> int:
        """Places along a side of the grid, for a side of `side` pixels."""


class GridEncoder(Encoder):
    """A trunk, then a projection to `width`, a norm, and the place of each token."""

    def __init__(self, trunk: Trunk, width: int, *, freeze: bool) -> None:
        super().__init__()
        self.width = width
        self.freeze = freeze
        self.trunk = trunk.requires_grad_(not freeze)
        self.projection = Linear(trunk.num_channels, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.place_scale = nn.Parameter(torch.ones(width))
        self._smallest_side = next(side for side in count(1) if trunk.grid_side(side) >= MIN_GRID)

    def forward(self, items: Items) -> Features:
        """Every place of every picture's grid, with its position added."""
        pixels = enlarge(items.values, self._smallest_side).contiguous(memory_format=torch.channels_last)
        with torch.no_grad() if self.freeze else nullcontext():
            grid = self.trunk(pixels)
        tokens = self.norm(self.projection(grid.flatten(2).transpose(1, 2)))
        return place(tokens, rows=grid.shape[2], columns=grid.shape[3], scale=self.place_scale)

    def grid(self, *size: int) -> tuple[int, ...]:
        """Rows and columns of the grid of a picture of `(rows, columns)` pixels."""
        return tuple(self.trunk.grid_side(side) for side in enlarged_size(size, self._smallest_side))

    def num_tokens(self, *size: int) -> int:
        """Places of that grid."""
        return math.prod(self.grid(*size))


def enlarged_size(size: tuple[int, ...], smallest_side: int) -> tuple[int, int]:
    """The size of a picture scaled up until its shorter side has `smallest_side` pixels."""
    rows, columns = size
    shorter = min(rows, columns)
    if shorter >= smallest_side:
        return rows, columns
    return round(rows * smallest_side / shorter), round(columns * smallest_side / shorter)


def enlarge(pixels: Float[Tensor, "R C Y X"], smallest_side: int) -> Float[Tensor, "R C rows columns"]:
    """Pictures scaled up (bilinear) until their shorter side has `smallest_side` pixels."""
    size = enlarged_size(tuple(pixels.shape[2:]), smallest_side)
    if size == tuple(pixels.shape[2:]):
        return pixels
    return nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


def place(tokens: Float[Tensor, "R L E"], *, rows: int, columns: int, scale: Float[Tensor, " E"]) -> Features:
    """The tokens of a grid as features, with the position of each added."""
    places = grid_positions(rows, columns, tokens.shape[-1], tokens.device) * scale
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return Features(tokens + places.to(tokens.dtype), mask)
