"""What follows from a comparison, by rule, in one sentence; and what it could not have seen.

In: a `Comparison`; the price of each arm; which arms lack the other modalities, and which read nothing; the lead that matters.
Out: a `Verdict`.
Invariant: a winner is named only if it is measurably better than every other arm; that there is no difference, or that modalities
do not help, is said only where a lead that matters would have been seen in 80 % of such comparisons; the sentence says which.

The rules, the first that fits: (1) an arm without the other modalities (text only, image only, no input) is not measurably
worse than the best: nothing beats it, take the cheapest such arm; (2) one arm is measurably better than all others: take it;
(3) several are level: take the cheapest of them (cost.py). Where the smallest lead that such comparisons see (power.py) is larger
than the one that matters, (1) and (3) are "too little to tell", with what it would take; which arm to take meanwhile stays.

Why power and not the interval: that the whole interval lies within ± the lead that matters would be the stronger statement
(wrong in 2.5 % where the arms do differ by that much, power in up to 20 %), but most comparisons cannot reach it: even where
arms score the same it takes 1.4 times the lead that power asks for, so twice the seeds and samples. The promise made is the
weaker one and the sentence names it ("would have been seen in 80 %"); every arm's interval stands in the table.

A level arm whose seeds stand out (`Parts.unlike`) says nothing about the others: the verdict is that of a comparison without
it, and the sentence ends with what is to be said of it. Where no two arms differ on any sample, the verdict asks instead on how
many samples they may differ: what 95 % of such comparisons would have shown at least once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from plait.compare.statistics.cost import Cost, cheapest
from plait.compare.statistics.differences import (
    NOTHING,
    Comparison,
    compare,
    effective_groups,
    few_groups,
    lends,
    spread,
)
from plait.compare.statistics.power import (
    MAX_FACTOR,
    MAX_SEEDS,
    POWER,
    Components,
    Needed,
    Plan,
    detectable,
    needed,
    plan,
)
from plait.compare.statistics.table import ScoreTable
from plait.compare.statistics.wording import (
    duration,
    gap,
    limits,
    listed,
    metric_name,
    number,
    rounded,
    score,
    seeds,
)
from plait.errors import UserError, did_you_mean

ENOUGH_SEEDS = 5
WORTH, WORTH_SHARE = 0.02, 0.05
"""The smallest lead that matters: 2 points of a score in per cent; of other scores (bits, CIDEr) 5 % of the best arm's."""

Kind = Literal["winner", "level", "modalities do not help", "too little to tell"]


@dataclass(frozen=True)
class Verdict:
    """`sentence` is the verdict, `take` the arm that it says to take, `level` the arms that are not measurably worse
    than the best.

    `detectable`: the smallest lead over all others that 4 of 5 such comparisons would have seen, in the metric's units; None where
    nothing varied, so that nobody can say. `separate`: what would part the first two arms if their difference is the true one;
    None where one seed, no variance or no difference says nothing about it. `further`: what else belongs beside the sentence, one
    sentence each. `worth`: the smallest lead that matters; `planned`: what would show it, where that is more than there is.
    """

    kind: Kind
    sentence: str
    take: str
    level: tuple[str, ...]
    detectable: float | None
    separate: Needed | None
    further: tuple[str, ...]
    worth: float | None = None
    planned: Plan | None = None


class Said(NamedTuple):
    """What the rules need: the comparison that is judged, what it could see, and what more would take."""

    found: Comparison
    least: float | None
    worth: float
    planned: Plan | None
    seconds_per_seed: float | None

    @property
    def enough(self) -> bool:
        """Whether a lead that matters would have been seen."""
        least = unseen(self.found.table) if self.least is None else self.least
        return least is not None and least <= self.worth


