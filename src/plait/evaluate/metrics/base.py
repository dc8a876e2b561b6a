"""What every metric is: statistics per sample that add up, and a score of their sum.

In: outputs and, per output, one or several references.
Out: statistics `(n, S)`; the score of any sum of them.
Invariant: the score of summed statistics is the metric of the whole set, so that leaving groups out scores no text twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from plait.evaluate.intervals import Form


class Score(ABC):
    """A number made of sums of statistics; n samples, S statistics.

    NaN marks, inside this package only, what is not defined: a row of statistics (this sample cannot be scored) or a score (this
    sum cannot be). `undefined` says why in words, and that is what leaves the package.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool]
    percent: ClassVar[bool] = False
    """Shown times 100, with a per cent sign."""
    limits: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    """The least and the greatest value."""
    denominator: ClassVar[int | None] = None
    """Which statistic says how much a sample weighs (words, tokens); None: all alike."""
    counts: ClassVar[bool] = False
    """Events over that weight, each 0 or 1: exact bounds exist where all samples score alike."""
    skewed: ClassVar[bool] = False
    """Single samples may score many times the mean, so that intervals cover less often than they say."""
    undefined: ClassVar[str]

    @property
    def form(self) -> Form:
        """What an interval must know of it."""
        return Form(self.limits, self.denominator, self.counts, self.skewed)

    @property
    @abstractmethod
    def definition(self) -> str:
        """What exactly is counted, in one line: it goes into the record."""

    @abstractmethod
    def corpus(self, totals: Float[np.ndarray, "rows S"]) -> Float[np.ndarray, " rows"]:
        """The score of each row of summed statistics."""

    def total(self, statistics: Float[np.ndarray, "n S"]) -> float:
        """The score of all samples together."""
        return float(self.corpus(statistics.sum(axis=0, keepdims=True))[0])

    def single(self, statistics: Float[np.ndarray, "n S"]) -> Float[np.ndarray, " n"]:
        """The score of each sample alone."""
        return self.corpus(statistics)


class Metric(Score):
    """A score of texts."""

    @abstractmethod
    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n S"]:
        """The statistics of each output against its references (at least one)."""


def divide(
    numerator: Float[np.ndarray, " rows"], denominator: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, " rows"]:
    """The quotient, NaN where the denominator is 0 and no warning."""
    out = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)
