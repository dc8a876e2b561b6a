"""CIDEr-D (Vedantam, Zitnick, Parikh 2015) with coco-caption's constants.

In: outputs and references.
Out: statistics `(n, 2)`: CIDEr-D, 1; NaN where none of a sample's references has a word that tells it from the others.
Invariant: on the same words equal to coco-caption: n-grams of 1 to 4 words weighted by tf · log(N / df), df counted over the
references of the whole evaluated set (N samples), clipped, the cosine times exp(−δ² / 2σ²) with δ the difference of the numbers
of bigrams, averaged over the orders and the references, times 10. An order that a text lacks counts 0, so one word scores ≤ 2.5.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from plait.config.evaluate import DEFAULT, Normalisation
from plait.evaluate.metrics.base import Metric, divide
from plait.evaluate.normalise import describe, normaliser, words

ORDERS = 4
SIGMA = 6.0
SCALE = 10.0

Ngram = tuple[str, ...]


class Vector(NamedTuple):
    """A text as weights per n-gram: one mapping and one norm per order, and its number of bigrams."""

    weights: list[dict[Ngram, float]]
    norms: list[float]
    num_bigrams: int


@dataclass(frozen=True)
class CiderD(Metric):
    """CIDEr-D, 0 to 10: how much of what is special to this sample the output says. Mean over samples."""

    normalisation: Normalisation = DEFAULT
    name: ClassVar[str] = "cider_d"
    higher_is_better: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, SCALE)
    skewed: ClassVar[bool] = True
    undefined: ClassVar[str] = "no word of the references tells this sample from the others (one sample, or all alike)"

    @property
    def definition(self) -> str:
        return (
            "CIDEr-D, 0 to 10, orders 1 to 4, sigma 6, document frequency from the references of the evaluated set, "
            f"no stemming, words at white space ({describe(self.normalisation)}; a Han or kana character is a word)"
        )

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 2"]:
        normal = normaliser(self.normalisation)
        right = [[_count(words(normal(r))) for r in refs] for refs in references]
        document_frequency = Counter(ngram for refs in right for ngram in set().union(*refs))
        log_samples = math.log(len(right)) if right else 0.0
        rows = []
        for output, refs in zip(outputs, right, strict=True):
            vectors = [_weigh(counts, document_frequency, log_samples) for counts in refs]
            said = _weigh(_count(words(normal(output))), document_frequency, log_samples)
            scorable = any(norm > 0 for vector in vectors for norm in vector.norms)
            rows.append((SCALE * float(np.mean([_similarity(said, v) for v in vectors])) if scorable else np.nan, 1.0))
        return np.asarray(rows, dtype=float).reshape(-1, 2)

    def corpus(self, totals: Float[np.ndarray, "rows 2"]) -> Float[np.ndarray, " rows"]:
        return divide(totals[:, 0], totals[:, 1])


def _count(tokens: Sequence[str]) -> Counter[Ngram]:
    return Counter(tuple(tokens[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(tokens) - n + 1))


def _weigh(counts: Counter[Ngram], document_frequency: Counter[Ngram], log_samples: float) -> Vector:
    weights: list[dict[Ngram, float]] = [{} for _ in range(ORDERS)]
    for ngram, count in counts.items():
        weights[len(ngram) - 1][ngram] = count * (log_samples - math.log(max(1, document_frequency[ngram])))
    norms = [math.sqrt(sum(w * w for w in order.values())) for order in weights]
    return Vector(weights, norms, sum(count for ngram, count in counts.items() if len(ngram) == 2))


def _similarity(said: Vector, reference: Vector) -> float:
    total = 0.0
    for n in range(ORDERS):
        norms = said.norms[n] * reference.norms[n]
        if norms > 0:
            shared = (min(w, r) * r for g, w in said.weights[n].items() if (r := reference.weights[n].get(g)))
            total += sum(shared) / norms
    difference = said.num_bigrams - reference.num_bigrams
    return total / ORDERS * math.exp(-(difference**2) / (2 * SIGMA**2))
