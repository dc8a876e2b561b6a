"""The loss with each modality alone: through the same fusion and language model, all others absent.

In: features of every modality, encoded once for the whole batch, and the batch.
Out: per modality Σ weight × loss (nats), Σ weight × p(target) and Σ weight, over the target tokens of the samples that have it.
Invariant: sums over samples, so those of micro-batches add up to those of the whole; a sample without the modality adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from plait.losses.base import Alone, Ask
from plait.types import IGNORED, Batch, Features, in_order


@runtime_checkable
class Scoring(Protocol):
    """What is needed of a model, inside of its own pass."""

    @property
    def inputs(self) -> tuple[str, ...]: ...

    def scored_logits(
        self, features: Mapping[str, Features], batch: Batch
    ) -> tuple[Float[Tensor, "N V"], Int[Tensor, " N"]]: ...

    def token_weights(self, batch: Batch) -> Float[Tensor, "B T"]: ...


def alone_as_asked(model: Scoring, features: Mapping[str, Features], batch: Batch, ask: Ask) -> Mapping[str, Alone]:
    """What the model answers about each input alone."""
    if ask.alone == "scores":
        with torch.no_grad(), drawing(batch.tokens.device, None):
            return alone_losses(model, features, batch, label_smoothing=ask.label_smoothing)
    found = alone_losses(model, features, batch, label_smoothing=ask.label_smoothing)
    # DDP reads off the answer which parameters the backward pass will reach, and a proxy is none of what it looks into
    return MappingProxyType(found) if ask.alone == "apart" else found


def alone_losses(
    model: Scoring, features: Mapping[str, Features], batch: Batch, *, label_smoothing: float = 0.0
) -> dict[str, Alone]:
    """Of every modality that some sample of the batch has."""
    rows = {m: features[m].mask.any(dim=1).nonzero()[:, 0] for m in model.inputs}
    return {
        m: alone(model, features, batch, m, has, label_smoothing=label_smoothing) for m, has in rows.items() if len(has)
    }


def alone(
    model: Scoring,
    features: Mapping[str, Features],
    batch: Batch,
    modality: str,
    rows: Int[Tensor, " rows"],
    *,
    label_smoothing: float = 0.0,
) -> Alone:
    """Of the samples `rows`, which have the modality."""
    given = {m: select(f, rows) if m == modality else absent(f, rows) for m, f in features.items()}
    part = replace(
        batch,
        ids=tuple(batch.ids[row] for row in rows.tolist()),
        inputs={},
        tokens=batch.tokens[rows],
        targets=batch.targets[rows],
        segments=batch.segments[rows],
        weights=batch.weights[rows],
    )
    logits, targets = model.scored_logits(given, part)
    weights = model.token_weights(part)[part.targets != IGNORED]
    losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
    with torch.no_grad():
        likelihoods = (-F.cross_entropy(logits, targets, reduction="none")).exp()
    return Alone((losses * weights).sum(), (likelihoods * weights).sum(), weights.sum())


def added(parts: Iterable[Mapping[str, Alone]]) -> dict[str, Alone]:
    """The sums of several micro-batches."""
    found: dict[str, Alone] = {}
    for part in parts:
        for modality, one in part.items():
            before = found.get(modality)
            found[modality] = one if before is None else Alone(*(a + b for a, b in zip(before, one, strict=True)))
    return {m: found[m] for m in in_order(found)}


def measure_alone(model: nn.Module, parts: Iterable[Batch], *, seed: int) -> dict[str, float]:
    """Nats per (weighted) target token with each modality alone, as the model is now, in its present mode; nothing is kept."""
    ask = Ask(sums=False, alone="losses")
    with torch.no_grad(), drawing(next(model.parameters()).device, seed):
        found = added(model(part, ask).alone for part in parts)
    return {m: float(one.total / one.weight) for m, one in found.items() if one.weight > 0}


@contextmanager
def drawing(device: torch.device, seed: int | None) -> Iterator[None]:
    """Draws inside the block (a model's dropout) begin at `seed`, None = as they come, and change no draw after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def select(features: Features, rows: Int[Tensor, " rows"]) -> Features:
    """The features of some samples."""
    return Features(features.values[rows], features.mask[rows])


def absent(features: Features, rows: Int[Tensor, " rows"]) -> Features:
    """The features of samples none of which has the modality: no token."""
    return Features(features.values[rows, :0], features.mask[rows, :0])
