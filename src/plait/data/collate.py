"""Prepared samples → one `Batch`: padded, masked, targets shifted once.

In: per modality the items that exist, `(L, ...)` each, and which of them each sample has; per sample the segments of
its target.
Out: `Batch`, or parts of it; how much of a batch is padding; a part of a batch.
Invariant: `<end>` is a target and never an input, a segment's own token an input and never a target; nothing is cut,
padding stands behind and is counted by no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from plait.types import IGNORED, Batch, Items


class SegmentTokens(NamedTuple):
    """One segment of a target: its place among the run's segments, its own special token, and its text's tokens."""

    place: int
    token: int
    ids: Sequence[int]


class Targets(NamedTuple):
    """The text part of a batch."""

    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"]


@dataclass(frozen=True)
class Positions:
    """How many positions of a batch are filled, and how many there are."""

    filled: int
    total: int

    @property
    def padding(self) -> float:
        """The share that is padding; 0 where there is no position at all."""
        return 1 - self.filled / self.total if self.total else 0.0


def num_target_positions(target: Sequence[SegmentTokens]) -> int:
    """Positions of a target in the language model: each segment's own token and its text; `<end>` is a target only."""
    return sum(1 + len(segment.ids) for segment in target)


def collate_targets(targets: Sequence[Sequence[SegmentTokens]], *, start_id: int, end_id: int, pad_id: int) -> Targets:
    """Tokens, shifted targets and segments; a sample without a target has `start_id` as only token, no target."""
    width = max([1, *(num_target_positions(target) for target in targets)])
    tokens, shifted, segments = [], [], []
    for target in targets:
        row, says, place = ([start_id], [IGNORED], [-1]) if not target else ([], [], [])
        for segment in target:
            row += [segment.token, *segment.ids]
            says += [*segment.ids, end_id]
            place += [segment.place] * (1 + len(segment.ids))
        missing = width - len(row)
        tokens.append(row + [pad_id] * missing)
        shifted.append(says + [IGNORED] * missing)
        segments.append(place + [-1] * missing)
    shape = (len(targets), width)
    return Targets(*(torch.tensor(rows, dtype=torch.long).reshape(shape) for rows in (tokens, shifted, segments)))


def collate_sequences(
    values: Sequence[Shaped[Tensor, "_ ..."]], empty: Shaped[Tensor, "_ ..."], fill: int | float = 0
) -> Shaped[Tensor, "R L ..."]:
    """Sequences `(L, ...)` stacked, padded with `fill`; `empty` gives type and trailing shape if there is none."""
    longest = max([len(empty), *(len(value) for value in values)])
    padded = empty.new_full((len(values), longest, *empty.shape[1:]), fill)
    for row, value in zip(padded, values, strict=True):
        row[: len(value)] = value
    return padded


def collate_index(rows: Sequence[Sequence[int]]) -> Int[Tensor, "B K"]:
    """The item of each place of each sample, −1 for none."""
    places = max([1, *(len(row) for row in rows)])
    return torch.tensor([[*row, *[-1] * (places - len(row))] for row in rows], dtype=torch.long).reshape(
        len(rows), places
    )


def positions(batch: Batch) -> dict[str, Positions]:
    """Filled and all positions of each part that has a length: frames of `audio`, tokens of `text` and `target`."""
    counts: dict[str, Positions] = {}
    for modality, items in batch.inputs.items():
        if modality != "image":
            counts[modality] = Positions(int(items.lengths.sum()), items.values.shape[0] * items.values.shape[1])
    scored = int((batch.segments >= 0).sum())
    counts["target"] = Positions(scored, batch.tokens.numel())
    return counts


def padding_share(batch: Batch) -> float:
    """The share of all positions (frames and tokens; pictures have no padding) that is padding."""
    counts = positions(batch).values()
    return Positions(sum(c.filled for c in counts), sum(c.total for c in counts)).padding


def select(batch: Batch, rows: Sequence[int]) -> Batch:
    """The given samples of a batch with only their items, cut to their longest: a batch split when memory runs out."""
    chosen = torch.tensor(list(rows), dtype=torch.long, device=batch.tokens.device)
    width = max(1, int((batch.segments[chosen] >= 0).sum(dim=1).max())) if len(rows) else 1
    return Batch(
        ids=tuple(batch.ids[row] for row in rows),
        inputs={modality: _select_items(items, chosen) for modality, items in batch.inputs.items()},
        tokens=batch.tokens[chosen, :width],
        targets=batch.targets[chosen, :width],
        segments=batch.segments[chosen, :width],
        weights=batch.weights[chosen],
    )


def _select_items(items: Items, rows: Int[Tensor, " rows"]) -> Items:
    index = items.index[rows]
    used = torch.unique(index[index >= 0])
    renumbered = torch.full((len(items.lengths) + 1,), -1, dtype=torch.long, device=rows.device)  # the last: index −1
    renumbered[used] = torch.arange(len(used), device=rows.device)
    values, lengths = items.values[used], items.lengths[used]
    if values.dim() < 4 and len(used):  # a sequence: text or sound
        values = values[:, : int(lengths.max())]
    sources = None if items.sources is None else items.sources[used]
    return Items(values, lengths, renumbered[index], sources, items.encoded)
