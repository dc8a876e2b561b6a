"""Shuffled inputs, and the constant answer beside the credit."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from plait.explain.baseline import ConstantAnswer
from plait.explain.reliance import shuffled
from plait.types import Sample

SAMPLES = [Sample(str(k), "test", text=None if k % 3 == 0 else f"text {k}", audio=Path(f"{k}.wav")) for k in range(12)]


def test_no_sample_keeps_its_own_input_and_none_is_lost():
    found, equal = shuffled(SAMPLES, "text", seed=1)
    assert equal == 0
    for before, after in zip(SAMPLES, found, strict=True):
        assert before.present == after.present
        assert before.audio == after.audio
        assert before.text is None or before.text != after.text
    assert sorted(str(s.text) for s in SAMPLES) == sorted(str(s.text) for s in found)


def test_the_seed_decides():
    first, again, other = (shuffled(SAMPLES, "audio", seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_equal_inputs_are_kept_apart_where_that_is_possible_and_counted_where_not():
    two = [Sample(str(k), "test", text=f"text {k % 2}") for k in range(2)]
    assert shuffled(two, "text", seed=0)[1] == 0
    same = [Sample(str(k), "test", text="all alike") for k in range(4)]
    assert shuffled(same, "text", seed=0)[1] == 4
    assert shuffled(SAMPLES[:1], "audio", seed=0) == (SAMPLES[:1], 1)


def test_the_constant_answer_is_a_distribution():
    answer = ConstantAnswer([(1,), (1,), (2, 1), (2,)], vocabulary_size=4)
    texts = [t for length in range(9) for t in product(range(3), repeat=length)]  # the fourth token is the end
    assert sum(2 ** -answer.bits(t) for t in texts) == pytest.approx(1, abs=0.1)
    assert sum(2 ** -answer.bits(t) for t in texts) <= 1
    assert answer.bits((1,)) < answer.bits((2,)) < answer.bits((0, 0))


def test_the_constant_answer_says_what_is_said_most():
    answer = ConstantAnswer([(1,)] * 50 + [(2,)] * 50, vocabulary_size=100)
    assert answer.bits((1,)) == pytest.approx(1, abs=0.05)
