"""The procedure on tables of known truth: false alarms at most 5 %, power 80 % at the stated difference; and that
this can be missed.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from plait.compare.statistics.calibrate import Rate, calibrate, joined, mean_of, table_of, turned
from plait.compare.statistics.differences import called_worse
from plait.compare.statistics.parts import variance_parts
from plait.compare.statistics.simulate import Effects, Population, equal_tables, thresholds

NUM_TABLES = 500


def population(groupings: int = 2) -> Population:
    """The demo's test split in small: 600 samples of 350 pictures, 20 voices and 100 typed, 88 % right, by picture."""
    generator = np.random.default_rng(0)
    picture = np.concatenate([np.arange(100), np.repeat(np.arange(100, 350), 2)])
    speaker = generator.permutation(np.concatenate([np.repeat(np.arange(20), 25), np.arange(20, 120)]))
    hard = 0.7 * generator.standard_normal(350)[picture] + generator.standard_normal(600)
    groups = {"picture": picture, "speaker": speaker}
    return Population((hard > np.quantile(hard, 0.12)).astype(float), dict(list(groups.items())[:groupings]))


def test_rates_have_the_exact_binomial_interval() -> None:
    for count in (0, 1, 25, 499, 500):
        interval = binomtest(count, 500).proportion_ci(0.95)
        found = Rate(count, 500)
        assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_tables_are_what_is_stated() -> None:
    """Two models disagree on 6 % of the samples, arms have the record's mean, and seeds vary by what is asked for."""
    some, effects = population(), Effects(seed_sd=0.0, arm_share=0.0)
    values = np.concatenate(list(equal_tables(some, effects, num_tables=150, num_arms=2, num_seeds=2)))
    assert values.mean() == pytest.approx(some.right.mean(), abs=0.002)
    assert (values[:, 0] != values[:, 1]).mean() == pytest.approx(0.06, abs=0.003)
    assert values.mean(axis=(0, 1, 2))[some.right > 0].min() > values.mean(axis=(0, 1, 2))[some.right == 0].max()
    loud = np.concatenate(list(equal_tables(some, Effects(seed_sd=2.0), num_tables=300, num_arms=3, num_seeds=4))).mean(
        axis=-1
    )
    quiet = np.concatenate(
        list(equal_tables(some, Effects(seed_sd=0.0), num_tables=300, num_arms=3, num_seeds=4))
    ).mean(axis=-1)
    added = loud.var(axis=-1, ddof=1).mean() - quiet.var(axis=-1, ddof=1).mean()
    assert np.sqrt(added) == pytest.approx(0.02, rel=0.2)
    again = next(equal_tables(some, Effects(seed_sd=2.0), num_tables=300, num_arms=3, num_seeds=4))
    np.testing.assert_array_equal(again.mean(axis=-1), loud[: len(again)])


def test_groups_err_together() -> None:
    """Mistakes that belong to pictures come in pairs; without them they do not."""
    some = population(1)
    pair = np.flatnonzero(np.bincount(some.groupings["picture"]) == 2)
    first = np.array([np.flatnonzero(some.groupings["picture"] == g)[0] for g in pair])

    def together(share: float) -> float:
        effects = Effects(seed_sd=0.0, group_share=share, arm_share=1.0)
        values = np.concatenate(list(equal_tables(some, effects, num_tables=300, num_arms=2, num_seeds=1)))
        d = values[:, 0, 0] - values[:, 1, 0]
        return float((d[:, first] * d[:, first + 1]).mean() / (d[:, first] ** 2).mean())

    assert abs(together(0.0)) < 0.03
    assert together(0.8) > 0.15


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"two models with 0.880 right can disagree on 0 to 0.211 of the samples"):
        thresholds(population().right, 0.5)


def test_parts_of_many_tables_are_joined_and_taken_apart() -> None:
    values = np.random.default_rng(0).normal(size=(4, 2, 3, 600))
    some = population()
    whole = joined([variance_parts(values[:1], some.groupings), variance_parts(values[1:], some.groupings)])
    one = variance_parts(values[2], some.groupings)
    np.testing.assert_allclose(table_of(whole, 2).group, one.group, rtol=1e-10)
    np.testing.assert_allclose(mean_of(whole).seed, whole.seed.mean(axis=0), rtol=1e-12)


def test_the_arm_that_is_behind_is_turned_to_the_last_place() -> None:
    some = population()
    values = np.random.default_rng(0).normal(size=(4, 3, 3, 600))
    found = turned(variance_parts(values, some.groupings))
    want = variance_parts(values[:, [1, 2, 0]], some.groupings)
    np.testing.assert_allclose(found.means, want.means, rtol=1e-12)
    for name in ("seed", "group", "cell", "widest_group"):
        np.testing.assert_allclose(getattr(found, name), getattr(want, name), rtol=1e-9, atol=1e-18)


CELLS = [
    (2, 3, 0.0, 1),
    (2, 3, 2.0, 2),
    (2, 5, 1.0, 1),
    (2, 10, 3.0, 1),
    (3, 3, 3.0, 2),
    (6, 3, 1.0, 1),
    (6, 5, 2.0, 2),
    (12, 3, 2.0, 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("num_arms", "num_seeds", "seed_sd", "groupings"), CELLS)
def test_false_alarms_and_power(num_arms: int, num_seeds: int, seed_sd: float, groupings: int) -> None:
    """500 tables of equal arms. The whole grid is `python -m benchmarks --only calibration`.

    At seed sd 3 with 3 arms × 3 seeds the stated lead is a little large: 82.8 % [80.8, 84.7] of 1,500 tables see it, in version 0.1
    as well; so much is granted above 80 %, nothing below.
    """
    found = calibrate(
        population(groupings),
        Effects(seed_sd=seed_sd),
        num_arms=num_arms,
        num_seeds=num_seeds,
        num_tables=NUM_TABLES,
    )
    assert found.false_winners.low <= 0.05
    assert found.false_differences.low <= 0.05
    assert found.power.low <= 0.828
    assert found.power.high >= 0.8
    assert found.stated[0] <= found.detectable * 1.5


@pytest.mark.slow
def test_the_calibration_sees_a_procedure_that_is_wrong() -> None:
    """Without the seeds' part, or without the groups' part, the false alarms are many: what the calibration is there
    to catch.
    """
    some = population(1)

    def rate(effects: Effects, **changes: float) -> float:
        tables = equal_tables(some, effects, num_tables=NUM_TABLES, num_arms=2, num_seeds=5)
        parts = joined([variance_parts(values, some.groupings) for values in tables])
        left = {name: getattr(parts, name) * factor for name, factor in changes.items()}
        return float(called_worse(replace(parts, **left)).any(axis=1).mean())

    assert rate(Effects(seed_sd=2.0)) < 0.08
    assert rate(Effects(seed_sd=2.0), seed=0.0) > 0.2
    own = Effects(seed_sd=0.0, arm_share=0.9, group_share=0.5)
    assert rate(own) < 0.08
    assert rate(own, group=0.0, widest_group=0.0, cell=0.0) > 0.2
