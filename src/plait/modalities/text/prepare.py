"""A text becomes the ids of its first tokens.

In: a text; the run's tokenizer.
Out: ids `(S,)`.
Invariant: only what stands behind the limit is left away, and whoever counts can ask whether that happened.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from plait.choices import Config
from plait.modalities.base import FieldError, Item, Preparer, stacked


class TextConfig(Config):
    """The text input; a longer one is cut to its first `max_tokens`, and counted."""

    max_tokens: int = Field(default=256, ge=1)


MAX_TEXT = 1_000_000
"""Characters of one text from which on it is refused."""


def text_in(value: Any, name: str, shown: Callable[[object], str]) -> str:
    """The text that a field called `name` holds; whole numbers are texts as well, since CSV cannot tell them apart."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise FieldError("type", f"{name} is {shown(value)}, not a text", right="Write it between quotes.")
    if len(value) >= MAX_TEXT:
        right = f"A text has fewer than {MAX_TEXT:,} characters: cut it into several rows."
        raise FieldError("long-text", f"{name} is a text of {len(value):,} characters", right=right)
    if "\0" in value:
        what = f"{name} holds a NUL character (character {value.index(chr(0)) + 1})"
        raise FieldError("nul", what, right="Remove it: it is no text.")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            what = f"{name} is not UTF-8 (character {error.start + 1})"
            raise FieldError("not-utf8", what, right="Save the file as UTF-8.") from None
    return value


class TextPreparer(Preparer):
    """Texts as ids."""

    cost = 8.0
    is_kept = False
    dtype = torch.long

    def __init__(self, options: TextConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> None:
        self.options, self.encode, self.pad_id = options, encode, pad_id
        self.longest = options.max_tokens

    @property
    def preparation(self) -> str:
        """Nothing: the ids themselves are the key."""
        return ""

    def key(self, item: Item) -> Hashable | None:
        """The ids, None for a text without any."""
        return tuple(self.encode(str(item))[: self.options.max_tokens]) or None

    def decode(self, item: Item) -> Int[Tensor, " S"]:
        """The ids."""
        return torch.tensor(self.encode(str(item))[: self.options.max_tokens], dtype=torch.long)

    def is_cut(self, item: Item) -> bool:
        """Whether only the beginning of the text is read."""
        return len(self.encode(str(item))) > self.options.max_tokens

    def collate(self, values: Sequence[Tensor]) -> tuple[Int[Tensor, "R S"], Int[Tensor, " R"]]:
        """Padded with the padding token."""
        lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
        return stacked(values, torch.zeros(1, dtype=torch.long), self.pad_id), lengths

    def length(self, item: Item) -> int:
        """Its tokens, as far as they are read."""
        return min(len(self.encode(str(item))), self.options.max_tokens)

    def shape(self, length: int) -> tuple[int, ...]:
        """`(S,)`."""
        return (length,)
