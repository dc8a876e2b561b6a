"""The procedure on tables of which the truth is known: how often it is wrong, and whether it sees what it says it could see.

In: a `Population` (a real record's samples), the effects, the size of the comparison.
Out: a `Calibration`: rates with exact binomial 95 % intervals.
Invariant: the procedure is the one that `compare` uses.

The planted difference is added to every score of one arm, the others being equal: that is what the stated smallest detectable
difference claims something about, it can be planted at any level of the score, and the same tables show false alarms
and power.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from scipy.stats import beta

from plait.compare.statistics.differences import called_worse, lends
from plait.compare.statistics.parts import Parts, variance_parts
from plait.compare.statistics.power import Components, detectable, lead_needed
from plait.compare.statistics.simulate import Effects, Population, equal_tables

_STATED = 25  # tables whose own statement is looked at


@dataclass(frozen=True)
class Rate:
    """How often something happened, with its exact 95 % interval (Clopper and Pearson)."""

    count: int
    n: int

    @property
    def value(self) -> float:
        """The share."""
        return self.count / self.n

    @property
    def low(self) -> float:
        """The lower bound."""
        return 0.0 if self.count == 0 else float(beta.ppf(0.025, self.count, self.n - self.count + 1))

    @property
    def high(self) -> float:
        """The upper bound."""
        return 1.0 if self.count == self.n else float(beta.ppf(0.975, self.count + 1, self.n - self.count))


@dataclass(frozen=True)
class Calibration:
    """What the procedure did on equal arms, and with a difference of the stated size.

    `false_winners`: an arm was called the winner; `false_differences`: any arm was called worse than the best.
    `detectable`: the smallest detectable difference that follows from the mean of the measured parts; `stated`: the
    range (10 to 90 %) of what single tables say. `seed_sd`: the measured standard deviation of an arm's score from
    seed to seed, its samples' part included.
    """

    false_winners: Rate
    false_differences: Rate
    power: Rate
    detectable: float
    stated: tuple[float, float]
    seed_sd: float

    @property
    def holds(self) -> bool:
        """False winners and false differences include or lie under 5 %, the power includes 80 %."""
        return self.false_winners.low <= 0.05 and self.false_differences.low <= 0.05 and self.has_power

    @property
    def has_power(self) -> bool:
        """Whether the interval of the power includes 80 %."""
        return self.power.low <= 0.8 <= self.power.high


def calibrate(
    population: Population,
    effects: Effects,
    *,
    num_arms: int,
    num_seeds: int,
    num_tables: int = 500,
    behind: float = 0.0,
    seed: int = 0,
) -> Calibration:
    """Draw `num_tables` tables of equal arms; look at them as they are, and with the first arm raised by the
    detectable difference.

    The arm whose seeds are `unequal` is the last one; `behind`: by so many points (1 = 0.01) it is worse than the others, and then
    it counts neither as a false winner nor as a false difference. The power is that of a lead over all arms; where one is unstable
    and level, over all others but that one, which is what a comparison states.
    """
    parts = joined(
        [
            variance_parts(values, population.groupings)
            for values in equal_tables(
                population, effects, num_tables=num_tables, num_arms=num_arms, num_seeds=num_seeds, seed=seed
            )
        ]
    )
    unstable = effects.unequal != 1
    if unstable:
        parts = turned(parts)
        parts.means[:, -1] -= 0.01 * behind
    worse = called_worse(parts)
    winners = worse.sum(axis=1) == num_arms - 1
    worse = worse[:, :-1] if behind else worse
    over = slice(1, num_arms - 1 if unstable and not behind else num_arms)
    leads = lead_needed(parts, over=over)
    if unstable:
        seen, size = power_of(parts, leads)
    else:
        size = detectable(Components.of(mean_of(parts)), num_arms)
        seen = int((leads <= size).sum())
    some = range(min(_STATED, num_tables))
    stated = [detectable(Components.of(table_of(parts, k)), num_arms, max_draws=2000) for k in some]
    low, high = np.quantile(stated, [0.1, 0.9])
    return Calibration(
        Rate(int(winners.sum()), num_tables),
        Rate(int(worse.any(axis=1).sum()), num_tables),
        Rate(seen, num_tables),
        size,
        (float(low), float(high)),
        float(np.sqrt(parts.seed.mean() * num_arms / (num_arms - 1) * num_seeds / 2)),
    )


def power_of(parts: Parts, leads: np.ndarray) -> tuple[int, float]:
    """In how many tables the stated lead is seen, and its mean.

    It is stated from the mean parts of the tables in which the same arms lend to each other: a comparison in which an unstable arm
    stands out states the lead over the others, one in which it is not recognised a larger one.
    """
    masks, which = np.unique(lends(parts), axis=0, return_inverse=True)
    which, seen, sizes = which.reshape(-1), 0, np.empty(len(leads))
    usual = int(np.bincount(which).argmax())
    for k, mask in enumerate(masks):
        rows = which == k
        alike = mask if rows.sum() >= _FEW else masks[usual]
        mean = mean_of(rows_of(parts, rows if rows.sum() >= _FEW else which == usual))
        sizes[rows] = detectable(Components.of(mean, lending=alike), parts.num_arms)
        seen += int((leads[rows] <= sizes[rows]).sum())
    return seen, float(sizes.mean())


_FEW = 20  # fewer tables have no mean worth using
_ARRAYS = tuple(one.name for one in fields(Parts) if one.name not in ("num_seeds", "group_df"))


def joined(chunks: list[Parts]) -> Parts:
    """The parts of all tables."""
    arrays = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in _ARRAYS}
    return Parts(**arrays, num_seeds=chunks[0].num_seeds, group_df=chunks[0].group_df)


def turned(parts: Parts) -> Parts:
    """The same tables with the first arm as the last."""
    arrays = {name: np.roll(getattr(parts, name), -1, axis=1) for name in _ARRAYS}
    pairs = {name: np.roll(array, -1, axis=2) for name, array in arrays.items() if array.ndim == 3}
    return Parts(**(arrays | pairs), num_seeds=parts.num_seeds, group_df=parts.group_df)


def rows_of(parts: Parts, rows: np.ndarray) -> Parts:
    """The parts of some tables."""
    return Parts(
        **{name: getattr(parts, name)[rows] for name in _ARRAYS}, num_seeds=parts.num_seeds, group_df=parts.group_df
    )


def table_of(parts: Parts, number: int) -> Parts:
    """The parts of one table."""
    return Parts(
        **{name: getattr(parts, name)[number] for name in _ARRAYS}, num_seeds=parts.num_seeds, group_df=parts.group_df
    )


def mean_of(parts: Parts) -> Parts:
    """The mean parts over tables."""
    return Parts(
        **{name: getattr(parts, name).mean(axis=0) for name in _ARRAYS},
        num_seeds=parts.num_seeds,
        group_df=parts.group_df,
    )
