"""What `plait explain` says of a trained model, beside the truth.

In: a task and its manifest, or a trained run.
Out: bits per sample for every subset of the modalities, v(S), Shapley values and interactions, each with its interval, and how
far they are from the truth; for a fusion, how often its answers on XOR are right.
Invariant: the figures of the first table are those of `plait.explain.explain` on the test split (temperatures fitted on the
tuning split), times the tokens of an answer; nothing is measured here a second time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from plait.evaluate.answerer import RunAnswerer
from plait.evaluate.statistics import Figure
from plait.explain import Explanation, SegmentResult, explain
from plait.lab.settings import fusion_config, is_taught, lab_config, lesson_config
from plait.lab.truth import Game, Subset, Task, conditional_entropy, game, subsets, truth
from plait.model import token_losses
from plait.run import Run
from plait.train import Progress, fit
from plait.train.fit import read_data
from plait.types import Batch

BATCH_SIZE = 200
Say = Callable[[str], None]


class Measured(NamedTuple):
    """A figure in bits per sample, with its 95 % interval where the explanation gives one."""

    value: float
    low: float | None = None
    high: float | None = None


Quantity = tuple[str, Subset]
"""Which figure: `information`, `shapley`, `interaction` or `shapley_interaction`, and of which modalities."""


@dataclass(frozen=True)
class TaskRow:
    """One trained model on one task: what was measured, beside the truth, in bits per sample."""

    task: str
    seed: int
    cross_entropy: Mapping[Subset, float]
    measured: Mapping[Quantity, Measured]
    truth: Mapping[Quantity, float]
    seconds: float

    @property
    def error(self) -> float:
        """The largest distance of any figure from the truth, in bits."""
        return max(abs(self.measured[q].value - bits) for q, bits in self.truth.items())


@dataclass(frozen=True)
class FusionRow:
    """One kind of fusion on XOR: the share of right answers, the mean probability of the right answer, and the bits gained."""

    fusion: str
    seed: int
    accuracy: float
    probability: float
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
    taught = (
        teach(task, manifest, folder, seed=seed, overrides=overrides, progress=progress) if is_taught(task) else None
    )
    config = lab_config(task, manifest, seed=seed, overrides=overrides, taught=taught)
    run = fit(config, folder, progress=progress).run
    found = explain(run, read_data(run.config).samples, split="test", seed=seed, batch_size=BATCH_SIZE)
    lost, measured = figures(found, task)
    return TaskRow(task.name, seed, lost, measured, quantities(truth(task)), time.monotonic() - began)


def teach(
    task: Task, manifest: Path, folder: Path, *, seed: int, overrides: Sequence[str], progress: Progress | None
) -> dict[str, Path]:
    """Modality → the run in which its encoder learnt its bit."""
    runs = {m: folder.with_name(f"{folder.name}-{m}") for m in task.modalities}
    for modality, place in runs.items():
        fit(lesson_config(task, modality, manifest, seed=seed, overrides=overrides), place, progress=progress)
    return runs


def quantities(known: Game) -> dict[Quantity, float]:
    """All figures of a game; v of no input, which is 0, is left out, and so is the index of two, which is their interaction."""
    found: dict[Quantity, float] = {("information", s): bits for s, bits in known.information.items() if s}
    found |= {("shapley", (m,)): bits for m, bits in known.shapley.items()}
    found |= {("interaction", s): bits for s, bits in known.interaction.items()}
    if len(known.shapley) > 2:
        found |= {("shapley_interaction", s): bits for s, bits in known.shapley_interaction.items()}
    return found


def figures(found: Explanation, task: Task) -> tuple[dict[Subset, float], dict[Quantity, Measured]]:
    """Cross-entropy per subset, and every quantity, in bits per sample as the explanation has them."""
    (segment,) = (s for s in found.segments if s.context == "true")
    tokens = segment.num_tokens / segment.num_samples  # every answer has as many
    lost = {s: tokens * value_of(segment.losses["+".join(s) or "no_input"]) for s in subsets(task.modalities)}
    values = {q: Measured(bits) for q, bits in quantities(game(gains(lost), task.modalities)).items()}
    return lost, values | dict(explained(segment, tokens))


def gains(lost: Mapping[Subset, float]) -> dict[Subset, float]:
    """v(S) = CE(no input) − CE(S)."""
    return {subset: lost[()] - bits for subset, bits in lost.items()}


def explained(segment: SegmentResult, tokens: float) -> Iterator[tuple[Quantity, Measured]]:
    """The figures that the explanation itself states, with their intervals."""
    names = tuple(segment.credits)
    if segment.together is not None:
        yield ("information", names), scaled(segment.together, tokens)
    for name, own in segment.credits.items():
        yield ("information", (name,)), scaled(own.alone, tokens)
        yield ("shapley", (name,)), scaled(own.credit, tokens)
    for found in segment.interactions:
        if found.pair is not None:
            yield ("interaction", found.members), scaled(found.pair, tokens)
        if found.index is not None and len(names) > 2:
            yield ("shapley_interaction", found.members), scaled(found.index, tokens)


def scaled(figure: Figure, tokens: float) -> Measured:
    """Bits per token → bits per sample."""
    if figure.low is None or figure.high is None:
        return Measured(tokens * value_of(figure))
    return Measured(tokens * value_of(figure), tokens * figure.low, tokens * figure.high)


def value_of(figure: Figure) -> float:
    """A figure that every sample of the laboratory has."""
    assert figure.value is not None
    return figure.value


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
    right, probability, bits = answers(run, "test")
    return FusionRow(kind, seed, right, probability, conditional_entropy(task, ()) - bits, time.monotonic() - began)


def batches_of(run: Run, split: str) -> list[Batch]:
    """The samples of a split, in batches."""
    samples = read_data(run.config).split(split, needed=True)
    return list(RunAnswerer(run).batches(samples, BATCH_SIZE))


@torch.inference_mode()
def answers(run: Run, split: str) -> tuple[float, float, float]:
    """Of the answer token, all inputs given: how often the likeliest is right, the mean p of the right one, and the bits."""
    run.model.eval()
    right, probability, lost, num_samples = 0, 0.0, 0.0, 0
    for batch in batches_of(run, split):
        states = run.model.states(batch)
        nats = token_losses(run.model.lm, states, batch.targets)[:, 0].double()
        right += int((run.model.lm.logits(states[:, 0]).argmax(-1) == batch.targets[:, 0]).sum())
        probability += float((-nats).exp().sum())
        lost += float(nats.sum()) / math.log(2)
        num_samples += len(batch)
    return right / num_samples, probability / num_samples, lost / num_samples
