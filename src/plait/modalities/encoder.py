"""What every encoder is, and the pieces that several encoders share: length masks and fixed sin-cos positions.

In: `Items` of one modality, R of them.
Out: `Features` `(R, L, E)` with their mask `(R, L)`.
Invariant: an item's features depend on that item alone: neither on its padding nor on the batch's other items; values at
masked tokens are zero.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor, nn

from plait.choices import Config
from plait.errors import UserError
from plait.types import Features, Items


class EncoderOptions(Config):
    """Options of every encoder."""

    width: int | None = Field(default=None, ge=1, le=65_536, description="of its features; null = `width` of the run")


class Encoder(nn.Module, ABC):
    """One modality's items → token features of `width` numbers each."""

    width: int

    @abstractmethod
    def forward(self, items: Items) -> Features:
        """The features of R items, straight from the batch."""

    @abstractmethod
    def num_tokens(self, *size: int) -> int:
        """How many tokens an item gives: a picture of `(rows, columns)`, a sound of `(frames,)`, a text of `(tokens,)`."""

    def grid(self, *size: int) -> tuple[int, ...]:
        """How the tokens of an item lie in it: `(rows, columns)` of places, row by row, where it is so; otherwise one row."""
        return (self.num_tokens(*size),)


def length_mask(lengths: Int[Tensor, " R"], size: int) -> Bool[Tensor, "R size"]:
    """True at the first `lengths[r]` of `size` places of item r."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def zero_masked(values: Shaped[Tensor, "R L E"], mask: Bool[Tensor, "R L"]) -> Shaped[Tensor, "R L E"]:
    """`values` with zeros (never 0 · NaN) where the mask is False."""
    return values.masked_fill(~mask[..., None], 0)


def sine_positions(places: Float[Tensor, " L"], width: int, *, longest: float = 10_000.0) -> Float[Tensor, "L width"]:
    """The sines and cosines of `places` at `width / 2` wavelengths from 2π to 2π · `longest` (Vaswani et al. 2017)."""
    num_waves = (width + 1) // 2
    steps = torch.arange(num_waves, dtype=torch.float32, device=places.device) / max(num_waves - 1, 1)
    angles = places[:, None] * torch.exp(-math.log(longest) * steps)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :width]


def grid_positions(rows: int, columns: int, width: int, device: torch.device | None = None) -> Float[Tensor, "L width"]:
    """A position for each place of a grid, row by row: half of the numbers tell the row, half the column.

    Places are measured in the picture and not in the grid (−1 to 1 between opposite edges), and the wavelengths go from 4
    pictures down to 3 places of the grid, so that no number is almost constant, however small the grid is.
    """

    def axis(size: int, share: int) -> Tensor:
        centres = (2 * torch.arange(size, dtype=torch.float32, device=device) + 1) / size - 1
        num_waves = (share + 1) // 2
        steps = torch.arange(num_waves, dtype=torch.float32, device=device) / max(num_waves - 1, 1)
        angles = centres[:, None] * (math.pi / 4) * (4 * size / 3) ** steps
        return torch.cat([angles.sin(), angles.cos()], dim=-1)[:, :share]

    of_rows, of_columns = axis(rows, width - width // 2), axis(columns, width // 2)
    whole = torch.cat(
        [
            of_rows[:, None].expand(rows, columns, -1),
            of_columns[None].expand(rows, columns, -1),
        ],
        dim=-1,
    )
    return whole.reshape(rows * columns, width)


def check_heads(width: int, heads: int, *, where: str) -> None:
    """Refuse a width that the heads cannot share evenly."""
    if width % heads:
        near = [h for h in (1, 2, 4, 6, 8, 12, 16) if width % h == 0]
        raise UserError(f"{heads} heads cannot share a width of {width}", where=where, right=f"Any of {near} would do.")
