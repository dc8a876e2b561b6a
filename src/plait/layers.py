"""The layers that encoders, fusions and language models share.

In: values `(B, T, D)` with masks `(B, T)`, True where a token is real.
Out: values of the same shape.
Invariant: a masked key never changes what an unmasked query reads, and both attention implementations give the same values;
which of them is faster depends on the machine and the shape, so it is chosen by measuring (`train/probe.py`).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plait.errors import UserError

Implementation = Literal["fused", "math"]

MASKED = -1e9
"""What is added to the score of a masked key: finite, so that a row without any key gives numbers and no NaN."""


def attention_bias(mask: Bool[Tensor, "*shape"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "*shape"]:
    """0 where `mask` is True and MASKED elsewhere: to be added to attention scores."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, MASKED)


def causal_mask(num_queries: int, num_keys: int, device: torch.device | str = "cpu") -> Bool[Tensor, "T S"]:
    """Query t (the last of the keys being its own position) may read keys up to its own."""
    return torch.ones(num_queries, num_keys, dtype=torch.bool, device=device).tril(num_keys - num_queries)


class Rotary(nn.Module):
    """Rotary position embedding (Su et al. 2021, arXiv 2104.09864): angles for given positions."""

    def __init__(self, head_width: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.head_width, self.base = head_width, base

    def forward(self, positions: Int[Tensor, "B T"]) -> tuple[Float[Tensor, "B 1 T half"], Float[Tensor, "B 1 T half"]]:
        """Cosines and sines of every position's angles, ready to be broadcast over heads."""
        half = torch.arange(0, self.head_width, 2, device=positions.device, dtype=torch.float32)
        frequencies = self.base ** (-half / self.head_width)
        angles = positions[:, None, :, None].float() * frequencies
        return angles.cos(), angles.sin()


Angles = tuple[Tensor, Tensor]


def rotate(values: Float[Tensor, "B H T d"], angles: Angles) -> Float[Tensor, "B H T d"]:
    """Turn each pair (i, i + d/2) by its position's angle."""
    cosines, sines = (a.to(values.dtype) for a in angles)
    first, second = values.chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, first * sines + second * cosines], dim=-1)


