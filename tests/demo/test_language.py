"""The composed questions: right answers, no false presupposition, little told by the question alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.demo.language import (
    CLAUSES,
    COLORS,
    KINDS,
    SHAPES,
    Asked,
    Picture,
    ask,
    every_sentence,
    fillers,
    sentence,
)
from plait.seeds import numpy_generator

PICTURES = [Picture(shape, color) for shape in SHAPES for color in COLORS]
SENTENCES = every_sentence()


def truth(asked: Asked, picture: Picture) -> str:
    """The answer found longhand from the words of the filler, without the code under test."""
    if asked.clause.kind == "shape":
        assert set(asked.filler) <= {picture.color}
        return picture.shape
    if asked.clause.kind == "color":
        assert set(asked.filler) <= {picture.shape, "shape", "thing"}
        return picture.color
    words = " ".join(asked.filler).split()
    true = all(word in (picture.shape, picture.color, "shape", "thing") for word in words)
    negated = "no" in asked.words.split() or "not" in asked.words.split()
    return "yes" if true != negated else "no"


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(PICTURES), st.sampled_from(KINDS), st.integers(0, 10_000))
def test_every_answer_is_right(picture: Picture, kind: str, seed: int) -> None:
    asked = ask(picture, kind, generator=numpy_generator(seed, "test"))  # pyright: ignore[reportArgumentType]
    assert asked is not None
    assert asked.clause.kind == kind
    assert asked.answer == truth(asked, picture)
    assert asked.words in SENTENCES


def test_a_question_about_a_named_thing_names_it_rightly() -> None:
    """ "is the circle blue" is asked of circles only; "is the blue thing a circle" of blue things only."""
    for clause in CLAUSES:
        for picture in PICTURES:
            for filler in fillers(clause, picture):
                if clause.hole == "shape_color":
                    assert filler[0] in (picture.shape, "shape", "thing")
                if clause.hole == "color_shape":
                    assert filler[0] == picture.color


def test_the_vocabulary_is_small_and_the_language_large() -> None:
    sentences = SENTENCES
    words = {word for text in sentences for word in text.split()} | {"yes", "no"}
    assert 45 <= len(words) <= 65
    assert len(sentences) > 3000
    assert max(len(text.split()) for text in sentences) <= 14


def test_yes_and_no_are_even_for_every_clause_and_word() -> None:
    asked = [ask(PICTURES[i % len(PICTURES)], "yes_no", generator=numpy_generator(i, "even")) for i in range(2400)]
    counts: dict[str, Counter[str]] = {}
    for one in asked:
        assert one is not None
        for key in (one.clause.direct, *one.filler):
            counts.setdefault(key, Counter())[one.answer] += 1
    for key, found in counts.items():
        total = found.total()
        if total >= 100:
            assert abs(found["yes"] / total - 0.5) < 4 * 0.5 / total**0.5, (key, found)


def test_a_question_that_is_allowed_nowhere_is_none() -> None:
    assert ask(PICTURES[0], "shape", generator=numpy_generator(0, "x"), allowed=lambda _: False, attempts=20) is None


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.direct)
def test_both_forms_read_as_words_only(clause: object) -> None:
    for carrier in ("", "please", "tell me"):
        for filler in fillers(clause, PICTURES[3]):  # pyright: ignore[reportArgumentType]
            text = sentence(carrier, clause, filler)  # pyright: ignore[reportArgumentType]
            assert text == " ".join(text.split())
            assert text.replace(" ", "").isalpha()
            assert text.islower()
