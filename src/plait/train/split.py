"""A batch cut into smaller ones.

In: a batch of B samples.
Out: batches of at most `size` samples in the same order, with only the text positions that they need; all share the items
(the model encodes only those that its samples use).
Invariant: nothing that is scored or attended is lost: the loss sums of the parts add up to the loss sums of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from plait.types import IGNORED, Batch


def select_samples(batch: Batch, start: int, stop: int) -> Batch:
    """Samples `start` to `stop` of a batch."""
    targets = batch.targets[start:stop]
    scored = (targets != IGNORED).any(0).nonzero()
    length = int(scored.max()) + 1 if len(scored) else targets.shape[1]
    return Batch(
        batch.ids[start:stop],
        {m: replace(items, index=items.index[start:stop]) for m, items in batch.inputs.items()},
        batch.tokens[start:stop, :length],
        targets[:, :length],
        batch.segments[start:stop, :length],
        batch.weights[start:stop],
    )


def split_batch(batch: Batch, size: int) -> Iterator[Batch]:
    """Parts of at most `size` samples."""
    for start in range(0, len(batch), size):
        yield select_samples(batch, start, min(start + size, len(batch)))
