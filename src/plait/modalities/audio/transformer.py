"""Sound: a convolutional stem that shortens the log-mel, then self-attention, bidirectional or causal.

In: log-mel `(R, F, M)` and the valid frames of each (a frame is 10 ms).
Out: `Features` `(R, L, E)`, one token per `stride` frames begun.
Invariant: what stands behind an item's last frame changes nothing: it is set to zero before every convolution, as if the clip
stood alone. The stem reads nothing behind a token's own `stride` frames, so causal self-attention makes the whole encoder causal.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from plait.layers import Linear, SelfAttentionBlock
from plait.modalities.encoder import Encoder, EncoderOptions, check_heads, length_mask, sine_positions, zero_masked
from plait.types import Features, Items

KERNEL = 3


class AudioTransformerConfig(EncoderOptions):
    """Convolutional stem and self-attention, from scratch."""

    kind: Literal["transformer"] = "transformer"
    layers: int = Field(default=2, ge=0, le=48)
    num_heads: int = Field(default=4, ge=1, le=32)
    stride: Literal[4, 8] = 8
    """Frames of 10 ms per token: 8 is the cheaper, 4 tells quick sounds apart."""
    causal: bool = False
    """No token reads what comes later."""
    dropout: float = Field(default=0.1, ge=0, lt=1)

    def build(self, width: int, *, num_mels: int) -> AudioTransformer:
        """The encoder."""
        check_heads(width, self.num_heads, where="encoders.audio.num_heads")
        return AudioTransformer(self, width, num_mels=num_mels)


class Stem(nn.Module):
    """Convolutions over time (kernel 3), each halving the frames, with a GELU between them.

    Written as matrix products of unfolded frames: on a CPU 10 to 15 % faster than `Conv1d`, which wants the axes swapped.
    """

    def __init__(self, num_mels: int, width: int, *, stride: int) -> None:
        super().__init__()
        num_halvings = stride.bit_length() - 1
        convolutions = [Linear(KERNEL * (width if index else num_mels), width) for index in range(num_halvings)]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)
        self.convolutions = nn.ModuleList(convolutions)

    def forward(
        self, mels: Float[Tensor, "R F M"], lengths: Int[Tensor, " R"]
    ) -> tuple[Float[Tensor, "R L E"], Bool[Tensor, "R L"]]:
        """The shortened sounds and which of their tokens are real."""
        mask = length_mask(lengths, mels.shape[1])
        values = zero_masked(mels, mask)
        for index, convolution in enumerate(self.convolutions):
            framed = F.pad(F.gelu(values) if index else values, (0, 0, 1, 1)).unfold(1, KERNEL, 2)
            mask = mask[:, ::2]
            values = zero_masked(convolution(framed.flatten(2)), mask)
        return values, mask


class AudioTransformer(Encoder):
    """The stem, positions, then blocks of self-attention and a last norm."""

    def __init__(self, config: AudioTransformerConfig, width: int, *, num_mels: int) -> None:
        super().__init__()
        self.width = width
        self.num_halvings = config.stride.bit_length() - 1
        self.stem = Stem(num_mels, width, stride=config.stride)
        self.stem_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, config.num_heads, dropout=config.dropout, causal=config.causal)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, items: Items) -> Features:
        """The tokens of every sound."""
        values, mask = self.stem(items.values, items.lengths)
        places = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
        values = self.stem_norm(values) + sine_positions(places, self.width).to(values.dtype)
        values = self.dropout(values)
        for block in self.blocks:
            values = block(values, mask)
        return Features(zero_masked(self.norm(values), mask), mask)

    def num_tokens(self, *size: int) -> int:
        """Tokens of a sound of `(frames,)`: every halving rounds up."""
        (frames,) = size
        for _ in range(self.num_halvings):
            frames = -(-frames // 2)
        return frames
