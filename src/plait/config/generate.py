"""What the user may say about generation.

In: the `generate:` part of a run's YAML, or options of `plait generate`.
Out: a frozen `GenerateConfig`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from plait.choices import Config

ENOUGH_TOKENS = 64
"""Tokens per segment where no target is known to be longer."""


class GenerateConfig(Config):
    """How text is chosen, token by token."""

    method: Literal["greedy", "sample", "beam"] = Field(
        default="greedy", description="the likeliest token, a draw, or beam search"
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="per segment; one that reaches it is ended there; none: room for the longest target of training",
    )
    until: Literal["end", "sentence"] = Field(
        default="end", description="write on to the segment's end, or to a sentence's end"
    )
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="sample: below 1 sharper, above 1 flatter"
    )
    top_k: int | None = Field(default=None, ge=1, description="sample: only the k likeliest tokens")
    top_p: float | None = Field(
        default=None, gt=0, le=1, description="sample: only the likeliest tokens that hold this probability"
    )
    beams: int = Field(default=4, ge=1, description="beam: hypotheses kept")
    length_penalty: float = Field(default=1.0, ge=0, description="beam: score = log-probability / length^penalty")
    seed: int = Field(default=0, description="sample: the seed of the draws")

    @property
    def most_tokens(self) -> int:
        """The limit in force; a run states it, from its training targets (`limit_for`)."""
        return ENOUGH_TOKENS if self.max_tokens is None else self.max_tokens


def limit_for(longest: int) -> int:
    """The limit for targets of at most `longest` tokens: a quarter more and the end, and never less than 64."""
    return max(ENOUGH_TOKENS, longest + -(-longest // 4) + 1)
