"""Which tokens of a target are looked at apart: the first ones of each segment, all later ones together, and the end.

In: how many tokens the targets of each segment have; then the segments `(B, T)` of a batch's targets.
Out: the names of a segment's positions, and the number of the position of every target token.
Invariant: every target token has exactly one position, so what is summed over the positions of a segment is the segment's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

END = "end"
MIN_SAMPLES = 30
"""A position that fewer samples have is not looked at apart."""
MAX_APART = 16
"""So many positions of a segment are looked at apart, at most."""


@dataclass(frozen=True)
class Positions:
    """The positions of all segments in one row. `num_apart`: of each segment, the first tokens that stand alone.

    None = the whole segment is one position, its end included.
    """

    num_apart: tuple[int | None, ...]

    @classmethod
    def whole(cls, num_segments: int) -> Positions:
        """One position per segment."""
        return cls((None,) * num_segments)

    @classmethod
    def choose(cls, lengths: Sequence[Sequence[int]]) -> Positions:
        """For each segment, given the tokens (without the end) of each sample that has it, as many as enough samples have."""

        def apart(of_samples: Sequence[int]) -> int:
            enough = (p for p in range(MAX_APART, 0, -1) if sum(n >= p for n in of_samples) >= MIN_SAMPLES)
            return next(enough, 0)

        return cls(tuple(apart(of_samples) for of_samples in lengths))

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The number of the first position of each segment, and behind the last segment the number of all."""
        sizes = [1 if apart is None else apart + 2 for apart in self.num_apart]
        return tuple(np.cumsum([0, *sizes]).tolist())

    def names(self, segment: int) -> list[str]:
        """`1`, `2`, …, `9+` for all later ones, `end`."""
        apart = self.num_apart[segment]
        return ["all"] if apart is None else [*map(str, range(1, apart + 1)), f"{apart + 1}+", END]

    def of(self, segments: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
        """The number of each target token's position; −1 at padding."""
        found = torch.full_like(segments, -1)
        for number, apart in enumerate(self.num_apart):
            here = segments == number
            order = here.cumsum(dim=1)
            last = order == here.sum(dim=1, keepdim=True)
            place = (
                torch.zeros_like(order) if apart is None else torch.where(last, apart + 1, (order - 1).clamp(max=apart))
            )
            found = torch.where(here, self.offsets[number] + place, found)
        return found

    def by_segment(self, values: Shaped[np.ndarray, "*n P"]) -> Shaped[np.ndarray, "*n G"]:
        """The sums over each segment's positions."""
        return np.add.reduceat(values, self.offsets[:-1], axis=-1)

    def range_of(self, segment: int) -> range:
        """The numbers of a segment's positions."""
        return range(self.offsets[segment], self.offsets[segment + 1])
