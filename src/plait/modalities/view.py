"""How an item is shown: its tokens in words, and a small form of it for a page.

In: a value as a batch holds it, and its encoder; or an item.
Out: `View`; `Small`.
Invariant: a view has as many labels as the encoder gives tokens, in their order, and covers the whole item.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class View:
    """One item as its encoder's tokens: a picture's cells (row by row), a sound's moments, a text's words.

    `grid`: rows and columns of cells, or the number of tokens. `labels`: each token in words. `seconds`: where each moment begins
    and ends. `near`: the tokens that are hidden together with each one, itself included; `hidden` says that in words. `raw`: what
    is drawn behind: pixels `(Y, X, 3)`, bytes, for `cells`; `(steps, bands)` for `moments`.
    """

    drawn: Literal["cells", "moments", "words"]
    grid: tuple[int, ...]
    labels: tuple[str, ...]
    near: tuple[tuple[int, ...], ...]
    hidden: str
    seconds: tuple[tuple[float, float], ...] = ()
    raw: np.ndarray | None = None


@dataclass(frozen=True)
class Seen:
    """What a view is made with: the input's encoder, the options of its preparation, and a token's word."""

    encoder: Any
    options: Any
    word: Callable[[int], str] = str


@dataclass(frozen=True)
class Small:
    """An item on a page: a picture or a sound as the bytes of a file of type `mime`, or what it says as `text`.

    `note`: what was done to it; `size`: the pixels of a picture, across and down.
    """

    form: Literal["picture", "sound", "text"]
    data: bytes = b""
    mime: str = ""
    text: str = ""
    note: str = ""
    size: tuple[int, int] = (0, 0)


def each_alone(num_tokens: int) -> tuple[tuple[int, ...], ...]:
    """Every token is hidden by itself."""
    return tuple((place,) for place in range(num_tokens))
