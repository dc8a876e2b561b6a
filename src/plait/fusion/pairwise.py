"""Directed pairwise cross-attention (MulT, Tsai et al. 2019, arXiv 1906.00295): every modality reads every other one.

For each ordered pair (m, n), m ≠ n, a stack of cross-attention blocks lets the tokens of m read those of n; what m read of the
others is put side by side, brought to the width of the states and passed through self-attention; then the text state attends to
all tokens. One modality alone has no pair: its own tokens go on. More than `MAX_BLOCKS` blocks in all pairs are refused with the
count: up to nine inputs with one layer, three with twelve. Parameters: 12 D I for each layer and pair, (M − 1) D² and 12
D I for each modality, 4 D I for the reading; I the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError
from plait.fusion.attention import AttentionConfig, AttentionFusion, join
from plait.layers import Attention, FeedForward, Linear, SelfAttentionBlock, attention_bias
from plait.named import ByName, pair_of
from plait.types import Condition, Features

MAX_BLOCKS = 72
"""Cross-attention blocks in all pairs: at width 128 they have 14 million numbers."""


class PairwiseConfig(AttentionConfig):
    """Every modality's tokens read every other modality's, pair by pair; then `attention`. The dearest: about M² stacks."""

    kind: Literal["pairwise"] = "pairwise"  # pyright: ignore[reportIncompatibleVariableOverride]
    layers: int = Field(default=1, ge=1, le=12, description="cross-attention blocks of each pair")
    formula: ClassVar[str] = "Z_m = self(W_m [cross(Z_m, Z_n) for n ≠ m]); then h + Attn(h, [Z_1; …; Z_M])"
    advice: ClassVar[str] = "signals that explain each other moment by moment (lips and speech)"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Pairwise:
        """The fusion; refused where its pairs have too many blocks."""
        num = len(feature_widths)
        pairs, most = num * (num - 1), largest_depth(num)
        if pairs * self.layers > MAX_BLOCKS:
            raise UserError(
                f"pairwise: {num} inputs make {pairs} directed pairs, with {self.layers} layers each {pairs * self.layers} blocks",
                where="fusion.layers" if most else "fusion.kind",
                right=f"At most {MAX_BLOCKS}: take {f'fusion.layers={most}, or ' if most else ''}fusion.kind=bottleneck or "
                "attention, whose cost grows with the inputs and not with their pairs",
            )
        return Pairwise(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


def largest_depth(num_inputs: int) -> int:
    """The most layers that a pair may have, 0 where there are too many pairs."""
    return MAX_BLOCKS // max(1, num_inputs * (num_inputs - 1))


class CrossBlock(nn.Module):
    """One pre-norm block: the tokens read the source, then think."""

    def __init__(self, width: int, num_heads: int, inner_width: int | None = None) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.source_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, num_heads, inner_width=inner_width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * (inner_width or width))

    def forward(self, values: Float[Tensor, "B L D"], source: Features) -> Float[Tensor, "B L D"]:
        """The tokens after the block."""
        keys = self.attention.keys(self.source_norm(source.values))
        bias = attention_bias(source.mask[:, None, None, :], values.dtype)
        values = values + self.attention(self.attention_norm(values), *keys, bias=bias)
        return values + self.feed_forward(self.feed_forward_norm(values))


class Pairwise(AttentionFusion):
    """See the module."""

    def __init__(
        self, config: PairwiseConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        modalities, heads, inner = self.tokens.modalities, config.num_heads, config.inner_width
        self.pairs = ByName(
            {
                pair_of(m, n): nn.ModuleList(CrossBlock(width, heads, inner) for _ in range(config.layers))
                for m in modalities
                for n in modalities
                if m != n
            }
        )
        num_others = max(1, len(modalities) - 1)
        self.merges = ByName({m: Linear(num_others * width, width) for m in modalities})
        self.selves = ByName({m: SelfAttentionBlock(width, heads, inner_width=inner) for m in modalities})

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values of all tokens after they have read each other."""
        tokens = self.tokens(features)
        return self.keys_of(join({m: self.informed(m, tokens) for m in tokens}))

    def informed(self, modality: str, tokens: Mapping[str, Features]) -> Features:
        """The tokens of one modality, with what they read of the others."""
        own = tokens[modality]
        read = [
            self.read(pair_of(modality, other), own, source) for other, source in tokens.items() if other != modality
        ]
        merged = self.merges[modality](torch.cat(read or [own.values], dim=-1))
        return Features(self.selves[modality](merged, own.mask), own.mask)

    def read(self, pair: str, own: Features, source: Features) -> Float[Tensor, "B L D"]:
        """The tokens after the stack of one pair."""
        values = own.values
        stack = self.pairs[pair]
        for block in stack:
            values = block(values, source)
        return values
