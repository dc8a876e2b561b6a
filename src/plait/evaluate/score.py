"""From what a model said to the record: the pure core of an evaluation, without any model.

In: samples, what was said to each, the losses on their targets, and the targets of the training split.
Out: a `Record`.
Invariant: a sample that could not be scored is left out of the figures, is counted, and says why; nothing depends on the order of
the samples but the order of the rows.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from plait.config.evaluate import EvaluateConfig
from plait.errors import UserError
from plait.evaluate.baseline import best_constant
from plait.evaluate.choice import metrics_for
from plait.evaluate.metrics import LOSS_SCORES, Metric, Score, SegmentLoss, build_metrics, loss_statistics
from plait.evaluate.patterns import patterns_of
from plait.evaluate.record import Record, Row, SegmentRow, Summary
from plait.evaluate.statistics import Constant, Figure, Groupings, figure
from plait.types import Reference, Sample

_LIBRARIES = ("plait", "torch", "numpy", "jiwer", "sacrebleu", "rapidfuzz", "pyarrow")
_NO_OUTPUT = "no output was generated for it"
_NO_REFERENCE = "the sample has no reference for it"
_NO_LOSS = "no loss was computed for it"
_UNREAD = "the sample could not be read"


@runtime_checkable
class Output(Protocol):
    """What was generated for one sample: per segment the text and the mean log-probability (natural) per generated token."""

    @property
    def segments(self) -> Mapping[str, str]: ...

    @property
    def log_probability(self) -> Mapping[str, float]: ...


@runtime_checkable
class Limits(Protocol):
    """An output that says which of its segments were ended at the limit of tokens."""

    @property
    def limited(self) -> Sequence[str]: ...


@dataclass
class Scored:
    """One score of one segment: statistics per sample (n, S), NaN rows where `unscored` says why not."""

    score: Score
    statistics: Float[np.ndarray, "n S"]
    unscored: dict[int, str] = field(default_factory=dict)
    constant_text: str | None = None
    constant_statistics: Float[np.ndarray, "n S"] | None = None


def evaluate_outputs(
    samples: Sequence[Sample],
    outputs: Sequence[Output | None],
    losses: Sequence[Mapping[str, SegmentLoss] | None] | None = None,
    *,
    config: EvaluateConfig,
    train_targets: Sequence[Sequence[Reference]] = (),
    segments: Sequence[str] | None = None,
    seconds: Sequence[float | None] | None = None,
    unread: Sequence[str | None] | None = None,
    seed: int = 0,
    run: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Record:
    """Score what was said to each sample. `outputs`, `losses` and `seconds` follow the samples; None where there is none.

    `unread`: why a sample could not be read. `run` is what the summary says about the model (its resolved configuration,
    hardware, …), plain data.
    """
    losses = losses if losses is not None else [None] * len(samples)
    seconds = seconds if seconds is not None else [None] * len(samples)
    unread = unread if unread is not None else [None] * len(samples)
    assert len(samples) == len(outputs) == len(losses) == len(seconds) == len(unread)
    if not samples:
        raise UserError(f"no sample in split {config.split!r}", right="Evaluate a split that has rows")
    segments = tuple(segments) if segments is not None else segments_of(samples)
    chosen = metrics_for(config, samples, segments)
    if all(output is None for output in outputs) and config.metrics is None:
        chosen = dict.fromkeys(segments, ())
    scored = score_segments(
        samples, outputs, losses, metrics=chosen, config=config, unread=unread, train_targets=train_targets, seed=seed
    )
    rows = _rows(samples, outputs, losses, seconds, unread, scored)
    summary = _summarise(samples, scored, config, seed, run or {})
    limited = {segment: sum(row.segments[segment].limited for row in rows) for segment in scored}
    limited = {segment: number for segment, number in limited.items() if number}
    told = (*summary.notes, *limit_notes(limited, outputs), *unread_notes(samples, unread), *notes)
    return Record(rows, replace(summary, notes=told, limited=limited))


def limit_notes(limited: Mapping[str, int], outputs: Sequence[Output | None]) -> list[str]:
    """How many outputs of each segment were cut."""
    number = sum(output is not None for output in outputs)
    return [
        f"{segment}: {count} of {number} answers reached generate.max_tokens and were cut there"
        for segment, count in limited.items()
    ]


def unread_notes(samples: Sequence[Sample], unread: Sequence[str | None]) -> list[str]:
    """How many samples could not be read, which, and why the first."""
    reasons = {sample.id: reason for sample, reason in zip(samples, unread, strict=True) if reason}
    if not reasons:
        return []
    names = ", ".join(list(reasons)[:3]) + (", …" if len(reasons) > 3 else "")
    first = next(iter(reasons.values()))
    number = f"{len(reasons)} sample{'' if len(reasons) == 1 else 's'}"
    return [f"{number} could not be read ({names}): left out; {'' if len(reasons) == 1 else 'the first: '}{first}"]


def score_segments(
    samples: Sequence[Sample],
    outputs: Sequence[Output | None],
    losses: Sequence[Mapping[str, SegmentLoss] | None],
    *,
    metrics: Mapping[str, Sequence[str]],
    config: EvaluateConfig,
    unread: Sequence[str | None] | None = None,
    train_targets: Sequence[Sequence[Reference]] = (),
    seed: int = 0,
) -> dict[str, list[Scored]]:
    """Each segment's scores, sample by sample: the metrics of its text in their order, then those of the loss."""
    gone = {i for i, reason in enumerate(unread or ()) if reason}
    return {
        segment: [
            *_score_texts(segment, names, samples, outputs, config, gone, train_targets, seed),
            *_score_losses(segment, samples, losses, gone),
        ]
        for segment, names in metrics.items()
    }


