"""Series: a convolutional stem that shortens them, then self-attention, bidirectional or causal.

In: values and their validity `(R, N, 2 C)`, and the steps of each.
Out: `Features` `(R, L, E)`, one token per `stride` steps begun.
Invariant: as for sound (`plait.modalities.audio.transformer`): what stands behind an item's last step changes nothing, and no token
of the stem reads a step behind its own, so causal self-attention makes the whole encoder causal.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from plait.layers import Linear, SelfAttentionBlock
from plait.modalities.audio.transformer import KERNEL, Stem
from plait.modalities.encoder import Encoder, EncoderOptions, check_heads, length_mask, sine_positions, zero_masked
from plait.types import Features, Items


class SeriesTransformerConfig(EncoderOptions):
    """Convolutional stem and self-attention, from scratch."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(default=2, ge=0, le=48)
    num_heads: int = Field(default=4, ge=1, le=32)
    stride: Literal[1, 2, 4, 8] = Field(
        default=4, description="Steps per token; attention costs the square of the tokens."
    )
    causal: bool = Field(default=False, description="No token reads what comes later.")
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def build(self, width: int, *, num_values: int) -> SeriesTransformer:
        """The encoder of series with so many numbers a step."""
        check_heads(width, self.num_heads, where="encoders.series.num_heads")
        return SeriesTransformer(self, width, num_values=num_values)


class StepStem(nn.Module):
    """One convolution over time for stride 1: each token reads its step and the two before."""

    def __init__(self, num_values: int, width: int) -> None:
        super().__init__()
        self.convolution = Linear(KERNEL * num_values, width)
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.convolution.bias)

    def forward(
        self, values: Float[Tensor, "R N W"], lengths: Int[Tensor, " R"]
    ) -> tuple[Float[Tensor, "R N E"], Bool[Tensor, "R N"]]:
        """The tokens, and which of them are real."""
        mask = length_mask(lengths, values.shape[1])
        framed = F.pad(zero_masked(values, mask), (0, 0, KERNEL - 1, 0)).unfold(1, KERNEL, 1)
        return zero_masked(self.convolution(framed.flatten(2)), mask), mask


class SeriesTransformer(Encoder):
    """The stem, positions, then blocks of self-attention and a last norm."""

    def __init__(self, config: SeriesTransformerConfig, width: int, *, num_values: int) -> None:
        super().__init__()
        self.width, self.stride = width, config.stride
        self.stem = StepStem(num_values, width) if config.stride == 1 else Stem(num_values, width, stride=config.stride)
        self.stem_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, config.num_heads, dropout=config.dropout, causal=config.causal)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Items) -> Features:
        """The tokens of every series."""
        values, mask = self.stem(items.values, items.lengths)
        places = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
        values = self.dropout(self.stem_norm(values) + sine_positions(places, self.width).to(values.dtype))
        for block in self.blocks:
            values = block(values, mask)
        return Features(zero_masked(self.norm(values), mask), mask)

    def num_tokens(self, *size: int) -> int:
        """Tokens of a series of `(steps,)`."""
        (steps,) = size
        return -(-steps // self.stride)
