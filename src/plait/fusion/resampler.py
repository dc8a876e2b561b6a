"""Resampler: a fixed number of tokens before the text (Perceiver resampler of Flamingo, arXiv 2204.14198; BLIP-2's Q-Former).

N learned latents read all tokens and themselves, `X = X + Attn(q = norm(X), kv = [norm(Z); norm(X)])`, `X = X + FF(norm(X))`,
layer by layer, and stand before the text as a prefix. A fixed budget of tokens, whatever the inputs' length; fine detail is
lost. Parameters: 12 D I for each layer, N D, D²; I the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.attention import join
from plait.fusion.base import Attended, AttentionWidth, ModalityTokens
from plait.fusion.prefix import BeforeText, Prefix
from plait.layers import Attention, FeedForward, attention_bias
from plait.types import Condition, Features


class ResamplerConfig(BeforeText, AttentionWidth):
    """A fixed number of latents read all modalities and stand before the text."""

    kind: Literal["resampler"] = "resampler"
    layers: int = Field(default=2, ge=1, le=24, description="layers of the latents")
    num_latents: int = Field(default=16, ge=1, le=1024, description="latents, that is positions before the text")
    formula: ClassVar[str] = "X ← X + Attn(X, [Z; X]), X ← X + FF(X); then W X before the text"
    advice: ClassVar[str] = "long inputs before a language model of one's own: a fixed budget of positions"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Resampler:
        """The fusion."""
        return Resampler(self, width=width, feature_widths=feature_widths)


class LatentBlock(nn.Module):
    """One layer of the latents."""

    def __init__(self, width: int, num_heads: int, inner_width: int | None = None) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.latent_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, num_heads, inner_width=inner_width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * (inner_width or width))

    def forward(self, latents: Float[Tensor, "B N D"], tokens: Features) -> Float[Tensor, "B N D"]:
        """The latents after the layer."""
        normed, keys, values, bias = self.read(latents, tokens)
        latents = latents + self.attention(normed, keys, values, bias=bias)
        return latents + self.feed_forward(self.feed_forward_norm(latents))

    def read(self, latents: Float[Tensor, "B N D"], tokens: Features) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The normed latents, and the keys, values and bias of what they read: the tokens, and behind them themselves."""
        normed = self.latent_norm(latents)
        read = torch.cat([self.token_norm(tokens.values), normed], dim=1)
        mask = torch.cat([tokens.mask, tokens.mask.new_ones(latents.shape[:2])], dim=1)
        return normed, *self.attention.keys(read), attention_bias(mask[:, None, None, :], latents.dtype)


class Resampler(Prefix):
    """See the module."""

    def __init__(self, config: ResamplerConfig, *, width: int, feature_widths: Mapping[str, int]) -> None:
        super().__init__(width=width, feature_widths=feature_widths)
        self.tokens = ModalityTokens(feature_widths, width)
        self.latents = nn.Parameter(torch.randn(config.num_latents, width))
        self.blocks = nn.ModuleList(
            LatentBlock(width, config.num_heads, config.inner_width) for _ in range(config.layers)
        )

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where the latents looked, the mean over latents and layers: the same for every position of the text."""
        tokens = self.tokens(features)
        joined = join(tokens)
        latents = self.latents.to(joined.values.dtype).expand(len(joined.values), -1, -1)
        total = torch.zeros(())
        for block in self.blocks:
            assert isinstance(block, LatentBlock)
            normed, keys, _, bias = block.read(latents, joined)
            total = total + block.attention.shares(normed, keys, bias=bias).mean(dim=1, keepdim=True) / len(self.blocks)
            latents = block(latents, joined)
        return Attended.parted(total, tokens)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """The prefix: the latents after they have read all tokens."""
        tokens = join(self.tokens(features))
        latents = self.latents.to(tokens.values.dtype).expand(len(tokens.values), -1, -1)
        for block in self.blocks:
            latents = block(latents, tokens)
        mask = tokens.mask.new_ones(latents.shape[:2])
        return Condition(prefix=Features(self.project(latents), mask))
