"""Text as an input: embedded words, then self-attention, bidirectional (BERT's way) or causal (GPT's way).

In: token ids `(R, S)` and the valid tokens of each text.
Out: `Features` `(R, S, E)`, one token per id.
Invariant: ids behind a text's last token change nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.embeddings import EmbeddingConfig, ScratchConfig, build_embedding
from plait.layers import SelfAttentionBlock
from plait.modalities.encoder import Encoder, EncoderOptions, check_heads, length_mask, sine_positions, zero_masked
from plait.types import Features, Items


class TextTransformerConfig(EncoderOptions):
    """Embedding and self-attention, from scratch or from word vectors."""

    kind: Literal["transformer"] = "transformer"
    embedding: EmbeddingConfig = ScratchConfig()
    layers: int = Field(default=2, ge=0, le=48)
    num_heads: int = Field(default=4, ge=1, le=32)
    causal: bool = False
    """No token reads what comes later."""
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def build(
        self, width: int, *, vocabulary_size: int, pad_id: int, vectors: Float[Tensor, "V W"] | None = None
    ) -> TextTransformer:
        """The encoder; `vectors` are those of `plait.embeddings.vectors_for`."""
        check_heads(width, self.num_heads, where="encoders.text.num_heads")
        return TextTransformer(self, width, vocabulary_size=vocabulary_size, pad_id=pad_id, vectors=vectors)


class TextTransformer(Encoder):
    """The embedding, positions, then blocks of self-attention and a last norm."""

    def __init__(
        self,
        config: TextTransformerConfig,
        width: int,
        *,
        vocabulary_size: int,
        pad_id: int,
        vectors: Float[Tensor, "V W"] | None,
    ) -> None:
        super().__init__()
        self.width = width
        self.embedding = build_embedding(
            vocabulary_size, width, vectors=vectors, frozen=config.embedding.frozen, pad_id=pad_id
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, config.num_heads, dropout=config.dropout, causal=config.causal)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Items) -> Features:
        """The tokens of every text."""
        mask = length_mask(items.lengths, items.values.shape[1])
        values = self.embedding(items.values.masked_fill(~mask, self.embedding.pad_id))
        places = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
        values = self.dropout(values + sine_positions(places, self.width).to(values.dtype))
        for block in self.blocks:
            values = block(values, mask)
        return Features(zero_masked(self.norm(values), mask), mask)

    def num_tokens(self, *size: int) -> int:
        """Tokens of a text of `(tokens,)`: one for one."""
        (tokens,) = size
        return tokens
