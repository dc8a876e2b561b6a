"""How far a score of few, uneven groups may lie from the truth: the arithmetic of an interval, without any random draw.

In: a score's statistics summed within each group.
Out: the variance of the score with its degrees of freedom (`Part`), and an interval of the form that suits the score's range.
Invariant: nothing here knows a metric or a sample. How often the intervals hold the truth is measured (benchmarks/intervals.py);
docs/intervals.md has the table.

The variance is the jackknife's: each group is left out once, V = (G − 1) / G Σ_g (R − R_(g))² (Tukey 1958; Cameron and Miller
2015, section VI.B). It holds for any smooth score of sums, ratios and BLEU alike, and unlike the bootstrap's it does not shrink
where few groups are uneven. Groups count by Kish's effective number K = (Σ w)² / Σ w² of their weights w.

Three forms, by the score's range:

    both limits     the exact binomial interval (Clopper, Pearson 1934) of an effective number of trials, u (1 − u) / V' of the
                    score u scaled to 0 … 1 (Korn, Graubard 1998). V' = V (1 + (t² / z² − 1) x / (x + 1)), at least the variance
                    of independent samples. t has K − 1 degrees of freedom; x is the effective number of the rarer kind: of one
                    error nobody can tell whether errors come in groups, and the exact interval is wide already
    a lower limit   the exact Poisson interval (Garwood 1936) of u² / V' effective events, V' = V t² / z²
    none            u ± t √V

In the last two, and where single samples may score many times the mean, t has fewer degrees of freedom where the groups' shares
in V are heavy-tailed: 1 / (1 / (K − 1) + excess kurtosis / 2K).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import beta, gamma
from scipy.stats import norm as normal
from scipy.stats import t as student

Corpus = Callable[[np.ndarray], np.ndarray]
"""The score of each row of summed statistics."""

ALIKE_CORRELATION = 0.05
"""Where all groups score alike nothing shows how alike a group's samples are: then this correlation within groups is assumed."""


@dataclass(frozen=True)
class Form:
    """What an interval must know of a score.

    `limits`: its range. `weight`: which statistic says how much a sample weighs (words, tokens); None: all alike. `counts`: it is
    events over that weight, each 0 or 1 (right answers over samples, wrong words over words): exact bounds exist where all samples
    score alike. `skewed`: single samples may score many times the mean.
    """

    limits: tuple[float, float] = (-np.inf, np.inf)
    weight: int | None = None
    counts: bool = False
    skewed: bool = False


ANY = Form()
"""A number of either sign, every sample weighing alike."""


@dataclass(frozen=True)
class Part:
    """The variance of a score over one grouping (or several crossed ones).

    `effective`: Kish's number of even groups that weigh like these. `df`: degrees of freedom of a normal score; `heavy_df`: fewer
    where the groups' shares are heavy-tailed. `undefined`: the share of groups without which the score has no value.
    """

    variance: float
    effective: float
    df: float
    heavy_df: float
    undefined: float = 0.0


@dataclass(frozen=True)
class Shape:
    """The form of a score on given samples: `trials`, over how many things it counts events; None where it does not count."""

    low: float = -np.inf
    high: float = np.inf
    trials: float | None = None
    skewed: bool = False

    @property
    def bounded(self) -> bool:
        """Both limits are known."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def jackknife(
    sums: Float[np.ndarray, "G S"], weights: Float[np.ndarray, " G"], corpus: Corpus, total: Float[np.ndarray, " S"]
) -> Part:
    """The part of one grouping, from its groups' sums and weights. At least two groups."""
    value = float(corpus(total[None])[0])
    away = corpus(total - sums) - value
    defined = np.isfinite(away)
    count = int(defined.sum())
    effective = effective_number(weights)
    if count < 2:
        return Part(np.inf, effective, 1.0, 1.0, 1.0)
    away, number = away[defined], len(sums)
    squares = float(away @ away)
    variance = squares * (number - 1) / number * (number / count)
    if variance <= (1e-12 * max(1.0, abs(value))) ** 2:
        return Part(0.0, effective, max(1.0, effective - 1), max(1.0, effective - 1), 1 - count / number)
    excess = max(0.0, float((away**4).sum()) / squares**2 * effective - 3)
    df = max(1.0, effective - 1)
    heavy = max(1.0, 1 / (1 / df + excess / (2 * effective)))
    return Part(variance, effective, df, heavy, 1 - count / number)


