"""The verdict's rules, one by one, and what stands beside the sentence."""

import numpy as np
import pytest
from compare_helpers import noisy, table

from plait.compare.statistics import Cost, compare, verdict
from plait.compare.statistics.cost import cheapest
from plait.errors import UserError

COSTS = {"A": Cost(1000, 30.0), "B": Cost(900, 20.0), "C": Cost(2000, 60.0)}


def test_a_winner() -> None:
    found = verdict(compare(table(noisy([0.5, 0.6, 0.9], sd=0.1))), costs=COSTS)
    assert (found.kind, found.take, found.level) == ("winner", "C", ("C",))
    assert found.sentence.startswith("take C: its accuracy of `answer` of ")
    assert "points [" in found.sentence
    assert found.sentence.endswith("better than that of B, the next")
    assert not any("to tell" in one for one in found.further)


def test_no_measurable_difference_takes_the_cheapest() -> None:
    values = noisy([0.5, 0.5, 0.5, 0.1])
    costs = {**COSTS, "D": Cost(1, 1.0)}
    found = verdict(compare(table(values)), costs=costs)
    assert found.kind == "level"
    assert set(found.level) == {"A", "B", "C"}
    names = ", ".join(found.level[:2]) + f" and {found.level[2]}"
    assert found.sentence == f"no measurable difference between {names}: take B, the cheapest (20 s of training)"
    assert found.take == "B"  # not D, which is cheaper and worse
    assert any(one.startswith("to tell ") for one in found.further)
    assert any(one.startswith("a lead of ") and "4 arms, 5 seeds, 200 samples" in one for one in found.further)


def test_nothing_beats_text_only() -> None:
    values = noisy([0.5, 0.501, 0.1])
    arms = ("text only", "concat", "no_input")
    found = verdict(compare(table(values, arms=arms)), without=("text only", "no_input"))
    assert found.kind == "modalities do not help"
    assert found.take == "text only"
    assert found.sentence == "nothing beats text only: the other modalities do not measurably help on these data"
    helped = verdict(compare(table(noisy([0.5, 0.8, 0.1]), arms=arms)), without=("text only", "no_input"))
    assert (helped.kind, helped.take) == ("winner", "concat")
    two = verdict(compare(table(noisy([0.5, 0.5, 0.5]), arms=arms)), without=("text only", "no_input"))
    assert "text only or no_input" in two.sentence or "no_input or text only" in two.sentence


def test_only_arms_without_the_modalities_are_compared_as_any() -> None:
    found = verdict(compare(table(noisy([0.5, 0.9]))), without=("A", "B"))
    assert found.kind == "winner"


@pytest.mark.parametrize("num_seeds", [2, 3, 4])
def test_fewer_than_five_seeds_says_what_that_rules_out(num_seeds: int) -> None:
    found = verdict(compare(table(noisy([0.5, 0.5], num_seeds))))
    (line,) = [one for one in found.further if one.startswith("only ")]
    assert line.startswith(f"only {num_seeds} seeds: that rules out telling leads under ")
    assert "5 seeds would tell " in line
    assert not any(one.startswith("only ") for one in verdict(compare(table(noisy([0.5, 0.5], 5)))).further)


def test_one_seed_is_about_these_models_only() -> None:
    found = verdict(compare(table(noisy([0.5, 0.8], 1))))
    assert found.sentence.startswith("of these trained models take B")
    assert found.separate is None
    assert any(one.startswith("one seed: this is about these trained models only") for one in found.further)


def test_units_follow_the_metric() -> None:
    bits = verdict(compare(table(noisy([0.5, 0.9]), percent=False, higher_is_better=False, metric="bits_per_token")))
    assert bits.take == "A"
    assert "points" not in " ".join((bits.sentence, *bits.further))
    shown = verdict(compare(table(noisy([0.5, 0.9]))))
    assert f"{100 * shown.detectable:.1f} points" in shown.further[0]


def test_more_of_both_where_neither_suffices() -> None:
    """Arms almost alike: no number of seeds or samples within reach parts them."""
    values = noisy([0.5, 0.5], n=40)
    values[1] += values[0].mean() - values[1].mean() + 1e-5
    found = verdict(compare(table(values)))
    assert found.separate is not None
    assert found.separate.seeds is None
    assert found.separate.sample_factor is None
    assert any("it takes more of both" in one for one in found.further)


def test_the_cheapest() -> None:
    assert cheapest(("A", "B", "C"), COSTS) == ("B", "the cheapest (20 s of training)")
    assert cheapest(("A", "C"), {"A": Cost(1000), "C": Cost(900, 1.0)}) == ("C", "the cheapest (900 parameters)")
    assert cheapest(("A", "B"), {"A": Cost(1)})[0] == "A"


def test_seconds_that_measuring_twice_may_differ_by_decide_nothing() -> None:
    close = {"A": Cost(900, 20.9), "B": Cost(1000, 20.0), "C": Cost(10, 21.1)}
    assert cheapest(("A", "B", "C"), close)[0] == "A"
    assert cheapest(("B", "A"), {"A": Cost(900, 20.0), "B": Cost(900, 20.5)})[0] == "B"


def test_of_equally_cheap_arms_the_best_one_is_taken() -> None:
    alike = {"A": Cost(1_640, 20.6), "B": Cost(1_620, 20.0)}
    assert cheapest(("A", "B"), alike) == ("A", "the best of the cheapest (21 s of training)")
    assert cheapest(("B", "A"), alike) == ("B", "the best of the cheapest (20 s of training)")
    assert cheapest(("A", "B"), {**alike, "B": Cost(1_500, 20.0)}) == ("B", "the cheapest (20 s of training)")
    assert cheapest(("A", "B"), {"A": Cost(1_640), "B": Cost(1_620)}) == (
        "A",
        "the best of the cheapest (1,640 parameters)",
    )


def test_unknown_arms_are_refused_and_notes_are_kept() -> None:
    found = compare(table(noisy([0.5, 0.5]), notes=("left out: 3 of 9 samples",)))
    with pytest.raises(UserError, match=r"no arm 'a'. Did you mean 'A'|no arm 'a'. Known: A, B"):
        verdict(found, costs={"a": Cost(1)})
    assert "left out: 3 of 9 samples" in verdict(found).further
    assert np.isfinite(verdict(found).detectable)


@pytest.mark.parametrize("num_seeds", [1, 2, 5])
def test_where_nothing_varies_no_lead_is_said_to_be_seen(num_seeds: int) -> None:
    """Previously: "a lead of 0.0 points over all other arms would have been seen in 80% of such comparisons"."""
    found = verdict(compare(table(np.zeros((3, num_seeds, 20)))))
    assert (found.kind, found.level, found.detectable) == ("level", ("A", "B", "C"), None)
    assert "0.0 points" not in " ".join(found.further)
    assert "what lead would have been seen cannot be told" in found.further[0]


def test_a_short_training_is_not_said_to_take_no_time():
    short = {"A": Cost(10, 0.456), "B": Cost(20, 3.0)}
    assert cheapest(("A", "B"), short) == ("A", "the cheapest (0.46 s of training)")
    assert cheapest(("A", "B"), {**short, "B": Cost(0, 0.0)}) == ("B", "the cheapest (no training)")
