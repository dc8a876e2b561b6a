"""What each arm costs, measured on real samples, all arms in turns.

In: trained runs by arm, samples to ask them, samples to train them on, and seconds of time for all of it.
Out: a `Price` for each arm.
Invariant: arms are measured on the same samples in turns (A B C, B C A, …), so that a busy moment falls on all of them, and medians
are taken; nothing of a run changes, neither its folder nor its weights.

Included are: in `flops` encoders, fusion, language model and head for one sample's target, the mean over samples, products and
convolutions only; in `step_seconds` the whole step (modality dropout, forward, backward, clipping, optimiser) on batches as
training plans them; in latencies and throughput everything from prepared tensors to text, by the run's own way of generating.
Not included: reading and decoding of files, log-mels, augmentation, evaluations and checkpoints, which are the same for all arms.
"""

from __future__ import annotations

import contextlib
import copy
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from plait.compare.result import Price
from plait.config import TrainConfig
from plait.data.loader import Loader
from plait.data.preprocess import Preprocessor
from plait.errors import UserError
from plait.evaluate.answerer import RunAnswerer
from plait.layers import set_attention
from plait.model import Model
from plait.run import Run
from plait.seeds import numpy_generator
from plait.train.loop import settings
from plait.train.optimiser import build_optimiser
from plait.train.probe import timed
from plait.train.step import device_of, train_step
from plait.types import Batch, Sample

SHARES = {"step": 0.5, "latency": 0.3, "throughput": 0.2}
"""What part of the time goes to what."""
NUM_BATCHES = 4
"""Batches that training steps are measured on."""
NUM_COUNTED = 16
"""Samples whose FLOPs are counted."""
LEAST_TURNS, MOST_TURNS = 3, 40
NUM_ALONE = (8, 32)
"""The fewest and the most samples that are answered alone."""
THROUGHPUT_BATCH = 32

Told = Callable[[int, int], None]
"""Told the seconds that have passed and those that it may take."""


def measure_prices(
    runs: Mapping[str, Run],
    samples: Sequence[Sample],
    *,
    seconds: float,
    progress: Told | None = None,
    train_samples: Sequence[Sample] | None = None,
    threads: int | None = None,
    peaks: Mapping[str, int | None] | None = None,
) -> dict[str, Price]:
    """The price of every arm; all of it takes about `seconds`, and at least three turns of each measurement.

    `train_samples`: what training batches are made of (default: `samples`). `threads`: default: those that each run was trained
    with. `peaks`: what `peak_memory` said at the end of each arm's training. An arm whose step cannot be measured (a loss that is
    no number) has None there.
    """
    if not runs:
        return {}
    if not samples:
        raise UserError("there is no sample to measure prices on", right="Give the split that is evaluated some rows")
    clock = Clock(monotonic(), seconds, progress)
    found = material(runs, samples, train_samples or samples)
    timers = {name: StepTimer(run, found[name].batches, threads) for name, run in runs.items()}
    steps = in_turns({n: t.step for n, t in timers.items()}, clock.until("step"), most=MOST_TURNS)
    timers.clear()
    asked = {name: Asker(run, found[name], threads) for name, run in runs.items()}
    alone = measure_alone(asked, clock)
    together = in_turns({n: a.together for n, a in asked.items()}, clock.until("throughput"), most=MOST_TURNS)
    return {
        name: Price(
            parameters=run.model.num_parameters,
            fusion_parameters=fusion_parameters(run.model),
            flops=count_flops(run.model, found[name].alone[:NUM_COUNTED]),
            step_seconds=median(steps[name]),
            train_seconds=times(median(steps[name]), run.config.train.steps),
            peak_bytes=(peaks or {}).get(name),
            latency_p50_ms=times(percentile(alone[name], 50), 1000),
            latency_p95_ms=times(percentile(alone[name], 95), 1000),
            step_spread=relative_spread(steps[name]),
            throughput=median([asked[name].num_together(turn) / taken for turn, taken in enumerate(together[name], 1)]),
        )
        for name, run in runs.items()
    }


def peak_memory(device: str | torch.device = "cpu") -> int | None:
    """The most bytes that this process held since it began or `reset_peak` was called: to be asked at the end of a training.

    On a GPU what PyTorch allocated there. On a CPU the resident memory, libraries included (about 300 MB are PyTorch itself);
    processes that load data are not in it.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


def reset_peak(device: str | torch.device = "cpu") -> None:
    """Forget the peak so far, where the system can (Linux, CUDA): for a process that trains more than one run."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


