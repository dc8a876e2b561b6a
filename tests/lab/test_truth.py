"""The known truth against METHODS' values, longhand sums, and the properties of the indices."""

from __future__ import annotations

import math

import pytest

from plait.errors import UserError
from plait.lab.truth import TASKS, Task, game, known_tasks, noisy_copy, subsets, truth

KNOWN = {  # v(first), v(second), v(both): interaction
    "redundant": (1, 1, 1, -1),
    "unique": (1, 0, 1, 0),
    "xor": (0, 0, 1, 1),
    "and": (0.311, 0.311, 0.811, 0.189),
    "starved": (0.8056, 1, 1, -0.8056),  # 1 − H(.03) for the picture
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_two_way_tasks_have_the_published_values(name: str) -> None:
    task = TASKS[name]
    first, second = task.modalities
    found = truth(task)
    of = found.information
    measured = (of[(first,)], of[(second,)], of[(first, second)], found.interaction[(first, second)])
    assert measured == pytest.approx(KNOWN[name], abs=6e-4)
    assert of[()] == 0


def longhand(task: Task, subset: tuple[str, ...]) -> float:
    """I(answer; bits) = Σ p(a, b) log₂ p(a, b) / (p(a) p(b)), with every sum over the joint written out."""
    places = [task.modalities.index(name) for name in subset]

    def seen(outcome):
        return tuple(outcome.bits[place] for place in places)

    total = 0.0
    for bits in {seen(o) for o in task.joint}:
        for answer in (0, 1):
            both = sum(o.probability for o in task.joint if seen(o) == bits and o.answer == answer)
            of_bits = sum(o.probability for o in task.joint if seen(o) == bits)
            of_answer = sum(o.probability for o in task.joint if o.answer == answer)
            if both:
                total += both * math.log2(both / (of_bits * of_answer))
    return total


@pytest.mark.parametrize("name", TASKS)
def test_information_is_mutual_information(name: str) -> None:
    task = TASKS[name]
    assert sum(outcome.probability for outcome in task.joint) == pytest.approx(1, rel=1e-12)
    for subset, bits in truth(task).information.items():
        assert bits == pytest.approx(longhand(task, subset), abs=1e-12)


@pytest.mark.parametrize("name", TASKS)
def test_shapley_values_sum_to_all(name: str) -> None:
    found = truth(TASKS[name])
    assert sum(found.shapley.values()) == pytest.approx(found.information[TASKS[name].modalities], abs=1e-9)


def test_a_noisy_copy_has_the_capacity_of_its_channel() -> None:
    p = 0.1
    capacity = 1 + p * math.log2(p) + (1 - p) * math.log2(1 - p)
    found = truth(noisy_copy(p))
    assert found.information[("text",)] == pytest.approx(capacity, abs=1e-12)
    assert found.information[("image",)] == pytest.approx(0, abs=1e-12)
    assert found.shapley["text"] == pytest.approx(capacity, abs=1e-12)


def test_no_pair_sees_a_parity_and_the_index_does() -> None:
    found = truth(TASKS["parity"])
    assert list(found.interaction.values()) == pytest.approx([0, 0, 0], abs=1e-12)
    assert found.shapley_interaction[("text", "image", "audio")] == pytest.approx(1, abs=1e-12)
    assert list(found.shapley.values()) == pytest.approx([1 / 3] * 3, abs=1e-12)


def test_indices_longhand_for_three_players() -> None:
    """Shapley values as means over orders; the pair index as the mean of its change without and with the third."""
    players = ("a", "b", "c")
    v = {subset: float(number**2) for number, subset in enumerate(subsets(players))}
    found = game(v, players)
    orders = [("a", "b", "c"), ("a", "c", "b"), ("b", "a", "c"), ("b", "c", "a"), ("c", "a", "b"), ("c", "b", "a")]
    for player in players:
        gains = []
        for order in orders:
            before = tuple(sorted(order[: order.index(player)]))
            gains.append(v[tuple(sorted((*before, player)))] - v[before])
        assert found.shapley[player] == pytest.approx(sum(gains) / 6, rel=1e-12)
    without = v[("a", "b")] - v[("a",)] - v[("b",)] + v[()]
    within = v[players] - v[("a", "c")] - v[("b", "c")] + v[("c",)]
    assert found.shapley_interaction[("a", "b")] == pytest.approx((without + within) / 2, rel=1e-12)


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UserError, match=r"'xr'.*Did you mean 'xor'"):
        known_tasks(["xr"])
