"""The frontier is what its definition says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plait.compare.frontier import PRICES, frontier
from plait.compare.result import Price

NUMBERS = st.integers(0, 4)  # few values, so that ties are common
ARMS = st.dictionaries(
    st.sampled_from("abcdefg"), st.tuples(st.none() | NUMBERS, st.none() | NUMBERS, st.none() | NUMBERS)
)


def longhand(points: dict[str, tuple[int, int]]) -> set[str]:
    """Arms (loss, cost) for which no other one is at least as good in both and better in one."""
    return {
        arm
        for arm, (loss, cost) in points.items()
        if not any(x <= loss and y <= cost and (x, y) != (loss, cost) for x, y in points.values())
    }


@given(ARMS, st.booleans())
def test_the_frontier_is_its_definition(arms, higher_is_better):
    scores = {arm: None if score is None else float(score) for arm, (score, _, _) in arms.items()}
    prices = {
        arm: Price(parameters=size, throughput=None if speed is None else float(speed))
        for arm, (_, size, speed) in arms.items()
    }
    found = frontier(scores, prices, higher_is_better=higher_is_better)
    sign = -1 if higher_is_better else 1
    for name, place, direction in (("parameters", 1, 1), ("throughput", 2, -1)):
        points = {
            arm: (sign * row[0], direction * row[place])
            for arm, row in arms.items()
            if row[0] is not None and row[place] is not None
        }
        assert set(found.get(name, ())) == longhand(points)
        costs = [points[arm][1] for arm in found.get(name, ())]
        assert costs == sorted(costs)  # the cheapest first
    assert set(found) <= {"parameters", "throughput"}


def test_an_example():
    scores = {"small": 0.90, "middle": 0.95, "worse": 0.94, "large": 0.97, "twin": 0.97, "unknown": None}
    sizes = {"small": 10, "middle": 20, "worse": 25, "large": 40, "twin": 40, "unknown": 1}
    prices = {arm: Price(parameters=size) for arm, size in sizes.items()}
    assert frontier(scores, prices, higher_is_better=True) == {"parameters": ("small", "middle", "large", "twin")}
    assert frontier(scores, prices, higher_is_better=False) == {"parameters": ("small",)}


def test_an_arm_without_prices_is_left_out():
    assert frontier({"a": 1.0, "b": 2.0}, {"a": Price(flops=3.0)}, higher_is_better=True) == {"flops": ("a",)}
    assert frontier({}, {}, higher_is_better=True) == {}


def test_every_price_has_a_frontier():
    price = Price(1, 1, 1.0, 1.0, 1.0, 1, 1.0, 1.0, 1.0)
    assert set(frontier({"a": 1.0}, {"a": price}, higher_is_better=True)) == set(PRICES)
