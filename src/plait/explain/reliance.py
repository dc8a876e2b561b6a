"""Inputs shuffled across samples: how much a model relies on a modality, which is not how much the modality tells.

In: samples, a modality and a seed.
Out: the same samples, each with the input of this modality of another one that has it.
Invariant: no sample keeps its own input, each input is used as often as before, and samples without one stay without. A strange
input misleads, so the loss under it is called reliance and never bits of credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plait.seeds import numpy_generator
from plait.types import Sample

MAX_SHIFTS = 20
"""Rotations of the drawn order that are tried, to find one where the fewest samples meet an input like their own."""


def shuffled(samples: Sequence[Sample], modality: str, *, seed: int) -> tuple[list[Sample], int]:
    """The samples with this modality's inputs moved along a random cycle; and how many met an input equal to their own.

    Of fewer than two samples with the modality nothing can be moved: all come back as they were.
    """
    rows = [row for row, sample in enumerate(samples) if sample.has(modality)]
    found = list(samples)
    if len(rows) < 2:
        return found, len(rows)
    order = [rows[k] for k in numpy_generator(seed, "shuffle", modality).permutation(len(rows))]
    inputs = [getattr(samples[row], modality) for row in order]

    def equal(shift: int) -> int:
        return sum(own == inputs[(k + shift) % len(order)] for k, own in enumerate(inputs))

    shift = min(range(1, min(len(order), MAX_SHIFTS + 1)), key=equal)
    for k, row in enumerate(order):
        found[row] = replace(samples[row], **{modality: inputs[(k + shift) % len(order)]})
    return found, equal(shift)