class Linear(nn.Linear):
    """A linear layer that keeps the size of what it reads: weights of variance 1 / fan-in (LeCun et al. 1998), biases 0.

    PyTorch's own default has a third of that variance. Five such layers in a row leave 6 % of a modality's signal, and then no
    feed-forward layer behind the fusion finds a parity of three clean bits (LOG.md).
    """

    def reset_parameters(self) -> None:
        """The first values."""
        nn.init.normal_(self.weight, std=self.in_features**-0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class OutputHead(nn.Linear):
    """A linear layer whose outputs are classes (the words of a vocabulary); optimisers treat it as they treat embeddings."""


class Attention(nn.Module):
    """Multi-head attention of queries over keys and values (Vaswani et al. 2017), in two steps so that keys are made once.

    `keys(inputs)` projects what is read; `forward(states, keys, bias)` reads it. `output=False` leaves the last projection
    away, where the reader mixes the heads itself. `inner_width`: of queries, keys and values together; None = that of the states.
    """

    def __init__(
        self,
        query_width: int,
        key_width: int,
        num_heads: int,
        *,
        output: bool = True,
        bias: bool = False,
        inner_width: int | None = None,
        implementation: Implementation = "fused",
    ) -> None:
        super().__init__()
        inner_width = inner_width or query_width
        if inner_width % num_heads:
            fitting = [heads for heads in range(1, min(inner_width, 32) + 1) if inner_width % heads == 0]
            right = f"As num_heads any of {fitting} would do."
            raise UserError(f"width {inner_width} is not a multiple of {num_heads} heads", right=right)
        self.num_heads = num_heads
        self.implementation: Implementation = implementation
        self.query = Linear(query_width, inner_width, bias=bias)
        self.key_value = Linear(key_width, 2 * inner_width, bias=bias)
        self.output = Linear(inner_width, query_width, bias=bias) if output else nn.Identity()

    def split(self, values: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T d"]:
        """Heads apart."""
        return values.view(*values.shape[:2], self.num_heads, -1).transpose(1, 2)

    def keys(self, inputs: Float[Tensor, "B S E"]) -> tuple[Float[Tensor, "B H S d"], Float[Tensor, "B H S d"]]:
        """Keys and values of what is read."""
        keys, values = self.key_value(inputs).chunk(2, dim=-1)
        return self.split(keys), self.split(values)

    def forward(
        self,
        states: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S d"],
        values: Float[Tensor, "B H S d"],
        *,
        bias: Float[Tensor, "#B #H #T S"] | None = None,
        angles: Angles | None = None,
    ) -> Float[Tensor, "B T D"]:
        """What the states read from the keys and values; `angles` turns the queries (the keys are turned already)."""
        queries = self.split(self.query(states))
        if angles is not None:
            queries = rotate(queries, angles)
        read = attend(queries, keys, values, bias=bias, implementation=self.implementation)
        return self.output(read.transpose(1, 2).flatten(2))

    def shares(
        self,
        states: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S d"],
        *,
        bias: Float[Tensor, "#B #H #T S"] | None = None,
    ) -> Float[Tensor, "B T S"]:
        """How each state shares its attention out over the keys, the mean over the heads: what `forward` weighs values by."""
        queries = self.split(self.query(states))
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
        return (scores if bias is None else scores + bias.to(scores.dtype)).softmax(dim=-1).mean(dim=1)


def attend(
    queries: Float[Tensor, "B H T d"],
    keys: Float[Tensor, "B H S d"],
    values: Float[Tensor, "B H S d"],
    *,
    bias: Float[Tensor, "#B #H #T S"] | None,
    implementation: Implementation,
) -> Float[Tensor, "B H T d"]:
    """softmax(q kᵀ / √d + bias) v."""
    if bias is not None:
        bias = bias.to(queries.dtype)
    if implementation == "fused":
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(dim=-1) @ values


def set_attention(model: nn.Module, implementation: Implementation) -> None:
    """Let every attention of `model` use this implementation."""
    for module in model.modules():
        if isinstance(module, Attention):
            module.implementation = implementation


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them; `gated`: SwiGLU (Shazeer 2020, arXiv 2002.05202), `W (silu(U x) ∘ V x)`.

    A gated layer has two thirds of the inner width, so that both have as many parameters.
    """

    def __init__(
        self,
        width: int,
        inner_width: int | None = None,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        gated: bool = False,
    ) -> None:
        super().__init__()
        inner_width = inner_width or 4 * width
        if gated:
            inner_width = max(8, 2 * inner_width // 3 // 8 * 8)
        self.gated = gated
        self.expand = Linear(width, 2 * inner_width if gated else inner_width, bias=bias)
        self.contract = Linear(inner_width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Position by position."""
        inner = self.expand(values)
        if self.gated:
            gate, inner = inner.chunk(2, dim=-1)
            return self.dropout(self.contract(F.silu(gate) * inner))
        return self.dropout(self.contract(F.gelu(inner)))


class Hidden(nn.Module):
    """A linear map with a hidden layer in it, `W_2 gelu(W_1 x)`, without biases."""

    def __init__(self, width: int, out_width: int, inner_width: int) -> None:
        super().__init__()
        self.expand = Linear(width, inner_width, bias=False)
        self.contract = Linear(inner_width, out_width, bias=False)

    def forward(self, values: Float[Tensor, "*B D"]) -> Float[Tensor, "*B E"]:
        """Position by position."""
        return self.contract(F.gelu(self.expand(values)))


def mapping(width: int, out_width: int, inner_width: int | None) -> Linear | Hidden:
    """One matrix; with an inner width a hidden layer between two."""
    if inner_width is None:
        return Linear(width, out_width, bias=False)
    return Hidden(width, out_width, inner_width)


class SelfAttentionBlock(nn.Module):
    """One pre-norm Transformer encoder block, bidirectional (BERT's way) or causal (GPT's way).

    `inner_width`: of its attention, its feed-forward layers having four times as much; None = that of the values.
    LayerNorm and not RMSNorm: PyTorch's CPU kernel of it is fused and 4 times faster (benchmarks/, LOG.md).
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        inner_width: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.causal = causal
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, num_heads, bias=True, inner_width=inner_width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * (inner_width or width), dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Float[Tensor, "B L D"], mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """The block; values behind the mask are not read by the others."""
        bias = attention_bias(self.readable(mask), values.dtype)
        normed = self.attention_norm(values)
        values = values + self.dropout(self.attention(normed, *self.attention.keys(normed), bias=bias))
        return values + self.feed_forward(self.feed_forward_norm(values))

    def readable(self, mask: Bool[Tensor, "B L"]) -> Bool[Tensor, "B 1 #L L"]:
        """Which keys each query may read."""
        readable = mask[:, None, None, :]
        if self.causal:
            readable = readable & causal_mask(mask.shape[1], mask.shape[1], mask.device)
        return readable
