"""Every arm's paired difference to the best one, with simultaneous intervals and adjusted p.

In: a `ScoreTable`, or the `Parts` of many tables at once.
Out: a `Comparison`; or standard errors and degrees of freedom for every pair.
Invariant: that any arm is called worse than the best although it is not, happens in at most 1 − confidence of the comparisons
(calibrated: calibrate.py), also because the best one is chosen on the same data: the interval is that of all pairs of arms.

The procedure, one for all cases:

    seed  = mean of V_seed over the pairs of arms that lend to each other
    V     = max(seed + V_group − max(V_cell, 0), seed, V_group, V_group of every single grouping)
    lead  = max(seed, min(V_cell, V))                                   the part that few seeds measured
    df    = V² / (lead² / df_seed + (V − lead)² / df_group)             Satterthwaite; df_seed = (lending arms − 1)(seeds − 1)
    V     + (K / c)² (x_i + x_j),  x_i = max(0, σ²_i / S − F · seed / 2)   what an arm's own seeds vary more than chance lets them
    p     = P(range of A independent normals / s_df > √2 |d| / √V)      Tukey's studentised range: max-t over all pairs

With few seeds the arms lend each other their V_seed, all pairs to all pairs; one whose seeds stand out (`Parts.unlike`) lends
nothing, level or behind, so it widens no interval between the others. What an arm's own seed variance σ²_i is above the median F
of its ratio to the others' counts K = 4 standard errors (c: the critical value of df), because only its own few seeds measured
it. So an unstable arm is parted from the others no more often than equal arms may be, whether it is recognised or not. With two
arms it is nothing: V_seed is their own.
V is never smaller than any of its parts, so a difference of estimates that falls below (even below zero) is never
used. With one seed V = V_group and df = df_group: only the samples vary, and nothing is said about training again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.stats import f, studentized_range
from scipy.stats import t as student

from plait.compare.statistics.parts import Parts, variance_parts
from plait.compare.statistics.table import ScoreTable
from plait.errors import UserError
from plait.evaluate.statistics import ALONE

CONFIDENCE = 0.95
FEW_GROUPS, FEWEST_GROUPS = 20, 5
OWN_ERRORS, CHANCE = 4.0, 0.5
"""K and the quantile of F, chosen by calibration (benchmarks/calibration.py, cells with an unstable arm)."""

NOTHING = 1e-24
"""A variance up to this is none."""

_FREEDOMS = np.array([1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 40.0, 1e5])


@dataclass(frozen=True)
class Difference:
    """One arm beside the best: `value` = its score − the best one's, in the metric's units, with its simultaneous interval.

    `p` is adjusted for all pairs of arms. `worse`: measurably worse than the best.
    """

    arm: str
    score: float
    value: float
    low: float
    high: float
    p: float
    worse: bool


@dataclass(frozen=True)
class Comparison:
    """All arms, the best first. `differences` holds the others, in the order of their scores. `lone`: the groupings of which all
    samples share one group, so that nothing is said about other ones.
    """

    table: ScoreTable
    parts: Parts
    best: str
    best_score: float
    differences: tuple[Difference, ...]
    confidence: float
    notes: tuple[str, ...] = ()
    lone: tuple[str, ...] = ()

    @property
    def ranking(self) -> tuple[str, ...]:
        """All arms, the best first; equal scores in the order of the table."""
        return (self.best, *(one.arm for one in self.differences))

    @property
    def level(self) -> tuple[str, ...]:
        """The arms that are not measurably worse than the best, the best first."""
        return (self.best, *(one.arm for one in self.differences if not one.worse))

    @property
    def winner(self) -> str | None:
        """The arm that is measurably better than all others, if there is one."""
        return self.best if len(self.level) == 1 else None


@dataclass(frozen=True)
class Spread:
    """For every pair of arms: the variance of their difference, and its degrees of freedom."""

    variance: Float[np.ndarray, "*T A A"]
    df: Float[np.ndarray, "*T A A"]


def spread(parts: Parts) -> Spread:
    """V and df, as at the head of this file."""
    lending = lends(parts)
    count = lending.sum(axis=-1)[..., None, None]
    pairs = lending[..., :, None] & lending[..., None, :]
    pooled = (parts.seed * pairs).sum(axis=(-1, -2), keepdims=True) / (count * (count - 1))
    freedom = np.maximum(1.0, (count - 1.0) * (parts.num_seeds - 1))
    apart = 1.0 - np.eye(parts.num_arms)
    seed = pooled * apart if parts.num_seeds > 1 else np.zeros_like(parts.seed)
    cell = np.maximum(parts.cell, 0.0)
    variance = np.maximum.reduce([seed + parts.group - cell, seed, parts.group, parts.widest_group])
    lead = np.maximum(seed, np.minimum(cell, variance))
    below = lead**2 / freedom + (variance - lead) ** 2 / parts.group_df
    df = np.maximum(np.divide(variance**2, below, out=np.ones_like(variance), where=below > 0), 1.0)
    if parts.num_arms > 2 and parts.num_seeds > 1:  # of two arms both are what the pair has
        own = own_excess(parts, lending, pooled)
        weight = (OWN_ERRORS / critical_curve(parts.num_arms)(df)) ** 2
        variance = variance + apart * weight * (own[..., :, None] + own[..., None, :])
    return Spread(variance, df)


def lends(parts: Parts) -> Bool[np.ndarray, "*T A"]:
    """The arms that lend each other their seeds' variance: all but those that stand out; all where fewer than two are left."""
    alike = ~parts.unlike()
    return alike | (alike.sum(axis=-1, keepdims=True) < 2)


