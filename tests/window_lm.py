"""A language model of a user's own, with all that makes those of libraries hard to stand behind a door.

Its word vectors are narrower than its states; its layers hand nothing back but states, and write into a store that knows no rows;
a sliding window and ALiBi's distances count columns, not words; its head may cap the logits, which is not linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from plait.lm import Cache, CausalLM, CausalLMOptions


class WindowConfig(CausalLMOptions):
    """Attention to the last `window` columns."""

    kind: Literal["window_lm:WindowConfig"] = "window_lm:WindowConfig"
    depth: int = 2
    window: int = 4
    narrow: int = 16
    cap: float | None = None

    def build(self, *, width: int, vocabulary_size: int, pad_id: int, vectors: Tensor | None = None) -> WindowLM:
        """The language model."""
        return WindowLM(self, width, vocabulary_size)


@dataclass
class Store(Cache):
    """Keys and values of each layer in one tensor `(B, columns, 2 D)`, replaced in place."""

    layers: list[Tensor] = field(default_factory=list)

    def tensors(self) -> dict[str, Tensor]:
        return dict(zip(map(str, range(len(self.layers))), self.layers, strict=True))

    def axis(self, name: str) -> int:
        return 1

    def holding(self, tensors: Mapping[str, Tensor], *, length: int, mask: Tensor | None) -> Store:
        return Store([], length, mask, layers=list(tensors.values()))


class Told(NamedTuple):
    """What the layers are told of a call."""

    bias: Tensor


class Layer(nn.Module):
    """One head of attention over a window, and a hidden layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.norm, self.inner = nn.LayerNorm(width), nn.Linear(width, width)


class WindowLM(CausalLM):
    """See the module."""

    def __init__(self, config: WindowConfig, width: int, vocabulary_size: int) -> None:
        super().__init__()
        self.width, self.embed_width, self.vocabulary_size = width, config.narrow, vocabulary_size
        self.window, self.cap, self.linear_head = config.window, config.cap, config.cap is None
        self.words = nn.Embedding(vocabulary_size, config.narrow)
        self.into = nn.Linear(config.narrow, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(config.depth))
        self.out = nn.Linear(width, vocabulary_size, bias=False)

    @property
    def num_blocks(self) -> int:
        return len(self.layers)

    def word_vectors(self, tokens: Tensor) -> Tensor:
        return self.words(tokens)

    def enter(self, states: Tensor, mask: Tensor | None, cache: Cache | None) -> tuple[Tensor, Told]:
        past, (rows, steps) = (0 if cache is None else cache.length), states.shape[:2]
        known = mask if cache is None else cache.joined_mask(mask, rows, steps)
        columns = torch.arange(past + steps, device=states.device)
        distance = columns[past:, None] - columns
        readable = ((distance >= 0) & (distance < self.window))[None]
        if known is not None:
            readable = readable & (known[:, None] | (distance == 0))
        return self.into(states), Told((-0.3 * distance).masked_fill(~readable, -torch.inf))

    def run_block(self, number: int, states: Tensor, steps: Told, cache: Cache | None) -> Tensor:
        layer = self.layers[number]
        normed = layer.norm(states)
        read = layer.key_value(normed)
        if cache is not None:
            assert isinstance(cache, Store)
            if len(cache.layers) == number:
                cache.layers.append(read)
            else:
                cache.layers[number] = read = torch.cat([cache.layers[number], read], dim=1)
        keys, values = read.chunk(2, dim=-1)
        scores = layer.query(normed) @ keys.transpose(1, 2) / keys.shape[-1] ** 0.5 + steps.bias
        states = states + scores.softmax(dim=-1) @ values
        return states + torch.tanh(layer.inner(states))

    def finish(self, states: Tensor) -> Tensor:
        return states

    def logits(self, states: Tensor) -> Tensor:
        logits = self.out(states)
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def empty_cache(self) -> Cache:
        return Store()
