"""Folding: stated cases, and the properties that hold for any text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.evaluate.metrics import Accuracy, Bleu, ChrF, WordErrorRate
from plait.evaluate.normalise import (
    INVISIBLE,
    fold,
    fold_visible,
    is_unspaced,
    plain_forms,
    without_invisible,
    words,
)


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


SAME = [
    ("yes", "yes\u200b"),
    ("no", "\u200eno\u200e"),
    ("שלום", "\u202bשלום\u202c"),
    ("cooperate", "co\u00adoperate"),
    ("yes", "\ufeffyes"),
    ("ab", "a\u2060b"),
    ("مرحبا", "\u2067مرحبا\u2069\u061c"),
    ("ＡＢＣ １２３", "abc 123"),
    ("ｶﾞｷﾞ", "ガギ"),
    ("ﬁne oﬃce", "fine office"),
    ("ﻣﺮﺣﺒﺎ", "مرحبا"),
    ("caf\u0065\u0301", "café"),
    ("㎡", "m²"),
    ("Ⅳ", "iv"),
]
DIFFERENT = [
    ("102", "10²"),
    ("x2", "x²"),
    ("co2", "CO₂"),
    ("1⁄2", "½"),
    ("11⁄2", "1½"),
    ("m2", "㎡"),
    ("نامه‌ها", "نامهها"),  # a Persian joiner
    ("👩‍💻", "👩💻"),  # a woman at a computer, or a woman and a computer
    ("क्‍ष", "क्ष"),
    ("❤\ufe0f", "❤"),  # as a picture, or as a sign
    ("🏴\U000e0067\U000e0062\U000e007f", "🏴"),  # tags name the flag
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_looks_the_same_is_the_same(one: str, other: str) -> None:
    """Previously invisible characters counted: `yes` with a zero-width space was another answer."""
    assert fold_visible(one) == fold_visible(other)
    assert Accuracy().statistics([one], [[other]])[0, 0] == 1
    assert WordErrorRate().statistics([one], [[other]])[0, 0] == 0


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_says_something_else_is_not_the_same(one: str, other: str) -> None:
    """Previously 102 was right where 10² was asked for: NFKC makes no difference between them."""
    assert fold_visible(one) != fold_visible(other)
    assert Accuracy().statistics([one], [[other]])[0, 0] == 0


def test_plain_forms_are_nfkc_but_for_the_tags_that_mean_something() -> None:
    """Against `unicodedata`, over all that Unicode decomposes: NFKC where no <super>, <sub> or <fraction> is met on the way."""

    def means_something(character: str) -> bool:
        tag, _, rest = unicodedata.decomposition(character).partition(" ")
        codes = rest.split() if tag.startswith("<") else [tag, *rest.split()] if tag else []
        return tag in ("<super>", "<sub>", "<fraction>") or any(means_something(chr(int(code, 16))) for code in codes)

    kept = 0
    for character in filter(unicodedata.decomposition, map(chr, range(0x110000))):
        if means_something(character):
            kept += 1
            assert plain_forms(f"a{character}") != unicodedata.normalize("NFKC", f"a{character}")
        else:
            assert plain_forms(character) == unicodedata.normalize("NFKC", character)
    assert kept > 200


def test_exactly_these_are_invisible() -> None:
    """No joiner, variation selector or tag: they carry meaning."""
    listed = [0xAD, 0x61C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
    assert sorted(map(ord, INVISIBLE)) == listed
    assert without_invisible(f"a{INVISIBLE}b") == "ab"
    kept = "a\u200c\u200d\ufe0e\ufe0f\U000e0020\u180eb"
    assert without_invisible(kept) == kept


def test_old_runs_are_scored_as_they_were() -> None:
    """`folded` is what their configurations state."""
    for one, other in SAME[:7]:
        assert fold(one) != fold(other)
    assert fold("10²") == fold("102")
    assert Accuracy("folded").statistics(["102"], [["10²"]])[0, 0] == 1


def test_metrics_that_count_case_drop_what_is_invisible_too() -> None:
    said, right = ["a red\u200b square is \u200ehere"], [["a red square is here"]]
    for metric, perfect in ((Bleu, 100), (ChrF, 100)):
        assert metric().total(metric().statistics(said, right)) == pytest.approx(perfect)
        old = metric(normalisation="folded")
        assert old.total(old.statistics(said, right)) < perfect


@settings(max_examples=200)
@given(st.text(max_size=30))
def test_fold_visible_twice_is_once(text: str) -> None:
    once = fold_visible(text)
    assert fold_visible(once) == once
    assert bool(once) or not without_invisible(text).split()
