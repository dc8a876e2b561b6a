"""The loss with each modality alone: through the same fusion and language model, all others absent.

In: features of every modality, encoded once for the whole batch, and the batch.
Out: per modality Σ weight × loss (nats), Σ weight × p(target) and Σ weight, over the target tokens of the samples that have it.
Invariant: sums over samples, so those of micro-batches add up to those of the whole; a sample without the modality adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from plait.model import Model, absent, select
from plait.types import IGNORED, Batch, Features, in_order


class Alone(NamedTuple):
    """Sums over target tokens with one modality given. `likelihood` holds p(target), whatever the label smoothing."""

    total: Float[Tensor, ""]
    likelihood: Float[Tensor, ""]
    weight: Float[Tensor, ""]

    def detached(self) -> Alone:
        """The same numbers, without what led to them."""
        return Alone(*(value.detach() for value in self))


def alone_losses(
    model: Model, features: Mapping[str, Features], batch: Batch, *, label_smoothing: float = 0.0
) -> dict[str, Alone]:
    """Of every modality that some sample of the batch has."""
    rows = {m: features[m].mask.any(dim=1).nonzero()[:, 0] for m in model.inputs}
    return {
        m: alone(model, features, batch, m, has, label_smoothing=label_smoothing) for m, has in rows.items() if len(has)
    }


def alone(
    model: Model,
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


def measure_alone(model: Model, parts: Iterable[Batch], *, seed: int) -> dict[str, float]:
    """Nats per (weighted) target token with each modality alone, as the model is now, in its present mode; nothing is kept."""
    with torch.no_grad(), drawing(model, seed):
        found = added(alone_losses(model, model.encode(part.inputs, len(part)), part) for part in parts)
    return {m: float(one.total / one.weight) for m, one in found.items() if one.weight > 0}


@contextmanager
def drawing(model: Model, seed: int | None) -> Iterator[None]:
    """Draws inside the block (a model's dropout) begin at `seed`, None = as they come, and change no draw after it."""
    device = model.lm.embedding.table.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield
