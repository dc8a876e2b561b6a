"""What a comparison will be able to see, said before anything is trained; and how many seeds a wanted lead takes.

In: the arms, the seeds, the samples that are asked with their groups.
Out: words; a number of seeds.
Invariant: the figures are those of the procedure that gives the verdict (statistics/power.py), run on what is planned.

How much scores vary from seed to seed is not known before: three answers are given, for an arm's standard deviation of 0.5, 1 and 3
points, which is what well-behaved, ordinary and shaky trainings were measured to have. Two models are taken to disagree on 10 % of
the samples, 30 % of that at every seed, and a share of .15 of it in whole groups, which is what the calibration assumes as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from plait.compare.arms import Arm
from plait.compare.compared import Settings
from plait.compare.statistics.differences import effective_groups
from plait.compare.statistics.power import FACTORS, MAX_SEEDS, POWER, Components, Plan, detectable, plan
from plait.compare.statistics.table import is_percent
from plait.compare.statistics.wording import groups, listed, seeds
from plait.errors import UserError
from plait.evaluate.statistics import ALONE, Groupings
from plait.types import Sample

SEED_SDS = (0.5, 1.0, 3.0)
"""In points: what the three answers are for."""

USUAL_SD = 1.0
"""The one that `--power` plans with."""

DISAGREEMENT, ARM_SHARE, GROUP_SHARE = 0.1, 0.3, 0.15
DRAWS = 2_000


@dataclass(frozen=True)
class Planned:
    """The size of a comparison: arms that are compared with each other, samples, and their groups."""

    num_arms: int
    num_samples: int
    groupings: Mapping[str, Int[np.ndarray, " n"]]

    @classmethod
    def of(cls, samples: Sequence[Sample], num_arms: int) -> Planned:
        """For the samples that are asked."""
        found = Groupings.of(samples).among(np.arange(len(samples)))
        several = {name: index for name, index in found.items() if len(np.unique(index)) > 1}
        return cls(num_arms, len(samples), several or {ALONE: np.arange(len(samples))})

    def components(self, num_seeds: int, seed_sd: float) -> Components:
        """What the variance of a difference between two arms would be made of; `seed_sd` in points."""
        inside = [self.num_samples / effective_groups(index) - 1 for index in self.groupings.values()]
        all_groups, one_grouping = (1 + GROUP_SHARE * inner for inner in (sum(inside), max(inside, default=0.0)))
        sampled = DISAGREEMENT / self.num_samples * all_groups
        cell = (1 - ARM_SHARE) * sampled / num_seeds if num_seeds > 1 else 0.0
        group = ARM_SHARE * sampled + (1 - ARM_SHARE) * sampled / num_seeds
        widest = group * one_grouping / all_groups
        seed = 2 * (0.01 * seed_sd) ** 2 / num_seeds + cell if num_seeds > 1 else 0.0
        freedom = min((effective_groups(index) for index in self.groupings.values()), default=2.0) - 1
        return Components(seed, group, cell, widest, num_seeds, max(0.5, freedom))

    def sees(self, num_seeds: int, seed_sd: float) -> float:
        """The smallest lead over all others that 80 % of such comparisons would see, in points."""
        return 100 * detectable(self.components(num_seeds, seed_sd), self.num_arms, max_draws=DRAWS)

    def needs(self, lead: float, seed_sd: float, *, more_samples: bool = False) -> Plan | None:
        """The seeds (and how many times the samples) that show a lead in points."""
        factors = FACTORS if more_samples else (1.0,)
        return plan(self.components(2, seed_sd), self.num_arms, 0.01 * lead, factors=factors)

    def described(self, num_seeds: int) -> str:
        """`6 arms, 5 seeds, 1,500 test samples of 888 pictures and 40 speakers (which count as 31)`."""
        told = []
        for name, index in self.groupings.items():
            num, effective = len(np.unique(index)), effective_groups(index)
            if name != ALONE:
                told.append(
                    groups(name, num) + (f" (which count as {effective:.0f})" if effective < 0.95 * num else "")
                )
        of = f" of {listed(told, 'and')}" if told else ""
        return f"{self.num_arms} arms, {seeds(num_seeds)}, {self.num_samples:,} samples{of}"


def foreseen(wanted: Settings, arms: Sequence[Arm], samples: Sequence[Sample], say: Callable[[str], None]) -> Settings:
    """Say what the comparison will be able to see; with `power` the settings with the seeds that it takes."""
    if wanted.metric is None:
        return wanted
    candidates = sum(arm.role == "candidate" for arm in arms)
    planned, percent = Planned.of(samples, candidates if candidates > 1 else len(arms)), is_percent(wanted.metric)
    if wanted.power is not None:
        number, told = seeds_for(planned, wanted.power, percent=percent)
        say(told)
        first = wanted.seeds[0]
        wanted = replace(wanted, seeds=tuple(range(first, first + number)))
    say(forecast(planned, len(wanted.seeds), percent=percent))
    return wanted


def forecast(planned: Planned, num_seeds: int, *, percent: bool) -> str:
    """What so many seeds can see."""
    if num_seeds < 2:
        return "one seed tells these trained models apart, not arms: how much a score varies from seed to seed stays unknown"
    if not percent:
        only = Components(2 / num_seeds, 0.0, 0.0, 0.0, num_seeds, 1.0)
        times = detectable(only, planned.num_arms, max_draws=DRAWS)
        return (
            f"what this can see at best ({planned.described(num_seeds)}): in {POWER:.0%} of such comparisons leads over "
            f"{times:.1f} times the standard deviation of an arm's score from seed to seed; the samples' own part comes on top"
        )
    leads = [f"{planned.sees(num_seeds, sd):.1f}" for sd in SEED_SDS]
    return (
        f"what this can see ({planned.described(num_seeds)}): in {POWER:.0%} of such comparisons leads over {listed(leads, 'and')} "
        f"points, if an arm's score varies by {sds()} points from seed to seed (standard deviation; models that disagree on "
        f"{DISAGREEMENT:.0%} of the samples)"
    )


def sds() -> str:
    """The three."""
    return listed([f"{sd:g}" for sd in SEED_SDS], "and")


def seeds_for(planned: Planned, lead: float, *, percent: bool) -> tuple[int, str]:
    """How many seeds show a lead (in points), and how that was chosen."""
    if not percent:
        raise UserError(
            "how much samples vary is not known beforehand for a metric that is not in per cent",
            where="--power",
            right="Take another --metric, or give --seeds",
        )
    found = {sd: planned.needs(lead, sd) for sd in SEED_SDS}
    told = [f"{in_words(found[sd], planned)} at {sd:g}" for sd in SEED_SDS]
    taken = found[USUAL_SD]
    what = f"to see leads of {lead:g} points in {POWER:.0%} of such comparisons of {planned.num_arms} arms"
    if taken is None:
        more = planned.needs(lead, USUAL_SD, more_samples=True)
        raise UserError(
            f"{what} takes more than {MAX_SEEDS} seeds on these {planned.num_samples:,} samples; "
            f"at a standard deviation of {USUAL_SD:g} point from seed to seed {in_words(more, planned)} would do",
            where="--power",
            right="Give --seeds, a larger --power, or more samples in the split that is evaluated",
        )
    return taken.seeds, (
        f"{what}: {listed(told, 'and')} points of standard deviation from seed to seed; "
        f"{seeds(taken.seeds)} are taken, for {USUAL_SD:g} point"
    )


def in_words(found: Plan | None, planned: Planned) -> str:
    """`12 seeds`; with how many samples where it takes more of them."""
    if found is None:
        return f"more than {MAX_SEEDS} seeds"
    more = "" if found.sample_factor == 1 else f" on {round(found.sample_factor * planned.num_samples):,} samples"
    return seeds(found.seeds) + more
