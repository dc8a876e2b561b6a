"""Which metrics an evaluation reports of each segment.

In: what the configuration names, and the references.
Out: the metrics per segment; of a segment for which none is named, those that fit its references.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plait.config.evaluate import EvaluateConfig
from plait.errors import UserError, did_you_mean
from plait.evaluate.normalise import fold, is_unspaced, words
from plait.types import Sample

TRANSCRIPTS = frozenset({"heard", "transcript", "transcription", "transcribed", "speech", "spoken", "said"})
"""Segment names that say that the segment is what was spoken."""

SHORT_WORDS = 3.0
"""References of at most so many words on average are answers, scored by exact match."""


AS_CALLED: Mapping[str, str] = {}
"""Every input is called as its modality."""


def metrics_for(
    config: EvaluateConfig,
    samples: Sequence[Sample],
    segments: Sequence[str],
    modalities: Mapping[str, str] = AS_CALLED,
) -> dict[str, tuple[str, ...]]:
    """The metrics of each segment: those named, or where none are, those that fit its references. `modalities`: of the inputs that
    are not called as theirs.
    """
    named = config.metrics or {}
    for segment in named:
        if segment not in segments:
            raise UserError(
                f"no segment {segment!r} in the targets",
                where="evaluate.metrics",
                right=did_you_mean(segment, segments),
            )
    return {
        segment: named[segment] if segment in named else default_metrics(segment, samples, modalities)
        for segment in segments
    }


def default_metrics(
    segment: str, samples: Sequence[Sample], modalities: Mapping[str, str] = AS_CALLED
) -> tuple[str, ...]:
    """What to report of a segment: of an answer accuracy, of a transcript error rates, of free text the captioning metrics.

    An answer: at most 3 words on average. A transcript: the segment's name says so, or sound is the only input and there is one
    reference. Next words without any input are judged by the loss alone.
    """
    scored = [sample for sample in samples if any(segment in reference for reference in sample.references)]
    texts = [reference[segment] for sample in scored for reference in sample.references if segment in reference]
    if not texts or not any(sample.present for sample in scored):
        return ()
    unspaced = 2 * sum(map(is_unspaced, texts)) > len(texts)
    only_sound = all(is_sound_alone(s, modalities) and len(s.references) == 1 for s in scored)
    if segment.lower() in TRANSCRIPTS:
        return ("cer",) if unspaced else ("wer", "cer")
    if sum(len(words(fold(text))) for text in texts) / len(texts) <= SHORT_WORDS:
        return ("accuracy",)
    if only_sound:
        return ("cer",) if unspaced else ("wer", "cer")
    return ("bleu", "chrf", "rouge_l", "cider_d")


def is_sound_alone(sample: Sample, modalities: Mapping[str, str]) -> bool:
    """Whether recordings are all that a sample has."""
    return {modalities.get(name, name) for name in sample.present} == {"audio"}
