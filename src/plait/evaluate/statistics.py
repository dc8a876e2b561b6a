"""Figures: a score of all samples with its interval over whole groups: what was made from the same picture, or by the same voice.

In: statistics per sample `(n, S)`, the score of their sum, and one or several groupings of the samples.
Out: a `Figure`: value, interval, n, and in words why something is missing or what it is not about.
Invariant: nothing is drawn at random: equal samples give equal intervals, digit for digit.

The interval is that of intervals.py. Crossed groupings (picture × speaker) are taken together: variances add by inclusion and
exclusion, V_a + V_b − V_ab (Cameron, Gelbach, Miller 2011), never smaller than the largest single one; the figure says which was
used. Over a grouping of fewer than 5 effective groups (Kish) no interval is given: it is over the samples then, and says that it
is of these samples only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from plait.evaluate.intervals import ANY, Corpus, Form, Part, Shape, binomial, interval, jackknife
from plait.types import Sample

ALONE = "sample"
"""The name of the grouping in which each sample stands alone, used where samples name no groups."""

CROSS = " × "
"""Between the names of groupings that are taken together."""

FEWEST = 4.5
"""Fewer effective groups, 5 when rounded, are too few for an interval over them."""

SKEWED_COVERAGE = ((8, 0.86), (15, 0.88), (25, 0.90), (60, 0.91))
"""Up to how many effective groups a nominal 95 % interval covers how often where single samples score many times the mean
(benchmarks/intervals.py)."""

MAX_UNDEFINED = 0.05


@dataclass(frozen=True)
class Constant:
    """What the best constant answer reaches on the same samples, for comparison."""

    text: str
    value: float | None
    low: float | None
    high: float | None
    note: str | None = None


@dataclass(frozen=True)
class Figure:
    """One number of a summary: `value` with its interval, over n samples in `num_groups` groups of `grouping`.

    What could not be computed is None, and `note` says why. `constant` stands beside it where there is a training split.
    `effective_groups`: so many even groups weigh like these (Kish). `df`: the degrees of freedom of the interval's t. `of_these`:
    the grouping whose groups are too few, so that the interval is over the samples and says nothing about another group;
    `over_few`: the interval over these few groups if they were normal: not to be shown, but what is claimed has to agree with it.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    grouping: str | None = None
    num_groups: int | None = None
    note: str | None = None
    constant: Constant | None = None
    effective_groups: float | None = None
    df: float | None = None
    of_these: str | None = None
    over_few: tuple[float, float] | None = None


@dataclass(frozen=True)
class Bootstrap:
    """Kept for programs written for version 0.1: intervals are computed since, nothing is resampled."""

    num_resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Groupings:
    """For each grouping the index of each sample's group, and whether the sample names one; one that does not stands alone."""

    group: Mapping[str, Int[np.ndarray, " n"]]
    named: Mapping[str, Bool[np.ndarray, " n"]]

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Groupings:
        """The groupings that any of the samples names."""
        group, named = {}, {}
        for name in dict.fromkeys(name for sample in samples for name in sample.groups):
            values = [sample.groups.get(name) for sample in samples]
            seen: dict[object, int] = {}
            numbers = [seen.setdefault(i if v is None else v, len(seen)) for i, v in enumerate(values)]
            group[name] = np.asarray(numbers, dtype=np.int64)
            named[name] = np.asarray([value is not None for value in values], dtype=bool)
        return cls(group, named)

    def among(self, rows: Int[np.ndarray, " rows"]) -> dict[str, Int[np.ndarray, " rows"]]:
        """The groupings that any of these samples names; if there is none, each sample is its own group."""
        found = {name: group[rows] for name, group in self.group.items() if self.named[name][rows].any()}
        return found or {ALONE: np.arange(len(rows))}


