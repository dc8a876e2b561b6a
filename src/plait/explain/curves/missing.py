"""Inputs that are missing for a share of the samples.

In: samples that have a modality, and a rate.
Out: which of them lose it.
Invariant: the share is exact to a sample, and who loses it at one rate loses it at every higher one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from plait.modalities.damage import Kind
from plait.seeds import numpy_generator
from plait.types import Sample

RATES = (0.25, 0.5, 0.75, 1.0)


def missing_kind(modality: str) -> Kind:
    """The kind that takes a modality away."""
    return Kind(
        "missing",
        modality,
        "share of the samples",
        RATES,
        0.0,
        "this share of the samples that have the input lose it, drawn once, in one order for all shares",
    )


def lost(samples: Sequence[Sample], modality: str, rate: float, *, seed: int) -> Bool[np.ndarray, " n"]:
    """The first round(rate × n) of the samples in a drawn order."""
    order = numpy_generator(seed, "curve", "missing", modality).permutation(len(samples))
    gone = np.zeros(len(samples), dtype=bool)
    gone[order[: round(rate * len(samples))]] = True
    return gone
