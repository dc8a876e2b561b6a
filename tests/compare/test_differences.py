"""The procedure against its definition, against t tests that it must equal, and what it must not depend on."""

from itertools import combinations, product

import numpy as np
import pytest
from compare_helpers import noisy, table
from scipy.stats import f, studentized_range, ttest_rel

from plait.compare.statistics.calibrate import table_of
from plait.compare.statistics.differences import (
    CHANCE,
    OWN_ERRORS,
    called_worse,
    compare,
    critical,
    critical_curve,
    effective_groups,
    lends,
    spread,
    tail,
)
from plait.compare.statistics.parts import Parts, variance_parts
from plait.compare.statistics.power import Components
from plait.errors import UserError
from plait.evaluate.statistics import ALONE


def test_variance_and_freedom_are_their_definition() -> None:
    """The formulas at the head of differences.py, in loops, where every branch of the maxima occurs."""
    generator = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        of_arm = generator.normal(0.6, 0.4, 4) ** 2 * generator.choice([1, 1, 60], 4)
        seed, group, cell = (np.zeros((4, 4)) for _ in range(3))
        for i, j in combinations(range(4), 2):
            seed[i, j] = (of_arm[i] + of_arm[j]) / 5
            group[i, j], cell[i, j] = generator.normal(0.4, 0.5, 2) ** 2 * generator.choice([1, 1, 0.01], 2)
            cell[i, j] -= 0.05
        seed, group, cell = seed + seed.T, group + group.T, cell + cell.T
        widest = group * generator.choice([0.8, 1.3])
        found = spread(Parts(np.zeros(4), seed, group, cell, widest, 5, 17.0))
        others = [np.delete(of_arm, a).mean() for a in range(4)]
        unlike = [of_arm[a] / max(others[a], of_arm[a] / 100) > max(4, f.ppf(1 - 0.01 / 4, 4, 12)) for a in range(4)]
        lending = [a for a in range(4) if not unlike[a]]
        lending = lending if len(lending) > 1 else [0, 1, 2, 3]
        lent = np.mean([seed[i, j] for i, j in combinations(lending, 2)])
        few = (len(lending) - 1) * 4
        usual = f.ppf(CHANCE, 4, few) * lent / 2
        own = of_arm / 5 if len(lending) > 2 else np.where(np.isin(range(4), lending), lent / 2, of_arm / 5)
        over = [max(0.0, own[a] - usual) for a in range(4)]
        for i, j in combinations(range(4), 2):
            parts = [lent + group[i, j] - max(cell[i, j], 0.0), lent, group[i, j], widest[i, j]]
            variance = max(parts)
            seen.add((len(lending) < 4, parts.index(variance)))
            lead = max(lent, min(max(cell[i, j], 0.0), variance))
            df = max(1.0, variance**2 / (lead**2 / few + (variance - lead) ** 2 / 17.0))
            variance += (OWN_ERRORS / critical(4, df)) ** 2 * (over[i] + over[j])
            assert found.variance[i, j] == pytest.approx(variance, rel=1e-2)  # critical_curve's own 0.5 %, squared
            assert found.df[i, j] == pytest.approx(df, rel=1e-12)
            if over[i] == over[j] == 0:
                assert found.variance[i, j] == pytest.approx(variance, rel=1e-12)
                seen.add("exact")
    assert seen == {*product((False, True), range(4)), "exact"}


def test_two_arms_one_seed_single_samples_is_the_paired_t_test() -> None:
    values = noisy([0.5, 0.53], num_seeds=1)
    theirs = ttest_rel(values[0, 0], values[1, 0])
    (one,) = compare(table(values)).differences
    assert one.p == pytest.approx(theirs.pvalue, rel=1e-9)
    interval = theirs.confidence_interval(0.95)
    bounds = sorted([abs(interval.low), abs(interval.high)])
    assert sorted([abs(one.low), abs(one.high)]) == pytest.approx(bounds, rel=1e-9)


def test_two_arms_whose_samples_are_alike_is_the_paired_t_test_over_seeds() -> None:
    at_seed = np.random.default_rng(1).normal([[0.5], [0.6]], 0.05, (2, 5))
    values = np.repeat(at_seed[:, :, None], 20, axis=2)
    (one,) = compare(table(values)).differences
    assert one.p == pytest.approx(ttest_rel(at_seed[0], at_seed[1]).pvalue, rel=1e-9)


def test_p_and_interval_say_the_same() -> None:
    for seed in range(3):
        found = compare(table(noisy([0.5, 0.51, 0.53, 0.56], seed=seed)))
        for one in found.differences:
            assert one.worse == (one.p < 0.05) == (not one.low <= 0 <= one.high)
            assert one.low < one.value < one.high
            assert one.value <= 0