def figure(
    statistics: Float[np.ndarray, "n S"],
    corpus: Corpus,
    groupings: Mapping[str, Int[np.ndarray, " n"]],
    *,
    undefined: str,
    form: Form = ANY,
    confidence: float = 0.95,
    bootstrap: Bootstrap | None = None,
    proportion: bool = False,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """The corpus value with its interval over one grouping or several crossed ones. `undefined` is said where it has no value.

    `bootstrap`, `proportion` (a mean of zeros and ones) and `limits` are how programs written for version 0.1 say `confidence` and
    `form`.
    """
    if bootstrap is not None or proportion or limits is not None:
        confidence = confidence if bootstrap is None else bootstrap.confidence
        form = Form(limits or ((0.0, 1.0) if proportion else ANY.limits), counts=proportion)
    n = len(statistics)
    if n == 0:
        return Figure(None, None, None, 0, note="no sample could be scored")
    summed = Summed(statistics, corpus, form, confidence)
    if not np.isfinite(summed.value):
        return Figure(None, None, None, n, note=undefined)
    if n == 1:
        return Figure(summed.value, None, None, 1, ALONE, 1, "no interval: there is one sample")
    parts = {name: summed.part(group) for name, group in groupings.items() if name != ALONE}
    kept = {name: groupings[name] for name, part in parts.items() if part.effective >= FEWEST}
    dropped = [name for name in parts if name not in kept]
    found = summed.over(kept, parts) if kept else replace(summed.over_samples(), over_few=summed.over_few(parts))
    few = [too_few(name, number_of(groupings[name]), parts[name].effective, beside=bool(kept)) for name in dropped]
    note = "; ".join(note for note in (found.note, *few) if note) or None
    return replace(found, note=note, of_these=dropped[0] if dropped and not kept else None)


def number_of(group: Int[np.ndarray, " n"]) -> int:
    """How many groups there are."""
    return int(dense(group).max()) + 1


def too_few(grouping: str, num_groups: int, effective: float, *, beside: bool) -> str:
    """Why nothing is said over a grouping; `beside`: another one has the interval, otherwise the samples have it."""
    about = f"{'' if beside else 'of these samples only; '}says nothing about another {grouping}"
    if num_groups == 1:
        return f"{about} (all samples share one)"
    like = "" if num_groups - effective < 0.1 else f", which weigh like {effective:.1f} even ones"
    return f"{about} (too few groups for an interval over them: {num_groups}{like})"


class Summed:
    """The samples of one figure, and its intervals over them or over groups of them."""

    def __init__(self, statistics: Float[np.ndarray, "n S"], corpus: Corpus, form: Form, confidence: float) -> None:
        self.statistics, self.corpus, self.form, self.confidence = statistics, corpus, form, confidence
        self.n, self.total = len(statistics), statistics.sum(axis=0)
        self.value = float(corpus(self.total[None])[0])
        self.weights = np.ones(self.n) if form.weight is None else np.maximum(statistics[:, form.weight], 0.0)
        trials = float(self.weights.sum()) if form.counts else None
        self.shape = Shape(*form.limits, trials=trials, skewed=form.skewed)
        self._alone: Part | None = None

    @property
    def alone(self) -> Part:
        """The part where each sample stands alone."""
        if self._alone is None:
            self._alone = jackknife(self.statistics, self.weights, self.corpus, self.total)
        return self._alone

    def part(self, group: Int[np.ndarray, " n"]) -> Part:
        """The part of one grouping."""
        sums = group_sums(np.column_stack([self.statistics, self.weights]), group)
        if len(sums) == self.n:
            return self.alone
        if len(sums) == 1:
            return Part(np.inf, 1.0, 1.0, 1.0)
        return jackknife(sums[:, :-1], sums[:, -1], self.corpus, self.total)

    def over(self, groupings: Mapping[str, Int[np.ndarray, " n"]], parts: Mapping[str, Part]) -> Figure:
        """Over groupings that have groups enough, all together; over the one that varies most where that is more."""
        name = max(groupings, key=lambda name: parts[name].variance)
        found = self.of(name, number_of(groupings[name]), parts[name])
        if len(groupings) == 1:
            return found
        crossed = self.crossed(groupings, parts)
        if crossed.variance <= parts[name].variance:
            return found
        return self.of(CROSS.join(groupings), min(map(number_of, groupings.values())), crossed)

    def crossed(self, groupings: Mapping[str, Int[np.ndarray, " n"]], parts: Mapping[str, Part]) -> Part:
        """By inclusion and exclusion. Degrees of freedom: Satterthwaite's, at least the fewest of the single ones."""
        singles = [parts[name] for name in groupings]
        variance = sum(part.variance for part in singles)
        for size in range(2, len(groupings) + 1):
            for names in combinations(groupings, size):
                variance += (-1) ** (size + 1) * self.part(intersection([groupings[name] for name in names])).variance
        squares = [part.variance**2 for part in singles]
        if not variance > 0 or not sum(squares) > 0:
            return replace(singles[0], variance=0.0)
        df, heavy = (
            max(min(many), variance**2 / sum(square / few for square, few in zip(squares, many, strict=True)))
            for many in ([p.df for p in singles], [p.heavy_df for p in singles])
        )
        return Part(variance, min(p.effective for p in singles), df, min(df, heavy), max(p.undefined for p in singles))

    def over_samples(self) -> Figure:
        """As if samples were independent."""
        if self.alone.effective < FEWEST and not self.form.counts:
            return self.without(ALONE, self.n, "too few samples")
        return self.of(ALONE, self.n, self.alone)

    def over_few(self, parts: Mapping[str, Part]) -> tuple[float, float] | None:
        """Over two to four effective groups: t with their few degrees of freedom, of the grouping that says least."""
        reach = [
            float(student.isf((1 - self.confidence) / 2, part.df)) * part.variance**0.5
            for part in parts.values()
            if np.isfinite(part.variance)
        ]
        return (self.value - max(reach), self.value + max(reach)) if reach else None

    def of(self, grouping: str, num_groups: int, part: Part) -> Figure:
        """The figure over a grouping, from its part."""
        if part.undefined > MAX_UNDEFINED:
            why = f"without some {grouping} ({part.undefined:.0%} of them) the score has no value"
            return self.without(grouping, num_groups, why)
        single = num_groups == self.n and self.form.counts and self.shape.bounded and np.ptp(self.weights) == 0
        bounds = (
            binomial(self.value, float(self.n), self.confidence)
            if single and 0 < self.value < 1
            else interval(self.value, part, self.alone.variance, self.n, self.shape, self.confidence)
        )
        if bounds is None:
            return self.without(grouping, num_groups, f"every {grouping} scores alike, which does not show the error")
        low, high = np.clip(bounds, *self.form.limits)
        found = Figure(self.value, float(low), float(high), self.n, grouping, num_groups)
        df = part.heavy_df if self.form.skewed or not self.shape.bounded else part.df
        return replace(found, effective_groups=part.effective, df=df, note=self.note(part))

    def note(self, part: Part) -> str | None:
        """What is known of the interval's coverage."""
        if part.variance == 0 and self.alone.variance == 0:
            return "every sample scores alike: exact bound"
        if self.form.skewed:
            coverage = next((share for most, share in SKEWED_COVERAGE if part.effective <= most), None)
            if coverage is not None:
                covers = (
                    f"about {100 * coverage:.0f} %, not 95 %" if self.confidence == 0.95 else "less often than they say"
                )
                return f"single samples score many times the mean: with {part.effective:.0f} groups such intervals cover {covers}"
        return None

    def without(self, grouping: str, num_groups: int, why: str) -> Figure:
        """The figure without an interval."""
        return Figure(self.value, None, None, self.n, grouping, num_groups, f"no interval: {why}")


def group_sums(statistics: Float[np.ndarray, "n S"], group: Int[np.ndarray, " n"]) -> Float[np.ndarray, "G S"]:
    """The statistics added up within each group that occurs."""
    index = dense(group)
    num_groups = int(index.max()) + 1
    return np.stack([np.bincount(index, column, num_groups) for column in statistics.T], axis=1)


def dense(group: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The same groups numbered from 0 without a gap."""
    if len(group) and group.min() >= 0 and group.max() < 4 * len(group):  # without sorting
        there = np.bincount(group) > 0
        return group if there.all() else (np.cumsum(there) - 1)[group]
    return np.unique(group, return_inverse=True)[1]


def intersection(groups: Sequence[Int[np.ndarray, " n"]]) -> Int[np.ndarray, " n"]:
    """The groups of samples that are together in every one of several groupings."""
    found = dense(groups[0])
    for group in groups[1:]:
        other = dense(group)
        found = dense(found * (int(other.max()) + 1) + other)
    return found
