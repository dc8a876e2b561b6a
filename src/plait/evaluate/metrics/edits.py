"""Word and character error rate: edits over the length of the reference, counted by jiwer.

In: outputs and references.
Out: statistics `(n, 2)`: edits, units (words or characters) of the reference.
Invariant: the corpus value is Σ edits / Σ units, jiwer's; with one reference each it equals `jiwer.wer` of the normalised lists.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jiwer
import numpy as np
from jaxtyping import Float

from plait.config.evaluate import DEFAULT, Normalisation
from plait.evaluate.metrics.base import Metric, divide
from plait.evaluate.normalise import describe, normaliser


@dataclass(frozen=True)
class _ErrorRate(Metric):
    normalisation: Normalisation = DEFAULT
    higher_is_better: ClassVar[bool] = False
    percent: ClassVar[bool] = True
    denominator: ClassVar[int | None] = 1
    counts: ClassVar[bool] = True

    @abstractmethod
    def count(self, output: str, reference: str) -> tuple[int, int]:
        """Edits between two normalised texts, and the units of the reference."""

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 2"]:
        normal = normaliser(self.normalisation)
        rows = []
        for output, refs in zip(outputs, references, strict=True):
            counts = [self.count(normal(output), normal(reference)) for reference in refs]
            rows.append(min(counts, key=lambda pair: pair[0] / pair[1] if pair[1] else float("inf" if pair[0] else 0)))
        return np.asarray(rows, dtype=float).reshape(-1, 2)

    def corpus(self, totals: Float[np.ndarray, "rows 2"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 1])


@dataclass(frozen=True)
class WordErrorRate(_ErrorRate):
    """Substitutions, deletions and insertions of words per word of the reference."""

    name: ClassVar[str] = "wer"
    undefined: ClassVar[str] = "the reference has no words"

    @property
    def definition(self) -> str:
        return f"jiwer: word edits / words of the reference with the lowest rate ({describe(self.normalisation)})"

    def count(self, output: str, reference: str) -> tuple[int, int]:
        counts = jiwer.process_words(reference, output)
        missed = counts.substitutions + counts.deletions
        return missed + counts.insertions, missed + counts.hits


@dataclass(frozen=True)
class CharacterErrorRate(_ErrorRate):
    """Substitutions, deletions and insertions of characters, spaces included, per character of the reference."""

    name: ClassVar[str] = "cer"
    undefined: ClassVar[str] = "the reference has no characters"

    @property
    def definition(self) -> str:
        return (
            f"jiwer: character edits, spaces count, / characters of the best reference ({describe(self.normalisation)})"
        )

    def count(self, output: str, reference: str) -> tuple[int, int]:
        counts = jiwer.process_characters(reference, output)
        missed = counts.substitutions + counts.deletions
        return missed + counts.insertions, missed + counts.hits
