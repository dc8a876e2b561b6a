"""Batches in a planned order, by this process or by workers, from any position on.

In: samples, a preprocessor, the batch size and the seed; a `Position` to start at.
Out: (the position to resume at after it, `Batch`), endless in training, one pass in file order otherwise; or, for an
evaluation, (the samples' numbers, `Batch`) in the order that pads least.
Invariant: batch n of epoch e has equal tensors whatever came before, whatever failed, with any number of workers.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from plait.data.draws import Draw
from plait.data.lengths import Lengths, WorstBatch, automatic_workers, measure_lengths, worst_batch
from plait.data.manifest import LeftOut
from plait.data.plan import draw_order, labels_of, loss_weights, plan_batches, plan_by_length, sampling_probabilities
from plait.data.preprocess import Prepared, Preprocessor
from plait.errors import UserError
from plait.seeds import numpy_generator
from plait.types import Batch, Sample


@dataclass(frozen=True, order=True)
class Position:
    """Where a loader stands: the epoch, and the number of the next batch in it."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class _Task:
    """One batch to make: the samples' numbers, the epoch of their draws, and where the loader stands after it."""

    numbers: np.ndarray
    epoch: int
    after: Position


@dataclass(frozen=True)
class _Failure:
    """A user's mistake met in a worker, on its way to the process that raises it."""

    what: str
    where: str | None
    right: str | None


@dataclass(frozen=True)
class _Answer:
    task: _Task
    result: Prepared | _Failure


class _Tasks(Dataset[_Answer]):
    """Task → its batch; what a worker holds a copy of."""

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessor: Preprocessor,
        weights: np.ndarray | None,
        training: bool,
        seed: int,
    ) -> None:
        self.samples, self.preprocessor, self.weights = samples, preprocessor, weights
        self.training, self.seed = training, seed

    def __getitem__(self, index: _Task) -> _Answer:
        samples = [self.samples[number] for number in index.numbers]
        weights = None if self.weights is None else [float(self.weights[number]) for number in index.numbers]
        try:
            prepared = self.preprocessor.prepare(samples, Draw(self.training, self.seed, index.epoch), weights)
        except UserError as error:
            return _Answer(index, _Failure(error.what, error.where, error.right))
        return _Answer(index, prepared)


