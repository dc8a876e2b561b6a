"""Drive a model over a split: what it says to each sample and what it loses on each target.

In: samples; how to batch them, how to answer a batch, how to take its losses.
Out: a `Record`, written where asked.
Invariant: samples are answered in their own order, once; with several references the loss is the mean over them. A sample that
cannot be read (`data.on_error: skip`) has no output and no loss, and says why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from plait.config.evaluate import EvaluateConfig
from plait.data.manifest import LeftOut
from plait.data.splits import known_split
from plait.errors import UserError
from plait.evaluate.choice import AS_CALLED, metrics_for
from plait.evaluate.metrics import SegmentLoss
from plait.evaluate.record import Record, record_path, write_record
from plait.evaluate.retrieval import retrieval, with_retrieval
from plait.evaluate.score import Output, evaluate_outputs, segments_of
from plait.run import Run
from plait.types import Batch, Reference, Sample

Losses = Mapping[str, tuple[float, float]]
"""One sample: segment → (−log2 likelihood in bits, number of tokens)."""


@runtime_checkable
class Answerer(Protocol):
    """What an evaluation asks of a trained model."""

    @property
    def left_out(self) -> Mapping[str, LeftOut]:
        """By id the samples that are missing from the batches because they cannot be read, with the reason."""
        ...

    def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterable[Batch]:
        """Batches in the order of the samples, once through, nothing augmented; each target is the sample's first reference."""
        ...

    def generate(self, batch: Batch) -> Sequence[Output]:
        """What the model says to each sample of the batch."""
        ...

    def token_losses(self, batch: Batch) -> Sequence[Losses]:
        """What the model loses on the target of each sample of the batch."""
        ...


@runtime_checkable
class Cuts(Protocol):
    """An answerer that says of which samples it read only the beginning of the text input."""

    @property
    def cut(self) -> Collection[str]: ...


@dataclass(frozen=True)
class Driven:
    """What came out, in the order of the samples; `unread`: why a sample could not be read."""

    outputs: list[Output | None]
    losses: list[dict[str, SegmentLoss] | None]
    seconds: list[float | None]
    unread: list[str | None]

    @classmethod
    def nothing(cls, number: int) -> Driven:
        """Of so many samples nothing yet."""
        return cls([None] * number, [None] * number, [None] * number, [None] * number)

    def part(self, rows: Iterable[int]) -> Driven:
        """What came out of some of the samples."""
        chosen = list(rows)
        return Driven(
            [self.outputs[row] for row in chosen],
            [self.losses[row] for row in chosen],
            [self.seconds[row] for row in chosen],
            [self.unread[row] for row in chosen],
        )


