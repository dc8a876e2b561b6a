"""The variance parts against their definitions in loops, against the analysis of variance, and against the truth."""

from itertools import combinations

import numpy as np
import pytest

from plait.compare.statistics.parts import crossings, variance_parts

PICTURE = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4, 5, 6, 6, 7, 7, 7])
SPEAKER = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5])


def values(num_arms: int = 3, num_seeds: int = 4, n: int = 15) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_arms, num_seeds, n))


def longhand(x: np.ndarray, i: int, j: int, group: np.ndarray) -> tuple[float, float, float]:
    """V_seed, V_group, V_cell of one pair and one grouping, by loops."""
    num_seeds, n = x.shape[1:]
    d = [[x[i, s, k] - x[j, s, k] for k in range(n)] for s in range(num_seeds)]
    at = [sum(row) / n for row in d]
    mean = sum(at) / num_seeds
    seed = sum((one - mean) ** 2 for one in at) / (num_seeds * (num_seeds - 1))
    names = sorted(set(group.tolist()))
    factor = 1 / (1 - sum((sum(group == g) / n) ** 2 for g in names))
    added = [[sum(d[s][k] - at[s] for k in range(n) if group[k] == g) / n for g in names] for s in range(num_seeds)]
    means = [sum(added[s][g] for s in range(num_seeds)) / num_seeds for g in range(len(names))]
    of_group = factor * sum(m**2 for m in means)
    cells = sum((added[s][g] - means[g]) ** 2 for s in range(num_seeds) for g in range(len(names)))
    return seed, of_group, factor * cells / (num_seeds * (num_seeds - 1))


@pytest.mark.parametrize("group", [PICTURE, SPEAKER, np.arange(15)])
def test_one_grouping_is_its_definition(group: np.ndarray) -> None:
    x = values()
    parts = variance_parts(x, {"group": group})
    for i, j in combinations(range(3), 2):
        seed, of_group, cell = longhand(x, i, j, group)
        assert parts.seed[i, j] == pytest.approx(seed, rel=1e-12)
        assert parts.group[i, j] == pytest.approx(of_group, rel=1e-12)
        assert parts.cell[i, j] == pytest.approx(cell, rel=1e-12)
        assert parts.widest_group[i, j] == parts.group[i, j]
    shares = np.bincount(group) / 15
    assert parts.group_df == pytest.approx(1 / (shares**2).sum() - 1, rel=1e-12)


def test_crossed_groupings_are_added_by_inclusion_and_exclusion() -> None:
    x = values()
    both = np.unique(np.stack([PICTURE, SPEAKER]), axis=1, return_inverse=True)[1].reshape(-1)
    parts = variance_parts(x, {"picture": PICTURE, "speaker": SPEAKER})
    for i, j in combinations(range(3), 2):
        (_, pa, pc), (_, sa, sc), (_, ba, bc) = (longhand(x, i, j, g) for g in (PICTURE, SPEAKER, both))
        assert parts.group[i, j] == pytest.approx(pa + sa - ba, rel=1e-12, abs=1e-15)
        assert parts.cell[i, j] == pytest.approx(pc + sc - bc, rel=1e-12, abs=1e-15)
        assert parts.widest_group[i, j] == pytest.approx(max(pa, sa), rel=1e-12)
    assert [sign for sign, _, _ in crossings({"a": PICTURE, "b": SPEAKER, "c": PICTURE})] == [1, 1, 1, -1, -1, -1, 1]


def test_with_equal_groups_it_is_the_analysis_of_variance() -> None:
    """Mean squares of a two-way table of seeds × groups, divided by the number of cells."""
    x, group = values(2, 5, 12), np.repeat(np.arange(6), 2)
    d = (x[0] - x[1]).reshape(5, 6, 2).mean(axis=2)
    rest = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    squares = {
        "seed": 6 * ((d.mean(axis=1) - d.mean()) ** 2).sum() / 4,
        "group": 5 * ((d.mean(axis=0) - d.mean()) ** 2).sum() / 5,
        "cell": (rest**2).sum() / 20,
    }
    parts = variance_parts(x, {"group": group})
    for name, mean_square in squares.items():
        assert getattr(parts, name)[0, 1] == pytest.approx(mean_square / 30, rel=1e-12)


