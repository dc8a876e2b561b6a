"""Credit and interactions against their definitions written longhand, and on games whose truth is known."""

from __future__ import annotations

from itertools import combinations, permutations
from math import factorial, log2

import numpy as np
import pytest

from plait.explain import credit

AND = 0.75 * log2(4 / 3) + 0.25 * 2
"""The entropy of the AND of two fair bits: .811."""
GIVEN_ONE = AND - 0.5
"""Its information about one of them: .311."""
GAMES = {
    "redundant": ([0, 1, 1, 1], -1.0),
    "unique": ([0, 1, 0, 1], 0.0),
    "xor": ([0, 0, 0, 1], 1.0),
    "and": ([0, GIVEN_ONE, GIVEN_ONE, AND], AND - 2 * GIVEN_ONE),
}


def random_values(num: int, n: int = 7) -> np.ndarray:
    """v of n samples over all subsets of `num` modalities, v(no input) = 0."""
    bits = np.random.default_rng(num).normal(size=(n, 1 << num))
    return credit.usable_information(bits)


def with_bits(members: tuple[int, ...]) -> int:
    return sum(1 << player for player in members)


def shapley_by_permutations(values: np.ndarray) -> np.ndarray:
    """The mean over all orders of what each modality adds to those before it."""
    num = credit.num_players(values)
    total = np.zeros((len(values), num))
    for order in permutations(range(num)):
        before = 0
        for player in order:
            total[:, player] += values[:, before | 1 << player] - values[:, before]
            before |= 1 << player
    return total / factorial(num)


def discrete_derivative(values: np.ndarray, members: tuple[int, ...], context: int) -> np.ndarray:
    """By its recursion: what the first member changes in the derivative of the others."""
    if not members:
        return values[:, context]
    first, *rest = members
    return discrete_derivative(values, tuple(rest), context | 1 << first) - discrete_derivative(
        values, tuple(rest), context
    )


def index_longhand(values: np.ndarray, members: tuple[int, ...]) -> np.ndarray:
    """The mean derivative over all orders in which the members come as one: what stands before them is the context."""
    num = credit.num_players(values)
    others = [player for player in range(num) if player not in members]
    orders = list(permutations(["members", *others]))
    total = np.zeros(len(values))
    for order in orders:
        before = order[: order.index("members")]
        total += discrete_derivative(values, members, with_bits(tuple(int(p) for p in before)))
    return total / len(orders)


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_shapley_is_the_mean_over_all_orders(num: int):
    values = random_values(num)
    np.testing.assert_allclose(credit.shapley(values), shapley_by_permutations(values), atol=1e-12)


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_credits_sum_to_the_value_of_all(num: int):
    values = random_values(num)
    np.testing.assert_allclose(credit.shapley(values).sum(axis=1), values[:, -1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("members", [m for size in (1, 2, 3, 4) for m in combinations(range(4), size)])
def test_the_interaction_index_is_the_mean_derivative(members: tuple[int, ...]):
    values = random_values(4)
    np.testing.assert_allclose(credit.interaction_index(values, members), index_longhand(values, members), atol=1e-12)


@pytest.mark.parametrize("name", GAMES)
def test_games_of_known_truth(name: str):
    game, interaction = GAMES[name]
    values = np.array([game], dtype=float)
    assert credit.pair_interaction(values, 0, 1)[0] == pytest.approx(interaction, abs=1e-12)
    assert credit.interaction_index(values, (0, 1))[0] == pytest.approx(interaction, abs=1e-12)
    expected = [1, 0] if name == "unique" else [game[-1] / 2] * 2
    np.testing.assert_allclose(credit.shapley(values)[0], expected, atol=1e-12)
    assert (round(GIVEN_ONE, 3), round(AND, 3), round(AND - 2 * GIVEN_ONE, 3)) == (0.311, 0.811, 0.189)


def test_a_null_player_has_no_credit_and_no_interaction_and_leaves_those_of_others():
    two = random_values(2)
    three = np.concatenate([two, two], axis=1)  # the third modality changes nothing
    found = credit.shapley(three)
    np.testing.assert_allclose(found[:, 2], 0, atol=1e-12)
    np.testing.assert_allclose(found[:, :2], credit.shapley(two), atol=1e-12)
    for members in [(0, 2), (1, 2), (0, 1, 2)]:
        np.testing.assert_allclose(credit.interaction_index(three, members), 0, atol=1e-12)
    np.testing.assert_allclose(
        credit.interaction_index(three, (0, 1)), credit.interaction_index(two, (0, 1)), atol=1e-12
    )


def test_a_three_way_parity_is_seen_by_order_three_only():
    values = np.zeros((1, 8))
    values[:, 7] = 1
    for pair in [(0, 1), (0, 2), (1, 2)]:
        assert credit.pair_interaction(values, *pair)[0] == 0
    assert credit.interaction_index(values, (0, 1, 2))[0] == 1
    assert credit.all_orders(3) == [(0, 1), (0, 2), (1, 2), (0, 1, 2)]


def test_usable_information_and_its_two_ends():
    bits = np.array([[5.0, 4.0, 2.0, 1.5]])
    values = credit.usable_information(bits)
    np.testing.assert_allclose(values, [[0, 1, 3, 3.5]])
    assert credit.alone(values, 1)[0] == 3
    assert credit.marginal(values, 0)[0] == 0.5


def test_samples_that_have_all_members():
    present = np.array([[True, True], [True, False], [False, False]])
    assert credit.together(present, (0, 1)).tolist() == [True, False, False]
