"""The examples of a comparison: those on which the arms disagree most, spread over groups, the same at every call."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from compare_helpers import record, samples
from hypothesis import given
from hypothesis import strategies as st

from plait.compare.examples import disagreement, examples_of, score_of
from plait.errors import UserError
from plait.evaluate import SegmentRow

RECORDS = {"a": record(0.1, 1), "b": record(0.3, 2), "c": record(0.5, 3)}
ALL = {"segment": "answer", "metric": "accuracy", "num": 1000}


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=9))
def test_disagreement_of_right_and_wrong_is_its_closed_form(scores: list[float]):
    n, k = len(scores), sum(scores)
    assert disagreement(scores) == pytest.approx(2 * k * (n - k) / (n * (n - 1)))


@given(st.lists(st.floats(0, 10), min_size=2, max_size=6), st.floats(0.1, 3), st.floats(-5, 5))
def test_disagreement_moves_with_the_unit_and_not_with_the_zero(scores: list[float], scale: float, shift: float):
    moved = [scale * score + shift for score in scores]
    assert disagreement(moved) == pytest.approx(scale * disagreement(scores), abs=1e-9)
    assert disagreement([*scores, None]) == disagreement(scores)
    assert disagreement([None, *scores[:1]]) == 0


def test_exactly_the_samples_on_which_arms_differ_are_shown_with_what_each_said():
    found = {one.id: one for one in examples_of(RECORDS, samples(), **ALL)}
    rows = {arm: {row.id: row.segments["answer"] for row in one.rows} for arm, one in RECORDS.items()}
    differ = {id for id in rows["a"] if len({of[id].scores["accuracy"] for of in rows.values()}) > 1}
    assert set(found) == differ
    assert differ
    for id, one in found.items():
        assert one.answers == {arm: of[id].output for arm, of in rows.items()}
        assert one.right == {arm: of[id].scores["accuracy"] for arm, of in rows.items()}
        assert one.references == ("red",)
        assert one.text == "typed"


def test_the_order_is_by_disagreement_and_of_nothing_else():
    found = examples_of(RECORDS, samples(), **{**ALL, "num": 8})
    assert [one.disagreement for one in found] == sorted((one.disagreement for one in found), reverse=True)
    turned = {arm: replace(one, rows=one.rows[::-1]) for arm, one in reversed(RECORDS.items())}
    assert [one.id for one in examples_of(turned, samples()[::-1], **{**ALL, "num": 8})] == [one.id for one in found]


def test_no_picture_is_shown_twice_while_another_is_left():
    only_pictures = [replace(one, groups={"picture": one.groups["picture"]}) for one in samples()]
    records = {arm: record(wrong, 7, given=only_pictures) for arm, wrong in {"a": 0.0, "b": 0.5}.items()}
    groups = {sample.id: sample.groups["picture"] for sample in only_pictures}
    num = len({groups[one.id] for one in examples_of(records, only_pictures, **ALL)})
    few = examples_of(records, only_pictures, **{**ALL, "num": num})
    assert len(examples_of(records, only_pictures, **ALL)) > num >= 6
    assert len({groups[one.id] for one in few}) == num


def test_the_first_examples_are_not_all_one_arm_alone_in_error():
    found = examples_of(RECORDS, samples(), **{**ALL, "num": 4})
    assert len({tuple(sorted(one.right.items())) for one in found}) == 4


def test_continuous_scores_and_losses_have_examples_too():
    for metric, segment in (("wer", "heard"), ("bits_per_token", "heard"), ("perplexity", "answer")):
        found = examples_of(RECORDS, samples(), segment=segment, metric=metric, num=5)
        assert len(found) == 5
        for one in found:
            values = [value for value in one.right.values() if value is not None]
            gaps = [abs(x - y) for x, y in combinations(values, 2)]
            assert one.disagreement == pytest.approx(sum(gaps) / len(gaps))
            assert one.disagreement > 0


def test_losses_of_a_sample_are_made_from_its_bits():
    row = SegmentRow(references=("four", "sixsix"), bits=6.0, num_tokens=2.0)
    assert score_of(row, "bits_per_token") == 3
    assert score_of(row, "bits_per_character") == pytest.approx(6 / 5)
    assert score_of(row, "perplexity") == 8
    assert score_of(replace(row, bits=None), "bits_per_token") is None


def test_what_does_not_fit_is_said():
    with pytest.raises(UserError, match=r"record of a: has no segment 'anwser'.*answer"):
        examples_of(RECORDS, samples(), segment="anwser", metric="accuracy", num=3)
    with pytest.raises(UserError, match="has no 'wer' of answer"):
        examples_of(RECORDS, samples(), segment="answer", metric="wer", num=3)
    with pytest.raises(UserError, match="samples that the data do not"):
        examples_of(RECORDS, samples()[:1], segment="answer", metric="accuracy", num=9)
    assert examples_of({}, samples(), segment="answer", metric="accuracy", num=3) == ()
