"""Gated cross-attention (Flamingo, arXiv 2204.14198): `x + tanh(a) xattn(x, Z)`, then `x + tanh(b) FF(x)`, at every place.

a = b = 0 at the start, so that the untrained fusion leaves the language model as it is. Parameters: 12 D I per place, I
the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError
from plait.fusion.attention import join
from plait.fusion.base import Attended, AttentionWidth, Fusion, ModalityTokens, Place, resolve_place
from plait.layers import Attention, FeedForward, attention_bias
from plait.types import Condition, Features


class CrossAttentionConfig(AttentionWidth):
    """`x + tanh(a) xattn(x, Z)`, `x + tanh(b) FF(x)` with a = b = 0 at the start: for language models that exist already."""

    kind: Literal["cross_attention"] = "cross_attention"
    formula: ClassVar[str] = "h + tanh(a) xattn(h, Z), then h + tanh(b) FF(h), a = b = 0 at the start"
    advice: ClassVar[str] = "language models that exist already and must not be disturbed"
    at: tuple[Place, ...] | Place | Literal["every"] = Field(
        default="every", description="places: one, a list, or every block"
    )

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> CrossAttention:
        """The fusion."""
        return CrossAttention(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)

    def places(self, num_blocks: int) -> tuple[int, ...]:
        """The places in rising order; `every` is after each block but the last, or at the embeddings of a single block."""
        if self.at == "every":
            return tuple(range(1, num_blocks)) or (0,)
        listed = self.at if isinstance(self.at, tuple) else (self.at,)
        places = sorted({resolve_place(place, num_blocks) for place in listed})
        if not places:
            raise UserError("no place is named", where="fusion.at", right="Name one, a list, or every")
        return tuple(places)


class GatedBlock(nn.Module):
    """The layers of one place."""

    def __init__(self, width: int, num_heads: int, inner_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, num_heads, inner_width=inner_width)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * (inner_width or width), bias=False)
        self.feed_forward_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, states: Float[Tensor, "B T D"], keys: Tensor, values: Tensor, bias: Tensor
    ) -> Float[Tensor, "B T D"]:
        """Read, then think, both behind their gates."""
        read = self.attention(self.attention_norm(states), keys, values, bias=bias)
        states = states + torch.tanh(self.attention_gate) * read
        return states + torch.tanh(self.feed_forward_gate) * self.feed_forward(self.feed_forward_norm(states))


class CrossAttention(Fusion):
    """See the module."""

    def __init__(
        self, config: CrossAttentionConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__()
        self.at = config.places(num_blocks)
        self.tokens = ModalityTokens(feature_widths, width)
        self.blocks = nn.ModuleDict(
            {str(place): GatedBlock(width, config.num_heads, config.inner_width) for place in self.at}
        )

    def block(self, place: int) -> GatedBlock:
        """The layers of one place."""
        block = self.blocks[str(place)]
        assert isinstance(block, GatedBlock)
        return block

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values of all tokens, for each place its own."""
        tokens = join(self.tokens(features))
        values: dict[str, Tensor] = {"bias": attention_bias(tokens.mask[:, None, None, :])}
        for place in self.at:
            values[f"keys.{place}"], values[f"values.{place}"] = self.block(place).attention.keys(tokens.values)
        return Condition(values)

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where each position looked, the mean over the places weighed by how far their gates are open."""
        had = self.condition(features).values
        gates = torch.stack([torch.tanh(self.block(place).attention_gate).abs() for place in self.at])
        weights = gates / gates.sum() if bool(gates.sum() > 0) else torch.full_like(gates, 1 / len(gates))
        total = torch.zeros(())
        for weight, place in zip(weights, self.at, strict=True):
            block = self.block(place)
            normed = block.attention_norm(states[place])
            total = total + weight * block.attention.shares(normed, had[f"keys.{place}"], bias=had["bias"])
        return Attended.parted(total, self.tokens(features))

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """The gated block of this place."""
        had = condition.values
        return self.block(place)(states, had[f"keys.{place}"], had[f"values.{place}"], had["bias"])
