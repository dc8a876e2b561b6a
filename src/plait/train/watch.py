"""Whether what is frozen stays, and what trains moves: looked at after the first update.

In: a model before its first step, and the number of each step that was done.
Out: a line for each part that does not move; `UserError` where a frozen one did.
Invariant: it holds no copy of the weights: of each tensor one sum over its bits. It looks until every part has moved, and no longer
than to the first line of the metrics after ten steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from plait.config import TrainConfig
from plait.errors import UserError
from plait.parts import Row, rows_of

FEW = 10
"""Steps in which a part may have nothing to learn from: its input is rare, or dropout took it."""

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Watch:
    """See the module."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.config = config
        rows = rows_of(model, config.parts)
        self.kept = [(row, marks(row.kept)) for row in rows if row.kept]
        self.still = [(row, marks(row.trained)) for row in rows if row.trained]
        self.num_steps = 0

    def look(self, step: int, *, rate: float, is_line: bool) -> list[str]:
        """After an update at this learning rate; what is to be said."""
        for row, before in self.kept:
            if marks(row.kept) != before:
                raise UserError(
                    f"{row.name} is frozen, and step {step} changed it",
                    where="train.parts",
                    right="A part of your own may write to its parameters: they have to stay as they are",
                )
        self.kept = []
        if rate == 0 or not self.still:
            return []
        self.num_steps += 1
        self.still = [(row, before) for row, before in self.still if marks(row.trained) == before]
        if not (is_line and self.num_steps >= FEW):
            return []
        said, self.still = [self.why(row, rate) for row, _ in self.still], []
        return said

    def why(self, row: Row, rate: float) -> str:
        """Why a part has not moved."""
        has_gradient = any(p.grad is not None and bool(p.grad.any()) for p in row.trained)
        own = rate * (row.rate or self.config.learning_rate) / self.config.learning_rate
        reason = (
            f"at a learning rate of {own:.3g} its updates are too small for its numbers"
            if has_gradient
            else "no loss reaches it, or no sample of these steps has its input"
        )
        return f"{row.name} trains, but has not changed in {self.num_steps} steps: {reason}"


def marks(tensors: Sequence[Tensor]) -> list[int]:
    """A sum over the bits of each tensor: equal tensors have equal ones, and an update changes it."""
    sums = [
        one.detach().contiguous().view(INTEGERS[one.element_size()]).sum(dtype=torch.int64).cpu() for one in tensors
    ]
    return torch.stack(sums).tolist() if sums else []
