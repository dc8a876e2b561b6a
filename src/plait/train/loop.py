"""The training loop.

In: a run (configuration resolved, model on its device), a loader of training batches, one of held-out batches.
Out: a trained run: weights, metrics and checkpoints in its folder.
Invariant: it goes on from the newest checkpoint of the folder, and where it was stopped leaves no trace in the result: on a
CPU, bit for bit. Everything random in a step is seeded by the step's number, so no random state is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from plait.config import TrainConfig
from plait.data.loader import Position
from plait.layers import set_attention
from plait.losses import Balance
from plait.run import Run, remove_leftovers
from plait.train.checkpoint import State, checkpoints, load_checkpoint, publish, save_checkpoint
from plait.train.heldout import HeldOut, held_out
from plait.train.metrics import MetricsLog, tune_figures
from plait.train.optimiser import build_optimiser
from plait.train.probe import matmul_precision
from plait.train.progress import Progress, Quiet
from plait.train.signals import Interrupted, Listener, listening
from plait.train.step import Asked, Facts, StepResult, device_of, train_step, within_memory
from plait.train.watch import Watch
from plait.types import Batch

BITS = 1 / math.log(2)
Evaluate = Callable[[Run], Mapping[str, float]]
"""Further figures at every evaluation (accuracy, for example); they are written down and choose nothing."""


Wrap = Callable[[nn.Module], nn.Module]
"""What is put around the model (DDP, `torch.compile`): it is called in the model's place; the model itself is saved."""


@runtime_checkable
class TrainLoader(Protocol):
    """Endless training batches, each with the position to go on at after it."""

    def batches(self, start: Position) -> Iterator[tuple[Position, Batch]]: ...


@runtime_checkable
class TuneLoader(Protocol):
    """Held-out batches: every sample once."""

    def indexed_batches(self) -> Iterable[tuple[tuple[int, ...], Batch]]: ...


@dataclass(frozen=True)
class TrainResult:
    """How a training ended. `best_bits` is the lowest held-out loss, reached after `best_step`."""

    run: Run
    step: int
    best_step: int | None
    best_bits: float | None
    stopped_early: bool
    num_samples: int
    seconds: float


@dataclass
class Training:
    """A training under way. `model`: what is called, the run's model or what is wrapped around it."""

    run: Run
    model: nn.Module
    facts: Facts
    watch: Watch
    optimiser: torch.optim.Optimizer
    balance: Balance
    state: State
    log: MetricsLog
    progress: Progress
    tune_loader: TuneLoader | None
    evaluate: Evaluate | None
    listener: Listener
    seconds_before: float
    checkpoint_seconds: float | None
    began: float = field(default_factory=time.monotonic)
    line_at: float = field(default_factory=time.monotonic)
    line_samples: int = 0
    saved_at: float = field(default_factory=time.monotonic)

    @property
    def config(self) -> TrainConfig:
        """The run's `train:` section."""
        return self.run.config.train


def train(
    run: Run,
    *,
    train_loader: TrainLoader,
    tune_loader: TuneLoader | None = None,
    progress: Progress | None = None,
    evaluate: Evaluate | None = None,
    wrap: Wrap | None = None,
) -> TrainResult:
    """Train `run` from its newest checkpoint (or from its present weights) to the end; `wrap` is put around its model.

    `Interrupted` after SIGINT or SIGTERM, once everything is saved; `NonFinite` before an update by a loss that is no number.
    """
    config = run.config.train
    remove_leftovers(run.folder)
    with settings(config), listening() as listener:
        set_attention(run.model, "math" if config.attention == "math" else "fused")  # for a run that `fit` did not make
        optimiser = build_optimiser(run.model, config)
        state = first_state(run, optimiser)
        balance = run.config.balance.build(
            run.model, steps=config.planned_steps, seed=run.config.seed, state=state.balance
        )
        log = MetricsLog(
            run.folder,
            num_bytes=state.metrics_bytes,
            step=state.step,
            tensorboard=config.tensorboard,
            say=(progress or Quiet()).say,
        )
        training = Training(
            run=run,
            model=run.model if wrap is None else wrap(run.model),
            facts=Facts.of(run.model),
            watch=Watch(run.model, config),
            optimiser=optimiser,
            balance=balance,
            state=state,
            log=log,
            progress=progress or Quiet(),
            tune_loader=tune_loader,
            evaluate=evaluate,
            listener=listener,
            seconds_before=state.seconds,
            checkpoint_seconds=config.checkpoint_seconds(),
        )
        try:
            training.progress.start(state.step, config.steps)
            steps(training, train_loader)
        finally:
            training.progress.finish()
            log.close()
    return TrainResult(
        run, state.step, state.best_step, state.best_bits, state.stopped_early, state.num_samples, state.seconds
    )


