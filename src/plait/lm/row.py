"""Plait's own language model: a row of blocks between an embedding and an output head.

In: token ids `(B, T)`, or states `(B, T, D)` that a fusion has changed.
Out: states `(B, T, D)`, and logits `(B, T, V)`.
Invariant: step by step equals all at once; masked positions are skipped wherever they are, whatever the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from plait.embeddings import EmbeddingConfig, ScratchConfig, build_embedding
from plait.errors import UserError
from plait.layers import OutputHead
from plait.lm.base import CausalLM, CausalLMOptions
from plait.lm.cache import Cache


class LMOptions(CausalLMOptions):
    """Options of every language model of Plait's own: they differ in the block only."""

    layers: int = Field(default=2, ge=1, le=1000, description="blocks")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="after every block's sub-layers and the embedding")
    tie_weights: bool = Field(default=False, description="the output head is the embedding table: fewer parameters")
    embedding: EmbeddingConfig = Field(default=ScratchConfig(), description="the language model's own word vectors")
    final_norm: bool = Field(
        default=True, description="a norm before the output head; without it logits are linear in the last states"
    )

    def build_blocks(self, width: int) -> list[Block]:
        """The blocks in order."""
        raise NotImplementedError

    def build(
        self, *, width: int, vocabulary_size: int, pad_id: int, vectors: Float[Tensor, "V W"] | None = None
    ) -> LanguageModel:
        """The language model; `vectors` are the embedding's first values."""
        return LanguageModel(self, width=width, vocabulary_size=vocabulary_size, pad_id=pad_id, vectors=vectors)


@dataclass(frozen=True)
class Steps:
    """What every block is told about the positions of one call: which are real, how many came before, the block's own plan."""

    mask: Bool[Tensor, "B T"] | None
    num_past: int = 0
    plan: Mapping[str, Tensor] = field(default_factory=dict)


class Block(nn.Module):
    """The base of every block: `(states, memory) -> (states, memory)`; an empty memory begins a sequence."""

    columns: ClassVar[Mapping[str, int | None]] = {}
    """For each tensor of its memory the axis of the positions read; None where it has one value per row. See `Cache`."""

    def plan(
        self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B S"] | None, num_past: int
    ) -> dict[str, Tensor]:
        """What all blocks of a row share in one call, computed once; `mask` covers past and present."""
        return {}

    def forward(
        self, states: Float[Tensor, "B T D"], memory: Mapping[str, Tensor], steps: Steps, *, remember: bool
    ) -> tuple[Float[Tensor, "B T D"], Mapping[str, Tensor]]:
        """The block over these positions, after what it remembers."""
        raise NotImplementedError


class LanguageModel(CausalLM):
    """Embedding, blocks, final norm, head."""

    linear_head = True

    def __init__(
        self,
        config: LMOptions,
        *,
        width: int,
        vocabulary_size: int,
        pad_id: int,
        vectors: Float[Tensor, "V W"] | None = None,
    ) -> None:
        super().__init__()
        if config.tie_weights and config.embedding.frozen:
            raise UserError(
                "frozen word vectors cannot be the output head too",
                where="lm.tie_weights",
                right="Set lm.tie_weights=false",
            )
        self.width, self.embed_width, self.vocabulary_size = width, width, vocabulary_size
        self.embedding = build_embedding(
            vocabulary_size=vocabulary_size,
            width=width,
            vectors=vectors,
            frozen=config.embedding.frozen,
            pad_id=pad_id,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(config.build_blocks(width))
        self.norm = nn.RMSNorm(width) if config.final_norm else nn.Identity()
        self.head = None if config.tie_weights else OutputHead(width, vocabulary_size, bias=False)
        if config.tie_weights and isinstance(self.norm, nn.RMSNorm):
            # A state begins as its own word's vector: without this the untrained model would be sure to repeat that word.
            nn.init.constant_(self.norm.weight, width**-0.5)

    @property
    def num_blocks(self) -> int:
        """Blocks in the row."""
        return len(self.blocks)

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return self.embedding.table.device

    def block(self, number: int) -> Block:
        """One block."""
        return cast("Block", self.blocks[number])

    def word_vectors(self, tokens: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape D"]:
        """The embedding."""
        return self.embedding(tokens)

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The embedding, in training with dropout."""
        return self.dropout(self.embedding(tokens))

    def enter(
        self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"] | None, cache: Cache | None
    ) -> tuple[Float[Tensor, "B T D"], Steps]:
        """The states as they are, and the plan that all blocks share."""
        num_past = 0 if cache is None else cache.length
        whole = mask if cache is None else cache.joined_mask(mask, *states.shape[:2])
        return states, Steps(mask, num_past, self.block(0).plan(states, whole, num_past))

    def run_block(
        self, number: int, states: Float[Tensor, "B T D"], steps: Steps, cache: Cache | None
    ) -> Float[Tensor, "B T D"]:
        """One block over these positions, after what it remembers."""
        memory = {} if cache is None else cache.blocks[number]
        states, memory = self.block(number)(states, memory, steps, remember=cache is not None)
        if cache is not None:
            cache.blocks[number] = memory
        return states

    def finish(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The last block's states, normed (`final_norm`): what the output head reads."""
        return self.norm(states)

    def logits(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """The output head over finished states."""
        return self.embedding.logits(states) if self.head is None else self.head(states)

    def empty_cache(self) -> Cache:
        """An empty memory for each block."""
        blocks = [self.block(number) for number in range(self.num_blocks)]
        return Cache([{} for _ in blocks], columns=[block.columns for block in blocks])
