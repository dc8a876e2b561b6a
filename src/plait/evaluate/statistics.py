"""Bootstrap intervals that resample whole groups: what was made from the same picture, or by the same voice, goes together.

In: statistics per sample `(n, S)`, the score of their sum, and one or several groupings of the samples.
Out: a `Figure`: value, interval, n, and in words why something is missing.
Invariant: percentile bootstrap of the corpus value over groups drawn with replacement; the draws depend on the seed, the grouping's
name and its number of groups only, so two metrics (or two models) on the same samples are resampled alike.

With several groupings that cross (picture × speaker) the interval is computed for each, and the widest is given and named: the
smaller ones ignore the larger dependence. Measured coverage of nominal 95 % intervals of a mean (tests/evaluate/test_statistics.py
repeats a part): 60 groups 94 %, 20 groups 93 %, 10 groups 90 %, 5 groups 82 %; hence the note below 20 groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int

from plait.seeds import numpy_generator
from plait.types import Sample

ALONE = "sample"
"""The name of the grouping in which each sample stands alone, used where samples name no groups."""

FEW_GROUPS = 20
_CHUNK = 8_000_000  # counts held at once
_MAX_UNDEFINED = 0.05


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
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    grouping: str | None = None
    num_groups: int | None = None
    note: str | None = None
    constant: Constant | None = None


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made."""

    num_resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0

    @property
    def tails(self) -> tuple[float, float]:
        """The quantiles of the two bounds."""
        tail = (1 - self.confidence) / 2
        return tail, 1 - tail


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
    corpus: Callable[[np.ndarray], np.ndarray],
    groupings: Mapping[str, Int[np.ndarray, " n"]],
    *,
    bootstrap: Bootstrap,
    undefined: str,
    proportion: bool = False,
) -> Figure:
    """The corpus value with the widest of the groupings' intervals.

    `undefined` is said where the value does not exist. `proportion`: the score is a mean of zeros and ones, so where all samples
    score alike an exact bound takes the place of the bootstrap, which would claim certainty.
    """
    n = len(statistics)
    if n == 0:
        return Figure(None, None, None, 0, note="no sample could be scored")
    value = float(corpus(statistics.sum(axis=0, keepdims=True))[0])
    if not np.isfinite(value):
        return Figure(None, None, None, n, note=undefined)
    made = [
        _interval(statistics, corpus, name, group, value, bootstrap, proportion) for name, group in groupings.items()
    ]
    usable = [f for f in made if f.low is not None and f.high is not None]
    if not usable:
        return made[0]
    widest = max(usable, key=lambda f: (f.high or 0.0) - (f.low or 0.0))
    hidden = [f.note for f in made if f.low is None and f.note]
    notes = [widest.note, *hidden] if widest.note else hidden
    return Figure(value, widest.low, widest.high, n, widest.grouping, widest.num_groups, "; ".join(notes) or None)


def _interval(
    statistics: np.ndarray,
    corpus: Callable[[np.ndarray], np.ndarray],
    grouping: str,
    group: np.ndarray,
    value: float,
    bootstrap: Bootstrap,
    proportion: bool,
) -> Figure:
    n = len(statistics)
    sums = group_sums(statistics, group)
    num_groups = len(sums)

    def give(low: float | None, high: float | None, note: str | None) -> Figure:
        return Figure(value, low, high, n, grouping, num_groups, note)

    if num_groups == 1:
        what = "there is one sample" if grouping == ALONE or n == 1 else f"all samples share one {grouping}"
        return give(None, None, f"no interval: {what}")
    scores = corpus(resample(sums, grouping, bootstrap))
    defined = scores[np.isfinite(scores)]
    if len(defined) < (1 - _MAX_UNDEFINED) * len(scores):
        return give(None, None, f"no interval: {1 - len(defined) / len(scores):.0%} of the resamples have no value")
    few = f"only {num_groups} groups ({grouping}): the interval covers less often than it says"
    note = few if num_groups < FEW_GROUPS else None
    if np.ptp(defined) <= 1e-12 * max(1.0, abs(value)):
        if proportion and value in (0.0, 1.0):
            bound = (bootstrap.tails[0]) ** (1 / num_groups)
            exact = f"every sample scores alike: exact bound for {num_groups} groups ({grouping})"
            return give(bound, 1.0, exact) if value else give(0.0, 1 - bound, exact)
        return give(None, None, "no interval: every sample scores alike, so resampling cannot show the error")
    low, high = np.quantile(defined, bootstrap.tails)
    return give(float(low), float(high), note)


def group_sums(statistics: Float[np.ndarray, "n S"], group: Int[np.ndarray, " n"]) -> Float[np.ndarray, "G S"]:
    """The statistics added up within each group that occurs."""
    _, index = np.unique(group, return_inverse=True)
    num_groups = int(index.max()) + 1
    return np.stack([np.bincount(index, column, num_groups) for column in statistics.T], axis=1)


def resample(sums: Float[np.ndarray, "G S"], grouping: str, bootstrap: Bootstrap) -> Float[np.ndarray, "resamples S"]:
    """The summed statistics of each resample: as many groups as there are, drawn with replacement."""
    draws = _draws(bootstrap.seed, grouping, len(sums), bootstrap.num_resamples)
    return np.concatenate([counts.astype(float) @ sums for counts in draws])


def _draws(
    seed: int, grouping: str, num_groups: int, num_resamples: int
) -> Iterator[np.ndarray] | tuple[np.ndarray, ...]:
    """How often each resample draws each group, in chunks of resamples; kept in memory where they are small."""
    if num_groups * num_resamples <= _CHUNK:
        return _kept_draws(seed, grouping, num_groups, num_resamples)
    return _fresh_draws(seed, grouping, num_groups, num_resamples)


@lru_cache(maxsize=16)
def _kept_draws(seed: int, grouping: str, num_groups: int, num_resamples: int) -> tuple[np.ndarray, ...]:
    return tuple(_fresh_draws(seed, grouping, num_groups, num_resamples))


def _fresh_draws(seed: int, grouping: str, num_groups: int, num_resamples: int) -> Iterator[np.ndarray]:
    generator = numpy_generator(seed, "bootstrap", grouping, num_groups)
    size = max(1, _CHUNK // num_groups)
    for start in range(0, num_resamples, size):
        rows = min(size, num_resamples - start)
        drawn = generator.integers(num_groups, size=(rows, num_groups))
        drawn += np.arange(rows)[:, None] * num_groups
        counts = np.bincount(drawn.ravel(), minlength=rows * num_groups)
        yield counts.reshape(rows, num_groups).astype(np.uint16)