def verdict(
    found: Comparison,
    *,
    costs: Mapping[str, Cost] | None = None,
    without: Collection[str] = (),
    empty: Collection[str] = (),
    partial: Collection[str] = (),
    seed: int = 0,
    worth: float | None = None,
    seconds_per_seed: float | None = None,
) -> Verdict:
    """The verdict. `without`: the arms that lack the other modalities (text only, no input, a constant answer); `empty`: those of
    them that read nothing, `partial`: all inputs but one. `worth`: the smallest lead that matters, in the metric's units.
    `seconds_per_seed`: what one more seed of all arms takes.
    """
    costs = costs or {}
    for name in (*costs, *without, *empty):
        if name not in found.table.arms:
            raise UserError(f"no arm {name!r}", right=did_you_mean(name, found.table.arms))
    unstable, judged = set_apart(found), without_unstable(found)
    kept = judged.table.arms
    least, worth = least_seen(judged, seed), worth_of(judged.table, worth)
    planned = None
    if least is not None and least > worth and judged.parts.num_seeds > 1:
        planned = plan(Components.of(judged.parts), len(kept), worth, confidence=found.confidence, seed=seed)
    separate = None if least is None else _separate(judged, seed)
    said = Said(judged, least, worth, planned, seconds_per_seed)
    kind, take, sentence = _sentence(said, costs, [a for a in without if a in kept], empty, partial)
    level = tuple(arm for arm in found.ranking if arm in judged.level or arm in unstable)
    further = [*_power(judged, least), *_separating(judged, separate), *_seeds(judged, least, seed), *found.notes]
    sentence += _unstable(found, unstable) + _lone(found)
    return Verdict(kind, sentence, take, level, least, separate, tuple(further), worth, planned)


def set_apart(found: Comparison) -> tuple[str, ...]:
    """The level arms whose seeds stand out, where at least two others are left."""
    stable = lends(found.parts)
    return tuple(found.table.arms[a] for a in np.flatnonzero(~stable) if found.table.arms[a] in found.level)


def without_unstable(found: Comparison) -> Comparison:
    """The comparison of the arms that are not set apart: the one that the verdict is of."""
    unstable = set_apart(found)
    kept = [arm for arm in found.table.arms if arm not in unstable]
    return compare(found.table.only(kept), confidence=found.confidence) if unstable else found


def worth_of(table: ScoreTable, worth: float | None = None) -> float:
    """The smallest lead that matters, in the metric's units."""
    if worth is not None:
        return worth
    best = table.scores.max() if table.higher_is_better else table.scores.min()
    return WORTH if table.percent else WORTH_SHARE * abs(float(best))


def least_seen(found: Comparison, seed: int = 0) -> float | None:
    """The smallest lead over all others that 4 of 5 such comparisons would have seen; None where nothing varied."""
    if spread(found.parts).variance.max() <= NOTHING:
        return None
    return detectable(Components.of(found.parts), len(found.table.arms), confidence=found.confidence, seed=seed)


def unseen(table: ScoreTable) -> float | None:
    """Of arms that never differ: a share of the samples on which they might, as 95 % of such tests would have shown."""
    if not table.percent or np.ptp(table.values, axis=0).max() > 0:
        return None
    return 1 - 0.05 ** (1 / min(effective_groups(index) for index in table.groupings.values()))


def _sentence(
    said: Said,
    costs: Mapping[str, Cost],
    without: Collection[str],
    empty: Collection[str],
    partial: Collection[str] = (),
) -> tuple[Kind, str, str]:
    found = said.found
    table, sign = found.table, 1.0 if found.table.higher_is_better else -1.0
    scores = {arm: sign * float(value) for arm, value in zip(table.arms, table.scores, strict=True)}
    bare = [arm for arm in found.level if arm in without]
    if bare and set(table.arms) - set(without):
        take, why = cheapest(bare, costs, scores)
        meanwhile = f"take {take}, {why}" if len(bare) > 1 else f"take {take}"
        all_help = bool(set(bare) & set(empty))
        left_out = (
            f"what {'it leaves' if len(bare) == 1 else 'each of them leaves'} out" if set(bare) <= set(partial) else ""
        )
        if said.enough:
            which = (
                f"{left_out} does not measurably help" if left_out else "the other modalities do not measurably help"
            )
            which = "no modality measurably helps" if all_help else which
            text = f"nothing beats {listed(bare, 'or')}: {which} on these data ({_seen(said)})"
            return "modalities do not help", take, text + (f"; {meanwhile}" if len(bare) > 1 else "")
        which = f"{left_out} helps" if left_out else "the other modalities help"
        which = "any modality helps" if all_help else which
        what = f"whether {which}: nothing beats {listed(bare, 'or')}, but {_not_seen(said)}"
        return "too little to tell", take, f"too little to tell {what}; meanwhile {meanwhile}"
    if found.winner is not None:
        second = found.differences[0]
        only = "of these trained models " if found.parts.num_seeds == 1 else ""
        few = f", on only {limits(table)}" if few_groups(table) else ""
        return (
            "winner",
            found.winner,
            f"{only}take {found.winner}: its {metric_name(found)} of {score(table, found.best_score)} is "
            f"{gap(found, second)} better than that of {second.arm}, the next{few}",
        )
    take, why = cheapest(found.level, costs, scores)
    names = listed(found.level, "and")
    if said.enough:
        return "level", take, f"no measurable difference between {names} ({_seen(said)}): take {take}, {why}"
    text = f"too little to tell {names} apart: {_not_seen(said)}; meanwhile take {take}, {why}"
    return "too little to tell", take, text


