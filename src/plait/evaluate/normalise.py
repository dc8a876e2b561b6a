"""What counts as the same text when outputs are scored: one stated normalisation, and the words that follow from it.

In: a text.
Out: the folded text, or its words.
Invariant: folding is idempotent, and never makes a text empty that had a visible character: "?" stays "?".

Two texts that look the same are the same by `visible`: what shows nothing is dropped (`INVISIBLE`), and of the compatibility
decompositions (Unicode UAX #15; their tags: UAX #44, 5.7.3) those are applied that change the look of a character only: full and
half width, ligatures, presentation forms. What is tagged `<super>`, `<sub>` or `<fraction>` stays, because it says something else:
10² is not 102. `folded` is NFKC whole, as runs were scored before.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import get_args

from plait.config.evaluate import Normalisation

FOLDED = "NFKC, case folded, punctuation outside words dropped, white space collapsed"
VISIBLE = (
    "compatibility forms but super- and subscripts and fractions, case folded, invisible characters and punctuation outside words "
    "dropped, white space collapsed"
)

INVISIBLE = (
    "\u00ad"  # soft hyphen
    "\u200b\u2060\ufeff"  # zero-width space, word joiner, byte order mark
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # marks of direction, embeddings, isolates
)
"""Dropped by `visible`. Joiners (Persian, Indic scripts, emoji), variation selectors and tags carry meaning and stay."""

MEANT = ("<super>", "<sub>", "<fraction>")
"""Tags of decompositions that `visible` does not apply."""

_INVISIBLE = str.maketrans("", "", INVISIBLE)
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
    return _folded(text, _nfkc)


@lru_cache(maxsize=1 << 16)
def fold_visible(text: str) -> str:
    """As `fold`, but what is invisible is dropped, and super- and subscripts and fractions stay what they are."""
    return _folded(without_invisible(text), plain_forms)


def without_invisible(text: str) -> str:
    """The text without the characters that show nothing."""
    return text if text.isascii() else text.translate(_INVISIBLE)


def plain_forms(text: str) -> str:
    """NFKC, but for the characters whose decomposition is tagged as one of `MEANT`, also inside other decompositions (㎡ is m²)."""
    return text if text.isascii() else unicodedata.normalize("NFC", "".join(map(_plain_form, text)))


@cache
def _plain_form(character: str) -> str:
    tag, _, rest = unicodedata.decomposition(character).partition(" ")
    if not tag or tag in MEANT:
        return character
    codes = rest.split() if tag.startswith("<") else [tag, *rest.split()]
    return "".join(_plain_form(chr(int(code, 16))) for code in codes)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _folded(text: str, plain_forms: Callable[[str], str]) -> str:
    plain = _collapse(_compatible(text, plain_forms))
    folded = _compatible(_WIDE_MARKS.sub(" ", text), plain_forms)
    previous = None
    while previous != folded:  # marks may stand behind each other: `"(a)."`
        previous, folded = folded, _collapse(_OUTSIDE_WORDS.sub(" ", _WIDE_MARKS.sub(" ", folded)))
    return folded or plain


def _compatible(text: str, plain_forms: Callable[[str], str]) -> str:
    """Straight apostrophes, plain forms and case folding, until nothing changes: one round can make room for another."""
    for _ in range(4):
        changed = plain_forms(_APOSTROPHES.sub("'", text)).casefold()
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
    return {"visible": fold_visible, "folded": fold, "verbatim": verbatim}[kind]


def describe(kind: Normalisation) -> str:
    """A normalisation in words, for the definition of a metric."""
    assert kind in get_args(Normalisation)
    return {"visible": VISIBLE, "folded": FOLDED, "verbatim": "text as it is"}[kind]


def cleaned(kind: Normalisation, texts: Sequence[str]) -> Sequence[str]:
    """The texts for a metric that counts case and punctuation: only what is invisible is dropped, and that by `visible`."""
    return [without_invisible(text) for text in texts] if kind == "visible" else texts


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
