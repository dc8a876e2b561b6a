"""Inputs shuffled across samples: how much a model relies on an input, which is not how much the input tells.

In: samples, names of inputs and a seed.
Out: for each sample another one that has them, whose inputs it gets.
Invariant: no sample keeps its own input, each input is used as often as before, and samples without one stay without. A strange
input misleads, so the loss under it is called reliance and never bits of credit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from plait.seeds import numpy_generator
from plait.types import Sample

MAX_SHIFTS = 20
"""Rotations of the drawn order that are tried, to find one where the fewest samples meet an input like their own."""


def shuffled(samples: Sequence[Sample], name: str, *, seed: int) -> tuple[list[Sample], int]:
    """The samples with this input moved along a random cycle; and how many met an input equal to their own.

    Of fewer than two samples with it nothing can be moved: all come back as they were.
    """
    partners, equal = partners_of(samples, (name,), seed=seed)
    moved = [
        replace(sample, inputs={**sample.inputs, name: samples[partner].items(name)}) if sample.has(name) else sample
        for sample, partner in zip(samples, partners.tolist(), strict=True)
    ]
    return moved, equal


def partners_of(samples: Sequence[Sample], inputs: Sequence[str], *, seed: int) -> tuple[Int[np.ndarray, " n"], int]:
    """For each sample that has any of these inputs another one that has, along a random cycle, whose inputs it gets; itself for
    the others. And how many met inputs equal to their own.
    """
    rows = [row for row, sample in enumerate(samples) if any(map(sample.has, inputs))]
    found = np.arange(len(samples))
    if len(rows) < 2:
        return found, len(rows)
    order = np.array(rows)[numpy_generator(seed, "shuffle", *inputs).permutation(len(rows))]
    items = [tuple(samples[row].items(name) for name in inputs) for row in order]

    def equal(shift: int) -> int:
        return sum(own == items[(k + shift) % len(order)] for k, own in enumerate(items))

    shift = min(range(1, min(len(order), MAX_SHIFTS + 1)), key=equal)
    found[order] = np.roll(order, -shift)
    return found, equal(shift)
