"""How often `plait.evaluate`'s intervals hold the truth, and how wide they are: data of known truth, cell by cell.

In: the number of trials per cell.
Out: one row per cell: coverage of the interval, and of the percentile bootstrap over groups that stood before it; the median width
beside an oracle's; how often there are groups enough for an interval over them.
Invariant: the cells were fixed before the method; the intervals are the ones that users see (`figure`). Only trials whose interval
is over the groups count, since an interval over the samples claims nothing about other groups.

The oracle knows the distribution's standard deviation: its interval is ± 1.96 of it. Beside it, where there is no group effect,
stands the width of the interval that is told so (of accuracy: Clopper and Pearson's): none that holds can be much narrower. A
group's chance of being right is logistic-normal with the named spread in logits, its mean the named accuracy; the score of a sample
given its group is independent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom

from plait.evaluate.intervals import ANY, Form
from plait.evaluate.statistics import ALONE, Figure, figure, group_sums
from plait.seeds import numpy_generator

MEAN_SIZE = 20
GROUPS = (5, 10, 20, 30, 100)
SIZES = {"one": None, "even": 0.0, "skewed": 1.0, "very skewed": 2.0}
"""One sample a group, or 20 in the mean: all alike, or log-normal with this sd."""
PICTURES = 30
"""The second grouping of the crossed cells."""
TARGET, WIDTH = 0.935, 1.4
BOOTSTRAP_TRIALS, RESAMPLES = 500, 500

BOUNDED, COUNTS, LOSS = Form((0.0, 1.0)), Form((0.0, 1.0), counts=True), Form((0.0, np.inf))
ERRORS, SKEWED = Form((0.0, np.inf), weight=1, counts=True), Form((0.0, np.inf), skewed=True)


@dataclass(frozen=True)
class Cell:
    """Data of one kind: `score` and `spread` say how samples and groups differ, `second` whether pictures are crossed with them.

    `hold`: whether the target is claimed.
    """

    score: str
    spread: float
    sizes: str
    num_groups: int
    second: bool = False
    hold: bool = True


SCORES = {
    "accuracy .5": COUNTS,
    "accuracy .9": COUNTS,
    "accuracy .97": COUNTS,
    "accuracy .99": COUNTS,
    "5 % non-zero": BOUNDED,
    "WER 10 %": ERRORS,
    "bits": LOSS,
    "lognormal": SKEWED,
    "gain": ANY,
    "gain, some lose much": ANY,
}
SPREADS = {
    "WER 10 %": (0.3, 1.0),
    "bits": (0.5,),
    "lognormal": (0.5,),
    "gain": (0.0, 1.0),
    "gain, some lose much": (0.3,),
}
STRONG = 2.0
"""A spread in logits at which a few groups hold nearly all the errors; no interval of bounded width holds there."""


def cells() -> Iterator[Cell]:
    """All of them."""
    for score in SCORES:
        for spread in SPREADS.get(score, (0.0, 1.0, STRONG)):
            for sizes in SIZES:
                if sizes == "one" and score.startswith(("accuracy", "5 %")) and spread:
                    continue
                for num in GROUPS:
                    shares = score not in SPREADS
                    hold = score in ("WER 10 %", "gain") or (shares and spread < STRONG)
                    yield Cell(score, spread, sizes, num, hold=hold)
    for score, sizes, num in (
        (s, z, g)
        for s in ("accuracy .5", "accuracy .9", "accuracy .97", "gain")
        for z in ("even", "skewed")
        for g in GROUPS
    ):
        for spread in (0.0, 1.0):
            yield Cell(score, spread, sizes, num, second=True)


@dataclass(frozen=True)
class Draws:
    """Trials of one cell: statistics `(n, 2)` and groups of all of them in a row, where each trial starts, and the truth."""

    statistics: np.ndarray
    groups: np.ndarray
    pictures: np.ndarray | None
    starts: np.ndarray
    truth: float


def draw(cell: Cell, trials: int, seed: int) -> Draws:
    """Independent data sets of a cell."""
    generator = numpy_generator(seed, "intervals", repr(cell))
    shape = (trials, cell.num_groups)
    sd = SIZES[cell.sizes]
    if sd is None:
        sizes = np.ones(shape, dtype=np.int64)
    else:
        sizes = np.maximum(1, np.rint(MEAN_SIZE * np.exp(sd * generator.standard_normal(shape) - sd**2 / 2))).astype(
            int
        )
    flat = np.repeat(np.arange(sizes.size), sizes.ravel())
    starts = np.concatenate([[0], np.cumsum(sizes.sum(axis=1))])
    effect, pictures, n = generator.standard_normal(sizes.size), None, len(flat)
    noise = cell.spread * effect[flat]
    if cell.second:
        pictures = generator.integers(PICTURES, size=n)
        trial = flat // cell.num_groups
        noise = (noise + cell.spread * generator.standard_normal((trials, PICTURES))[trial, pictures]) / np.sqrt(2)
    statistics, truth = scores(cell, noise, effect, flat, generator)
    return Draws(statistics, flat % cell.num_groups, pictures, starts, truth)


def scores(
    cell: Cell, noise: np.ndarray, effect: np.ndarray, flat: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, float]:
    """What each sample scores, and the truth."""
    n, one = len(flat), np.ones(len(flat))
    if cell.score.startswith(("accuracy", "5 %")):
        share = float(cell.score.split()[1]) if cell.score.startswith("accuracy") else 0.05
        right = (generator.random(n) < expit(intercept(share, cell.spread) + noise)).astype(float)
        if cell.score.startswith("5 %"):
            return np.stack([right * generator.random(n), one], axis=1), share / 2
        return np.stack([right, one], axis=1), share
    if cell.score == "WER 10 %":
        mean = 0.1
        precision = mean * (1 - mean) / (cell.spread * mean) ** 2 - 1
        rate = generator.beta(mean * precision, (1 - mean) * precision, len(effect))[flat]
        words = 1 + generator.poisson(9, n)
        return np.stack([generator.binomial(words, rate), words], axis=1).astype(float), mean
    scale = np.exp(cell.spread * effect - cell.spread**2 / 2)[flat]
    if cell.score == "bits":
        return np.stack([generator.gamma(2.0, 0.5, n) * scale, one], axis=1), 1.0
    if cell.score == "lognormal":
        return np.stack([np.exp(generator.standard_normal(n) - 0.5) * scale, one], axis=1), 1.0
    if cell.score == "gain":
        return np.stack([noise + generator.standard_normal(n), one], axis=1), 0.0
    losing = generator.random(n) < 0.1
    gain = np.where(losing, -generator.exponential(3.0, n), generator.normal(0.5, 0.3, n))
    return np.stack([noise + gain, one], axis=1), 0.9 * 0.5 - 0.1 * 3.0


@lru_cache
def intercept(share: float, spread: float) -> float:
    """The logit at which logistic-normal chances have this mean."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    return float(brentq(lambda c: float(expit(c + spread * points) @ weights) - share, -30, 30))  # pyright: ignore