def own_excess(
    parts: Parts, lending: Bool[np.ndarray, "*T A"], pooled: Float[np.ndarray, "*T 1 1"]
) -> Float[np.ndarray, "*T A"]:
    """What the variance of each arm's mean over its seeds is above what chance makes of the pooled one.

    V_seed of a pair is σ²_i / S + σ²_j / S: solved for each arm against those that lend, so that an unstable one does not blur what
    the others' own are.
    """
    count = lending.sum(axis=-1, keepdims=True)
    sums = (parts.seed * lending[..., None, :]).sum(axis=-1)
    together = count * pooled[..., 0] / 2
    own = np.where(lending, (sums - together) / np.maximum(count - 2, 1), (sums - together) / count)
    own = np.where(lending & (count == 2), pooled[..., 0] / 2, own)
    chance = f.ppf(CHANCE, parts.num_seeds - 1, np.maximum(1, (count - 1) * (parts.num_seeds - 1)))
    return np.maximum(own - chance * pooled[..., 0] / 2, 0.0)


def worse_than_best(parts: Parts, found: Spread, confidence: float = CONFIDENCE) -> Bool[np.ndarray, "*T A"]:
    """Which arms are called worse than their table's best."""
    best = parts.means.argmax(axis=-1)[..., None]
    behind = np.take_along_axis(parts.means, best, -1) - parts.means
    df, variance = (np.take_along_axis(x, best[..., None], -2)[..., 0, :] for x in (found.df, found.variance))
    return behind > critical_curve(parts.num_arms, confidence)(df) * np.sqrt(variance)


def called_worse(parts: Parts, confidence: float = CONFIDENCE) -> Bool[np.ndarray, "tables A"]:
    """Which arms of many tables are called worse than their table's best: what `compare` says, all at once."""
    return worse_than_best(parts, spread(parts), confidence)


def compare(table: ScoreTable, *, confidence: float = CONFIDENCE) -> Comparison:
    """Every arm beside the best one."""
    if len(table.ids) < 2:
        raise UserError(
            f"{len(table.ids)} sample: too small for any verdict",
            where=f"split {table.split}",
            right="Compare on at least 2 samples; 20 or more give intervals that mean something",
        )
    alone = tuple(name for name, index in table.groupings.items() if name != ALONE and len(np.unique(index)) < 2)
    several = {name: index for name, index in table.groupings.items() if name not in alone}
    table = replace(table, groupings=several or {ALONE: np.arange(len(table.ids))})
    lone = [f"all samples share one {name}: nothing is said about other ones" for name in alone]
    sign = 1.0 if table.higher_is_better else -1.0
    parts = variance_parts(sign * table.values, table.groupings)
    found, scores = spread(parts), table.scores
    order = np.argsort(-sign * scores, kind="stable").tolist()
    best, size = order[0], Size(len(table.arms), confidence, parts.group_df)
    differences = []
    for j in order[1:]:
        value, variance, df = (float(x) for x in (scores[j] - scores[best], found.variance[best, j], found.df[best, j]))
        low, high, p = interval(value, variance=variance, df=df, size=size)
        worse = p < 1 - confidence if low == high else not low <= 0 <= high
        differences.append(Difference(table.arms[j], float(scores[j]), value, low, high, p, worse))
    notes = [*table.notes, *lone, *_notes(table, parts)]
    told = tuple(differences)
    return Comparison(table, parts, table.arms[best], float(scores[best]), told, confidence, tuple(notes), alone)


