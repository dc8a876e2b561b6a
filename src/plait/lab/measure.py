"""What a trained model is found to use, beside the truth.

In: a task and its manifest, or a trained run.
Out: held-out bits per subset of the modalities, v(S) and what follows from it, and how far that is from the truth; for a
fusion, how often its answers on XOR are right.
Invariant: the answer token alone is scored, on the test split, which training has not seen; nothing is fitted or clipped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from plait.evaluate.answerer import RunAnswerer
from plait.lab.settings import fusion_config, lab_config
from plait.lab.truth import Game, Subset, Task, conditional_entropy, game, subsets, truth
from plait.model import token_losses
from plait.run import Run
from plait.train import Progress, fit
from plait.train.fit import read_data
from plait.types import Batch, Features, Modality

BATCH_SIZE = 200


@dataclass(frozen=True)
class TaskRow:
    """One trained model on one task: cross-entropy per subset in bits, and what follows, beside the truth."""

    task: str
    seed: int
    cross_entropy: dict[Subset, float]
    measured: Game
    truth: Game
    seconds: float

    @property
    def error(self) -> float:
        """The largest distance of a v(S) from the truth, in bits."""
        return max(abs(self.measured.information[s] - bits) for s, bits in self.truth.information.items())


@dataclass(frozen=True)
class FusionRow:
    """One kind of fusion on XOR: the share of right answers, and the bits that both modalities bring."""

    fusion: str
    seed: int
    accuracy: float
    bits: float
    seconds: float


def measure_task(
    task: Task,
    manifest: Path,
    folder: Path,
    *,
    seed: int = 0,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> TaskRow:
    """Train a model on the task in a new folder, and measure it."""
    began = time.monotonic()
    run = fit(lab_config(task, manifest, seed=seed, overrides=overrides), folder, progress=progress).run
    lost = subset_bits(run, "test")
    found = game({subset: lost[()] - bits for subset, bits in lost.items()}, task.modalities)
    return TaskRow(task.name, seed, lost, found, truth(task), time.monotonic() - began)


def measure_fusion(
    kind: str,
    task: Task,
    manifest: Path,
    folder: Path,
    *,
    seed: int = 0,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> FusionRow:
    """Train a model whose only mixing is this fusion, and see what it answers."""
    began = time.monotonic()
    run = fit(fusion_config(kind, task, manifest, seed=seed, overrides=overrides), folder, progress=progress).run
    right, bits = right_and_bits(run, "test")
    return FusionRow(kind, seed, right, conditional_entropy(task, ()) - bits, time.monotonic() - began)


def batches_of(run: Run, split: str) -> list[Batch]:
    """The samples of a split, in batches."""
    samples = read_data(run.config).split(split, needed=True)
    return list(RunAnswerer(run).batches(samples, BATCH_SIZE))


@torch.inference_mode()
def subset_bits(run: Run, split: str) -> dict[Subset, float]:
    """The cross-entropy of the answer token in bits, when only the modalities of a subset are given: one mean per subset."""
    run.model.eval()
    totals = dict.fromkeys(subsets(run.modalities), 0.0)
    num_samples = 0
    for batch in batches_of(run, split):
        features = run.model.encode(batch.inputs, len(batch))
        num_samples += len(batch)
        for subset in totals:
            shown = {m: found if m in subset else hidden(found) for m, found in features.items()}
            totals[subset] += float(answer_losses(run, batch, shown).double().sum()) / math.log(2)
    return {tuple(map(str, subset)): total / num_samples for subset, total in totals.items()}


def hidden(features: Features) -> Features:
    """The features of a modality that is taken away: nothing of them is real."""
    return Features(features.values, torch.zeros_like(features.mask))


def answer_losses(run: Run, batch: Batch, features: dict[Modality, Features]) -> Tensor:
    """The loss of the first token of every target, in nats."""
    states = run.model.hidden(batch.tokens, run.model.condition(features))
    return token_losses(run.model.lm, states, batch.targets)[:, 0]


@torch.inference_mode()
def right_and_bits(run: Run, split: str) -> tuple[float, float]:
    """How often the likeliest answer token is the right one, and the mean cross-entropy in bits; all inputs given."""
    run.model.eval()
    right, lost, num_samples = 0, 0.0, 0
    for batch in batches_of(run, split):
        states = run.model(batch)
        right += int((run.model.lm.logits(states[:, 0]).argmax(-1) == batch.targets[:, 0]).sum())
        lost += float(token_losses(run.model.lm, states, batch.targets)[:, 0].double().sum()) / math.log(2)
        num_samples += len(batch)
    return right / num_samples, lost / num_samples
