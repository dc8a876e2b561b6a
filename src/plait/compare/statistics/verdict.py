"""What follows from a comparison, by rule, in one sentence; and what it could not have seen.

In: a `Comparison`; the price of each arm; which arms lack the other modalities, and which read nothing.
Out: a `Verdict`.
Invariant: a winner is named only if it is measurably better than every other arm; beside every "no measurable
difference" stands the smallest that could have been seen.

The rules, the first that fits: (1) an arm without the other modalities (text only, image only, no input) is not measurably
worse than the best: nothing beats it, take the cheapest such arm; (2) one arm is measurably better than all others: take it;
(3) several are level: take the cheapest of them. Cheap is what takes the fewest seconds and, of that, has the fewest parameters,
each within 5 %, which is what measuring twice may differ by and what sizes are matched to; of equally cheap arms the best one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plait.compare.statistics.differences import NOTHING, Comparison, Difference, lends, spread
from plait.compare.statistics.power import POWER, Components, Needed, detectable, needed
from plait.errors import UserError, did_you_mean

ENOUGH_SEEDS = 5
AS_CHEAP = 0.05


@dataclass(frozen=True)
class Cost:
    """What an arm costs: parameters, and seconds (of training); None where it is not known."""

    parameters: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Verdict:
    """`sentence` is the verdict, `take` the arm that it says to take, `level` the arms that are not measurably worse
    than the best.

    `detectable`: the smallest lead over all others that 4 of 5 such comparisons would have seen, in the metric's units; None where
    nothing varied, so that nobody can say. `separate`: what would part the first two arms if their difference is the true one;
    None where one seed, no variance or no difference says nothing about it. `further`: what else belongs beside the sentence, one
    sentence each.
    """

    kind: Literal["winner", "level", "modalities do not help"]
    sentence: str
    take: str
    level: tuple[str, ...]
    detectable: float | None
    separate: Needed | None
    further: tuple[str, ...]


def verdict(
    found: Comparison,
    *,
    costs: Mapping[str, Cost] | None = None,
    without: Collection[str] = (),
    empty: Collection[str] = (),
    seed: int = 0,
) -> Verdict:
    """The verdict. `without`: the arms that lack the other modalities (text only, no input, a constant answer); `empty`: those of
    them that read nothing.
    """
    costs = costs or {}
    for name in (*costs, *without, *empty):
        if name not in found.table.arms:
            raise UserError(f"no arm {name!r}", right=did_you_mean(name, found.table.arms))
    varied = bool(spread(found.parts).variance.max() > NOTHING)
    least = None
    if varied:
        least = detectable(Components.of(found.parts), len(found.table.arms), confidence=found.confidence, seed=seed)
    separate = _separate(found, seed) if varied else None
    kind, take, sentence = _sentence(found, costs, without, empty)
    further = [*_power(found, least), *_separating(found, separate), *_seeds(found, least, seed), *found.notes]
    return Verdict(kind, sentence, take, found.level, least, separate, tuple(further))


def cheapest(arms: Sequence[str], costs: Mapping[str, Cost]) -> tuple[str, str]:
    """The cheapest of some arms, the best first, and why, in words; the first one where nothing is known of all of them."""
    known = [costs.get(arm, Cost()) for arm in arms]
    if all(cost.seconds is not None for cost in known):
        as_cheap = _as_cheap(arms, {arm: costs[arm].seconds or 0.0 for arm in arms})
        if all(costs[arm].parameters is not None for arm in as_cheap):
            as_cheap = _as_cheap(as_cheap, {arm: costs[arm].parameters or 0 for arm in as_cheap})
        what = _training(costs[as_cheap[0]].seconds or 0.0)
    elif all(cost.parameters is not None for cost in known):
        as_cheap = _as_cheap(arms, {arm: costs[arm].parameters or 0 for arm in arms})
        what = f"{costs[as_cheap[0]].parameters:,} parameters"
    else:
        return arms[0], "the first by its score, since not all their costs are known"
    return as_cheap[0], f"{'the cheapest' if len(as_cheap) == 1 else 'the best of the cheapest'} ({what})"


def _as_cheap(arms: Sequence[str], costs: Mapping[str, float | int]) -> list[str]:
    """The arms that cost no more than `AS_CHEAP` above the least."""
    return [arm for arm in arms if costs[arm] <= (1 + AS_CHEAP) * min(costs[one] for one in arms)]


def _training(seconds: float) -> str:
    """What a training takes; of short ones two digits, so that the cheapest of them does not take 0 s."""
    if seconds == 0:
        return "no training"
    return f"{seconds:.2g} s of training" if seconds < 10 else f"{seconds:,.0f} s of training"


def _sentence(
    found: Comparison, costs: Mapping[str, Cost], without: Collection[str], empty: Collection[str]
) -> tuple[Literal["winner", "level", "modalities do not help"], str, str]:
    bare = [arm for arm in found.level if arm in without]
    if bare and set(found.table.arms) - set(without):
        take, why = cheapest(bare, costs)
        which = (
            "no modality measurably helps" if set(bare) & set(empty) else "the other modalities do not measurably help"
        )
        text = f"nothing beats {listed(bare, 'or')}: {which} on these data"
        return "modalities do not help", take, text + (f"; take {take}, {why}" if len(bare) > 1 else "")
    if found.winner is not None:
        second = found.differences[0]
        only = "of these trained models " if found.parts.num_seeds == 1 else ""
        return (
            "winner",
            found.winner,
            f"{only}take {found.winner}: its {metric_name(found)} of {_score(found, found.best_score)} is "
            f"{gap(found, second)} better than that of {second.arm}, the next",
        )
    take, why = cheapest(found.level, costs)
    return "level", take, f"no measurable difference between {listed(found.level, 'and')}: take {take}, {why}"


def _separate(found: Comparison, seed: int) -> Needed | None:
    """What would part the first two, where it can be said."""
    second = found.differences[0]
    if found.parts.num_seeds < 2 or second.value == 0:
        return None
    pair = (found.table.arms.index(found.best), found.table.arms.index(second.arm))
    return needed(Components.of(found.parts, pair), second.value, confidence=found.confidence, seed=seed)


def _power(found: Comparison, least: float | None) -> list[str]:
    if least is None:
        return [
            "every sample says the same of the arms at every seed, so what lead would have been seen cannot be told"
        ]
    seeds, unlike = len(found.table.seeds), [found.table.arms[a] for a in np.flatnonzero(~lends(found.parts))]
    but = f" (but {listed(unlike, 'and')}, whose seeds vary more)" if unlike else ""
    return [
        f"a lead of {_number(found, least)} over all other arms{but} would have been seen in {POWER:.0%} of such comparisons "
        f"({len(found.table.arms)} arms, {seeds} {'seed' if seeds == 1 else 'seeds'}, {len(found.table.ids):,} samples)"
    ]


def _separating(found: Comparison, separate: Needed | None) -> list[str]:
    """How many seeds or samples would part the first two, if they are not parted."""
    second = found.differences[0]
    if separate is None or second.worse:
        return []
    pair = f"{found.best} and {second.arm} alone ({_number(found, abs(second.value))} apart, if that is the true difference)"
    ways = []
    if separate.seeds is not None:
        ways.append(f"{separate.seeds} seeds on these samples")
    if separate.sample_factor is not None:
        samples = round(separate.sample_factor * len(found.table.ids))
        ways.append(f"about {samples:,} samples with {found.parts.num_seeds} seeds")
    if ways:
        return [f"to tell {pair}: {' or '.join(ways)}"]
    return [f"to tell {pair}, more seeds alone or more samples alone do not suffice: it takes more of both"]


def _seeds(found: Comparison, least: float | None, seed: int) -> list[str]:
    """What fewer than five seeds rule out."""
    num = found.parts.num_seeds
    if num == 1:
        return [
            "one seed: this is about these trained models only; whether arms trained again would stand in the same order "
            "is not known"
        ]
    if num >= ENOUGH_SEEDS or least is None:
        return []
    more = Components.of(found.parts).scaled(num_seeds=ENOUGH_SEEDS)
    then = detectable(more, len(found.table.arms), confidence=found.confidence, seed=seed)
    return [
        f"only {num} seeds: that rules out telling leads under {_number(found, least)} with any certainty; {ENOUGH_SEEDS} seeds "
        f"would tell {_number(found, then)}, as far as {num} can say how much seeds vary"
    ]


def metric_name(found: Comparison) -> str:
    """What is compared."""
    return f"{found.table.metric} of `{found.table.segment}`"


def gap(found: Comparison, one: Difference) -> str:
    """How far behind an arm is, with its interval."""
    bounds = sorted(abs(bound) for bound in (one.low, one.high))
    return f"{_number(found, abs(one.value))} [{', '.join(_plain(found, bound) for bound in bounds)}]"


def _plain(found: Comparison, value: float) -> str:
    return f"{100 * value:.1f}" if found.table.percent else f"{value:.3f}"


def _number(found: Comparison, value: float) -> str:
    unit = " points" if found.table.percent else ""
    return _plain(found, value) + unit


def _score(found: Comparison, value: float) -> str:
    return _plain(found, value) + (" %" if found.table.percent else "")


def listed(arms: Sequence[str], word: str) -> str:
    """Arms in a row."""
    return arms[0] if len(arms) == 1 else f"{', '.join(arms[:-1])} {word} {arms[-1]}"
