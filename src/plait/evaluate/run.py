"""Drive a model over a split: what it says to each sample and what it loses on each target.

In: samples; how to batch them, how to answer a batch, how to take its losses.
Out: a `Record`, written where asked.
Invariant: samples are answered in their own order, once; with several references the loss is the mean over them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from plait.config.evaluate import EvaluateConfig
from plait.data.splits import known_split
from plait.errors import UserError
from plait.evaluate.choice import metrics_for
from plait.evaluate.metrics import SegmentLoss
from plait.evaluate.record import Record, record_path, write_record
from plait.evaluate.retrieval import retrieval, with_retrieval
from plait.evaluate.score import Output, evaluate_outputs, segments_of
from plait.evaluate.statistics import Bootstrap
from plait.run import Run
from plait.types import Batch, Reference, Sample

Losses = Mapping[str, tuple[float, float]]
"""One sample: segment → (−log2 likelihood in bits, number of tokens)."""


@runtime_checkable
class Answerer(Protocol):
    """What an evaluation asks of a trained model."""

    def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterable[Batch]:
        """Batches in the order of the samples, once through, nothing augmented; each target is the sample's first reference."""
        ...

    def generate(self, batch: Batch) -> Sequence[Output]:
        """What the model says to each sample of the batch."""
        ...

    def token_losses(self, batch: Batch) -> Sequence[Losses]:
        """What the model loses on the target of each sample of the batch."""
        ...


@dataclass(frozen=True)
class Driven:
    """What came out, in the order of the samples."""

    outputs: list[Output | None]
    losses: list[dict[str, SegmentLoss] | None]
    seconds: list[float | None]


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
    driven = Driven([None] * len(samples), [None] * len(samples), [None] * len(samples))
    rounds = [
        [i for i, sample in enumerate(samples) if len(sample.references) > k or k == 0]
        for k in range(max((len(sample.references) for sample in samples), default=1) or 1)
    ]
    total, done = sum(map(len, rounds)), 0
    found: list[list[Losses]] = [[] for _ in samples]
    for k, indices in enumerate(rounds):
        these = [replace(samples[i], references=samples[i].references[k : k + 1]) for i in indices]
        start = 0
        for batch in answerer.batches(these, batch_size):
            rows = indices[start : start + len(batch)]
            _check_order(batch, [samples[i] for i in rows])
            if k == 0 and generate:
                _generate(answerer, batch, rows, driven)
            if any(samples[i].references for i in rows):
                for i, losses in zip(rows, answerer.token_losses(batch), strict=True):
                    if samples[i].references:
                        found[i].append(losses)
            start += len(batch)
            done += len(batch)
            if progress is not None:
                progress(done, total)
        assert start == len(indices), f"{len(indices)} samples went in and {start} came back"
    for i, losses in enumerate(found):
        driven.losses[i] = _mean(losses) if losses else None
    return driven


def _check_order(batch: Batch, samples: Sequence[Sample]) -> None:
    expected = tuple(sample.id for sample in samples)
    if batch.ids != expected:
        raise RuntimeError(f"the loader changed the order of the samples: {batch.ids[:3]} for {expected[:3]}")


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
    progress: Callable[[int, int], None] | None = None,
) -> Record:
    """Evaluate a model on the samples of `config.split` among `samples`; with `folder` the record is written into it.

    Nothing is generated where no metric looks at texts (next words without inputs). `train_targets`: those of the samples of the
    split `train`, unless given. `linked`: the run that was trained with links, whose sides then search for each other.
    """
    config = config.model_copy(update={"split": known_split(config.split, where="evaluate.split")})
    chosen = split_of(samples, config.split)
    segments = tuple(segments) if segments is not None else segments_of(chosen)
    metrics = metrics_for(
        config, chosen, segments
    )  # before inputs are taken away: the same metrics with and without them
    config = config.model_copy(update={"metrics": metrics})
    if config.inputs is not None:
        chosen = [sample.only(frozenset(config.inputs)) for sample in chosen]
    generate = any(metrics.values()) or not any(sample.references for sample in chosen)
    driven = drive(answerer, chosen, batch_size=config.batch_size, generate=generate, progress=progress)
    record = evaluate_outputs(
        chosen,
        driven.outputs,
        driven.losses,
        config=config,
        train_targets=train_targets or [s.references for s in samples if s.split == "train"],
        segments=segments,
        seconds=driven.seconds,
        seed=seed,
        run=run,
    )
    if linked is not None:
        bootstrap = Bootstrap(config.num_resamples, config.confidence, seed)
        found = retrieval(linked, chosen, bootstrap=bootstrap, batch_size=config.batch_size, progress=progress)
        record = with_retrieval(record, found)
    if folder is not None:
        write_record(record, record_path(folder, config.split, config.inputs))
    return record


def split_of(samples: Sequence[Sample], split: str, *, where: str = "evaluate.split") -> list[Sample]:
    """The samples of a split, at least one."""
    chosen = [sample for sample in samples if sample.split == split]
    if not chosen:
        counts = Counter(sample.split for sample in samples)
        there = ", ".join(f"{name}: {count} rows" for name, count in counts.items()) or "no rows at all"
        right = f"There are {there}"
        raise UserError(f"no row in split {split!r}", where=where, right=right)
    return chosen
