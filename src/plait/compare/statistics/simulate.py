"""Tables of arms that are equally good, made from a real record: what a comparison must not see a difference in.

In: a record's right and wrong samples with their groups; how much seeds and groups do.
Out: tables of per-sample scores, tables × arm × seed × sample.
Invariant: over seeds, groups and samples every arm has the same expected score; which samples an arm gets wrong
differs from arm to arm (and stays from seed to seed as far as `arm_share` says), in whole groups as far as
`group_share` says.

Arm a at seed s gets sample i right if z_asi < h_ai + v_as: h_i holds how often the sample is got right at all (so that
two models disagree on `disagreement` of the samples, and the record's right ones are right more often), v_as is the
seed's effect, and z has variance 1: a share `group_share` of it belongs to each grouping's group, the rest to the
sample; of all that `arm_share` is the arm's own at every seed. h_ai is h_i, widened for an arm whose seeds vary more, so
that its mean is the others'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from plait.seeds import numpy_generator

_CHUNK = 12_000_000  # scores held at once


@dataclass(frozen=True)
class Population:
    """The record's samples: whether each was right `(n,)`, 0 or 1, and their groups."""

    right: Float[np.ndarray, " n"]
    groupings: Mapping[str, Int[np.ndarray, " n"]]


@dataclass(frozen=True)
class Effects:
    """How models differ. `seed_sd` in points of the score (1 = 0.01); `unequal`: the first arm's is that many times as large.

    `tailed`: seeds with heavy tails (Student's t with 3 degrees of freedom, scaled to the same sd), as where a run
    sometimes fails.
    """

    seed_sd: float = 1.0
    disagreement: float = 0.06
    group_share: float = 0.15
    arm_share: float = 0.3
    unequal: float = 1.0
    tailed: bool = False


def thresholds(right: Float[np.ndarray, " n"], disagreement: float) -> Float[np.ndarray, " n"]:
    """h_i: the mean share of right ones stays, two models disagree on `disagreement` of the samples (at most twice p
    (1 − p)).
    """
    share = float(right.mean())
    wrong = 1 - share
    if not 0 < disagreement < 2 * share * wrong:
        raise ValueError(
            f"two models with {share:.3f} right can disagree on 0 to {2 * share * wrong:.3f} of the samples"
        )
    # x: how often a right one is got wrong; 2 p x (2 − x / (1 − p)) = disagreement
    x = wrong * (1 - np.sqrt(1 - disagreement / (2 * share * wrong)))
    return norm.ppf(np.where(right > 0, 1 - x, x * share / wrong))


def equal_tables(
    population: Population, effects: Effects, *, num_tables: int, num_arms: int, num_seeds: int, seed: int = 0
) -> Iterator[Float[np.ndarray, "tables A S n"]]:
    """`num_tables` tables of equally good arms, in chunks; drawn anew in every table."""
    generator = numpy_generator(seed, "equal tables", num_arms, num_seeds, repr(effects))
    h = thresholds(population.right, effects.disagreement)
    slope = float(norm.pdf(h).mean())  # of the mean score in v
    scale = np.full((num_arms, 1), 0.01 * effects.seed_sd / slope)
    scale[0] *= effects.unequal
    wider = np.sqrt((1 + scale**2) / (1 + scale[-1] ** 2))[
        ..., None
    ]  # so that an unstable arm's mean is that of the others
    size = max(1, _CHUNK // (num_arms * num_seeds * len(h)))
    for start in range(0, num_tables, size):
        shape = (min(size, num_tables - start), num_arms, num_seeds)
        if effects.tailed:
            seeds = generator.standard_t(3, shape) / np.sqrt(3)
        else:
            seeds = generator.standard_normal(shape)
        z = _latent(generator, shape, population, effects, effects.arm_share, seeds=False)
        z = z + _latent(generator, shape, population, effects, 1 - effects.arm_share, seeds=True)
        z -= (seeds * scale)[..., None].astype(np.float32)
        yield (z < (wider * h).astype(np.float32)).astype(np.float32)


def _latent(
    generator: np.random.Generator,
    shape: tuple[int, int, int],
    population: Population,
    effects: Effects,
    variance: float,
    *,
    seeds: bool,
) -> Float[np.ndarray, "tables A S n"]:
    """Noise of the given variance, in groups and samples; the same at every seed unless `seeds`."""
    shape = shape if seeds else (*shape[:2], 1)
    alone = 1 - effects.group_share * len(population.groupings)
    z = generator.standard_normal((*shape, len(population.right)), dtype=np.float32)
    z *= np.float32(np.sqrt(variance * alone))
    for index in population.groupings.values():
        drawn = generator.standard_normal((*shape, int(index.max()) + 1), dtype=np.float32)
        drawn *= np.float32(np.sqrt(variance * effects.group_share))
        z += drawn[..., index]
    return z
