"""Checkpoints: everything that training needs to go on exactly where it was.

In: a model, its optimiser and the state of the loop.
Out: `training/step-00000500/` with `model.safetensors`, `optimiser.safetensors` and `state.json`; and the run's own
`model.safetensors`: the best weights by the held-out loss, the last ones where nothing is held out.
Invariant: a checkpoint is renamed into place when it is whole, and only then is its predecessor removed, so there is always
a whole one. The best weights are published from a checkpoint, so they never come from a step that a resume would repeat. The
files carry digests of themselves, the optimiser's also that of the state: a changed checkpoint is not gone on with unseen.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plait.digests import RUN, Mismatch, digest_of, tensors_mismatch, with_digest
from plait.errors import UserError
from plait.run import MODEL, checked_tensors, remove, replacing, save_tensors, save_weights, settle, write_json
from plait.tensors import all_metadata, fill, load_tensors
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
    run: Path,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    state: State,
    *,
    vocabulary_size: int,
    identity: str = "",
) -> None:
    """Write a checkpoint, publish its weights where they are the ones to show, and remove its predecessors.

    `identity`: of the run, so that its files can be told from those of others.
    """
    target = folder_of(run, state.step)
    if target.is_dir():
        return  # nothing happens between two saves of one step: a save is the last thing a step does
    bound = {"step": str(state.step)} | ({RUN: identity} if identity else {})
    metadata = {**bound, "vocabulary_size": str(vocabulary_size)}
    if state.best_step == state.step:
        metadata["tune_bits"] = repr(state.best_bits)
    with replacing(target) as part:
        part.mkdir(parents=True)
        save_weights(model, part / MODEL, metadata)
        write_json(part / STATE, asdict(state))
        tensors = optimiser_tensors(model, optimiser)
        noted = {**bound, STATE: digest_of((part / STATE).read_bytes())}
        save_tensors(tensors, part / OPTIMISER, with_digest(tensors, noted))
    publish(run, state)
    for old in checkpoints(run):
        if old != target:
            remove(old)


def publish(run: Path, state: State) -> None:
    """Make the newest checkpoint's weights the run's own, if they are the ones to show and are not shown yet."""
    if state.step == 0 or state.published_step != state.step:
        return
    source = folder_of(run, state.step) / MODEL
    if all_metadata(run / MODEL) == all_metadata(source) and is_intact(run / MODEL):
        return
    with replacing(run / MODEL) as part:
        try:
            os.link(source, part)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, part)


def is_intact(path: Path) -> bool:
    """Whether published weights are those that were written (asked when a run is taken up: else the newest step's are others)."""
    try:
        return tensors_mismatch(path, load_tensors(path), all_metadata(path), "") is None
    except UserError:
        return False


def load_checkpoint(run: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> State:
    """The newest checkpoint into model and optimiser; its state."""
    folder = newest(run)
    fill(model, checked_tensors(run, folder / MODEL), folder / MODEL)
    load_optimiser(model, optimiser, checked_tensors(run, folder / OPTIMISER))
    return read_state(run)


def check_checkpoint(run: Path, *, accept: bool) -> State:
    """Refuse a newest checkpoint, or published weights, that are not those that were written; the checkpoint's state."""
    folder = newest(run)
    checked_tensors(run, folder / OPTIMISER, accept=accept)
    state = read_state(run, accept=accept)
    if state.published_step != state.step and (run / MODEL).exists():  # else they are published again
        checked_tensors(run, run / MODEL, accept=accept)
    return state


def newest(run: Path) -> Path:
    """The checkpoint to go on from."""
    found = checkpoints(run)
    if not found:
        raise UserError(
            f"{run} has no checkpoint to go on from", right="Train anew under another name, or remove this folder."
        )
    return found[-1]


def read_state(run: Path, *, accept: bool = False) -> State:
    """The state of the newest checkpoint."""
    folder = newest(run)
    path = folder / STATE
    try:
        data = path.read_bytes()
        state = state_from(json.loads(data))
        if folder_of(run, state.step).name != folder.name:
            raise ValueError(f"it is of step {state.step}")
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"damaged: {error}", where=str(path), right="Copy the run again, or train anew.") from error
    was, now = all_metadata(folder / OPTIMISER).get(STATE, ""), digest_of(data)
    if was and was != now:
        settle(run, Mismatch(path, "was changed since plait wrote it", now, was), accept=accept)
    return state


def state_from(values: Any) -> State:
    """A state from its plain data; `ValueError` for what cannot be one."""
    if not isinstance(values, dict):
        raise ValueError("it holds no mapping of keys")
    known = {one.name: one for one in fields(State)}
    for name in ("step", "epoch", "batch", "micro_batch_size"):
        if name not in values:
            raise ValueError(f"{name} is missing")
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"{name!r} is unknown")
        if not is_of(value, str(known[name].type)):
            raise ValueError(f"{name} is {value!r}")
    return replace(State(), **values)


def is_of(value: object, kind: str) -> bool:
    """Whether a plain value is of a field's type."""
    if value is None:
        return kind.endswith("| None")
    if kind.startswith("bool"):
        return isinstance(value, bool)
    if kind.startswith("float"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind.startswith("int"):
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str if kind.startswith("str") else dict)