def test_the_adjusted_p_is_the_studentised_range() -> None:
    """Drawn: the largest |t| of all pairs of 4 equal arms with a common estimate of 8 degrees of freedom."""
    generator = np.random.default_rng(2)
    z, s = generator.standard_normal((200_000, 4)), np.sqrt(generator.chisquare(8, 200_000) / 8)
    largest = (z.max(axis=1) - z.min(axis=1)) / np.sqrt(2) / s
    for t in (1.5, 2.5, 3.5):
        assert tail(4, 8.0, t) == pytest.approx((largest > t).mean(), rel=0.03)
    assert critical(4, 8.0) == pytest.approx(np.quantile(largest, 0.95), rel=0.01)
    assert critical(4, 8.0) == pytest.approx(float(studentized_range.ppf(0.95, 4, 8) / np.sqrt(2)), rel=1e-6)
    assert tail(2, 8.0, 2.0) == pytest.approx(float(studentized_range.sf(2 * np.sqrt(2), 2, 8)), rel=1e-6)


@pytest.mark.parametrize("num_arms", [2, 6])
def test_the_curve_of_critical_values_is_within_half_a_percent(num_arms: int) -> None:
    df = np.array([1.7, 2.5, 6.3, 25.0, 1000.0])
    exact = [critical(num_arms, float(one)) for one in df]
    np.testing.assert_allclose(critical_curve(num_arms)(df), exact, rtol=5e-3)


def test_many_tables_at_once_say_what_one_says() -> None:
    groups = {"sample": np.arange(60)}
    values = np.stack([noisy([0.5, 0.52, 0.6], 3, 60, seed=seed) for seed in range(12)])
    worse = called_worse(variance_parts(values, groups))
    assert worse.any()
    assert not worse.all()
    for k in range(12):
        found = compare(table(values[k]))
        names = {"ABC"[a] for a in np.flatnonzero(worse[k])}
        assert names == {one.arm for one in found.differences if one.worse}


def test_lower_is_better_mirrors() -> None:
    values = noisy([0.5, 0.55, 0.7])
    up = compare(table(values))
    down = compare(table(1 - values, higher_is_better=False))
    assert up.ranking == down.ranking == ("C", "B", "A")
    for a, b in zip(up.differences, down.differences, strict=True):
        assert (b.value, b.low, b.high) == pytest.approx((-a.value, -a.high, -a.low), rel=1e-9)
        assert b.p == pytest.approx(a.p, rel=1e-9)


def test_the_order_of_arms_samples_and_seeds_does_not_matter() -> None:
    values, group = noisy([0.5, 0.52, 0.6]), np.arange(200) // 4
    base = compare(table(values, {"picture": group}))
    order = np.random.default_rng(0).permutation(200)
    moved = values[[2, 0, 1]][:, ::-1][..., order]
    other = compare(table(moved, {"picture": group[order]}, arms=("C", "A", "B")))
    assert other.ranking == base.ranking
    for a, b in zip(base.differences, other.differences, strict=True):
        assert (a.value, a.low, a.high, a.p) == pytest.approx((b.value, b.low, b.high, b.p), rel=1e-9)


def test_more_arms_widen_the_interval_of_the_same_two() -> None:
    values = noisy([0.6, 0.5, 0.5, 0.5, 0.5, 0.5])
    two, six = compare(table(values[:2])), compare(table(values))
    assert two.parts.seed[0, 1] == pytest.approx(six.parts.seed[0, 1], rel=1e-9)
    assert critical(6, 16.0) > critical(2, 16.0)
    assert next(d for d in six.differences if d.arm == "B").p > 0


def test_an_arm_whose_seeds_vary_much_keeps_its_own_variance_and_is_named() -> None:
    values = noisy([0.5, 0.5, 0.5, 0.5], seed_sd=0.005)
    values[3] += 0.2 * np.random.default_rng(5).standard_normal((5, 1))
    found = compare(table(values))
    variance = spread(found.parts).variance
    assert variance[3, 0] > 1.5 * variance[0, 1]
    assert any(note.startswith("the seeds of D vary") for note in found.notes)
    assert not compare(table(noisy([0.5, 0.5, 0.5, 0.5]))).notes


@pytest.mark.parametrize("score", [0.5, 0.2])
def test_an_arm_whose_seeds_stand_out_widens_no_interval_between_the_others(score: float) -> None:
    """Previously only where it was measurably worse: a level one blurred all others (±52 points because of `no input`)."""
    values = noisy([0.5, 0.5, 0.5, score], seed_sd=0.005)
    values[3] += 0.2 * np.random.default_rng(5).standard_normal((5, 1))
    found = compare(table(values))
    assert lends(found.parts).tolist() == [True, True, True, False]
    four, three = spread(found.parts), spread(compare(table(values[:3])).parts)
    np.testing.assert_allclose(four.df[:3, :3], three.df, rtol=1e-12)
    reach = {n: critical_curve(n)(one.df) * np.sqrt(one.variance) for n, one in ((4, four), (3, three))}
    wider = critical(4, 8.0) / critical(3, 8.0)
    assert (reach[4][:3, :3] <= 1.01 * wider * reach[3]).all()
    of_four, of_three = (Components.of(compare(table(some)).parts) for some in (values, values[:3]))
    assert of_four.seed == pytest.approx(of_three.seed, rel=1e-12)
    assert Components.of(found.parts, (0, 3)).seed > 10 * of_four.seed


