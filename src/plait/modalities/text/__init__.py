"""Texts as an input: questions, captions, messages.

In: a text.
Out: ids `(S,)`; features of a Transformer over them, or the language model's own word vectors.
Invariant: see `plait.modalities.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from plait.choices import Config, one_of
from plait.modalities.base import Facts, Field, First, Item, Modality, Parts
from plait.modalities.text.prepare import TextConfig, TextPreparer, text_in
from plait.modalities.text.transformer import TextTransformerConfig
from plait.modalities.text.view import small_text, text_view
from plait.modalities.text.words import WordsConfig
from plait.modalities.view import Seen, Small, View

if TYPE_CHECKING:
    TextEncoderConfig = TextTransformerConfig | WordsConfig
else:
    TextEncoderConfig = one_of("text encoder", TextTransformerConfig, WordsConfig)


class Text(Modality):
    """See the module."""

    name = "text"
    one, many = "text", "texts"
    Options = TextConfig
    encoder_axis = "text encoder"
    encoders = TextEncoderConfig
    other_names = ("question", "prompt", "input", "instruction")
    holds = "a text"
    hue = ("#1f77b4", "#69aede")

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """The text; whole numbers are texts as well, since CSV cannot tell them apart."""
        return (text_in(value, field.name, field.shown),)

    def preparer(self, options: TextConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> TextPreparer:
        """See the base."""
        return TextPreparer(options, encode, pad_id)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Any:
        """The encoder, with its word vectors."""
        return config.build(
            width,
            vocabulary_size=parts.vocabulary_size,
            pad_id=parts.pad_id,
            vectors=parts.vectors(getattr(config, "embedding", None)),
        )

    def look(self, item: Item, options: TextConfig) -> Facts:
        """Texts are looked at by their own checks."""
        return Facts(length=len(str(item)))

    def first(self, items: Sequence[Item]) -> First:
        """The encoder; how texts are cut up concerns the targets as well, and is decided for all of them."""
        why = "embedding: {kind: word2vec} or {kind: glove} trains word vectors first"
        return First("{kind: transformer, layers: 2}", encoder_why=why)

    def said_of(self, options: Config) -> dict[str, Any]:
        """Nothing: the ids of a text are its key."""
        return {}

    def view(self, value: Tensor, seen: Seen) -> View:
        """See `view.py`."""
        return text_view(value, seen)

    def small(self, item: Item) -> Small:
        """See `view.py`."""
        return small_text(str(item))

    def typical(self, options: TextConfig, *, seconds: float, words: int) -> int:
        """So many words."""
        return words
