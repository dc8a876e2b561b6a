"""Which of a sample's forms is meant: which of its references, and which random changes.

In: a sample; the seed and the epoch.
Out: the number of a reference; generators.
Invariant: a draw is named by (seed, what it is for, epoch, the sample's id): the same in every process and every order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from plait.seeds import derive_seed, torch_generator
from plait.types import Sample


@dataclass(frozen=True)
class Draw:
    """The draws of one epoch. `reference` None: one is drawn in training, otherwise the first."""

    training: bool
    seed: int = 0
    epoch: int = 0
    reference: int | None = None

    def reference_of(self, sample: Sample) -> int | None:
        """The number of the reference that is the sample's target; None for a sample that has no such reference."""
        number, several = self.reference or 0, len(sample.references)
        if self.reference is None and self.training and several > 1:
            number = derive_seed(self.seed, "reference", self.epoch, sample.id) % several
        return number if number < several else None

    def generator(self, what: str, sample: Sample, place: int = 0) -> torch.Generator:
        """The generator of one random change of the item at one place of a sample."""
        return torch_generator(self.seed, what, self.epoch, sample.id, place)


def all_references(samples: Sequence[Sample]) -> tuple[list[Sample], list[int]]:
    """One sample per reference, and the place of the sample that each came from: what a loss over all references reads.

    Samples from one place that stand in the same batch share their media's items, so nothing is encoded twice.
    """
    expanded = [
        (replace(sample, references=(reference,)), place)
        for place, sample in enumerate(samples)
        for reference in sample.references
    ]
    return [sample for sample, _ in expanded], [place for _, place in expanded]
