"""The best constant answer: what a metric gives to the one text that is said to everything.

In: the targets of the training split.
Out: per metric the text, among the most frequent training references, that scores best on the training split.
Invariant: the evaluated split has no part in the choice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from plait.evaluate.metrics import Accuracy, Metric
from plait.evaluate.normalise import normaliser
from plait.seeds import numpy_generator
from plait.types import Reference

MAX_TARGETS = 300
"""Training targets on which the candidates are scored, drawn at random where there are more."""


def texts_of(targets: Sequence[Sequence[Reference]], segment: str) -> list[list[str]]:
    """The references of a segment, of each target that has any."""
    found = ([reference[segment] for reference in references if segment in reference] for references in targets)
    return [texts for texts in found if texts]


def best_constant(
    metric: Metric, targets: Sequence[Sequence[Reference]], segment: str, *, num_candidates: int, seed: int
) -> str | None:
    """The text that scores best on the training targets if it is said to all of them; None without training targets.

    For accuracy that is the answer that is right most often, counted over all of them. For the others the most frequent
    `num_candidates` references are tried on at most 300 targets. Ties go to the more frequent, then the earlier one.
    """
    references = texts_of(targets, segment)
    if not references:
        return None
    if isinstance(metric, Accuracy):
        normal = normaliser(metric.normalisation)
        right = Counter(answer for texts in references for answer in dict.fromkeys(map(normal, texts)))
        best = right.most_common(1)[0][0]
        return next(text for texts in references for text in texts if normal(text) == best)
    candidates = [text for text, _ in Counter(t for texts in references for t in texts).most_common(num_candidates)]
    if len(references) > MAX_TARGETS:
        chosen = numpy_generator(seed, "constant", segment).choice(len(references), MAX_TARGETS, replace=False)
        references = [references[i] for i in sorted(chosen)]
    scores = [_constant_score(metric, candidate, references) for candidate in candidates]
    sign = 1 if metric.higher_is_better else -1
    ranked = [-np.inf if not np.isfinite(score) else sign * score for score in scores]
    return candidates[int(np.argmax(ranked))]


def _constant_score(metric: Metric, candidate: str, references: Sequence[Sequence[str]]) -> float:
    statistics = metric.statistics([candidate] * len(references), references)
    scorable = statistics[~np.isnan(statistics).any(axis=1)]
    return metric.total(scorable) if len(scorable) else float("nan")