# -- what is measured on --


class Material(NamedTuple):
    """An arm's batches: as training makes them, samples alone, and many together."""

    batches: list[Batch]
    alone: list[Batch]
    together: list[Batch]


def material(
    runs: Mapping[str, Run], samples: Sequence[Sample], train_samples: Sequence[Sample]
) -> dict[str, Material]:
    """Of the same samples for all arms; arms that prepare them alike share what is prepared."""
    first = next(iter(runs.values()))
    size = max(run.config.train.batch_size for run in runs.values())
    trained = drawn(train_samples, NUM_BATCHES * size, first.config.seed, "train")
    asked = drawn(samples, NUM_BATCHES * THROUGHPUT_BATCH, first.config.seed, "ask")
    shared: dict[str, Material] = {}
    found: dict[str, Material] = {}
    for name, run in runs.items():
        train = run.config.train
        key = repr((run.config.data, run.tokenizer.vocabulary, device_of(run.model), train.batch_size, run.config.seed))
        if key not in shared:
            shared[key] = prepared(run, trained, asked)
        found[name] = shared[key]
    return found


def drawn(samples: Sequence[Sample], number: int, seed: int, name: str) -> list[Sample]:
    """So many of the samples, or all, evenly drawn."""
    order = numpy_generator(seed, "price", name).permutation(len(samples))[:number]
    return [samples[place] for place in order]


def prepared(run: Run, trained: Sequence[Sample], asked: Sequence[Sample]) -> Material:
    """The batches of one arm."""
    device = device_of(run.model)
    loader = Loader(
        trained,
        Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs),
        batch_size=run.config.train.batch_size,
        seed=run.config.seed,
        training=True,
    )
    batches = loader.batches()
    answerer = RunAnswerer(run)
    alone = list(answerer.batches(asked[: NUM_ALONE[1]], 1))
    together = list(answerer.batches(asked, THROUGHPUT_BATCH))
    if not alone:
        raise UserError(
            "none of the samples to measure prices on can be read",
            right="plait data check says what is wrong with each",
        )
    whole = [batch for batch in together if len(batch) == THROUGHPUT_BATCH] or together[:1]
    return Material([next(batches)[1].to(device) for _ in range(min(NUM_BATCHES, loader.num_batches))], alone, whole)


# -- turns --


@dataclass
class Clock:
    """The time that all measurements share."""

    began: float
    seconds: float
    progress: Told | None

    def until(self, part: str) -> Callable[[], bool]:
        """Whether there is time left for this part and those before it; tells the progress."""
        names = list(SHARES)
        end = self.began + self.seconds * sum(SHARES[name] for name in names[: names.index(part) + 1])

        def left() -> bool:
            now = monotonic()
            if self.progress is not None:
                self.progress(round(min(now - self.began, self.seconds)), round(self.seconds))
            return now < end

        return left


Action = Callable[[int], float]
"""Number of the turn → seconds."""


def in_turns(
    actions: Mapping[str, Action], has_time: Callable[[], bool], *, least: int = LEAST_TURNS, most: int
) -> dict[str, list[float]]:
    """Seconds of each action, turn by turn after a first one that warms up; who begins changes with every turn.

    Turns are whole, so that all arms are measured equally often. An action that fails with a user's mistake is asked no more.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    failed: set[str] = set()
    names = list(actions)
    turn = 0
    while (has_time() and turn <= most) or turn <= least:
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            if name in failed:
                continue
            try:
                taken = actions[name](turn)
            except UserError:
                failed.add(name)
                times[name] = []
                continue
            if turn:
                times[name].append(taken)
        turn += 1
    return times


class StepTimer:
    """Training steps of a copy of the run's model."""

    def __init__(self, run: Run, batches: Sequence[Batch], threads: int | None) -> None:
        self.config, self.seed, self.batches = with_threads(run.config.train, threads), run.config.seed, batches
        self.model = copy.deepcopy(run.model).train()
        self.optimiser = build_optimiser(self.model, self.config)

    def step(self, turn: int) -> float:
        """The seconds of one step; the last steps of a training, whose rates are low and whose modality dropout is warm."""
        batch = self.batches[turn % len(self.batches)]

        def action() -> object:
            return train_step(
                self.model,
                self.optimiser,
                batch,
                self.config,
                seed=self.seed,
                step=max(1, self.config.steps - turn),
                micro_batch_size=self.config.micro_batch_size or self.config.batch_size,
                say=lambda _: None,
            )

        with settings(self.config):
            taken = timed(action, device_of(self.model))
        self.optimiser.zero_grad(set_to_none=True)
        return taken


