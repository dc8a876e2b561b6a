"""ROUGE-L: the longest common subsequence of words as an F-measure, as image captioning counts it.

In: outputs and references.
Out: statistics `(n, 2)`: F, 1; NaN where no reference has a word.
Invariant: with β = 1 and one reference it is Lin (2004), section 3.1; with β = 1.2 it is coco-caption's value on the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from rapidfuzz.distance import LCSseq

from plait.config.evaluate import DEFAULT, Normalisation
from plait.evaluate.metrics.base import Metric, divide
from plait.evaluate.normalise import describe, normaliser, words


@dataclass(frozen=True)
class RougeL(Metric):
    """F = (1 + β²) P R / (R + β² P); P and R are each the best over the references, as in coco-caption. Mean over samples."""

    normalisation: Normalisation = DEFAULT
    beta: float = 1.2
    name: ClassVar[str] = "rouge_l"
    higher_is_better: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, 1.0)
    undefined: ClassVar[str] = "the reference has no words"

    @property
    def definition(self) -> str:
        return (
            f"ROUGE-L F, beta {self.beta:g}, best precision and best recall over the references, mean over samples, "
            f"no stemming, words at white space ({describe(self.normalisation)}; a Han or kana character is a word)"
        )

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 2"]:
        normal = normaliser(self.normalisation)
        rows = []
        for output, refs in zip(outputs, references, strict=True):
            said, right = words(normal(output)), [w for r in refs if (w := words(normal(r)))]
            rows.append((self._sentence(said, right) if right else np.nan, 1.0))
        return np.asarray(rows, dtype=float).reshape(-1, 2)

    def _sentence(self, said: list[str], references: list[list[str]]) -> float:
        common = [LCSseq.similarity(said, reference) for reference in references]
        if not any(common):
            return 0.0
        precision = max(common) / len(said)
        recall = max(c / len(reference) for c, reference in zip(common, references, strict=True))
        return (1 + self.beta**2) * precision * recall / (recall + self.beta**2 * precision)

    def corpus(self, totals: Float[np.ndarray, "rows 2"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 1])
