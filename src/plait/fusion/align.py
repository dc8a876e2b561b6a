"""Alignment: how the tokens of one modality become one vector per text position.

In: tokens `(B, L, D)` with their mask, and at each step text states `(B, T, D)`.
Out: `(B, T, D)`, or `(B, 1, D)` where the vector is the same for every position.
Invariant: what depends on the tokens alone is computed once, in `prepare`; `read` adds what depends on the text.

mean: masked mean. pool: attention pooling with a learned query. attend: the text state is the query.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.layers import Attention, attention_bias
from plait.named import ByName
from plait.types import Condition, Features

AlignKind = Literal["attend", "mean", "pool"]


class Mean(nn.Module):
    """The mean of the real tokens."""

    def prepare(self, tokens: Features) -> dict[str, Tensor]:
        """The mean, `(B, 1, D)`."""
        weights = tokens.mask[..., None].to(tokens.values.dtype)
        mean = (tokens.values * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
        return {"vector": mean}

    def shares(self, states: Float[Tensor, "B T D"], tokens: Features) -> None:
        """None: every real token counts alike, which tells nothing."""

    def read(self, states: Float[Tensor, "B T D"], prepared: Mapping[str, Tensor]) -> Float[Tensor, "B 1 D"]:
        """The same vector for every position."""
        return prepared["vector"]


class Pool(nn.Module):
    """Multi-head attention pooling: one learned query reads the tokens."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.question = nn.Parameter(torch.randn(width))
        self.attention = Attention(width, width, num_heads, output=False)

    def prepare(self, tokens: Features) -> dict[str, Tensor]:
        """What the learned query reads, `(B, 1, D)`."""
        bias = attention_bias(tokens.mask[:, None, None, :], tokens.values.dtype)
        question = self.question.to(tokens.values.dtype).expand(len(tokens.values), 1, -1)
        return {"vector": self.attention(question, *self.attention.keys(tokens.values), bias=bias)}

    def shares(self, states: Float[Tensor, "B T D"], tokens: Features) -> Float[Tensor, "B 1 L"]:
        """How the learned query shares its attention out, the same for every position."""
        question = self.question.to(tokens.values.dtype).expand(len(tokens.values), 1, -1)
        keys, _ = self.attention.keys(tokens.values)
        return self.attention.shares(question, keys, bias=attention_bias(tokens.mask[:, None, None, :]))

    def read(self, states: Float[Tensor, "B T D"], prepared: Mapping[str, Tensor]) -> Float[Tensor, "B 1 D"]:
        """The same vector for every position."""
        return prepared["vector"]


class Attend(nn.Module):
    """The text state is the query, so every word reads what it needs. The state is normed first: its scale grows with depth."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, width, num_heads, output=False)

    def prepare(self, tokens: Features) -> dict[str, Tensor]:
        """Keys and values, once per sample."""
        keys, values = self.attention.keys(tokens.values)
        return {"keys": keys, "values": values, "bias": attention_bias(tokens.mask[:, None, None, :])}

    def shares(self, states: Float[Tensor, "B T D"], tokens: Features) -> Float[Tensor, "B T L"]:
        """How each position shares its attention out."""
        keys, _ = self.attention.keys(tokens.values)
        return self.attention.shares(self.norm(states), keys, bias=attention_bias(tokens.mask[:, None, None, :]))

    def read(self, states: Float[Tensor, "B T D"], prepared: Mapping[str, Tensor]) -> Float[Tensor, "B T D"]:
        """What each position reads."""
        return self.attention(self.norm(states), prepared["keys"], prepared["values"], bias=prepared["bias"])


def build_alignment(kind: AlignKind, width: int, num_heads: int) -> Mean | Pool | Attend:
    """The alignment named `kind`."""
    match kind:
        case "mean":
            return Mean()
        case "pool":
            return Pool(width, num_heads)
        case "attend":
            return Attend(width, num_heads)


class Alignments(nn.Module):
    """One alignment per modality; their tensors travel in a `Condition` under `modality.name`."""

    def __init__(self, kind: AlignKind, modalities: tuple[str, ...], width: int, num_heads: int) -> None:
        super().__init__()
        self.modalities = modalities
        self.by_modality = ByName({m: build_alignment(kind, width, num_heads) for m in modalities})

    def alignment(self, modality: str) -> Mean | Pool | Attend:
        """The alignment of one modality."""
        return self.by_modality[modality]

    def prepare(self, tokens: Mapping[str, Features]) -> Condition:
        """What depends on the tokens alone."""
        values: dict[str, Tensor] = {}
        for modality in self.modalities:
            prepared = self.alignment(modality).prepare(tokens[modality])
            values.update({f"{modality}.{name}": value for name, value in prepared.items()})
        return Condition(values)

    def read(self, states: Float[Tensor, "B T D"], condition: Condition) -> list[Float[Tensor, "B T D"]]:
        """c_m(t) of every modality, in their order."""
        return [self.read_one(modality, states, condition) for modality in self.modalities]

    def shares(
        self, states: Float[Tensor, "B T D"], tokens: Mapping[str, Features]
    ) -> dict[str, Float[Tensor, "B _ _"]]:
        """How each position shares its attention out over each modality's tokens; nothing where all count alike."""
        found = {m: self.alignment(m).shares(states, tokens[m]) for m in self.modalities}
        return {m: shares for m, shares in found.items() if shares is not None}

    def read_one(self, modality: str, states: Float[Tensor, "B T D"], condition: Condition) -> Float[Tensor, "B T D"]:
        """c_m(t) of one modality."""
        start = f"{modality}."
        prepared = {
            name.removeprefix(start): value for name, value in condition.values.items() if name.startswith(start)
        }
        return self.alignment(modality).read(states, prepared).expand_as(states)