class Asker:
    """A run's model that generates."""

    def __init__(self, run: Run, found: Material, threads: int | None) -> None:
        self.answerer, self.found = RunAnswerer(run), found
        self.config = with_threads(run.config.train, threads)
        self.training = run.model.training

    def answer(self, batch: Batch) -> float:
        """The seconds of answering a batch."""
        model = self.answerer.run.model.eval()
        try:
            with settings(self.config):
                return timed(lambda: self.answerer.generate(batch), device_of(model))
        finally:
            model.train(self.training)

    def alone(self, turn: int) -> float:
        """The seconds of answering one sample."""
        return self.answer(self.found.alone[turn % len(self.found.alone)])

    def together(self, turn: int) -> float:
        """The seconds of answering many at once."""
        return self.answer(self.found.together[turn % len(self.found.together)])

    def num_together(self, turn: int) -> int:
        """How many those were."""
        return len(self.found.together[turn % len(self.found.together)])


def measure_alone(asked: Mapping[str, Asker], clock: Clock) -> dict[str, list[float]]:
    """Each arm's seconds for each of some samples, the median over turns: so the 95th percentile tells of long answers, not of
    busy moments. As many samples as can be asked three times each in the time that is left."""
    has_time = clock.until("latency")
    began = monotonic()
    for asker in asked.values():
        asker.alone(0)  # unmeasured: it warms up, and tells how long a turn takes
    turn = max(monotonic() - began, 1e-6)
    left = clock.began + clock.seconds * (SHARES["step"] + SHARES["latency"]) - monotonic()
    fewest, most = NUM_ALONE
    number = min(max(fewest, int(left / (LEAST_TURNS * turn))), most, *(len(a.found.alone) for a in asked.values()))
    actions = {name: rows_of(asker, number) for name, asker in asked.items()}
    times = in_turns(actions, has_time, least=LEAST_TURNS * number, most=LEAST_TURNS * number)
    return {
        name: [statistics.median(taken[row::number]) for row in range(number)] if taken else []
        for name, taken in times.items()
    }


def rows_of(asker: Asker, number: int) -> Action:
    """Turn t asks sample t modulo `number`."""
    return lambda turn: asker.alone(turn % number)


def with_threads(config: TrainConfig, threads: int | None) -> TrainConfig:
    """The run's settings, with other threads where they are said."""
    return config if threads is None else config.model_copy(update={"threads": threads})


# -- counts --


def fusion_parameters(model: Model) -> int:
    """The fusion's own; 0 where there is none."""
    return 0 if model.fusion is None else sum(parameter.numel() for parameter in model.fusion.parameters())


@torch.no_grad()
def count_flops(model: Model, batches: Sequence[Batch]) -> float:
    """The FLOPs of the forward pass for the true target, the mean over batches of one sample, by operations in the plain form.

    On a copy on the CPU with math attention, so that the counter sees every product.
    """
    plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    set_attention(plain, "math")
    with FlopCounterMode(display=False, custom_mapping=MORE_FLOPS) as counter:
        for batch in batches:
            plain.token_losses(batch.to("cpu"))
    return counter.get_total_flops() / len(batches)


def recurrent_flops(
    inputs: Sequence[int], weight: Sequence[int], recurrent: Sequence[int], *_: object, **__: object
) -> int:
    """Of oneDNN's LSTM layer, from the shapes of the inputs `(T, B, D)` and of both matrices."""
    return 2 * inputs[0] * inputs[1] * (weight[0] * weight[1] + recurrent[0] * recurrent[1])


MORE_FLOPS = {torch.ops.aten.mkldnn_rnn_layer: recurrent_flops}
"""What PyTorch's counter does not know."""


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    return statistics.median(values) if values else None


def relative_spread(values: Sequence[float]) -> float | None:
    """By what part of the median a value typically differs from it: half of what the middle two thirds span; None of nothing."""
    if not values:
        return None
    low, high = np.percentile(values, [16, 84])
    return float((high - low) / 2 / statistics.median(values))


def percentile(values: Sequence[float], rank: int) -> float | None:
    """A percentile, linear between two values; None of nothing."""
    return float(np.percentile(values, rank)) if len(values) else None


def times(value: float | None, factor: int) -> float | None:
    """The product; None of nothing."""
    return None if value is None else value * factor
