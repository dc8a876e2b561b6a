"""What an evaluation measures and how.

In: the `evaluate` part of a run's configuration.
Out: `EvaluateConfig`, and the metrics of a segment for which none is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import Field, field_validator

from plait.choices import Config
from plait.errors import UserError, did_you_mean
from plait.evaluate.metrics import check_names
from plait.evaluate.normalise import Normalisation, fold, is_unspaced, words
from plait.types import Modality, Sample

TRANSCRIPTS = frozenset({"heard", "transcript", "transcription", "transcribed", "speech", "spoken", "said"})
"""Segment names that say that the segment is what was spoken."""

SHORT_WORDS = 3.0
"""References of at most so many words on average are answers, scored by exact match."""


class EvaluateConfig(Config):
    """An evaluation: the split, the metrics per segment (none named: chosen from the references), the intervals, the breakdown."""

    split: str = "test"
    metrics: dict[str, tuple[str, ...]] | None = Field(None, description="segment → metrics; none: chosen by the data")
    inputs: tuple[Modality, ...] | None = Field(None, description="evaluate with these inputs only; none: with all")
    batch_size: int = Field(64, gt=0)
    num_resamples: int = Field(1000, ge=100, description="bootstrap resamples of whole groups")
    confidence: float = Field(0.95, gt=0.0, lt=1.0)
    by: tuple[str, ...] | None = Field(None, description="tags, or `inputs`, to give figures by; none: all tags")
    normalisation: Normalisation = Field(
        "folded", description="what outputs and references go through before they are compared"
    )
    num_constants: int = Field(10, gt=0, description="most frequent training references tried as the constant answer")

    @field_validator("metrics", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if isinstance(value, Mapping):
            value = {segment: (names,) if isinstance(names, str) else names for segment, names in value.items()}
            for segment, names in value.items():
                if isinstance(names, Sequence):
                    check_names((str(name) for name in names), where=f"metrics.{segment}")
        return value


def metrics_for(
    config: EvaluateConfig, samples: Sequence[Sample], segments: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The metrics of each segment: those named, or where none are, those that fit its references."""
    named = config.metrics or {}
    for segment in named:
        if segment not in segments:
            raise UserError(
                f"no segment {segment!r} in the targets",
                where="evaluate.metrics",
                right=did_you_mean(segment, segments),
            )
    return {segment: named[segment] if segment in named else default_metrics(segment, samples) for segment in segments}


def default_metrics(segment: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    """What to report of a segment: of an answer accuracy, of a transcript error rates, of free text the captioning metrics.

    An answer: at most 3 words on average. A transcript: the segment's name says so, or sound is the only input and there is one
    reference. Next words without any input are judged by the loss alone.
    """
    scored = [sample for sample in samples if any(segment in reference for reference in sample.references)]
    texts = [reference[segment] for sample in scored for reference in sample.references if segment in reference]
    if not texts or not any(sample.present for sample in scored):
        return ()
    unspaced = 2 * sum(map(is_unspaced, texts)) > len(texts)
    only_sound = all(set(s.present) == {Modality.AUDIO} and len(s.references) == 1 for s in scored)
    if segment.lower() in TRANSCRIPTS:
        return ("cer",) if unspaced else ("wer", "cer")
    if sum(len(words(fold(text))) for text in texts) / len(texts) <= SHORT_WORDS:
        return ("accuracy",)
    if only_sound:
        return ("cer",) if unspaced else ("wer", "cer")
    return ("bleu", "chrf", "rouge_l", "cider_d")