def segments_of(samples: Sequence[Sample]) -> tuple[str, ...]:
    """The segments of the references, in the order in which they first stand."""
    return tuple(dict.fromkeys(name for sample in samples for reference in sample.references for name in reference))


def _references(sample: Sample, segment: str) -> tuple[str, ...]:
    return tuple(reference[segment] for reference in sample.references if segment in reference)


def _score_texts(
    segment: str,
    names: Sequence[str],
    samples: Sequence[Sample],
    outputs: Sequence[Output | None],
    config: EvaluateConfig,
    gone: Collection[int],
    train_targets: Sequence[Sequence[Reference]],
    seed: int,
) -> list[Scored]:
    references = [_references(sample, segment) for sample in samples]
    missing: dict[int, str] = {}
    for i, output in enumerate(outputs):
        if not references[i]:
            missing[i] = _NO_REFERENCE
        elif output is None or segment not in output.segments:
            missing[i] = _UNREAD if i in gone else _NO_OUTPUT
    there = [i for i in range(len(samples)) if i not in missing]
    said = [output.segments[segment] for i in there if (output := outputs[i]) is not None]
    right = [references[i] for i in there]

    def spread(metric: Metric, texts: Sequence[str]) -> np.ndarray:
        some = metric.statistics(texts, right)
        table = np.full((len(samples), some.shape[1]), np.nan)
        table[there] = some
        return table

    found = []
    for metric in build_metrics(
        names, normalisation=config.normalisation, references=[r for refs in right for r in refs]
    ):
        statistics = spread(metric, said)
        unscored = dict(missing)
        unscored.update({i: metric.undefined for i in there if np.isnan(statistics[i]).any()})
        text = best_constant(metric, train_targets, segment, num_candidates=config.num_constants, seed=seed)
        constant = None if text is None else spread(metric, [text] * len(there))
        found.append(Scored(metric, statistics, unscored, text, constant))
    return found


def _score_losses(
    segment: str,
    samples: Sequence[Sample],
    losses: Sequence[Mapping[str, SegmentLoss] | None],
    gone: Collection[int],
) -> list[Scored]:
    if all(loss is None or segment not in loss for loss in losses):
        return []
    table = np.full((len(samples), 3), np.nan)
    unscored = {}
    for i, (sample, loss) in enumerate(zip(samples, losses, strict=True)):
        if loss is None or segment not in loss:
            unscored[i] = _UNREAD if i in gone else _NO_LOSS
            continue
        one = SegmentLoss(*loss[segment])
        if one.num_characters is None:
            lengths = [len(text) for text in _references(sample, segment)]
            one = one._replace(num_characters=float(np.mean(lengths)) if lengths else 0.0)
        table[i] = loss_statistics([one])[0]
        if np.isnan(table[i]).any():
            unscored[i] = f"the loss is {one.bits}"
    return [Scored(score, table, unscored) for score in LOSS_SCORES]