def test_the_sum_is_the_variance_of_the_mean() -> None:
    """4,000 tables of 4 seeds × 30 groups × 2 samples: V_seed + V_group − V_cell against the spread of the mean itself."""
    generator = np.random.default_rng(1)
    shape, group = (4000, 2, 4), np.repeat(np.arange(30), 2)
    x = 0.3 * generator.standard_normal((*shape, 1))
    x = x + 0.8 * generator.standard_normal((4000, 2, 1, 30))[..., group]
    x = x + 0.5 * generator.standard_normal((*shape, 30))[..., group] + generator.standard_normal((*shape, 60))
    parts = variance_parts(x, {"group": group})
    estimate = (parts.seed + parts.group - parts.cell)[:, 0, 1].mean()
    d = parts.means[:, 0] - parts.means[:, 1]
    truth = 2 * (0.09 / 4 + 0.64 / 30 + 0.25 / 120 + 1 / 240)
    assert estimate == pytest.approx(truth, rel=0.03)
    assert d.var() == pytest.approx(truth, rel=0.07)
    assert parts.seed[:, 0, 1].mean() < 0.7 * truth
    assert parts.group[:, 0, 1].mean() < 0.7 * truth


def test_many_tables_at_once_are_each_alone() -> None:
    x = np.random.default_rng(2).normal(size=(5, 3, 4, 15))
    whole = variance_parts(x, {"p": PICTURE, "s": SPEAKER})
    for k in range(5):
        one = variance_parts(x[k], {"p": PICTURE, "s": SPEAKER})
        for name in ("means", "seed", "group", "cell", "widest_group"):
            np.testing.assert_allclose(getattr(whole, name)[k], getattr(one, name), rtol=1e-10, atol=1e-15)


def test_only_differences_count() -> None:
    """What all arms share (hard samples, a good seed) changes nothing; nor do the order of samples or the groups' numbers."""
    x = values()
    base = variance_parts(x, {"p": PICTURE, "s": SPEAKER})
    shared = x + 7 * np.random.default_rng(3).normal(size=(1, 4, 15))
    order = np.random.default_rng(4).permutation(15)
    for other in (
        variance_parts(shared, {"p": PICTURE, "s": SPEAKER}),
        variance_parts(x[..., order], {"s": 9 - SPEAKER[order], "p": PICTURE[order] * 3}),
    ):
        for name in ("seed", "group", "cell", "widest_group"):
            np.testing.assert_allclose(getattr(other, name), getattr(base, name), rtol=1e-9, atol=1e-14)


def test_one_seed_has_no_seed_part() -> None:
    parts = variance_parts(values(2, 1), {"p": PICTURE})
    assert not parts.seed.any()
    assert not parts.cell.any()
    assert parts.group[0, 1] > 0


def test_each_arms_seed_variance_is_solved_from_the_pairs() -> None:
    """Three arms by hand: σ²_a = S (V_ab + V_ac − V_bc) / 2; and without bias."""
    x = values()
    parts = variance_parts(x, {"p": PICTURE})
    v = parts.seed
    expected = [2 * (v[0, 1] + v[0, 2] - v[1, 2]), 2 * (v[0, 1] + v[1, 2] - v[0, 2]), 2 * (v[0, 2] + v[1, 2] - v[0, 1])]
    np.testing.assert_allclose(parts.seed_variances(), expected, rtol=1e-12)
    generator = np.random.default_rng(6)
    sds, shared = np.array([1.0, 2.0, 0.5, 1.0]), 5 * generator.standard_normal((3000, 1, 6, 1))
    many = shared + sds[:, None, None] * generator.standard_normal((3000, 4, 6, 1)) + np.zeros(10)
    found = variance_parts(many, {"sample": np.arange(10)}).seed_variances().mean(axis=0)
    np.testing.assert_allclose(found, sds**2, rtol=0.06, atol=0.03)