class Size(NamedTuple):
    """What an interval must know of its comparison."""

    num_arms: int
    confidence: float
    group_df: float


def interval(value: float, *, variance: float, df: float, size: Size) -> tuple[float, float, float]:
    """The simultaneous interval of a difference to the best, and its adjusted p.

    Without any variance every group at every seed says the same: no width can be given, and the sign test of that many groups,
    times the number of pairs, stands in for p.
    """
    if variance <= NOTHING:
        pairs = size.num_arms * (size.num_arms - 1) / 2
        return value, value, 1.0 if value**2 <= NOTHING else min(1.0, pairs * 2.0**-size.group_df)
    error = float(np.sqrt(variance))
    reach = critical(size.num_arms, df, size.confidence) * error
    return value - reach, value + reach, tail(size.num_arms, df, abs(value) / error)


def tail(num_arms: int, df: float, t: float) -> float:
    """How often the largest of all pairs' |t| passes `t` where all arms are equal."""
    if num_arms == 2:
        return float(2 * student.sf(t, df))
    return float(np.clip(studentized_range.sf(t * np.sqrt(2), num_arms, df), 0.0, 1.0))


@lru_cache(maxsize=4096)
def critical(num_arms: int, df: float, confidence: float = CONFIDENCE) -> float:
    """What the largest of all pairs' |t| passes in 1 − confidence of the cases where all arms are equal."""
    if num_arms == 2:
        return float(student.ppf((1 + confidence) / 2, df))
    pairs = num_arms * (num_arms - 1) / 2
    one, bonferroni = (float(student.isf((1 - confidence) / 2 / k, df)) for k in (1, pairs))

    def above(t: float) -> float:
        return float(studentized_range.cdf(t * np.sqrt(2), num_arms, df)) - confidence

    return float(brentq(above, one, bonferroni, xtol=1e-9))  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=64)
def critical_curve(num_arms: int, confidence: float = CONFIDENCE) -> Callable[[np.ndarray], np.ndarray]:
    """`critical` of many degrees of freedom (at least 1) at once: a spline through a few, within 0.5 % of it."""
    if num_arms == 2:
        return lambda df: student.ppf((1 + confidence) / 2, df)
    knots = 1 / _FREEDOMS[::-1]
    logs = np.log([critical(num_arms, float(df), confidence) for df in _FREEDOMS[::-1]])
    curve = CubicSpline(knots, logs)
    return lambda df: np.exp(curve(1 / np.clip(df, 1.0, 1e5)))


def effective_groups(index: Int[np.ndarray, " n"]) -> float:
    """How many groups of one size would say as much (Kish): (Σ w)² / Σ w² over the groups' samples."""
    sizes = np.bincount(index).astype(float)
    return float(sizes.sum() ** 2 / (sizes @ sizes))


def few_groups(table: ScoreTable) -> dict[str, float]:
    """The groupings with few effective groups, and how many these are."""
    found = {name: effective_groups(index) for name, index in table.groupings.items()}
    return {name: number for name, number in found.items() if number < FEW_GROUPS}


def groups_in_words(table: ScoreTable, name: str, number: float) -> str:
    """`4 groups (speaker)`; of unlike size `12 groups (speaker) that count as 4.2, because their sizes are uneven`."""
    num = len(np.unique(table.groupings[name]))
    if name == ALONE:
        return f"{num} samples"
    uneven = f" that count as {number:.1f}, because their sizes are uneven" if number < 0.95 * num else ""
    return f"{num} groups ({name}){uneven}"


def _notes(table: ScoreTable, parts: Parts) -> list[str]:
    """What makes the intervals wide."""
    notes = [
        f"only {groups_in_words(table, name, number)}: only large differences can be seen"
        + ("" if number >= FEWEST_GROUPS else ", and how large is itself a rough figure")
        for name, number in few_groups(table).items()
    ]
    times = np.sqrt(parts.times_unlike())
    notes += [
        f"the seeds of {table.arms[a]} vary {times[a]:.1f} times as much as the other arms' or more: little can be said about "
        "it, but it widens no interval between the others"
        for a in np.flatnonzero(~lends(parts))
    ]
    return notes