def test_an_arm_pays_for_its_own_variance_also_where_it_is_not_recognised() -> None:
    """Its pairs are wider than the others', though it stands out too little to be set apart."""
    values = noisy([0.5, 0.5, 0.5], num_seeds=3, seed_sd=0.005)
    values[2] += np.array([-0.05, 0.0, 0.05])[:, None]
    parts = compare(table(values)).parts
    assert lends(parts).all()
    variance = spread(parts).variance
    assert min(variance[0, 2], variance[1, 2]) > 2 * variance[0, 1]


def test_lending_is_per_table() -> None:
    groups = {"sample": np.arange(60)}
    values = np.stack([noisy([0.5, 0.52, 0.6, 0.5], 4, 60, seed=seed) for seed in range(3)])
    values[1, 3] += 0.3 * np.random.default_rng(1).standard_normal((4, 1))
    parts = variance_parts(values, groups)
    assert parts.unlike().any(axis=1).tolist() == [False, True, False]
    together = spread(parts)
    for k in range(3):
        alone = spread(table_of(parts, k))
        np.testing.assert_allclose(together.variance[k], alone.variance, rtol=1e-12)
        np.testing.assert_allclose(together.df[k], alone.df, rtol=1e-12)


def test_alike_everywhere_is_no_certainty() -> None:
    """No variance at all: the sign test of the groups stands in; equal arms have p = 1."""
    ones, zeros = np.ones((1, 3, 8)), np.zeros((1, 3, 8))
    same = compare(table(np.concatenate([ones, ones]))).differences[0]
    assert (same.p, same.worse) == (1.0, False)
    apart = compare(table(np.concatenate([ones, zeros]))).differences[0]
    assert apart.p == pytest.approx(2.0**-7)
    few = compare(table(np.concatenate([ones, zeros])[..., :4])).differences[0]
    assert not few.worse


def test_one_group_is_compared_over_its_samples_and_few_are_said() -> None:
    """Leave one speaker out is the standard in speech. Previously it was refused."""
    one = compare(table(noisy([0.5, 0.6]), {"speaker": np.zeros(200, dtype=int)}))
    assert one.differences == compare(table(noisy([0.5, 0.6]), {ALONE: np.arange(200)})).differences
    assert (one.lone, one.notes) == (("speaker",), ("all samples share one speaker: nothing is said about other ones",))
    with pytest.raises(UserError, match=r"split test: 1 sample: too small for any verdict"):
        compare(table(noisy([0.5, 0.6])[..., :1], {"speaker": np.zeros(1, dtype=int)}))
    values, picture = noisy([0.5, 0.6]), np.arange(200) // 2
    both = compare(table(values, {"picture": picture, "speaker": np.zeros(200, dtype=int)}))
    assert both.differences == compare(table(values, {"picture": picture})).differences
    assert both.notes == ("all samples share one speaker: nothing is said about other ones",)
    found = compare(table(noisy([0.5, 0.6]), {"speaker": np.arange(200) % 7}))
    assert found.notes == ("only 7 groups (speaker): only large differences can be seen",)


def test_uneven_groups_count_by_their_effective_number() -> None:
    """Kish: (Σ w)² / Σ w². Previously 40 speakers, most of them with one sample, were many."""
    speaker = np.repeat(np.arange(40), [80, 40, 40, *[1] * 36, 4])
    assert effective_groups(speaker) == pytest.approx(200**2 / (80**2 + 2 * 40**2 + 36 + 4**2), rel=1e-12)
    (note,) = compare(table(noisy([0.5, 0.6]), {"speaker": speaker})).notes
    assert note == (
        "only 40 groups (speaker) that count as 4.1, because their sizes are uneven: only large differences can be seen, and how "
        "large is itself a rough figure"
    )


def test_a_difference_that_never_varies_is_not_certain_through_rounding() -> None:
    """Previously what rounding left of the variance (1e-18) gave p = 0 on three samples; the sign test of so few says nothing."""
    for seed in range(400):
        generator = np.random.default_rng(seed)
        values = generator.random((3, 1, 3)) * 5
        values[0] = values[0].min() - 1 + generator.random()
        values[1] = values[0] - generator.random()
        values[2] = values[0].min() - 10 * generator.random(3)
        by_arm = {d.arm: d for d in compare(table(values)).differences}
        assert not by_arm["B"].worse
