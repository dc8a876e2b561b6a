"""The smallest detectable difference against closed forms, and that what is said to suffice suffices."""

import numpy as np
import pytest
from compare_helpers import noisy, table
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from plait.compare.statistics.differences import called_worse, compare
from plait.compare.statistics.parts import Parts, variance_parts
from plait.compare.statistics.power import Components, detectable, lead_needed, needed


def components(**changes: float) -> Components:
    settings: dict = dict(seed=4e-4, group=1e-4, cell=1e-5, widest_group=1e-4, num_seeds=5, group_df=500.0)  # noqa: C408
    return Components(**(settings | changes))


def test_one_seed_two_arms_is_the_textbook() -> None:
    """(z_.975 + z_.8) × SE."""
    one = components(seed=0.0, cell=0.0, group=1e-4, num_seeds=1, group_df=1e5)
    assert detectable(one, 2) == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * 0.01, rel=0.02)


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
def test_only_seeds_two_arms_is_the_noncentral_t(num_seeds: int) -> None:
    only = components(seed=4e-4, group=0.0, cell=0.0, widest_group=0.0, num_seeds=num_seeds)
    df = num_seeds - 1
    shift = brentq(lambda lam: nct.sf(t.ppf(0.975, df), df, lam) - 0.8, 0.1, 30)
    assert detectable(only, 2) == pytest.approx(shift * 0.02, rel=0.03)


def test_it_grows_with_arms_and_shrinks_with_seeds_and_samples() -> None:
    base = components()
    assert detectable(base, 3) < detectable(base, 6)
    assert detectable(base.scaled(num_seeds=10), 6) < detectable(base, 6) < detectable(base.scaled(num_seeds=3), 6)
    assert detectable(base.scaled(sample_factor=4.0), 6) < detectable(base, 6)
    assert detectable(base, 6, power=0.5) < detectable(base, 6, power=0.9)
    assert detectable(base, 3) == detectable(base, 3)


def test_scaling_is_its_definition() -> None:
    """σ²_seed / S, σ²_group / n and σ²_cell / (S n): each goes its own way."""
    seed, group, cell = 6e-4, 3e-4, 1e-4
    base = components(seed=seed, group=group, cell=cell, widest_group=2e-4, num_seeds=5, group_df=99.0)
    found = base.scaled(num_seeds=15, sample_factor=2.0)
    assert found.cell == pytest.approx(cell / 6, rel=1e-12)
    assert found.seed == pytest.approx((seed - cell) / 3 + cell / 6, rel=1e-12)
    assert found.group == pytest.approx((group - cell) / 2 + cell / 6, rel=1e-12)
    assert (found.num_seeds, found.group_df) == (15, 199.0)
    assert base.scaled() == base


def test_the_lead_needed_is_where_the_procedure_turns() -> None:
    """A hair less than the lead and it is no winner, a hair more and it is."""
    values = np.stack([noisy([0.5, 0.5, 0.5], 3, 40, seed=seed) for seed in range(20)])
    parts = variance_parts(values, {"sample": np.arange(40)})
    lead = lead_needed(parts)

    def wins(extra: float) -> np.ndarray:
        means = parts.means + np.eye(3)[0] * (lead + extra)[:, None]
        moved = Parts(means, parts.seed, parts.group, parts.cell, parts.widest_group, 3, parts.group_df)
        worse = called_worse(moved)
        return worse[:, 1:].all(axis=1) & ~worse[:, 0]

    assert wins(1e-9).all()
    assert not wins(-1e-9).any()


def test_what_is_needed_suffices_and_less_does_not() -> None:
    base, difference = components(), 0.03
    found = needed(base, difference)
    assert found.seeds is not None
    assert found.sample_factor is None  # the seeds lead: no number of samples would do
    assert detectable(base.scaled(num_seeds=found.seeds), 2) <= difference
    assert detectable(base.scaled(num_seeds=found.seeds - 1), 2) > difference
    other = components(seed=1.1e-5, cell=1e-5, group=9e-4, widest_group=9e-4)
    found = needed(other, 0.03)
    assert found.seeds is None  # the samples lead
    assert found.sample_factor is not None
    assert detectable(other.scaled(sample_factor=found.sample_factor), 2) <= 0.03
    assert detectable(other.scaled(sample_factor=found.sample_factor / 1.13), 2) > 0.03


def test_the_parts_of_a_pair_lend_the_mean_of_the_seeds() -> None:
    parts = compare(table(noisy([0.5, 0.52, 0.6]))).parts
    mean = Components.of(parts)
    for pair in ((0, 1), (0, 2), (1, 2)):
        own = Components.of(parts, pair)
        assert own.seed == pytest.approx(max(parts.seed[pair], mean.seed), rel=1e-12)
        assert own.group == pytest.approx(parts.group[pair], rel=1e-12)


@pytest.mark.parametrize(("num_arms", "num_seeds"), [(2, 3), (6, 5), (12, 3)])
def test_with_normal_effects_the_stated_difference_is_seen_in_80_percent(num_arms: int, num_seeds: int) -> None:
    """3,000 tables whose seeds, groups and cells are normal, 40 groups: within three binomial standard errors."""
    generator = np.random.default_rng(num_arms)
    values = generator.standard_normal((3000, num_arms, num_seeds, 1)) + generator.standard_normal(
        (3000, num_arms, 1, 40)
    )
    values = values + 2 * generator.standard_normal((3000, num_arms, num_seeds, 40))
    parts = variance_parts(values, {"sample": np.arange(40)})
    mean = Parts(
        *(x.mean(axis=0) for x in (parts.means, parts.seed, parts.group, parts.cell, parts.widest_group)),
        num_seeds=num_seeds,
        group_df=parts.group_df,
    )
    stated = detectable(Components.of(mean), num_arms)
    assert (lead_needed(parts) <= stated).mean() == pytest.approx(0.8, abs=0.022)
    assert called_worse(parts).any(axis=1).mean() <= 0.062


def test_crossed_groupings_whose_estimate_falls_below_zero_still_say_a_number() -> None:
    """Previously one seed on few crossed groups gave NaN, into the sentence and into result.json."""
    groups = {"picture": np.repeat([0, 1], 20), "speaker": np.tile([0, 1], 20)}
    board = np.where(groups["picture"] == groups["speaker"], 1.0, 0.0)
    board[:3] = 1.0
    parts = variance_parts(np.stack([board[None], 1 - board[None]]), groups)
    assert parts.group[0, 1] < 0 < parts.widest_group[0, 1]
    assert detectable(Components.of(parts), 2) > np.sqrt(parts.widest_group[0, 1])


def test_with_few_groups_a_lead_over_many_arms_must_pass_the_widest_of_the_estimates() -> None:
    """Previously one estimate served all pairs, and of 6 arms on 5 groups a stated lead was seen in 72 %, not 80."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal((4000, 6, 1, 5))
    parts = variance_parts(values, {"speaker": np.arange(5)})
    one = Components(0.0, 2 / 5, 0.0, 2 / 5, 1, 4.0)
    assert (lead_needed(parts) <= detectable(one, 6)).mean() == pytest.approx(0.8, abs=0.025)