def ratio(sums: np.ndarray) -> np.ndarray:
    """Σ numerator / Σ denominator."""
    return sums[:, 0] / sums[:, 1]


def measure_cell(cell: Cell, trials: int, seed: int = 0) -> dict[str, Any]:
    """One row."""
    form = SCORES[cell.score]
    values, bounds, old, held, told = [], [], [], [], []
    done = 0
    while done < trials:
        some = min(500, trials - done)
        found = draw(cell, some, seed + done)
        for k in range(some):
            part = slice(found.starts[k], found.starts[k + 1])
            statistics, groups = found.statistics[part], found.groups[part]
            groupings = {ALONE if cell.sizes == "one" else "speaker": groups}
            if found.pictures is not None:
                groupings["picture"] = found.pictures[part]
            one = figure(statistics, ratio, groupings, undefined="", form=form)
            over = one.of_these is None and not (one.grouping == "picture" and "says nothing" in (one.note or ""))
            held.append(over and one.low is not None)
            if not over:
                continue
            low, high = (one.low, one.high) if one.low is not None and one.high is not None else (np.nan, np.nan)
            values.append(one.value)
            bounds.append((low, high))
            if len(old) < BOOTSTRAP_TRIALS:
                old.append(percentile(statistics, groups, seed + len(old)))
                if not cell.spread:
                    told.append(figure(statistics, ratio, {}, undefined="", form=form))
        done += some
    return {**asdict(cell), "trials": trials, **summed(values, bounds, old, held, found.truth, told)}


