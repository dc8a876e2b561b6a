"""Sampled orders against the exact game: equal where players meet in pairs only, unbiased elsewhere, honest intervals."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from plait.evaluate.intervals import Form
from plait.evaluate.metrics.base import divide
from plait.evaluate.statistics import figure
from plait.explain.credit import shapley
from plait.explain.plan import BySize, Exact, Sampled, sizes
from plait.explain.players import Players


def players(num: int) -> Players:
    return Players.each([f"p{k}" for k in range(num)])


def columns(plan: Sampled, values: np.ndarray, ids: list[str]) -> np.ndarray:
    """A game's values `(n, 2^M)` as the plan measures them."""
    return np.take_along_axis(values, plan.given(ids), axis=1)


def game(n: int, num: int, seed: int, *, order: int) -> np.ndarray:
    """v of n samples with interactions of up to `order` players."""
    rng, values = np.random.default_rng(seed), np.zeros((n, 1 << num))
    subsets = np.arange(1 << num)
    for size in range(1, order + 1):
        for members in combinations(range(num), size):
            mask = sum(1 << k for k in members)
            values[:, subsets & mask == mask] += rng.normal(rng.normal(), 1, n)[:, None]
    return values


@pytest.mark.parametrize("num", [2, 3, 4, 5, 8])
def test_the_first_column_is_nothing_and_the_last_everything(num: int):
    plan = Sampled(players(num), 4, 0)
    given = plan.given(["a", "b"])
    assert given.shape == (2, plan.num_columns)
    assert set(given[:, 0]) == {0}
    assert set(given[:, -1]) == {(1 << num) - 1}
    for k in range(num):
        assert set(given[:, plan.alone(k)]) == {1 << k}
        assert set(given[:, plan.without(k)]) == {(1 << num) - 1 - (1 << k)}


@pytest.mark.parametrize("num", [2, 3, 4, 5, 8])
def test_one_order_and_its_reverse_are_exact_where_players_meet_in_pairs(num: int):
    """Closed form: v(i) + half of each pair that i is in."""
    ids = [f"s{k}" for k in range(20)]
    values = game(20, num, 3, order=2)
    plan = Sampled(players(num), 2, 1)
    np.testing.assert_allclose(plan.credits(columns(plan, values, ids), ids), shapley(values), atol=1e-9)


@pytest.mark.parametrize("num_orders", [1, 2, 5, 8])
def test_credits_add_up_and_a_player_that_changes_nothing_has_none(num_orders: int):
    ids = [f"s{k}" for k in range(30)]
    values = game(30, 5, 4, order=5)
    values = values[:, np.arange(32) & 0b11011]  # player 2 changes nothing
    plan = Sampled(players(5), num_orders, 1)
    found = plan.credits(columns(plan, values, ids), ids)
    np.testing.assert_allclose(found.sum(axis=1), values[:, -1] - values[:, 0], atol=1e-9)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-12)


@pytest.mark.parametrize("num", [4, 5])
def test_sampled_credits_are_unbiased(num: int):
    """The mean over 400 seeds lies within four standard errors of the exact value, for every player of a game of all orders."""
    values, ids = game(6, num, 5, order=num), [f"s{k}" for k in range(6)]
    found = []
    for seed in range(400):
        plan = Sampled(players(num), 4, seed)
        found.append(plan.credits(columns(plan, values, ids), ids))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert error.max() > 0.01
    assert (np.abs(np.mean(found, axis=0) - shapley(values)) <= 4 * error + 1e-9).all()


def test_intervals_hold_the_error_of_sampling():
    """40 samples of 5 players with three-way interactions, 300 times: 95 % intervals of the sampled credit hold the mean credit of
    the population in 92 to 98 %, and are wider than those of the exact credits.
    """
    held, wider, ids = 0, [], [f"s{k}" for k in range(40)]
    alone = {"sample": np.arange(40)}
    rng = np.random.default_rng(0)
    truth = np.zeros(32)
    truth[[0b00111 | rest for rest in (0, 8, 16, 24)]] = 3.0
    expected = shapley(truth[None])[0, 0]
    for seed in range(300):
        values = truth + noise(rng, 40)
        plan = Sampled(players(5), 2, seed)
        widths = []
        for credits in (plan.credits(columns(plan, values, ids), ids), shapley(values)):
            statistics = np.stack([credits[:, 0], np.ones(40)], axis=1)
            one = figure(statistics, lambda s: divide(s[:, 0], s[:, 1]), alone, undefined="", form=Form(weight=1))
            assert one.low is not None
            assert one.high is not None
            widths.append(one.high - one.low)
            held += len(widths) == 1 and one.low <= expected <= one.high
        wider.append(widths[0] / widths[1])
    assert 0.92 <= held / 300 <= 0.98
    assert np.mean(wider) > 1.02


def noise(rng: np.random.Generator, n: int) -> np.ndarray:
    """What single samples add to a game: pairs and three of five players, around 0."""
    values, subsets = np.zeros((n, 32)), np.arange(32)
    for members in [*combinations(range(5), 1), *combinations(range(5), 3)]:
        mask = sum(1 << k for k in members)
        values[:, subsets & mask == mask] += rng.normal(0, 1, n)[:, None]
    return values


def test_pairs_are_measured_where_an_order_begins_with_them():
    ids = [f"s{k}" for k in range(200)]
    values = game(200, 6, 7, order=4)
    plan = Sampled(players(6), 4, 1)
    for first, second in ((0, 1), (2, 5)):
        exact, _ = Exact(players(6)).pair(values, first, second, ids)
        found, measured = plan.pair(columns(plan, values, ids), first, second, ids)
        assert 20 < measured.sum() < 100  # of 200 × 4 orders, 1 in 15 begins with a pair
        np.testing.assert_allclose(found[measured], exact[measured], atol=1e-9)
    assert plan.interactions == list(combinations(range(6), 2))
    assert plan.index(values, (0, 1)) is None


def test_orders_depend_on_the_seed_and_the_sample_alone():
    plan = Sampled(players(7), 3, 5)
    both, one = plan.given(["a", "b"]), plan.given(["b"])
    assert both[1].tolist() == one[0].tolist()
    assert both[0].tolist() != both[1].tolist()
    assert Sampled(players(7), 3, 6).given(["b"]).tolist() != one.tolist()


def test_several_values_at_once_are_the_same():
    ids = [f"s{k}" for k in range(9)]
    values = np.random.default_rng(1).normal(size=(9, 32, 3))
    for plan in (Exact(players(5)), Sampled(players(5), 4, 2)):
        table = np.take_along_axis(values, plan.given(ids)[:, :, None], axis=1)
        whole = plan.credits_at(table, ids)
        for place in range(3):
            np.testing.assert_allclose(whole[:, :, place], plan.credits(table[:, :, place], ids), atol=1e-12)


def test_temperatures_are_fitted_on_every_number_of_players():
    plan = BySize(players(6), 0)
    given = plan.given(["a", "b"])
    assert sizes(given).tolist() == [[0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6]] * 2
    assert given[0].tolist() != given[1].tolist()
