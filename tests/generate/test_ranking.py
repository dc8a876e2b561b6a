"""Answers to choose from: the text is one of them as it was given, and what makes the choice doubtful is said."""

from __future__ import annotations

import pytest

from plait.config import GenerateConfig
from plait.data.text import CharacterConfig, Tokenizer
from plait.generate import Generated, choice_notes, generate
from tiny_model import make_batch, make_model, make_tokenizer, rows_of

TOKENIZER = make_tokenizer()


def chosen(*answers: str) -> Generated:
    """What is said of `answer`."""
    model, batch = make_model(TOKENIZER, fusion={"kind": "concat"}), make_batch(TOKENIZER)
    (one,) = generate(
        model, TOKENIZER, rows_of(batch, [0], share=False), GenerateConfig(max_tokens=4), choices={"answer": answers}
    )
    return one


def test_an_answer_of_unknown_words_is_given_back_as_it_is():
    """Previously the answer was the text of its tokens, and `purple`, unknown to the vocabulary, became nothing at all."""
    one = chosen("purple", "orange")
    assert one.segments["answer"] == "purple"
    assert one.tied == {"answer": ("purple", "orange")}
    assert one.unknown == {"answer": ("purple", "orange")}
    assert one.scores["answer"]["purple"] == one.scores["answer"]["orange"]


def test_an_answer_keeps_its_spelling():
    one = chosen("  Red ", "GREEN")
    assert one.segments["answer"] in ("  Red ", "GREEN")
    assert one.unknown == {}


def test_known_answers_that_differ_are_neither_tied_nor_unknown():
    one = chosen("red", "green", "blue")
    assert one.tied == {}
    assert one.unknown == {}
    assert one.segments["answer"] == max(one.scores["answer"], key=lambda answer: one.scores["answer"][answer])


@pytest.mark.parametrize("answers", [("red", "RED", "green"), ("green", "RED", "red")])
def test_ties_go_to_the_first_of_the_list(answers: tuple[str, ...]):
    one = chosen(*answers)
    same = [answer for answer in answers if answer.lower() == "red"]
    assert one.scores["answer"][same[0]] == one.scores["answer"][same[1]]
    if one.segments["answer"] in same:
        assert one.segments["answer"] == same[0]
        assert one.tied["answer"] == tuple(same)


def test_the_answer_is_read_before_the_next_segment_as_its_tokens_are():
    """What follows a chosen answer depends on its tokens and not on its spelling."""
    model, batch = make_model(TOKENIZER, fusion={"kind": "concat"}), make_batch(TOKENIZER)
    one = rows_of(batch, [0], share=False)
    low, high = (
        generate(model, TOKENIZER, one, GenerateConfig(max_tokens=4), choices={"heard": [text]})[0]
        for text in ("a red square.", "A RED square.")
    )
    assert low.token_ids == high.token_ids
    assert high.segments["heard"] == "A RED square."


def test_what_makes_a_choice_doubtful_is_said():
    notes = choice_notes(TOKENIZER, {"answer": ["red", "Red", "red", "purple", "orange", ""], "heard": ["a square"]})
    assert len(notes) == 5
    assert [note for note in notes if "more than once: 'red'" in note]
    assert [note for note in notes if "empty" in note]
    assert [note for note in notes if "'purple', 'orange'" in note and "does not know" in note]
    assert [note for note in notes if "cannot tell apart 'red', 'Red'" in note]
    assert [note for note in notes if "cannot tell apart 'purple', 'orange'" in note]
    assert choice_notes(TOKENIZER, {"answer": ["red", "green"]}) == []


def test_unknown_characters_are_said_too():
    tokenizer = Tokenizer.train(CharacterConfig(), ["abc"], ("answer",))
    (note,) = choice_notes(tokenizer, {"answer": ["abd", "ab"]})
    assert "'abd' has words that the model does not know" in note
