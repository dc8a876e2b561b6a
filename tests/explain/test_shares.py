"""How often training shows a subset: against counting all of them, and against the draws themselves."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import pytest
import torch

from plait.config import RunConfig, make_config
from plait.explain.plan import Exact, Sampled
from plait.explain.players import Players
from plait.explain.shares import LEAST, Draws, rare, what_to_set, why_no_bits
from plait.train.dropout import drop_modalities
from plait.types import Batch, Items

NAMES = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")


def draws(num: int, **parts: Any) -> Draws:
    names = NAMES[:num]
    inputs = {"manifest": "m", "inputs": dict.fromkeys(names, "text")}
    config: RunConfig = make_config({"data": inputs, **parts})
    return Draws(config, names)


def subsets(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [given for size in range(len(names) + 1) for given in combinations(names, size)]


TRAIN: list[dict[str, Any]] = [
    {"modality_dropout": 0.3},
    {"modality_dropout": {"a": 0.2, "c": 0.5}},
    {"modality_subsets": 0.4, "modality_dropout": 0.1},
    {"modality_dropout": 0.4, "modality_subsets": 0.2, "modality_dropout_warmup": 0.5},
]


@pytest.mark.parametrize("train", TRAIN)
@pytest.mark.parametrize("num", [1, 3, 5])
def test_shares_add_up(num: int, train: dict[str, Any]):
    train = (
        {**train, "modality_dropout": {k: v for k, v in train["modality_dropout"].items() if k in NAMES[:num]}}
        if isinstance(train["modality_dropout"], dict)
        else train
    )
    found = draws(num, train=train)
    names = NAMES[:num]
    assert sum(found.share(given) for given in subsets(names)) == pytest.approx(1)
    for size in range(num + 1):
        assert found.share_of_size(size) == pytest.approx(sum(map(found.share, combinations(names, size))))


def test_shares_in_closed_form():
    assert draws(3, train={"modality_dropout": 0.2}).share(()) == pytest.approx(0.2**3)
    assert draws(3, train={"modality_subsets": 1.0}).share(("b",)) == pytest.approx(1 / 8)
    assert draws(5, train={"modality_subsets": 1.0}).share(("b", "c")) == pytest.approx(1 / 6 / comb(5, 2))
    warmed = draws(2, train={"modality_dropout": 0.5, "modality_dropout_warmup": 0.5, "steps": 1000})
    assert warmed.share(()) == pytest.approx(
        (0.5 * 0.5**2 / 3) + 0.5 * 0.5**2, rel=0.05
    )  # ∫ (t/2)² over the first half


@pytest.mark.parametrize(("num", "chance"), [(3, 0.6), (4, 0.6), (6, 1.0)])
def test_draws_are_what_is_said_of_them(num: int, chance: float):
    """Of 20,000 samples each subset is drawn as often as its share says, within five standard errors."""
    names, number = NAMES[:num], 20_000
    items = Items(torch.zeros(number, 1), torch.ones(number, dtype=torch.long), torch.arange(number)[:, None])
    blank = torch.zeros(number, 1, dtype=torch.long)
    batch = Batch(tuple(map(str, range(number))), dict.fromkeys(names, items), blank, blank, blank, torch.ones(number))
    dropped = drop_modalities(batch, dict.fromkeys(names, 0.25), seed=1, step=5, subset_chance=chance)
    has = torch.cat([dropped.inputs[m].index >= 0 for m in names], dim=1)
    found = draws(num, train={"modality_dropout": 0.25, "modality_subsets": chance})
    for given in subsets(names):
        expected = found.share(given)
        wanted = torch.tensor([name in given for name in names])
        share = float((has == wanted).all(dim=1).float().mean())
        assert abs(share - expected) <= 5 * (expected * (1 - expected) / number) ** 0.5, given


def test_of_many_inputs_each_number_is_drawn_alike_often():
    """Previously, of eight inputs none or one alone was drawn for one sample in 28."""
    found = draws(8, train={"modality_subsets": 1.0})
    assert [found.share_of_size(size) for size in range(9)] == pytest.approx([1 / 9] * 9)


def test_what_training_hardly_showed_is_rare():
    three, four = draws(3, train={"modality_dropout": 0.2}), draws(4, train={"modality_dropout": 0.2})
    assert rare(three, Exact(Players.each(three.inputs))) == []
    ((name, share),) = rare(four, Exact(Players.each(four.inputs)))
    assert (name, share) == ("no input", pytest.approx(0.0016))
    why = why_no_bits(four, Exact(Players.each(four.inputs)))
    assert "no input in 0.16 % of its draws" in why
    assert "train.modality_subsets=0.2 to get bits" in why


@pytest.mark.parametrize("num", [1, 2, 3, 4, 6, 8])
def test_what_is_recommended_is_enough(num: int):
    never = draws(num)
    plan = Exact(Players.each(never.inputs)) if num <= 5 else Sampled(Players.each(never.inputs), 8, 0)
    words = what_to_set(never, plan)
    changes = dict(word.removeprefix("train.").split("=") for word in words.split() if "=" in word)
    assert changes
    assert why_no_bits(draws(num, train={k: float(v) for k, v in changes.items()}), plan) == ""


def test_sampled_orders_need_every_number_of_inputs_and_groups_only_what_they_can_hold():
    some = draws(8, train={"modality_subsets": 0.5})
    assert why_no_bits(some, Sampled(Players.each(some.inputs), 8, 0)) == ""
    halves = Players.grouped(some.inputs, {}, [NAMES[:4], NAMES[4:8]])
    found = rare(some, Exact(halves))  # four of eight: one subset of 70
    assert [share for _, share in found] == pytest.approx([0.5 / 9 / 70] * 2)
    assert why_no_bits(draws(8, train={"modality_subsets": 0.5, "modality_dropout": 0.5}), Exact(halves)) == ""


def test_training_with_each_input_alone_shows_that():
    found = draws(2, balance="unimodal")
    assert found.share(("a",)) > LEAST
    assert "no input in none" in why_no_bits(found, Exact(Players.each(found.inputs)))