def effective_number(weights: Float[np.ndarray, " G"]) -> float:
    """(Σ w)² / Σ w² (Kish 1965): so many groups of one size weigh like these."""
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0 else float(len(weights))


def interval(
    value: float, part: Part, independent: float, n: int, shape: Shape, confidence: float
) -> tuple[float, float] | None:
    """The interval of a score; None where the groups say nothing of the error.

    `independent`: the variance if the n samples were independent.
    """
    if shape.bounded:
        size = shape.high - shape.low
        share = float(np.clip((value - shape.low) / size, 0.0, 1.0))
        found = _of_share(share, part, independent / size**2, part.variance / size**2, n, shape, confidence)
        return found and (shape.low + size * found[0], shape.low + size * found[1])
    if np.isfinite(shape.low):
        found = _of_rate(value - shape.low, part, independent, n, shape, confidence)
        return found and (shape.low + found[0], shape.low + found[1])
    if part.variance <= 0:
        return None
    reach = float(student.isf((1 - confidence) / 2, part.heavy_df)) * part.variance**0.5
    return value - reach, value + reach


def _of_share(
    share: float, part: Part, independent: float, variance: float, n: int, shape: Shape, confidence: float
) -> tuple[float, float] | None:
    """Between 0 and 1."""
    both = share * (1 - share)
    if both <= 1e-12 or max(variance, independent) <= 0:
        if shape.trials is None or both > 1e-12:
            return None
        return binomial(share, _alike(shape.trials, n, part.effective), confidence)
    errors = min(share, 1 - share) * both / max(variance, independent)
    known = 1.0 if shape.skewed else errors / (errors + 1)
    df = part.heavy_df if shape.skewed else part.df
    widened = variance * (1 + (_inflation(df, confidence) - 1) * known)
    return binomial(share, both / max(widened, independent), confidence)


def _of_rate(
    rate: float, part: Part, independent: float, n: int, shape: Shape, confidence: float
) -> tuple[float, float] | None:
    """0 or more."""
    if rate <= 1e-12 or max(part.variance, independent) <= 0:
        if shape.trials is None or rate > 1e-12:
            return None
        return 0.0, float(gamma.isf((1 - confidence) / 2, 1.0)) / _alike(shape.trials, n, part.effective)
    events = rate**2 / max(part.variance * _inflation(part.heavy_df, confidence), independent)
    tail = (1 - confidence) / 2
    return rate * float(gamma.ppf(tail, events)) / events, rate * float(gamma.isf(tail, events + 1)) / events


def binomial(share: float, trials: float, confidence: float) -> tuple[float, float]:
    """Clopper and Pearson's interval; the numbers need not be whole."""
    hits, misses, tail = share * trials, (1 - share) * trials, (1 - confidence) / 2
    low = 0.0 if hits <= 1e-9 else float(beta.ppf(tail, hits, misses + 1))
    high = 1.0 if misses <= 1e-9 else float(beta.isf(tail, hits + 1, misses))
    return low, high


def _inflation(df: float, confidence: float) -> float:
    """t² / z²: how much wider an interval must be because the variance is estimated, squared."""
    tail = (1 - confidence) / 2
    return float((student.isf(tail, df) / normal.isf(tail)) ** 2)


def _alike(trials: float, n: int, effective: float) -> float:
    """The effective number of trials where all groups score alike, at the assumed correlation within a group."""
    return trials / (1 + ALIKE_CORRELATION * max(0.0, n / effective - 1))