def summed(
    values: list[Any],
    bounds: list[tuple[float, float]],
    old: list[tuple[float, float]],
    held: list[bool],
    truth: float,
    told: list[Figure],
) -> dict[str, Any]:
    """Coverage and widths of the trials whose interval is over the groups."""
    if len(bounds) < 100:
        return {"counted": len(bounds), "over_groups": float(np.mean(held))}
    low, high = np.asarray(bounds, dtype=float).T
    there = np.isfinite(low)
    covered = (low <= truth + 1e-12) & (high >= truth - 1e-12) & there
    oracle = 2 * 1.959964 * float(np.sqrt(np.mean((np.asarray(values, dtype=float) - truth) ** 2)))
    row = {
        "counted": int(there.sum()),
        "over_groups": float(np.mean(held)),
        "covered": int(covered.sum()),
        "coverage": float(covered.sum() / there.sum()),
        "below": float((high[there] < truth).mean()),
        "above": float((low[there] > truth).mean()),
        "width": float(np.median(high[there] - low[there]) / oracle),
    }
    before = np.asarray(old)
    row["before"] = float(((before[:, 0] <= truth) & (before[:, 1] >= truth)).mean())
    row["before_width"] = float(np.median(before[:, 1] - before[:, 0]) / oracle)
    widths = [one.high - one.low for one in told if one.low is not None and one.high is not None]
    if widths:
        row["independent_width"] = float(np.median(widths) / oracle)
    return row


def percentile(statistics: np.ndarray, groups: np.ndarray, seed: int) -> tuple[float, float]:
    """The percentile bootstrap over groups, which stood here before; a point where all groups score alike."""
    sums = group_sums(statistics, groups)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES)
    low, high = np.quantile(ratio(counts @ sums), [0.025, 0.975])
    return float(low), float(high)


def below_target(row: dict[str, Any], num_cells: int) -> bool:
    """Whether the coverage is measurably under the target, corrected over all cells (Bonferroni, exact binomial)."""
    return bool(binom.cdf(row["covered"], row["counted"], TARGET) < 0.05 / num_cells)


def measure_intervals(*, trials: int, jobs: int | None = None) -> dict[str, Any]:
    """All cells."""
    every = list(cells())
    with ProcessPoolExecutor(jobs or os.cpu_count()) as pool:
        rows = list(pool.map(measure_cell, every, [trials] * len(every), chunksize=2))
    counted = [row for row in rows if "coverage" in row]
    for row in counted:
        row["below_target"] = below_target(row, len(counted))
    return {"trials": trials, "rows": rows, "seconds": measure_seconds()}


def measure_seconds(scale: float = 1.0) -> dict[str, float]:
    """What one figure takes, median of five: a share over ungrouped rows, and over three crossed groupings."""
    generator, found = numpy_generator(0, "intervals", "seconds"), {}
    for name, num, groups in (
        ("1,000,000 rows", 1_000_000, ()),
        ("100,000 rows, three groupings", 100_000, (300, 5000, 40_000)),
    ):
        num = int(num * scale)
        statistics = np.stack([(generator.random(num) < 0.9).astype(float), np.ones(num)], axis=1)
        groupings = {f"g{k}": generator.integers(of, size=num) for k, of in enumerate(groups)}
        times = []
        for _ in range(5):
            began = time.perf_counter()
            figure(statistics, ratio, groupings or {ALONE: np.arange(num)}, undefined="", form=COUNTS)
            times.append(time.perf_counter() - began)
        found[name] = float(np.median(times))
    return found
