"""The held-out loss, per segment, in bits.

In: a model and a loader of held-out batches.
Out: mean −log₂ p of the target tokens, of each segment and of all.
Invariant: every token counts once and alike, whatever the batches and the weights; the model is left in the mode it was in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import nn

from plait.errors import UserError
from plait.losses import Ask
from plait.train.split import split_batch
from plait.train.step import autocast, device_of
from plait.types import IGNORED, Batch

TOKEN_LOSSES = Ask(sums=False, token_losses=True)


class HeldOut(NamedTuple):
    """Bits per target token: over all segments, and of each."""

    bits: float
    by_segment: dict[str, float]
    num_tokens: int


@torch.no_grad()
def held_out(
    model: nn.Module, batches: Iterable[Batch], segments: Sequence[str], *, dtype: str, micro_batch_size: int
) -> HeldOut:
    """One pass over the batches."""
    device, training = device_of(model), model.training
    totals = torch.zeros(len(segments), dtype=torch.float64)
    counts = torch.zeros(len(segments), dtype=torch.float64)
    model.eval()
    try:
        for batch in batches:
            for part in split_batch(batch.to(device), micro_batch_size):
                with autocast(device, dtype):
                    losses = model(part, TOKEN_LOSSES).token_losses
                scored = (part.targets != IGNORED).cpu()
                place = part.segments.cpu()[scored]
                totals.index_add_(0, place, losses.cpu()[scored].double())
                counts.index_add_(0, place, torch.ones(len(place), dtype=torch.float64))
    finally:
        model.train(training)
    if not counts.sum():
        raise UserError("no row with a target in the tune split", right="Give some rows `split: tune`, or none at all.")
    bits = totals / math.log(2)
    by_segment = {name: float(bits[i] / counts[i]) for i, name in enumerate(segments) if counts[i]}
    return HeldOut(float(bits.sum() / counts.sum()), by_segment, int(counts.sum()))