def _rows(
    samples: Sequence[Sample],
    outputs: Sequence[Output | None],
    losses: Sequence[Mapping[str, SegmentLoss] | None],
    seconds: Sequence[float | None],
    unread: Sequence[str | None],
    scored: Mapping[str, Sequence[Scored]],
) -> tuple[Row, ...]:
    texts = {segment: [s for s in found if isinstance(s.score, Metric)] for segment, found in scored.items()}
    singles = {segment: {s.score.name: s.score.single(s.statistics) for s in found} for segment, found in texts.items()}

    def unscored(reason: str, i: int) -> str:
        return f"{reason}: {unread[i]}" if reason == _UNREAD else reason

    def segment_row(i: int, segment: str) -> SegmentRow:
        output, loss = outputs[i], (losses[i] or {}).get(segment)
        values = {name: float(column[i]) for name, column in singles[segment].items()}
        reasons = {s.score.name: unscored(s.unscored[i], i) for s in scored[segment] if i in s.unscored}
        for s in texts[segment]:
            if not np.isfinite(values[s.score.name]):
                reasons.setdefault(s.score.name, f"{s.score.undefined}: counted in the figure, no value of its own")
        finite = loss is not None and bool(np.isfinite(loss[0]))
        return SegmentRow(
            references=_references(samples[i], segment),
            output=None if output is None else output.segments.get(segment),
            scores={name: value if np.isfinite(value) else None for name, value in values.items()},
            bits=float(loss[0]) if loss is not None and finite else None,
            num_tokens=float(loss[1]) if loss is not None and finite else None,
            log_probability=None if output is None else _finite(output.log_probability.get(segment)),
            unscored=reasons,
            limited=isinstance(output, Limits) and segment in output.limited,
        )

    return tuple(
        Row(
            id=sample.id,
            split=sample.split,
            inputs=tuple(modality for modality in sample.present),
            tags=dict(sample.tags),
            groups=dict(sample.groups),
            segments={segment: segment_row(i, segment) for segment in scored},
            seconds=_finite(seconds[i]),
        )
        for i, sample in enumerate(samples)
    )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _summarise(
    samples: Sequence[Sample],
    scored: Mapping[str, Sequence[Scored]],
    config: EvaluateConfig,
    seed: int,
    run: Mapping[str, Any],
) -> Summary:
    groupings = Groupings.of(samples)
    patterns, notes = patterns_of(samples, config.by)

    def figures(mask: Bool[np.ndarray, " n"]) -> dict[str, dict[str, Figure]]:
        return {
            segment: {s.score.name: _figure(s, groupings, mask, config.confidence) for s in found}
            for segment, found in scored.items()
        }

    unscored = {
        segment: dict(Counter(f"{s.score.name}: {reason}" for s in found for reason in s.unscored.values()))
        for segment, found in scored.items()
    }
    return Summary(
        split=config.split,
        n=len(samples),
        seed=seed,
        inputs=None if config.inputs is None else tuple(m for m in config.inputs),
        config=config.model_dump(mode="json"),
        versions={**{name: _version(name) for name in _LIBRARIES}, "python": platform.python_version()},
        metrics=figures(np.ones(len(samples), dtype=bool)),
        by={name: figures(mask) for name, mask in patterns.items()},
        definitions={segment: {s.score.name: s.score.definition for s in found} for segment, found in scored.items()},
        unscored={segment: reasons for segment, reasons in unscored.items() if reasons},
        notes=notes,
        run=dict(run),
    )


def _figure(scored: Scored, groupings: Groupings, mask: Bool[np.ndarray, " n"], confidence: float) -> Figure:
    own = _measured(scored, scored.statistics, groupings, mask, confidence)
    if scored.constant_statistics is None or scored.constant_text is None:
        return own
    other = _measured(scored, scored.constant_statistics, groupings, mask, confidence)
    return replace(own, constant=Constant(scored.constant_text, other.value, other.low, other.high, other.note))


def _measured(
    scored: Scored,
    statistics: Float[np.ndarray, "n S"],
    groupings: Groupings,
    mask: Bool[np.ndarray, " n"],
    confidence: float,
) -> Figure:
    keep = np.flatnonzero(mask & ~np.isnan(statistics).any(axis=1))
    if len(keep) == 0:
        reasons = Counter(reason for i, reason in scored.unscored.items() if mask[i])
        why = f": {reasons.most_common(1)[0][0]}" if reasons else ""
        return Figure(None, None, None, 0, note=f"no sample could be scored{why}")
    return figure(
        statistics[keep],
        scored.score.corpus,
        groupings.among(keep),
        undefined=scored.score.undefined,
        form=scored.score.form,
        confidence=confidence,
    )