@contextmanager
def settings(config: TrainConfig) -> Iterator[None]:
    """Threads and precision of this training, and those of before afterwards."""
    threads = torch.get_num_threads()
    with matmul_precision(None if config.matmul == "auto" else config.matmul):
        try:
            if config.threads is not None:
                torch.set_num_threads(config.threads)
            yield
        finally:
            torch.set_num_threads(threads)


def first_state(run: Run, optimiser: torch.optim.Optimizer) -> State:
    """The newest checkpoint's state, its weights shown if a crash prevented that; or a beginning."""
    config = run.config.train
    if not checkpoints(run.folder):
        return State(micro_batch_size=config.micro_batch_size or config.batch_size)
    state = load_checkpoint(run.folder, run.model, optimiser)
    state.stopped_early = is_stopped(state, config)
    publish(run.folder, state)
    return state


def is_stopped(state: State, config: TrainConfig) -> bool:
    """Whether a training that stopped early stays stopped: not with a patience that is larger now, or none."""
    return state.stopped_early and config.patience is not None and state.evaluations_since_best >= config.patience


def steps(training: Training, train_loader: TrainLoader) -> None:
    """All steps that are left."""
    state, config = training.state, training.config
    if state.step >= config.steps or state.stopped_early:
        return
    training.model.train()
    batches = train_loader.batches(Position(state.epoch, state.batch))
    while state.step < config.steps and not state.stopped_early:
        following = next_batch(training, batches)
        if following is None:
            save(training)
        else:
            position, batch = following
            state.epoch, state.batch = position.epoch, position.batch
            one_step(training, batch)
        if training.listener.number is not None:
            raise Interrupted(training.run.folder, state.step, training.listener.number)


def next_batch(training: Training, batches: Iterator[tuple[Position, Batch]]) -> tuple[Position, Batch] | None:
    """The next batch, or None where training was asked to stop (a signal to the whole process group ends workers too)."""
    if training.listener.number is not None:
        return None
    try:
        return next(batches)
    except RuntimeError:
        if training.listener.number is None:
            raise
        return None


def one_step(training: Training, batch: Batch) -> None:
    """One update with all that follows it: figures, evaluation, checkpoint."""
    state, config, run = training.state, training.config, training.run
    number, is_last = state.step + 1, state.step + 1 == config.steps
    has_line = number % config.log_every == 0 or is_last
    result = train_step(
        training.model,
        training.optimiser,
        batch.to(device_of(training.model)),
        config,
        seed=run.config.seed,
        step=number,
        micro_batch_size=state.micro_batch_size,
        say=training.progress.say,
        balance=training.balance,
        asked=Asked(encoder_norms=has_line, alone=has_line and measures_alone(training, number)),
        facts=training.facts,
    )
    for line in training.watch.look(number, rate=result.learning_rate, is_line=has_line):
        training.progress.say(line)
    note(training, result, num_samples=len(batch))
    if has_line:
        write_line(training, result)
    is_best = False
    if config.evaluate_every is not None and (state.step % config.evaluate_every == 0 or is_last):
        is_best = evaluate_now(training)
    if is_last or is_best or state.stopped_early or training.listener.number is not None or is_due(training):
        save(training)


def measures_alone(training: Training, step: int) -> bool:
    """Whether the line of this step says the loss with each modality alone (a kind of balance may say it anyway)."""
    every = training.config.alone_every
    if every is None or len(training.run.inputs) < 2:
        return False
    return step == training.config.steps or step // training.config.log_every % every == 0


