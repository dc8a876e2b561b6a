"""The door of every language model: all that the rest of Plait asks of one, whether its blocks are Plait's own or not.

In: token ids `(B, T)`, or states that stand before and between them; what was read before, in a `Cache`.
Out: states `(B, T, D)`, and logits `(B, T, V)`.
Invariant: nothing outside this folder reaches around the door. A row of blocks is run as

    states = lm.embed(tokens)                               (B, T, embed_width), perhaps with a prefix before it
    states, steps = lm.enter(states, mask, cache)           (B, T, width): what block 0 reads
    states = lm.run_block(k, states, steps, cache)          for k = 0 … num_blocks − 1; between them a fusion may act
    cache.advance(mask, B, T)
    logits = lm.logits(lm.finish(states))

Step by step equals all at once, and masked positions are skipped. A model that counts columns (a sliding window, ALiBi, a
convolution) may skip those at the left of a row only: whoever calls it aligns rows at the right.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from plait.choices import Config
from plait.lm.cache import Cache


class CausalLMOptions(Config):
    """The base of every language model's configuration, one of a user's own included."""

    width: int | None = Field(
        default=None,
        ge=8,
        le=65_536,
        description="width of its states; null = the run's `width`, as the encoders have it",
    )

    def build(
        self, *, width: int, vocabulary_size: int, pad_id: int, vectors: Float[Tensor, "V W"] | None = None
    ) -> CausalLM:
        """The language model; `width` is the resolved one, `vectors` are the first values of its word vectors."""
        raise NotImplementedError


class CausalLM(nn.Module, ABC):
    """See the module.

    `width`: of its states; `embed_width`: of its word vectors, which `enter` takes to `width`. `linear_head`: whether the logits
    of a sum of finished states are the sum of their logits (`late` needs it).
    """

    width: int
    embed_width: int
    vocabulary_size: int
    linear_head: bool

    @property
    @abstractmethod
    def num_blocks(self) -> int:
        """Blocks in the row."""

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        return next(self.parameters()).device

    @abstractmethod
    def word_vectors(self, tokens: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape E"]:
        """The vectors of words, as they are outside any text."""

    def embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """What `enter` reads at the words of a text: their vectors, in training perhaps with dropout."""
        return self.word_vectors(tokens)

    @abstractmethod
    def enter(
        self, states: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"] | None, cache: Cache | None
    ) -> tuple[Float[Tensor, "B T D"], Any]:
        """The states that block 0 reads, and what all blocks are told about this call; nobody else looks into the latter.

        `cache`: what was read before; None = nothing, and nothing is to be remembered.
        """

    @abstractmethod
    def run_block(
        self, number: int, states: Float[Tensor, "B T D"], steps: Any, cache: Cache | None
    ) -> Float[Tensor, "B T D"]:
        """One block over these positions; it writes what it remembers into the cache."""

    @abstractmethod
    def finish(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The last block's states as the output head reads them."""

    @abstractmethod
    def logits(self, states: Float[Tensor, "*B D"]) -> Float[Tensor, "*B V"]:
        """The output head over finished states."""

    @abstractmethod
    def empty_cache(self) -> Cache:
        """The memory before the first position."""
