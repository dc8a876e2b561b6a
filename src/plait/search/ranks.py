"""Where the right entry stands when a gallery is sorted by likeness, and where it would stand by chance.

In: the vectors of queries `(Q, D)` and of a gallery `(R, D)`, and the right entries of each query.
Out: a rank for each query, counted from 1; the chance figures in closed form.
Invariant: of several right entries the best counts. Entries that are alike (within 1e-6) share their places: the rank is the mean
over all orders in which the wrong ones among them could stand, so vectors that are all equal reach no better than the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ALIKE = 1e-6
CHUNK = 32_000_000
"""Likenesses held at once."""


def ranks(
    queries: Float[Tensor, "Q D"], gallery: Float[Tensor, "R D"], right: Sequence[Sequence[int]]
) -> Float[np.ndarray, " Q"]:
    """1 + the wrong entries that are more like the query than its best right one + half of those that are just as like."""
    found = np.empty(len(queries))
    size = max(1, CHUNK // max(1, len(gallery)))
    for start in range(0, len(queries), size):
        stop = min(start + size, len(queries))
        scores = queries[start:stop] @ gallery.T
        is_right = torch.zeros(scores.shape, dtype=torch.bool)
        for row, places in enumerate(right[start:stop]):
            is_right[row, list(places)] = True
        best = scores.masked_fill(~is_right, -torch.inf).amax(dim=1, keepdim=True)
        wrong = ~is_right
        better = (wrong & (scores > best + ALIKE)).sum(dim=1)
        alike = (wrong & ((scores - best).abs() <= ALIKE)).sum(dim=1)
        found[start:stop] = (1 + better + alike / 2).double().numpy()
    return found


def recall_by_chance(num_entries: int, num_right: Int[np.ndarray, " Q"], k: int) -> float:
    """The mean over the queries of 1 − C(R − r, k) / C(R, k): one of r right entries among the first k of a random order."""
    return 1 - float(np.mean(np.prod([missed(num_entries, num_right, i) for i in range(min(k, num_entries))], axis=0)))


def median_by_chance(num_entries: int, num_right: Int[np.ndarray, " Q"]) -> int:
    """The least rank within which half of the queries find a right entry in a random order."""
    values, counts = np.unique(num_right, return_counts=True)
    left, share = np.ones(len(values)), counts / counts.sum()
    for k in range(1, num_entries + 1):
        left = left * missed(num_entries, values, k - 1)
        if 1 - float(left @ share) >= 0.5 - 1e-12:
            return k
    return num_entries


def missed(num_entries: int, num_right: Int[np.ndarray, " Q"], place: int) -> Float[np.ndarray, " Q"]:
    """The chance that no right entry stands at a place, given that none stood before."""
    return np.clip(1 - num_right / (num_entries - place), 0.0, 1.0)
