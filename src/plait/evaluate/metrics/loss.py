"""The loss on the targets in three units: bits per token, bits per character, perplexity.

In: `SegmentLoss` of each sample.
Out: statistics `(n, 3)`: bits, tokens, characters.
Invariant: weighted by tokens (or characters): Σ bits / Σ tokens, never a mean of means. The tokens include the segment's end; the
characters do not, so that bits per character can be compared across tokenizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from plait.evaluate.metrics.base import Score, divide


class SegmentLoss(NamedTuple):
    """One sample's loss on one segment: −log2 of the target's probability, and the length of what was predicted.

    With several references each field is the mean over them. `num_characters` None: the mean length of the sample's references.
    """

    bits: float
    num_tokens: float
    num_characters: float | None = None


def loss_statistics(losses: Sequence[SegmentLoss]) -> Float[np.ndarray, "n 3"]:
    """Bits, tokens and characters of each loss; NaN where the loss is not finite."""
    rows = [(loss.bits, loss.num_tokens, loss.num_characters or 0.0) for loss in losses]
    table = np.asarray(rows, dtype=float).reshape(-1, 3)
    table[~np.isfinite(table).all(axis=1)] = np.nan
    return table


@dataclass(frozen=True)
class BitsPerToken(Score):
    """Cross-entropy per target token."""

    name: ClassVar[str] = "bits_per_token"
    higher_is_better: ClassVar[bool] = False
    denominator: ClassVar[int | None] = 1
    undefined: ClassVar[str] = "the loss is not finite, or there are no target tokens"

    @property
    def definition(self) -> str:
        return "-log2 p(target) / target tokens, the end of the segment included"

    def corpus(self, totals: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 1])


@dataclass(frozen=True)
class BitsPerCharacter(Score):
    """Cross-entropy per character of the target: comparable between tokenizers."""

    name: ClassVar[str] = "bits_per_character"
    higher_is_better: ClassVar[bool] = False
    denominator: ClassVar[int | None] = 2
    undefined: ClassVar[str] = "the loss is not finite, or the targets have no characters"

    @property
    def definition(self) -> str:
        return "-log2 p(target) / characters of the target"

    def corpus(self, totals: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 2])


@dataclass(frozen=True)
class Perplexity(Score):
    """Two to the bits per token."""

    name: ClassVar[str] = "perplexity"
    higher_is_better: ClassVar[bool] = False
    denominator: ClassVar[int | None] = 1
    limits: ClassVar[tuple[float, float]] = (1.0, float("inf"))
    undefined: ClassVar[str] = "the loss is not finite, or there are no target tokens"

    @property
    def definition(self) -> str:
        return "2 to the bits per token"

    def corpus(self, totals: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, " rows"]:
        with np.errstate(over="ignore"):
            value = np.exp2(divide(totals[:, 0], totals[:, 1]))
        return np.where(np.isfinite(value), value, np.nan)


LOSS_SCORES: tuple[Score, ...] = (BitsPerToken(), BitsPerCharacter(), Perplexity())
