"""A text as its words.

In: ids `(S,)`; a text.
Out: its `View`; its `Small`.
Invariant: a label per id.
"""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from plait.modalities.view import Seen, Small, View, each_alone


def text_view(ids: Int[Tensor, " S"], seen: Seen) -> View:
    """The words, as the tokenizer parts them."""
    words = tuple(seen.word(id) for id in ids.tolist())
    return View("words", (len(words),), words, each_alone(len(words)), "one word")


def small_text(text: str) -> Small:
    """The text itself."""
    return Small("text", text=text)