def note(training: Training, result: StepResult, *, num_samples: int) -> None:
    """Add a step to the state."""
    state = training.state
    state.step += 1
    state.balance = dict(training.balance.state)
    state.micro_batch_size = result.micro_batch_size
    state.num_samples += num_samples
    state.interval_loss += result.loss * result.weight
    state.interval_weight += result.weight
    training.line_samples += num_samples
    training.progress.update(state.step, bits=result.loss * BITS, num_samples=num_samples)


def write_line(training: Training, result: StepResult) -> None:
    """The figures since the last line."""
    state, now = training.state, time.monotonic()
    seconds = now - training.line_at
    line: dict[str, object] = {
        "step": state.step,
        "epoch": state.epoch,
        "bits": state.interval_loss / max(state.interval_weight, 1e-12) * BITS,
        "learning_rate": result.learning_rate,
        "gradient_norm": result.gradient_norm,
        "encoder_norms": dict(result.encoder_norms.items()),
        "alone": {m: nats * BITS for m, nats in result.alone.items()},
        "balance": training.balance.figures,
        "num_samples": state.num_samples,
        "seconds": round(elapsed(training), 3),
        "samples_per_second": round(training.line_samples / max(seconds, 1e-9), 2),
    }
    training.log.write({name: value for name, value in line.items() if value != {}})
    state.interval_loss = state.interval_weight = 0.0
    training.line_at, training.line_samples = now, 0


def evaluate_now(training: Training) -> bool:
    """The held-out loss, written down; whether it is the lowest so far. Sets `stopped_early` when patience is at its end."""
    if training.tune_loader is None:
        return False
    state, config, run = training.state, training.config, training.run
    began = time.monotonic()
    found = held_out_bits(training, training.tune_loader)
    is_best = math.isfinite(found.bits) and (state.best_bits is None or found.bits < state.best_bits)
    if is_best:
        state.best_step, state.best_bits, state.evaluations_since_best = state.step, found.bits, 0
    else:
        state.evaluations_since_best += 1
        state.stopped_early = config.patience is not None and state.evaluations_since_best >= config.patience
    line: dict[str, object] = {"step": state.step, "tune": tune_figures(found.bits, found.by_segment), "best": is_best}
    if training.evaluate is not None:
        line["evaluation"] = dict(training.evaluate(run))
        training.model.train()
    training.log.write({**line, "evaluation_seconds": round(time.monotonic() - began, 3)})
    segments = ", ".join(f"{name} {bits:.3f}" for name, bits in found.by_segment.items())
    detail = f" ({segments})" if len(found.by_segment) > 1 else ""
    training.progress.say(
        f"step {state.step}: held-out loss {found.bits:.3f} bits per token{detail}{', the best so far' * is_best}"
    )
    if state.stopped_early:
        training.progress.say(
            f"stopped early: {config.patience} evaluations without improvement since step {state.best_step}"
        )
    return is_best


def held_out_bits(training: Training, loader: TuneLoader) -> HeldOut:
    """The held-out loss, with smaller micro-batches from here on where memory is short."""
    run, state = training.run, training.state

    def attempt(size: int) -> HeldOut:
        batches = (batch for _, batch in loader.indexed_batches())
        return held_out(training.model, batches, run.segments, dtype=training.config.dtype, micro_batch_size=size)

    found, state.micro_batch_size = within_memory(attempt, state.micro_batch_size, training.progress.say)
    return found


def is_due(training: Training) -> bool:
    """Whether it is time for a checkpoint."""
    every, seconds = training.config.checkpoint_every, training.checkpoint_seconds
    if seconds is None:
        return training.state.step % int(every) == 0
    return time.monotonic() - training.saved_at >= seconds


def save(training: Training) -> None:
    """A checkpoint of this moment."""
    state = training.state
    state.metrics_bytes = training.log.sync()
    state.seconds = elapsed(training)
    save_checkpoint(
        training.run.folder,
        training.run.model,
        training.optimiser,
        state,
        vocabulary_size=training.run.tokenizer.size,
        identity=training.run.identity,
    )
    training.saved_at = time.monotonic()


def elapsed(training: Training) -> float:
    """Seconds of training, those before a resume included."""
    return training.seconds_before + time.monotonic() - training.began
