"""The frontier: for each price the arms that no other arm beats in both score and price.

In: the scores and prices of the arms.
Out: price's name → arms, the cheapest first.
Invariant: an arm is missing only if another one has at least its score at no higher price, and one of the two is better; arms that
are equal in both stand or fall together. Arms without a score or without that price are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from plait.compare.result import Price

MORE_IS_CHEAPER = ("throughput",)
"""Prices of which more is better."""
PRICES = tuple(field.name for field in fields(Price) if field.name != "step_spread")
"""All prices; how steady the step was is none."""


def frontier(
    scores: Mapping[str, float | None], prices: Mapping[str, Price], *, higher_is_better: bool
) -> dict[str, tuple[str, ...]]:
    """Every price that is known of some arm → the arms on its frontier."""
    found: dict[str, tuple[str, ...]] = {}
    for price in PRICES:
        points = points_of(scores, prices, price, higher_is_better=higher_is_better)
        if points:
            found[price] = undominated(points)
    return found


def points_of(
    scores: Mapping[str, float | None], prices: Mapping[str, Price], price: str, *, higher_is_better: bool
) -> dict[str, tuple[float, float]]:
    """Arm → (loss, cost), both the lower the better."""
    points: dict[str, tuple[float, float]] = {}
    for name, score in scores.items():
        value = vars(prices[name])[price] if name in prices else None
        if score is not None and value is not None:
            loss, cost = -score if higher_is_better else score, -value if price in MORE_IS_CHEAPER else value
            points[name] = (float(loss), float(cost))
    return points


def undominated(points: Mapping[str, tuple[float, float]]) -> tuple[str, ...]:
    """The points that no other one beats, by rising cost; one pass over the points in that order."""
    kept: list[str] = []
    best: tuple[float, float] | None = None
    for name, point in sorted(points.items(), key=lambda item: (item[1][1], item[1][0])):
        if best is None or point[0] < best[0] or point == best:
            kept.append(name)
            best = point
    return tuple(kept)
