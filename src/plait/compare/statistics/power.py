"""What a comparison could have seen, and how many seeds or samples it would take to see more.

In: the `Parts` of a comparison.
Out: the smallest detectable difference; how many seeds, and how many samples, would separate two arms, or show a wanted lead.
Invariant: the figures are those of the very procedure (differences.py), run on drawn tables whose parts are the
measured ones: equal arms but one.

Drawn: each arm's seed means ~ N(0, S · max(V_seed, V_cell) / 2), its groups' part ~ N(0, (V_group − V_cell) / 2), and
the estimate of V_group with its degrees of freedom (for every pair where groups are few, else one for all). V_seed and its
pooling are estimated anew in every draw. The parts are the mean over all pairs of arms that lend to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from plait.compare.statistics.differences import CONFIDENCE, critical_curve, lends, spread
from plait.compare.statistics.parts import Parts, sums_of_squares
from plait.seeds import numpy_generator

POWER = 0.8
MAX_SEEDS = 100
MAX_FACTOR = 100.0
_NUMBERS = 2_000_000  # drawn at once
MAX_DRAWS = 20_000
FACTORS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0)
PLAN_DRAWS = 2_000
FEW_GROUPS = 40
PRACTICAL_SEEDS = 30
"""Up to so many seeds are told rather than more samples: they take machine time, samples take people's."""


@dataclass(frozen=True)
class Needed:
    """How many seeds (with the same samples) or how many times the samples (with the same seeds) would separate two
    arms; None: no number would.
    """

    seeds: int | None
    sample_factor: float | None


@dataclass(frozen=True)
class Plan:
    """A number of seeds, and how many times the samples, with which a lead over all other arms would be seen."""

    seeds: int
    sample_factor: float


@dataclass(frozen=True)
class Components:
    """The mean parts of a pair of arms, which can be scaled to other numbers of seeds and samples."""

    seed: float
    group: float
    cell: float
    widest_group: float
    num_seeds: int
    group_df: float

    @classmethod
    def of(cls, parts: Parts, pair: tuple[int, int] | None = None, *, lending: np.ndarray | None = None) -> Components:
        """Over all pairs of arms that lend to each other (differences.py; `lending` names others), or of one pair as the procedure
        takes it (its seeds' part at least the mean of these).
        """
        lending = lends(parts) if lending is None else lending
        pairs = np.outer(lending, lending) & ~np.eye(parts.num_arms, dtype=bool)
        means = [float(x[pairs].mean()) for x in (parts.seed, parts.group, parts.cell, parts.widest_group)]
        if pair is not None:
            own = [float(x[pair]) for x in (parts.seed, parts.group, parts.cell, parts.widest_group)]
            means = [max(own[0], means[0]), *own[1:]]
        seed, group, cell, widest = means
        group = max(
            group, widest
        )  # as the procedure takes it: with few groups the crossed estimate may fall below zero
        cell = min(max(cell, 0.0), group) if parts.num_seeds > 1 else 0.0
        return cls(max(seed, cell), group, cell, widest, parts.num_seeds, parts.group_df)

    def scaled(self, *, num_seeds: int | None = None, sample_factor: float = 1.0) -> Components:
        """With other seeds, or with `sample_factor` times the samples (and groups)."""
        num = self.num_seeds if num_seeds is None else num_seeds
        cell = self.cell * self.num_seeds / num / sample_factor
        own = (self.seed - self.cell) * self.num_seeds / num
        stays = (self.group - self.cell) / sample_factor
        widest = self.widest_group * (stays + cell) / self.group if self.group > 0 else 0.0
        return replace(
            self,
            seed=own + cell,
            group=stays + cell,
            cell=cell,
            widest_group=widest,
            num_seeds=num,
            group_df=max(1.0, (self.group_df + 1) * sample_factor - 1),
        )


