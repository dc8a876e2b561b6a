"""Text as an input, read by the language model's own word vectors.

In: token ids `(R, S)` and the valid tokens of each text.
Out: `Features` `(R, S, E)`, one token per id; E is the width of the language model's word vectors.
Invariant: the encoder has no parameters: the word vectors are the language model's, and an optimiser and a file of weights see
them once, there. Ids behind a text's last token change nothing.

With `fusion: prefix` the text stands before what is to be said as a prompt does: unprojected and without positions, because the
language model counts those itself. Every other fusion reads tokens as a set, so there each word is told its place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from plait.choices import Config
from plait.modalities.encoder import Encoder, length_mask, sine_positions, zero_masked
from plait.types import Features, Items

OWN_WORDS = "it is the word vectors of the language model (kind: words)"


class WordsConfig(Config):
    """The language model's own word vectors; with `fusion: prefix` the text is a prompt."""

    kind: Literal["words"] = "words"
    positions: bool | None = Field(
        default=None,
        description="tell each word its place; null = yes, except before the text (fusion prefix), where the language model does",
    )

    def build(
        self, width: int, *, vocabulary_size: int, pad_id: int, vectors: Float[Tensor, "V W"] | None = None
    ) -> Words:
        """The encoder, to be given a language model's words; the others' options are not its own."""
        return Words(self.positions)


class Words(Encoder):
    """See the module."""

    def __init__(self, positions: bool | None) -> None:
        super().__init__()
        self.asked, self.positions = positions, bool(positions)

    def read_with(self, embed: Callable[[Tensor], Tensor], width: int, *, as_prompt: bool) -> None:
        """Take the word vectors of a language model, which stay its own: `embed` is no module, so nothing is registered twice.

        `as_prompt`: its tokens stand before the text as words do.
        """
        self.embed, self.width = embed, width
        self.positions = not as_prompt if self.asked is None else self.asked

    def forward(self, items: Items) -> Features:
        """The vector of every word."""
        mask = length_mask(items.lengths, items.values.shape[1])
        values = self.embed(items.values.masked_fill(~mask, 0))
        if self.positions:
            places = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
            values = values + sine_positions(places, self.width).to(values.dtype)
        return Features(zero_masked(values, mask), mask)

    def num_tokens(self, *size: int) -> int:
        """Tokens of a text of `(tokens,)`: one for one."""
        (tokens,) = size
        return tokens
