"""BLEU and chrF as sacrebleu counts them, from statistics that add up.

In: outputs and references, not normalised: sacrebleu tokenises and keeps case.
Out: statistics per sample; scores 0 to 100.
Invariant: where sacrebleu's corpus score is defined, the score of the summed statistics equals it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from plait.config.evaluate import DEFAULT, Normalisation
from plait.evaluate.metrics.base import Metric, divide
from plait.evaluate.normalise import cleaned

ORDERS = 4
CHARACTER_ORDERS = 6
RECALL_WEIGHT = 2


def _library_statistics(metric: BLEU | CHRF, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """sacrebleu's own counts per sample; samples may differ in their number of references."""
    if not outputs:
        return np.zeros((0, 2 + 2 * ORDERS if isinstance(metric, BLEU) else 3 * CHARACTER_ORDERS))
    streams = list(zip_longest(*references))  # sacrebleu wants the first reference of every sample, then the second …
    return np.asarray(metric._extract_corpus_statistics(list(outputs), streams), dtype=float)


def _cleaned(
    kind: Normalisation, outputs: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    return cleaned(kind, outputs), [cleaned(kind, refs) for refs in references]


def _kept(kind: Normalisation) -> str:
    return "case kept" + ", invisible characters dropped" * (kind == "visible")


@dataclass(frozen=True)
class Bleu(Metric):
    """BLEU-4, exponential smoothing.

    Statistics: length of the output and of the nearest reference, 4 matches, 4 n-grams, whether a reference has a 4-gram.
    """

    tokenize: Literal["13a", "zh"] = "13a"
    normalisation: Normalisation = DEFAULT
    name: ClassVar[str] = "bleu"
    higher_is_better: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, 100.0)
    undefined: ClassVar[str] = "no reference has four words"

    @property
    def definition(self) -> str:
        kept = _kept(self.normalisation)
        return f"sacrebleu BLEU, 0 to 100, {kept}, tokenised by {self.tokenize}, exp smoothing, all references"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 11"]:
        outputs, references = _cleaned(self.normalisation, outputs, references)
        bleu = BLEU(tokenize=self.tokenize, force=True)
        counts = _library_statistics(bleu, outputs, references)
        # Where no reference has a 4-gram sacrebleu says 0.0 even for a perfect output: count those that have one.
        long = [any(len(bleu.tokenizer(r.rstrip()).split()) >= ORDERS for r in refs) for refs in references]
        return np.concatenate([counts, np.asarray(long, dtype=float)[:, None]], axis=1)

    def corpus(self, totals: Float[np.ndarray, "rows 11"]) -> Float[np.ndarray, " rows"]:
        return np.where(totals[:, 10] > 0, _bleu(totals, effective_order=False), np.nan)

    def single(self, statistics: Float[np.ndarray, "n 11"]) -> Float[np.ndarray, " n"]:
        """Sentence BLEU: only the orders that the output has (sacrebleu's `effective_order`)."""
        return np.where(statistics[:, 1] > 0, _bleu(statistics, effective_order=True), np.nan)


def _bleu(totals: Float[np.ndarray, "rows 11"], *, effective_order: bool) -> Float[np.ndarray, " rows"]:
    length, reference_length = totals[:, 0], totals[:, 1]
    matches, ngrams = totals[:, 2 : 2 + ORDERS], totals[:, 2 + ORDERS : 2 + 2 * ORDERS]
    smoothing = np.ones(length.shape)
    log_precision, orders = np.zeros(length.shape), np.zeros(length.shape)
    for n in range(ORDERS):
        smoothing = np.where(matches[:, n] == 0, 2 * smoothing, smoothing)
        count = np.where(matches[:, n] == 0, 1 / smoothing, matches[:, n])
        exists = ngrams[:, n] > 0
        log_precision += np.where(exists, np.log(count / np.maximum(ngrams[:, n], 1)), 0.0)
        orders += exists
    complete = (matches.sum(-1) > 0) & (effective_order | (orders == ORDERS))
    brevity = np.where(length < reference_length, 1 - reference_length / np.maximum(length, 1), 0.0)
    return np.where(complete, 100 * np.exp(brevity + log_precision / np.maximum(orders, 1)), 0.0)


@dataclass(frozen=True)
class ChrF(Metric):
    """chrF2: characters up to order 6, no word order, white space ignored. Statistics: per order output, reference, matches."""

    normalisation: Normalisation = DEFAULT
    name: ClassVar[str] = "chrf"
    higher_is_better: ClassVar[bool] = True
    limits: ClassVar[tuple[float, float]] = (0.0, 100.0)
    undefined: ClassVar[str] = "the reference has no characters"

    @property
    def definition(self) -> str:
        kept = _kept(self.normalisation)
        return f"sacrebleu chrF2, 0 to 100, {kept}, character orders 1 to 6, of each sample's best reference"

    def statistics(self, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> Float[np.ndarray, "n 19"]:
        outputs, references = _cleaned(self.normalisation, outputs, references)
        counts = _library_statistics(CHRF(), outputs, references)
        # sacrebleu counts no output characters against an empty reference; what the references have is asked here.
        any_reference = [any(r.strip() for r in refs) for refs in references]
        return np.concatenate([counts, np.asarray(any_reference, dtype=float)[:, None]], axis=1)

    def corpus(self, totals: Float[np.ndarray, "rows 19"]) -> Float[np.ndarray, " rows"]:
        output, reference, matches = (totals[:, k : 3 * CHARACTER_ORDERS : 3] for k in range(3))
        both = (output > 0) & (reference > 0)
        orders = np.maximum(both.sum(-1), 1)
        precision = np.where(both, matches / np.maximum(output, 1), 0.0).sum(-1) / orders
        recall = np.where(both, matches / np.maximum(reference, 1), 0.0).sum(-1) / orders
        weight = RECALL_WEIGHT**2
        score = 100 * np.nan_to_num(divide((1 + weight) * precision * recall, weight * precision + recall))
        return np.where(totals[:, -1] > 0, score, np.nan)
