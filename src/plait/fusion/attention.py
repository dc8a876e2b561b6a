"""Attention: `W Attn(q = norm(h_t), kv = [Z_1; …; Z_M])`, one softmax over the tokens of all modalities, which compete.

Vaswani et al. 2017 over the joint token set. Parameters: 4 D I, I the inner width. Plain form: without the residual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.base import Attended, AttentionWidth, Fusion, ModalityTokens, Place, resolve_place
from plait.layers import Attention, attention_bias
from plait.types import Condition, Features


class AttentionConfig(AttentionWidth):
    """`Attn(q = h_t, kv = [Z_1; …; Z_M])`: one softmax over all modalities' tokens; the modalities compete."""

    kind: Literal["attention"] = "attention"
    formula: ClassVar[str] = "h + W Attn(q = norm(h), kv = [Z_1; …; Z_M])"
    advice: ClassVar[str] = "modalities that compete: each word picks the tokens it needs"
    at: Place = Field(
        default=1, description="after which block: 0 = at the embeddings, k = after k blocks, last = before the head"
    )
    plain: bool = Field(default=False, description="without the residual of the text state")

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> AttentionFusion:
        """The fusion."""
        return AttentionFusion(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


def join(tokens: Mapping[str, Features]) -> Features:
    """The tokens of all modalities in one row."""
    values = torch.cat([part.values for part in tokens.values()], dim=1)
    return Features(values, torch.cat([part.mask for part in tokens.values()], dim=1))


class AttentionFusion(Fusion):
    """See the module."""

    def __init__(
        self, config: AttentionConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__()
        self.at = (resolve_place(config.at, num_blocks),)
        self.plain = config.plain
        self.tokens = ModalityTokens(feature_widths, width)
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, config.num_heads, inner_width=config.inner_width)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values of all tokens."""
        return self.keys_of(join(self.tokens(features)))

    def keys_of(self, tokens: Features) -> Condition:
        """Keys and values of these tokens."""
        keys, values = self.attention.keys(tokens.values)
        return Condition({"keys": keys, "values": values, "bias": attention_bias(tokens.mask[:, None, None, :])})

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where each position looked among the tokens of all modalities."""
        had = self.condition(features).values
        shares = self.attention.shares(self.norm(states[self.at[0]]), had["keys"], bias=had["bias"])
        return Attended.parted(shares, self.tokens(features))

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """What each position reads, added to it."""
        had = condition.values
        read = self.attention(self.norm(states), had["keys"], had["values"], bias=had["bias"])
        return read if self.plain else states + read
