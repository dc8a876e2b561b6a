"""Folding: stated cases, and the properties that hold for any text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.evaluate.normalise import fold, is_unspaced, words


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Yes. ", "yes"),
        ("A (red)   square!", "a red square"),
        ("don’t", "don't"),
        ("'quoted' word", "quoted word"),
        ("3.5", "3.5"),
        (".5", ".5"),
        ("10:30", "10:30"),
        ("-5", "-5"),
        ("5%", "5%"),
        ("well-known", "well-known"),
        ("this - that", "this that"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("你好，世界。", "你好 世界"),
        ("“(nested).”", "nested"),
        ("0︻", "0"),  # NFKC turns this one into a bracket that is itself a mark
        ("?", "?"),
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_fold_twice_is_fold_once_and_never_empties_a_visible_text(text: str) -> None:
    once = fold(text)
    assert fold(once) == once
    assert bool(once) or not text.split()


def test_words_of_chinese_are_characters() -> None:
    assert words("我 喜欢cats") == ["我", "喜", "欢", "cats"]
    assert is_unspaced("我喜欢猫")
    assert not is_unspaced("I like cats")
    assert not is_unspaced("")