def _start_worker(_: int) -> None:
    """Each worker keeps its share of the cache, and computes in one thread (threads do not survive a fork).

    It is deaf to the signals that end a run: the whole process group gets them, and the main process saves first and
    still needs its batches; it ends its workers itself, and they end when it is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    info = get_worker_info()
    torch.set_num_threads(1)
    if info is not None:
        cache = cast(_Tasks, info.dataset).preprocessor.cache
        cache.max_bytes //= info.num_workers


@contextmanager
def _no_tokenizer_threads() -> Iterator[None]:
    """Forked workers inherit that tokenizers must not start threads; without it the library warns at every fork."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Loader:
    """Batches of samples.

    In training, `sample_weights` (relative probabilities of draws with replacement) and `loss_weights` default to what
    the data's configuration says; `workers` None chooses by the size of the data. `left_out` lists, by id, the samples
    that could not be used so far, `cut` the ids of those whose text input was cut.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessor: Preprocessor,
        *,
        batch_size: int,
        seed: int,
        training: bool,
        workers: int | None = 0,
        sample_weights: Sequence[float] | None = None,
        loss_weights: Sequence[float] | None = None,
    ) -> None:
        if batch_size < 1:
            raise UserError(f"a batch of {batch_size} samples", right="batch_size must be at least 1.")
        if training and not samples:
            raise UserError("there is no sample to train on", right="Give the split `train` at least one row.")
        self.samples, self.preprocessor = list(samples), preprocessor
        self.batch_size, self.seed, self.training = batch_size, seed, training
        self._workers = workers
        self.left_out: dict[str, LeftOut] = {}
        self.cut: set[str] = set()
        self._probabilities = self._sampling(sample_weights) if training else None
        self._tasks = _Tasks(
            self.samples, preprocessor, self._loss_weights(loss_weights) if training else None, training, seed
        )

    def _sampling(self, given: Sequence[float] | None) -> np.ndarray | None:
        config = self.preprocessor.config.sampling
        if given is None:
            return None if config is None else sampling_probabilities(labels_of(self.samples, config), config)
        weights = np.asarray(given, dtype=np.float64)
        if (
            weights.shape != (len(self.samples),)
            or not np.isfinite(weights).all()
            or weights.min() < 0
            or weights.sum() == 0
        ):
            right = f"Give one finite weight ≥ 0 for each of the {len(self.samples)} samples, not all 0."
            raise UserError(f"{len(weights)} sample weights from {weights.min()} to {weights.max()}", right=right)
        return weights / weights.sum()

    def _loss_weights(self, given: Sequence[float] | None) -> np.ndarray | None:
        config = self.preprocessor.config.weights
        if given is None:
            return None if config is None else loss_weights(labels_of(self.samples, config), config)
        return np.asarray(given, dtype=np.float64)

    @property
    def num_batches(self) -> int:
        """Batches of one epoch."""
        return -(-len(self.samples) // self.batch_size)

    @cached_property
    def workers(self) -> int:
        """The worker processes; 0 = batches are made in this process."""
        if self._workers is not None:
            return self._workers
        return automatic_workers(self.samples, self.lengths, self.preprocessor)

    @cached_property
    def lengths(self) -> Lengths:
        """The samples' lengths, measured when first needed."""
        return measure_lengths(self.samples, self.preprocessor)

    def worst_batch(self) -> WorstBatch:
        """A bound of every batch, for the estimate of memory."""
        return worst_batch(self.samples, self.lengths, self.preprocessor, self.batch_size)

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The samples' numbers in each batch of an epoch."""
        if not self.training:
            everyone = np.arange(len(self.samples))
            return [everyone[at : at + self.batch_size] for at in range(0, len(everyone), self.batch_size)]
        generator = numpy_generator(self.seed, "order", epoch)
        order = draw_order(len(self.samples), generator, self._probabilities)
        lengths = self.lengths.of(self.samples, Draw(True, self.seed, epoch))
        return plan_batches(order, lengths, self.batch_size, generator, self.lengths.costs)

    def batches(self, start: Position = Position(0, 0)) -> Iterator[tuple[Position, Batch]]:
        """(The position to resume at after this batch, the batch), from `start` on."""
        fruitless = 0
        for answer in self._answers(self._planned(start)):
            prepared = self._taken(answer)
            fruitless = 0 if prepared.batch is not None else fruitless + 1
            if prepared.batch is not None:
                yield answer.task.after, prepared.batch
            elif self.training and fruitless >= self.num_batches:
                first = next(iter(self.left_out.values()))
                raise UserError(
                    f"none of the {len(self.samples)} samples can be used ({first.where or first.id}: {first.reason})"
                )

    def indexed_batches(self) -> Iterator[tuple[tuple[int, ...], Batch]]:
        """(The numbers of the batch's samples, the batch): every usable sample once, longest first, for evaluation."""
        plan = plan_by_length(self.lengths.of(self.samples, Draw(False)), self.batch_size, self.lengths.costs)
        tasks = (_Task(numbers, 0, Position(0, at + 1)) for at, numbers in enumerate(plan))
        for answer in self._answers(tasks):
            prepared = self._taken(answer)
            if prepared.batch is not None:
                yield tuple(int(answer.task.numbers[place]) for place in prepared.kept), prepared.batch

    def _planned(self, start: Position) -> Iterator[_Task]:
        epoch, first = start.epoch, start.batch
        while True:
            plan = self.plan(epoch)
            for at in range(first, len(plan)):
                last = self.training and at + 1 == len(plan)
                yield _Task(plan[at], epoch, Position(epoch + 1, 0) if last else Position(epoch, at + 1))
            if not self.training:
                return
            epoch, first = epoch + 1, 0

    def _answers(self, tasks: Iterator[_Task]) -> Iterator[_Answer]:
        if self.workers == 0:
            yield from map(self._tasks.__getitem__, tasks)
            return
        # Its own generator: otherwise a seed is drawn from the global one, and a resumed run would differ.
        with warnings.catch_warnings(), _no_tokenizer_threads():
            warnings.filterwarnings(
                "ignore", message="This DataLoader will create"
            )  # more workers than cores: as asked
            answers = iter(
                DataLoader(
                    self._tasks,
                    batch_size=None,
                    sampler=cast(Iterable[int], tasks),
                    num_workers=self.workers,
                    worker_init_fn=_start_worker,
                    generator=torch.Generator(),
                )
            )
        yield from answers

    def _taken(self, answer: _Answer) -> Prepared:
        """What a task gave, noted here; its failure raised here."""
        result = answer.result
        if isinstance(result, _Failure):
            raise UserError(result.what, where=result.where, right=result.right)
        self.left_out.update((gone.id or gone.where, gone) for gone in result.left_out)
        self.cut.update(result.cut)
        return result
