"""What arms cost, and which of several level ones is the cheapest.

In: the arms, the best first; their costs and scores.
Out: the arm to take, and why, in words.
Invariant: seconds that differ by no more than measuring them again may differ decide nothing: of arms that are equal in time the
best score decides, then the name. So measuring again, or going on after a kill, takes the same arm.

Parameters decide only where not all seconds are known: they are matched between arms, and what they cost is mostly time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AS_CHEAP = 0.05
"""Costs within this part of the least are equal, however steady they were measured: two sessions differ by as much."""

STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Cost:
    """What an arm costs: parameters, and seconds (of training); None where it is not known.

    `noise`: by what part of them the seconds typically differ from one measurement to the next.
    """

    parameters: int | None = None
    seconds: float | None = None
    noise: float | None = None


def cheapest(
    arms: Sequence[str], costs: Mapping[str, Cost], scores: Mapping[str, float] | None = None
) -> tuple[str, str]:
    """The cheapest of some arms, the best first, and why, in words; the first one where nothing is known of all of them.

    `scores`: larger is better; without them the order of `arms` stands for them.
    """
    known = [costs.get(arm, Cost()) for arm in arms]
    if all(cost.seconds is not None for cost in known):
        equal = _equal(arms, {arm: costs[arm].seconds or 0.0 for arm in arms}, costs)
    elif all(cost.parameters is not None for cost in known):
        equal = _equal(arms, {arm: costs[arm].parameters or 0 for arm in arms}, {})
    else:
        return arms[0], "the first by its score, since not all their costs are known"
    ranks = scores or {arm: -place for place, arm in enumerate(arms)}
    take = min(equal, key=lambda arm: (-ranks[arm], arm))
    seconds, parameters = costs[take].seconds, costs[take].parameters
    what = f"{parameters:,} parameters" if any(cost.seconds is None for cost in known) else _training(seconds or 0.0)
    return take, f"{'the cheapest' if len(equal) == 1 else 'the best of the cheapest'} ({what})"


def _equal(arms: Sequence[str], values: Mapping[str, float | int], costs: Mapping[str, Cost]) -> list[str]:
    """The arms that cost as much as the cheapest one, as far as measuring can tell."""
    first = min(arms, key=lambda arm: (values[arm], arm))

    def tolerance(arm: str) -> float:
        noise = [costs[one].noise or 0.0 for one in (arm, first) if one in costs]
        return max(AS_CHEAP, STANDARD_ERRORS * math.hypot(*noise))

    return [arm for arm in arms if values[arm] <= (1 + tolerance(arm)) * values[first]]


def _training(seconds: float) -> str:
    """What a training takes; of short ones two digits, so that the cheapest of them does not take 0 s."""
    if seconds == 0:
        return "no training"
    return f"{seconds:.2g} s of training" if seconds < 10 else f"{seconds:,.0f} s of training"