def _seen(said: Said) -> str:
    """What would have been seen, where that is enough."""
    table = said.found.table
    if said.least is None:
        return f"no two arms differ on any of {limits(table)}"
    return f"a lead of {number(table, said.least)} would have been seen in {POWER:.0%} of such comparisons"


def _not_seen(said: Said) -> str:
    """What cannot be seen, and what it would take."""
    table, found = said.found.table, said.found
    if said.least is None:
        largest = unseen(table)
        told = "" if largest is None else f", so leads under {number(table, largest)} are not ruled out"
        return f"no two arms differ on any of {limits(table)}{told}"
    cannot = f"leads under {number(table, said.least)} cannot be seen with {seeds(found.parts.num_seeds)} and {limits(table)}"
    if found.parts.num_seeds < 2:
        return f"{cannot}, and one seed does not tell how many more it takes"
    wanted = rounded(table, said.worth)
    if said.planned is None:
        return f"{cannot}; {wanted} would take more than {MAX_SEEDS} seeds on {MAX_FACTOR:.0f} times the samples"
    factor, more = said.planned.sample_factor, said.planned.seeds - found.parts.num_seeds
    samples = f" and {round(factor * len(table.ids)):,} samples" if factor > 1 else " on these samples"
    if factor > 1 and few_groups(table):
        samples += f" of {factor:g} times the {'groups' if len(few_groups(table)) > 1 else next(iter(few_groups(table))) + 's'}"
    time = said.seconds_per_seed
    took = f" ({duration(more * time)} more of training)" if time and more > 0 else ""
    return f"{cannot}; {wanted} would take about {seeds(said.planned.seeds)}{samples}{took}"


def _unstable(found: Comparison, unstable: Sequence[str]) -> str:
    """What is to be said of arms that are set apart."""
    times = np.sqrt(found.parts.times_unlike())
    return "".join(
        f"; the score of {arm} varies {times[found.table.arms.index(arm)]:.0f} times as much from seed to seed or more, so nothing "
        f"can be said about it with {seeds(found.parts.num_seeds)}"
        for arm in unstable
    )


def _lone(found: Comparison) -> str:
    """Of how little the samples are: leave one speaker out is the standard in speech."""
    return "".join(
        f"; of these samples only, which share one {name}: nothing is said about another" for name in found.lone
    )


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
    table, unlike = found.table, [found.table.arms[a] for a in np.flatnonzero(~lends(found.parts))]
    but = f" (but {listed(unlike, 'and')}, whose seeds vary more)" if unlike else ""
    return [
        f"a lead of {number(table, least)} over all other arms{but} would have been seen in {POWER:.0%} of such comparisons "
        f"({len(table.arms)} arms, {seeds(len(table.seeds))}, {len(table.ids):,} samples)"
    ]


def _separating(found: Comparison, separate: Needed | None) -> list[str]:
    """How many seeds or samples would part the first two, if they are not parted."""
    second = found.differences[0]
    if separate is None or second.worse:
        return []
    apart = number(found.table, abs(second.value))
    pair = f"{found.best} and {second.arm} alone ({apart} apart, if that is the true difference)"
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
        f"only {num} seeds: that rules out telling leads under {number(found.table, least)} with any certainty; "
        f"{ENOUGH_SEEDS} seeds would tell {number(found.table, then)}, as far as {num} can say how much seeds vary"
    ]
