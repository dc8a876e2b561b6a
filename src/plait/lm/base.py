"""The language model: a row of blocks between an embedding and an output head.

In: token ids `(B, T)`, or states `(B, T, D)` that a fusion has changed.
Out: states `(B, T, D)`, and logits `(B, T, V)`.
Invariant: step by step equals all at once; masked positions (of a prefix) are skipped, whatever the block.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor, nn

from plait.choices import Config
from plait.embeddings import EmbeddingConfig, ScratchConfig, build_embedding
from plait.errors import UserError
from plait.layers import OutputHead


class LMOptions(Config):
    """Options of every language model."""

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


@dataclass
class Cache:
    """What a language model remembers of the positions it has read: one entry per block, and which positions were real.

    `mask` is None while every position so far was real.
    """

    blocks: list[Mapping[str, Shaped[Tensor, "B ..."]]]
    length: int = 0
    mask: Bool[Tensor, "B past"] | None = None

    def advance(self, mask: Bool[Tensor, "B T"] | None, batch_size: int, num_steps: int) -> None:
        """Note that these positions have been read."""
        self.mask = self.joined_mask(mask, batch_size, num_steps)
        self.length += num_steps

    def joined_mask(
        self, mask: Bool[Tensor, "B T"] | None, batch_size: int, num_steps: int
    ) -> Bool[Tensor, "B S"] | None:
        """Which of the past positions and of `num_steps` present ones are real; None where all are."""
        known = self.mask if self.mask is not None else mask
        if known is None:
            return None
        past = self.mask if self.mask is not None else known.new_ones(batch_size, self.length)
        present = mask if mask is not None else known.new_ones(batch_size, num_steps)
        return torch.cat([past, present], dim=1)

    def select(self, rows: Int[Tensor, " rows"]) -> Cache:
        """The memories of the given rows of the batch, in that order, repeats allowed."""
        blocks: list[Mapping[str, Tensor]] = [
            {name: value[rows] for name, value in block.items()} for block in self.blocks
        ]
        return Cache(blocks, self.length, None if self.mask is None else self.mask[rows])


@dataclass(frozen=True)
class Steps:
    """What every block is told about the positions of one call: which are real, how many came before, the block's own plan."""

    mask: Bool[Tensor, "B T"] | None
    num_past: int = 0
    plan: Mapping[str, Tensor] = field(default_factory=dict)


class Block(nn.Module):
    """The base of every block: `(states, memory) -> (states, memory)`; an empty memory begins a sequence."""

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


class LanguageModel(nn.Module):
    """Embedding, blocks, final norm, head. `model.py` runs the blocks and lets the fusion act between them."""

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
        self.width, self.vocabulary_size = width, vocabulary_size
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

    def block(self, number: int) -> Block:
        """One block."""
        block = self.blocks[number]
        assert isinstance(block, Block)
        return block

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The states at place 0."""
        return self.dropout(self.embedding(tokens))

    def finish(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The last block's states, normed (`final_norm`): what the output head reads."""
        return self.norm(states)

    def logits(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """The output head over finished states. It is linear, so the logits of a sum are the sum of the logits."""
        return self.embedding.logits(states) if self.head is None else self.head(states)

    def empty_cache(self) -> Cache:
        """The memory before the first position."""
        return Cache([{} for _ in self.blocks])

    def steps(self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"] | None, cache: Cache) -> Steps:
        """What the blocks are told in a call over `states`, after the positions of `cache`."""
        whole = cache.joined_mask(mask, *states.shape[:2])
        return Steps(mask, cache.length, self.block(0).plan(states, whole, cache.length))
