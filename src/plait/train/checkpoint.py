"""Checkpoints: everything that training needs to go on exactly where it was.

In: a model, its optimiser and the state of the loop.
Out: `training/step-00000500/` with `model.safetensors`, `optimiser.safetensors` and `state.json`; and the run's own
`model.safetensors`: the best weights by the held-out loss, the last ones where nothing is held out.
Invariant: a checkpoint is renamed into place when it is whole, and only then is its predecessor removed, so there is always
a whole one. The best weights are published from a checkpoint, so they never come from a step that a resume would repeat.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from plait.errors import UserError
from plait.run import (
    MODEL,
    load_weights,
    read_metadata,
    remove,
    replacing,
    save_tensors,
    save_weights,
    whole,
    write_json,
)
from plait.train.optimiser import load_optimiser, optimiser_tensors

FOLDER, OPTIMISER, STATE = "training", "optimiser.safetensors", "state.json"


@dataclass
class State:
    """Where the loop stands after a step; all that it knows beside weights and optimiser.

    `epoch` and `batch` are the loader's position; `best_step` is the step of the lowest held-out loss, `best_bits`;
    `interval_*` sum what the next line of the metrics will average; `metrics_bytes` is the length of the metrics so far;
    `data` fingerprints the training samples; `balance` is what the run's balance remembers.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    micro_batch_size: int = 0
    best_step: int | None = None
    best_bits: float | None = None
    evaluations_since_best: int = 0
    stopped_early: bool = False
    num_samples: int = 0
    interval_loss: float = 0.0
    interval_weight: float = 0.0
    metrics_bytes: int = 0
    seconds: float = 0.0
    data: str = ""
    balance: dict[str, float] = field(default_factory=dict)

    @property
    def published_step(self) -> int:
        """The step whose weights the run should show."""
        return self.step if self.best_step is None else self.best_step


def folder_of(run: Path, step: int) -> Path:
    """The folder of one checkpoint."""
    return run / FOLDER / f"step-{step:08d}"


def checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("step-*") if path.is_dir())


def save_checkpoint(
    run: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: State, *, vocabulary_size: int
) -> None:
    """Write a checkpoint, publish its weights where they are the ones to show, and remove its predecessors."""
    target = folder_of(run, state.step)
    if target.is_dir():
        return  # nothing happens between two saves of one step: a save is the last thing a step does
    metadata = {"step": str(state.step), "vocabulary_size": str(vocabulary_size)}
    if state.best_step == state.step:
        metadata["tune_bits"] = repr(state.best_bits)
    with replacing(target) as part:
        part.mkdir(parents=True)
        save_weights(model, part / MODEL, metadata)
        save_tensors(optimiser_tensors(model, optimiser), part / OPTIMISER, {"step": str(state.step)})
        write_json(part / STATE, asdict(state))
    publish(run, state)
    for old in checkpoints(run):
        if old != target:
            remove(old)


def publish(run: Path, state: State) -> None:
    """Make the newest checkpoint's weights the run's own, if they are the ones to show and are not shown yet."""
    if state.step == 0 or state.published_step != state.step:
        return
    source = folder_of(run, state.step) / MODEL
    if read_metadata(run / MODEL) == read_metadata(source):
        return
    with replacing(run / MODEL) as part:
        try:
            os.link(source, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, part)


def load_checkpoint(run: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """The newest checkpoint into model and optimiser; its state."""
    folder = newest(run)
    load_weights(model, folder / MODEL)
    with whole(folder / OPTIMISER):
        tensors = load_file(folder / OPTIMISER)
    load_optimiser(model, optimiser, tensors)
    return read_state(run)


def newest(run: Path) -> Path:
    """The checkpoint to go on from."""
    found = checkpoints(run)
    if not found:
        raise UserError(
            f"{run} has no checkpoint to go on from", right="Train anew under another name, or remove this folder."
        )
    return found[-1]


def read_state(run: Path) -> State:
    """The state of the newest checkpoint."""
    path = newest(run) / STATE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return replace(State(), **values)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"damaged: {error}", where=str(path), right="Copy the run again, or train anew.") from error
