"""The metrics by name.

In: a name.
Out: a metric that fits the language of the references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from plait.errors import UserError, did_you_mean
from plait.evaluate.metrics.base import Metric, Score
from plait.evaluate.metrics.cider import CiderD
from plait.evaluate.metrics.edits import CharacterErrorRate, WordErrorRate
from plait.evaluate.metrics.exact import Accuracy
from plait.evaluate.metrics.loss import LOSS_SCORES, SegmentLoss, loss_statistics
from plait.evaluate.metrics.rouge import RougeL
from plait.evaluate.metrics.translation import Bleu, ChrF
from plait.evaluate.normalise import Normalisation, is_unspaced

_BUILDERS: Mapping[str, Callable[[Normalisation, bool], Metric]] = {
    "accuracy": lambda normalisation, _: Accuracy(normalisation),
    "wer": lambda normalisation, _: WordErrorRate(normalisation),
    "cer": lambda normalisation, _: CharacterErrorRate(normalisation),
    "bleu": lambda normalisation, unspaced: Bleu("zh" if unspaced else "13a", normalisation),
    "chrf": lambda normalisation, _: ChrF(normalisation),
    "rouge_l": lambda normalisation, _: RougeL(normalisation),
    "cider_d": lambda normalisation, _: CiderD(normalisation),
}

METRIC_NAMES = tuple(_BUILDERS)
LOSS_NAMES = tuple(score.name for score in LOSS_SCORES)


def check_names(names: Iterable[str], where: str | None = None) -> None:
    """Refuse an unknown metric, naming the nearest."""
    for name in names:
        if name not in METRIC_NAMES and name not in LOSS_NAMES:
            raise UserError(
                f"unknown metric {name!r}", where=where, right=did_you_mean(name, [*METRIC_NAMES, *LOSS_NAMES])
            )


def build_metrics(names: Iterable[str], *, normalisation: Normalisation, references: Iterable[str]) -> list[Metric]:
    """The metrics of texts among the names; the references say whether BLEU parts Chinese characters.

    Losses are not built here: they are always given.
    """
    names = tuple(names)
    check_names(names)
    texts = list(references)
    unspaced = 2 * sum(map(is_unspaced, texts)) > len(texts)
    return [_BUILDERS[name](normalisation, unspaced) for name in dict.fromkeys(names) if name in _BUILDERS]


__all__ = [
    "LOSS_NAMES",
    "LOSS_SCORES",
    "METRIC_NAMES",
    "Accuracy",
    "Bleu",
    "CharacterErrorRate",
    "ChrF",
    "CiderD",
    "Metric",
    "RougeL",
    "Score",
    "SegmentLoss",
    "WordErrorRate",
    "build_metrics",
    "check_names",
    "loss_statistics",
]
