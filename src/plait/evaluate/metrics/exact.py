"""Accuracy: the share of outputs that equal one of their references.

In: outputs and references.
Out: statistics `(n, 2)`: right, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from plait.config.evaluate import DEFAULT, Normalisation
from plait.evaluate.metrics.base import Metric, divide
from plait.evaluate.normalise import describe, normaliser


@dataclass(frozen=True)
class Accuracy(Metric):
    """Exact match after normalisation."""

    normalisation: Normalisation = DEFAULT
    name: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    percent: ClassVar[bool] = True
    denominator: ClassVar[int | None] = 1
    counts: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    undefined: ClassVar[str] = "there is no sample"

    @property
    def definition(self) -> str:
        return f"equal to one of the references ({describe(self.normalisation)})"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 2"]:
        normal = normaliser(self.normalisation)
        right = [normal(o) in {normal(r) for r in refs} for o, refs in zip(outputs, references, strict=True)]
        return np.stack([np.asarray(right, dtype=float), np.ones(len(right))], axis=1)

    def corpus(self, totals: Float[np.ndarray, "rows 2"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 1])
