"""Prepared samples → one `Batch`: padded, masked, targets shifted once.

In: per modality the items that exist, `(L, ...)` each, and which of them each sample has; per sample the segments of
its target.
Out: parts of a `Batch`; how much of a batch is padding.
Invariant: `<end>` is a target and never an input, a segment's own token an input and never a target; nothing is cut,
padding stands behind and is counted by no mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from plait.types import IGNORED, Batch


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


def collate_index(rows: Sequence[Sequence[int]]) -> Int[Tensor, "B K"]:
    """The item of each place of each sample, −1 for none."""
    places = max([1, *(len(row) for row in rows)])
    return torch.tensor([[*row, *[-1] * (places - len(row))] for row in rows], dtype=torch.long).reshape(
        len(rows), places
    )


def positions(batch: Batch) -> dict[str, Positions]:
    """Filled and all positions of the `target` and of each input that is padded: not of those whose items have one shape."""
    counts: dict[str, Positions] = {}
    for name, items in batch.inputs.items():
        if items.values.dim() in (2, 3):
            counts[name] = Positions(int(items.lengths.sum()), items.values.shape[0] * items.values.shape[1])
    scored = int((batch.segments >= 0).sum())
    counts["target"] = Positions(scored, batch.tokens.numel())
    return counts
