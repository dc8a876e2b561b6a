"""Where the uncertainty of a paired difference between two arms comes from: the training seed, the test samples'
groups, or both at once.

In: what each sample adds to each arm's score, arm × seed × sample; one or several groupings of the samples.
Out: `Parts`: three variances for every pair of arms.
Invariant: each is the variance of the same number, the mean difference d.. over all S seeds and n samples; nothing is
clipped here.

With d_s. the mean difference at seed s, e_sg = Σ_{i in g} (d_si − d_s.) / n what group g adds to seed s, and e_.g its
mean over the seeds:

    V_seed  = Σ_s (d_s. − d..)² / (S (S − 1))                      holds σ²_seed / S and the cells' part
    V_group = f Σ_g e_.g²                                          holds σ²_group and the cells' part
    V_cell  = f Σ_s Σ_g (e_sg − e_.g)² / (S (S − 1))               the part that both hold: it counts once

f = 1 / (1 − Σ_g w_g²) with the groups' shares w_g of the samples (G / (G − 1) where all are alike). So V_seed +
V_group − V_cell is the variance of the mean over crossed seeds and groups; with equal groups it is the analysis of
variance's estimate, without bias. Crossed groupings (picture × speaker): V_group and V_cell are each taken for every
grouping and for their intersections, and added with alternating signs (inclusion and exclusion). The degrees of
freedom of a grouping are 1 / Σ_g w_g² − 1: groups as large as the large ones count, many small ones hardly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import f

UNLIKE, MOST_UNLIKE = 4.0, 100.0
"""From this ratio of an arm's seed variance to the mean of the others' on it stands out; and the largest that is told."""

ROUNDING = 1e-13
"""A sum of squares under this part of what it is the rest of is rounding."""


@dataclass(frozen=True)
class Parts:
    """The variances for every pair of arms `(..., A, A)`; zeros on the diagonal. With one seed `seed` and `cell` are zero.

    `means`: higher is better. `widest_group` is the largest V_group of the single groupings, `group_df` their smallest degrees of
    freedom.
    """

    means: Float[np.ndarray, "*T A"]
    seed: Float[np.ndarray, "*T A A"]
    group: Float[np.ndarray, "*T A A"]
    cell: Float[np.ndarray, "*T A A"]
    widest_group: Float[np.ndarray, "*T A A"]
    num_seeds: int
    group_df: float

    @property
    def num_arms(self) -> int:
        """How many arms there are."""
        return self.means.shape[-1]

    def seed_variances(self) -> Float[np.ndarray, "*T A"]:
        """How much each arm's score varies from seed to seed, what all arms share at a seed left out; three arms or more.

        V_seed of a pair is (σ²_i + σ²_j) / S: solved for the arms. Without bias, so it can fall below zero.
        """
        of_arm = self.num_seeds * self.seed.sum(axis=-1)
        together = of_arm.sum(axis=-1, keepdims=True) / (2 * (self.num_arms - 1))
        return (of_arm - together) / (self.num_arms - 2)

    def times_unlike(self) -> Float[np.ndarray, "*T A"]:
        """How many times as large an arm's seed variance is as the mean of the others'; zeros below three arms or seeds."""
        if self.num_seeds < 3 or self.num_arms < 3:
            return np.zeros_like(self.means)
        own = self.seed_variances()
        others = (own.sum(axis=-1, keepdims=True) - own) / (self.num_arms - 1)
        others = np.maximum(others, own / MOST_UNLIKE)
        return np.divide(own, others, out=np.zeros_like(own), where=(own > 0) & (others > 0))

    def unlike(self) -> Bool[np.ndarray, "*T A"]:
        """The arms whose seeds vary so much more than the others' that chance would not do it in 1 of 100 comparisons."""
        few, many = self.num_seeds - 1, (self.num_arms - 1) * (self.num_seeds - 1)
        limit = max(UNLIKE, float(f.ppf(1 - 0.01 / self.num_arms, max(1, few), max(1, many))))
        return self.times_unlike() > limit


def variance_parts(values: Float[np.ndarray, "*T A S n"], groupings: Mapping[str, Int[np.ndarray, " n"]]) -> Parts:
    """The parts for every pair of arms, of one table or of many at once."""
    num_seeds, n = values.shape[-2:]
    at_seed = values.mean(axis=-1, dtype=float)
    means = at_seed.mean(axis=-1)
    twice = max(1, num_seeds * (num_seeds - 1))
    away = at_seed - means[..., None]
    seed = sums_of_squares(away) / twice
    group, cell, widest = np.zeros_like(seed), np.zeros_like(seed), np.zeros_like(seed)
    freedom = np.inf
    for sign, index, single in crossings(groupings):
        order, starts, sizes = _sorted(index)
        sums = np.add.reduceat(values[..., order], starts, axis=-1, dtype=float)
        added = (sums - at_seed[..., None] * sizes) / n  # (..., A, S, G)
        mean = added.mean(axis=-2)
        squares = float((sizes / n) @ (sizes / n))
        factor = 1.0 / (1.0 - squares)
        own = factor * sums_of_squares(mean)
        rest = np.moveaxis(added - mean[..., None, :], -3, -2)  # (..., S, A, G)
        group += sign * own
        cell += sign * factor * sums_of_squares(rest).sum(axis=-3) / twice
        if single:
            widest = np.maximum(widest, own)
            freedom = min(freedom, 1.0 / squares - 1.0)
    return Parts(means, seed, group, cell, widest, num_seeds, freedom)


def sums_of_squares(x: Float[np.ndarray, "*T A k"]) -> Float[np.ndarray, "*T A A"]:
    """Σ_k (x_ik − x_jk)² for every pair of rows. What all rows share is taken off first: only differences count, and
    digits are kept; what rounding alone may leave is 0, as it is of rows that are equal.
    """
    x = x - x.mean(axis=-2, keepdims=True)
    products = x @ x.swapaxes(-1, -2)
    own = np.diagonal(products, axis1=-2, axis2=-1)
    both = own[..., :, None] + own[..., None, :]
    squares = both - 2 * products
    return np.where(squares > ROUNDING * both, squares, 0.0)


def crossings(groupings: Mapping[str, Int[np.ndarray, " n"]]) -> Iterator[tuple[int, Int[np.ndarray, " n"], bool]]:
    """Every intersection of groupings with its sign, and whether it is a single one."""
    for size in range(1, len(groupings) + 1):
        for names in combinations(groupings, size):
            both = np.unique(np.stack([groupings[name] for name in names]), axis=1, return_inverse=True)[1]
            yield (-1) ** (size + 1), both.reshape(-1), size == 1


def _sorted(index: Int[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples in the order of their groups, where each group starts, and how large it is."""
    sizes = np.bincount(index)
    return np.argsort(index, kind="stable"), np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes.astype(float)