def drive(
    answerer: Answerer,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    generate: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Driven:
    """Answer each sample and take the losses of all its references. `progress(done, all)` is told after each batch.

    A sample without references is answered but has no loss.
    """
    driven = Driven.nothing(len(samples))
    rounds = [
        [i for i, sample in enumerate(samples) if len(sample.references) > k or k == 0]
        for k in range(max((len(sample.references) for sample in samples), default=1) or 1)
    ]
    total, done = sum(map(len, rounds)), 0
    found: list[list[Losses]] = [[] for _ in samples]
    for k, indices in enumerate(rounds):
        these = [replace(samples[i], references=samples[i].references[k : k + 1]) for i in indices]
        waiting, missing = iter(indices), []
        for batch in answerer.batches(these, batch_size):
            rows, passed = _rows(batch, waiting, samples)
            missing += passed
            if k == 0 and generate:
                _generate(answerer, batch, rows, driven)
            if any(samples[i].references for i in rows):
                for i, losses in zip(rows, answerer.token_losses(batch), strict=True):
                    if samples[i].references:
                        found[i].append(losses)
            done += len(rows) + len(passed)
            if progress is not None:
                progress(done, total)
        rest = list(waiting)
        if rest and progress is not None:
            progress(done + len(rest), total)
        done += len(rest)
        for i in [*missing, *rest]:
            driven.unread[i] = _reason(answerer, samples[i])
    for i, losses in enumerate(found):
        driven.losses[i] = _mean(losses) if losses and driven.unread[i] is None else None
    return driven


def _rows(batch: Batch, waiting: Iterator[int], samples: Sequence[Sample]) -> tuple[list[int], list[int]]:
    """The rows that stand in a batch, and those before and between them that are missing."""
    rows: list[int] = []
    passed: list[int] = []
    for id in batch.ids:
        for row in waiting:
            if samples[row].id == id:
                rows.append(row)
                break
            passed.append(row)
    if len(rows) < len(batch):
        raise RuntimeError(f"the loader changed the order of the samples: {', '.join(batch.ids[:3])} …")
    return rows, passed


def _reason(answerer: Answerer, sample: Sample) -> str:
    """Why a sample did not come back."""
    gone = answerer.left_out.get(sample.id)
    if gone is None:
        raise RuntimeError(f"sample {sample.id!r} did not come back from the loader, and nothing says why")
    return f"{gone.where}: {gone.reason}" if gone.where else gone.reason


def _generate(answerer: Answerer, batch: Batch, rows: Sequence[int], driven: Driven) -> None:
    started = time.perf_counter()
    outputs = answerer.generate(batch)
    each = (time.perf_counter() - started) / max(1, len(batch))
    for i, output in zip(rows, outputs, strict=True):
        driven.outputs[i], driven.seconds[i] = output, each


def _mean(losses: Sequence[Losses]) -> dict[str, SegmentLoss]:
    """The mean over a sample's references, of those that have the segment."""
    means = {}
    for segment in dict.fromkeys(name for one in losses for name in one):
        pairs = [one[segment] for one in losses if segment in one]
        means[segment] = SegmentLoss(sum(p[0] for p in pairs) / len(pairs), sum(p[1] for p in pairs) / len(pairs))
    return means


def evaluate(
    answerer: Answerer,
    samples: Sequence[Sample],
    *,
    config: EvaluateConfig,
    segments: Sequence[str] | None = None,
    train_targets: Sequence[Sequence[Reference]] = (),
    seed: int = 0,
    run: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    linked: Run | None = None,
    modalities: Mapping[str, str] = AS_CALLED,
    notes: Sequence[str] = (),
    manifest: str | None = None,
    step: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Record:
    """Evaluate a model on the samples of `config.split` among `samples`; with `folder` the record is written into it.

    Nothing is generated where no metric looks at texts (next words without inputs). `train_targets`: those of the samples of the
    split `train`, unless given. `linked`: the run that was trained with links, whose sides then search for each other.
    `modalities`: of the inputs that are not called as theirs. `notes`: what else the summary is to say; `manifest`, `step`: as in
    `Summary`.
    """
    config = config.model_copy(update={"split": known_split(config.split, where="evaluate.split")})
    chosen = split_of(samples, config.split)
    segments = tuple(segments) if segments is not None else segments_of(chosen)
    # before inputs are taken away: the same metrics with and without them
    metrics = metrics_for(config, chosen, segments, modalities)
    config = config.model_copy(update={"metrics": metrics})
    if config.inputs is not None:
        chosen = [sample.only(frozenset(config.inputs)) for sample in chosen]
    generate = any(metrics.values()) or not any(sample.references for sample in chosen)
    driven = drive(answerer, chosen, batch_size=config.batch_size, generate=generate, progress=progress)
    refuse_all_unread(driven.unread)
    if isinstance(answerer, Cuts) and (cut := sum(sample.id in answerer.cut for sample in chosen)):
        notes = (
            *notes,
            f"{cut} of {len(chosen)} text inputs are longer than data.text.max_tokens: the rest was not read",
        )
    record = evaluate_outputs(
        chosen,
        driven.outputs,
        driven.losses,
        config=config,
        train_targets=train_targets or [s.references for s in samples if s.split == "train"],
        segments=segments,
        seconds=driven.seconds,
        unread=driven.unread,
        seed=seed,
        run=run,
        notes=notes,
    )
    if linked is not None:
        found = retrieval(linked, chosen, confidence=config.confidence, batch_size=config.batch_size, progress=progress)
        record = with_retrieval(record, found)
    record = replace(record, summary=replace(record.summary, manifest=manifest, step=step))
    if folder is not None:
        write_record(record, record_path(folder, config.split, config.inputs, manifest, order=config.inputs))
    return record


def refuse_all_unread(unread: Sequence[str | None]) -> None:
    """One message where no sample could be read."""
    if unread and all(unread):
        right = "Mend the files (plait data check lists them)"
        raise UserError(f"none of the {len(unread)} samples can be read; the first: {unread[0]}", right=right)


def split_of(samples: Sequence[Sample], split: str, *, where: str = "evaluate.split") -> list[Sample]:
    """The samples of a split, at least one."""
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        counts = Counter(sample.split for sample in samples)
        there = ", ".join(f"{name}: {count} rows" for name, count in counts.items()) or "no rows at all"
        right = f"There are {there}"
        raise UserError(f"no row in split {split!r}", where=where, right=right)
    return chosen
