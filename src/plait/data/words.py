"""Where words begin and end: how a text is split into words, and how words are joined to a sentence again.

In: a normalised text, or a list of words and punctuation marks.
Out: `word_pattern()` for the tokenizer, `split_chinese(text)`, `join_words(tokens) -> str`.
Invariant: splitting a joined text gives the joined words again, so decoding and encoding any number of times changes
nothing (except that jieba may part Chinese otherwise where spaces stood between its characters).

Splitting, the first rule that fits:

1. an apostrophe behind a letter begins a token of its own, glued to it: `it's` → `it` `'s`
2. a number keeps its inner points, commas and colons: `3.14`, `1,000`, `10:30`
3. Chinese characters and kana stand alone (in Chinese, jieba parts them into words)
4. letters, digits and their marks, with inner hyphens: `well-known`
5. whatever else is not a space stands alone: `?`

Joining: one space between two tokens, but none

- before `, . ? ! ; : ) ] } %` and their like, before a glued `'s`, and before what is raised or lowered (`10²`, `CO₂`, `™`)
- behind `( [ { $ #` and their like, and on either side of `/`
- beside a Chinese character or kana, or a mark of their width
- inside a pair of straight quotes
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

from plait.errors import UserError

CJK = "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""The ranges of Chinese characters and kana, to stand in a character class."""

NO_SPACE_BEFORE = frozenset(",.?!;:)]}%°”’»›/。、〉》」』】〕〗〙〛")
NO_SPACE_BEHIND = frozenset("([{$£#@¿¡“‘«‹/〈《「『【〔〖〘〚")
STRAIGHT_QUOTES = frozenset("\"'")

_CJK_RUN = re.compile(f"[{CJK}]+")
_CJK_EDGE = re.compile(
    f"[{CJK}\u3001-\u3003\u3008-\u3011\u3014-\u301b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]"
)


def word_pattern(*, chinese: bool) -> str:
    """The pattern of one token, in the regular expressions of `tokenizers` (Oniguruma)."""
    letter, other = rf"[\w&&[^{CJK}]]", r"[^\w\s]\p{M}*"
    return "|".join(
        (
            rf"(?<={letter})['’]{letter}+",
            r"\d+(?:[.,:]\d+)+",
            rf"[{CJK}]{'+' if chinese else ''}\p{{M}}*",
            rf"{letter}+(?:[-\x{{200c}}\x{{200d}}]{letter}+)*",
            rf"{other}(?:\x{{200d}}{other})*",
        )
    )


def split_chinese(text: str) -> str:
    """The same text with a space between the words of every run of Chinese characters, as jieba finds them."""
    cut = _jieba_cut()
    return _CJK_RUN.sub(lambda run: f" {' '.join(cut(run.group()))} ", text)


@functools.cache
def _jieba_cut() -> Callable[[str], Iterable[str]]:
    jieba: Any
    try:
        import rjieba as jieba  # pyright: ignore[reportMissingImports]
    except ImportError:
        try:
            import jieba  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise UserError("Chinese words need jieba", right="pip install 'plait[zh]'") from None
    return jieba.cut


def join_words(tokens: Iterable[str]) -> str:
    """The tokens as a sentence, by the rule at the head of this module."""
    pieces: list[str] = []
    open_quotes: set[str] = set()
    previous = ""
    stuck = True  # whether the token before forbids a space behind it
    for token in filter(None, tokens):
        closes = token in open_quotes
        apart = _clings(token) or not (stuck or closes or _sticks(token) or _beside_cjk(previous, token))
        if apart and pieces:
            pieces.append(" ")
        pieces.append(token)
        stuck = token in NO_SPACE_BEHIND
        if token in STRAIGHT_QUOTES:
            open_quotes ^= {token}
            stuck = not closes
        previous = token
    return "".join(pieces)


def _sticks(token: str) -> bool:
    """Whether no space stands before the token: `?`, `…`, `'s`, `²`."""
    if token in NO_SPACE_BEFORE or (len(token) > 1 and token[0] in "'’" and _is_letter(token[1])):
        return True
    if token.isascii():
        return False
    raised = unicodedata.decomposition(token[0]).startswith(("<super>", "<sub>"))
    if raised and not unicodedata.category(token[0]).startswith("L"):
        return True
    plain = unicodedata.normalize("NFKC", token[0])
    return plain != token[0] and plain[0] in NO_SPACE_BEFORE


def _is_letter(character: str) -> bool:
    """Whether it is a part of words: a letter, a digit, a mark, an underscore (`\\w` of the pattern)."""
    kind = unicodedata.category(character)
    return kind[0] in "LMN" or kind == "Pc"


def _clings(token: str) -> bool:
    """Whether the token would melt into the one before it: it begins with a combining mark or a joiner."""
    return token[0] in "\u200c\u200d" or unicodedata.category(token[0]).startswith("M")


def _beside_cjk(left: str, right: str) -> bool:
    return bool((left and _CJK_EDGE.match(left[-1])) or _CJK_EDGE.match(right[0]))
