"""A schedule of modality dropout: the chance of losing an input changes over training, for all modalities or for each its own.

In: points [share of the steps, chance], and how far training is.
Out: the chance of a step, on the line between two points and level before the first and after the last one.
Invariant: it depends on the step's number alone; the draws themselves are those of `train.modality_dropout` (same names, same
seeds), so a level schedule is that option, draw for draw.

Dropping much at first and little later lets each encoder learn from its own input before they are used together; the other way
round finds what needs two at once (XOR) first. `train.modality_dropout` has a warm-up only, and one line for all modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from plait.data.config import DataConfig
from plait.losses.balance import Balance, BalanceOptions, Encoding
from plait.types import FIRST

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Points = Annotated[tuple[tuple[Share, Share], ...], Field(min_length=1)]


class DropoutScheduleConfig(BalanceOptions):
    """`points`: [[share of the steps, chance], …], the shares rising, for all modalities; or such a list per modality."""

    kind: Literal["dropout_schedule"] = "dropout_schedule"
    points: Points | dict[str, Points] = ((0.0, 0.5), (0.7, 0.1))
    advice: ClassVar[str] = "costs nothing; complete inputs may lose by it: measure both"

    @field_validator("points")
    @classmethod
    def _rising(cls, value: Points | dict[str, Points]) -> Points | dict[str, Points]:
        for points in value.values() if isinstance(value, dict) else [value]:
            for (before, _), (after, _) in pairwise(points):
                if after <= before:
                    raise ValueError(f"the share {after} stands behind {before}: shares of the steps must rise")
        return value

    def check(self, *, data: DataConfig, modality_dropout: float | Mapping[str, float]) -> None:
        """Refuse a chance that is said twice."""
        of_train = (
            modality_dropout
            if isinstance(modality_dropout, Mapping)
            else dict.fromkeys(data.inputs or FIRST, modality_dropout)
        )
        twice = [m for m in of_train if of_train[m] and self.points_of(m) is not None]
        if twice:
            raise ValueError(
                f"train.modality_dropout says how often {', '.join(twice)} is dropped as well: set it to 0, or take "
                "balance.kind=none"
            )

    def points_of(self, modality: str) -> Points | None:
        """The points of one modality."""
        return self.points.get(modality) if isinstance(self.points, dict) else self.points

    def dropout_of(self, modality: str, share: float) -> float | None:
        """On the line between the points."""
        points = self.points_of(modality)
        return None if points is None else on_line(points, share)

    def highest_dropout(self, modality: str) -> float | None:
        """The highest point."""
        points = self.points_of(modality)
        return None if points is None else max(chance for _, chance in points)

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """See the module."""
        return DropoutSchedule(self, steps=steps, state=state)


class DropoutSchedule(Balance):
    """See the module."""

    def __init__(self, config: DropoutScheduleConfig, *, steps: int, state: Mapping[str, float] | None = None) -> None:
        super().__init__(state=state)
        self.config, self.steps = config, steps

    def dropout_of(self, modality: str, step: int) -> float | None:
        """The chance in this step, counted from 1."""
        return self.config.dropout_of(modality, step / self.steps)


def on_line(points: Sequence[tuple[float, float]], share: float) -> float:
    """The value at `share` between the points around it; the first and the last one's outside of them."""
    if share <= points[0][0]:
        return points[0][1]
    for (before, low), (after, high) in pairwise(points):
        if share <= after:
            return low + (high - low) * (share - before) / (after - before)
    return points[-1][1]