def detectable(
    components: Components,
    num_arms: int,
    *,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    seed: int = 0,
    max_draws: int = MAX_DRAWS,
) -> float:
    """By how much one arm must be better than all others, these equal, for `power` of such comparisons to call it the
    winner.
    """
    num_seeds = components.num_seeds
    num_groups = max(2, round(components.group_df + 1))
    few = num_groups <= FEW_GROUPS
    draws = int(np.clip(_NUMBERS // (num_arms * max(1, num_seeds, num_groups * few)), 2000, max_draws))
    generator = numpy_generator(seed, "detectable", num_arms, num_seeds)
    at_seed = generator.standard_normal((draws, num_arms, num_seeds)) * np.sqrt(components.seed * num_seeds / 2)
    stays = generator.standard_normal((draws, num_arms)) * np.sqrt((components.group - components.cell) / 2)
    measured = generator.chisquare(components.group_df, (draws, 1, 1)) / components.group_df
    if (
        few and num_arms > 2
    ):  # then the estimates differ from pair to pair, and a lead over all arms must pass the widest
        of_group = generator.standard_normal((draws, num_arms, num_groups))
        of_group -= of_group.mean(axis=-1, keepdims=True)
        measured = sums_of_squares(of_group) / (2 * (num_groups - 1))
    if num_seeds == 1:
        at_seed = np.zeros_like(at_seed)
    away = at_seed - at_seed.mean(axis=-1, keepdims=True)
    apart = 1.0 - np.eye(num_arms)
    parts = Parts(
        means=at_seed.mean(axis=-1) + stays,
        seed=sums_of_squares(away) / max(1, num_seeds * (num_seeds - 1)),
        group=components.group * measured * apart,
        cell=components.cell * measured * apart,
        widest_group=components.widest_group * measured * apart,
        num_seeds=num_seeds,
        group_df=components.group_df,
    )
    return float(np.quantile(lead_needed(parts, confidence), power))


def lead_needed(
    parts: Parts, confidence: float = CONFIDENCE, *, over: slice = slice(1, None)
) -> Float[np.ndarray, " tables"]:
    """How much must be added to the first arm of each table for the procedure to call the arms `over` worse than it."""
    found = spread(parts)
    reach = critical_curve(parts.num_arms, confidence)(found.df[:, 0, over]) * np.sqrt(found.variance[:, 0, over])
    return (reach + parts.means[:, over]).max(axis=1) - parts.means[:, 0]


def needed(
    components: Components, difference: float, *, confidence: float = CONFIDENCE, power: float = POWER, seed: int = 0
) -> Needed:
    """The least seeds, and the least samples, with which the two arms alone are told apart if `difference` is the
    true one.
    """

    def seen(of: Components) -> bool:
        return detectable(of, 2, confidence=confidence, power=power, seed=seed) <= abs(difference)

    most = components.scaled(num_seeds=MAX_SEEDS)
    seeds = _least(2, MAX_SEEDS, lambda s: seen(components.scaled(num_seeds=s))) if seen(most) else None
    steps = 40  # of a twentieth of a decade each
    factors = MAX_FACTOR ** (np.arange(steps + 1) / steps)
    factor = None
    if seen(components.scaled(sample_factor=MAX_FACTOR)):
        factor = float(factors[_least(0, steps, lambda k: seen(components.scaled(sample_factor=float(factors[k]))))])
    return Needed(seeds, factor)


def plan(
    components: Components,
    num_arms: int,
    lead: float,
    *,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    factors: Sequence[float] = FACTORS,
    seed: int = 0,
) -> Plan | None:
    """The seeds and samples, no fewer than there are, that show such a lead: on these samples if up to `PRACTICAL_SEEDS` seeds do,
    otherwise with the least to train and evaluate; None where `MAX_SEEDS` seeds on the largest of the `factors` do not.
    """

    def seen(num_seeds: int, factor: float) -> bool:
        scaled = components.scaled(num_seeds=num_seeds, sample_factor=factor)
        found = detectable(scaled, num_arms, confidence=confidence, power=power, seed=seed, max_draws=PLAN_DRAWS)
        return found <= lead

    fewest, best = max(2, components.num_seeds), None
    for factor in factors:
        most = MAX_SEEDS if best is None else min(MAX_SEEDS, int(best.seeds * best.sample_factor / factor))
        if most < fewest or not seen(most, factor):
            continue
        num = _least(fewest, most, lambda s, factor=factor: seen(s, factor))
        if best is None or num * factor < best.seeds * best.sample_factor:
            best = Plan(num, factor)
        if factor == 1 and num <= PRACTICAL_SEEDS:
            break
    return best


def _least(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The least number for which `holds`, which it does at `high` and from some number on."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high
