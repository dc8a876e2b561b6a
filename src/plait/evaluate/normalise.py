"""What counts as the same text when outputs are scored: one stated normalisation, and the words that follow from it.

In: a text.
Out: the folded text, or its words.
Invariant: folding is idempotent, and never makes a text empty that had a visible character: "?" stays "?".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import get_args

from plait.config.evaluate import Normalisation

FOLDED = "NFKC, case folded, punctuation outside words dropped, white space collapsed"

_WIDE_MARKS = re.compile("[，。！？；：、・「」『』（）【】《》〈〉“”…—–]")
_APOSTROPHES = re.compile("[‘’ʼ`´]")
_MARKS = r"""[.,;:!?"'()\[\]{}«»„‚‹›¿¡]"""
_OUTSIDE_WORDS = re.compile(rf"(?<!\w)(?![.,]\d){_MARKS}|{_MARKS}(?!\w)|(?<!\S)-+(?!\S)")
_LETTERS_THAT_ARE_WORDS = re.compile(r"([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")


@lru_cache(maxsize=1 << 16)
def fold(text: str) -> str:
    """NFKC, case folded, curly apostrophes straightened, punctuation outside words dropped, white space collapsed.

    A mark between two letters or digits stays ("don't", "3.5", "10:30"), and so does a point or comma before a digit (".5");
    signs that change an answer ("-5", "5%", "$5") are not punctuation here.
    """
    plain = _collapse(_compatible(text))
    folded = _compatible(_WIDE_MARKS.sub(" ", text))
    previous = None
    while previous != folded:  # marks may stand behind each other: `"(a)."`
        previous, folded = folded, _collapse(_OUTSIDE_WORDS.sub(" ", _WIDE_MARKS.sub(" ", folded)))
    return folded or plain


def _compatible(text: str) -> str:
    """Straight apostrophes, NFKC and case folding, until nothing changes: one round can make room for another."""
    for _ in range(4):
        changed = unicodedata.normalize("NFKC", _APOSTROPHES.sub("'", text)).casefold()
        if changed == text:
            break
        text = changed
    return text


def _collapse(text: str) -> str:
    return " ".join(text.split())


def verbatim(text: str) -> str:
    """The text without the white space around it."""
    return text.strip()


def normaliser(kind: Normalisation) -> Callable[[str], str]:
    """The function of a normalisation."""
    return {"folded": fold, "verbatim": verbatim}[kind]


def describe(kind: Normalisation) -> str:
    """A normalisation in words, for the definition of a metric."""
    assert kind in get_args(Normalisation)
    return FOLDED if kind == "folded" else "text as it is"


def separate(text: str) -> str:
    """The text with a space around every Han and kana character, which are words of their own where no spaces are written."""
    return _LETTERS_THAT_ARE_WORDS.sub(r" \1 ", text)


def words(text: str) -> list[str]:
    """The words of an already normalised text: split at white space, each Han or kana character a word."""
    return separate(text).split()


def is_unspaced(text: str) -> bool:
    """Whether most visible characters of the text are Han or kana, so that white space does not part its words."""
    visible = "".join(text.split())
    return 2 * len(_LETTERS_THAT_ARE_WORDS.findall(visible)) > len(visible)
