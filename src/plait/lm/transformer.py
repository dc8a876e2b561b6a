"""The Transformer block: pre-norm (RMSNorm), rotary positions, GELU feed-forward, a growing cache of keys and values.

In: states `(B, T, D)` and the keys and values of the positions before.
Out: states `(B, T, D)` and the memory that the next step needs.
Invariant: positions are counted by real tokens, so a padded prefix changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError
from plait.layers import Attention, FeedForward, Rotary, attention_bias, causal_mask, rotate
from plait.lm.row import Block, LMOptions, Steps


class TransformerConfig(LMOptions):
    """Self-attention over the words so far; the default."""

    kind: Literal["transformer"] = "transformer"
    num_heads: int = Field(default=4, ge=1, description="attention heads")
    feed_forward: int = Field(default=4, ge=1, description="inner width of the feed-forward layers, in widths")
    activation: Literal["gelu", "swiglu"] = Field(default="gelu", description="of the feed-forward layers")

    def build_blocks(self, width: int) -> list[Block]:
        """`layers` blocks; their outputs are scaled down so that the residual stream keeps its size at the start."""
        blocks: list[Block] = [
            TransformerBlock(
                width, self.num_heads, inner=self.feed_forward, dropout=self.dropout, gated=self.activation == "swiglu"
            )
            for _ in range(self.layers)
        ]
        for block in blocks:
            for name, parameter in block.named_parameters():
                if name in ("attention.output.weight", "feed_forward.contract.weight"):
                    nn.init.normal_(parameter, std=(2 * self.layers * parameter.shape[1]) ** -0.5)
        return blocks


class TransformerBlock(Block):
    """See the module."""

    columns: ClassVar[Mapping[str, int | None]] = {"keys": 2, "values": 2}

    def __init__(self, width: int, num_heads: int, *, inner: int, dropout: float, gated: bool) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width)
        self.attention = Attention(width, width, num_heads)
        if width // num_heads % 2:
            fitting = [heads for heads in range(1, min(width, 32) + 1) if width % (2 * heads) == 0]
            raise UserError(
                f"{num_heads} heads of a width of {width} have an odd width each, and positions turn pairs",
                where="lm.num_heads",
                right=f"Any of {fitting} would do." if fitting else "Take an even width.",
            )
        self.rotary = Rotary(width // num_heads)
        self.feed_forward_norm = nn.RMSNorm(width)
        self.feed_forward = FeedForward(width, inner * width, bias=False, dropout=dropout, gated=gated)
        self.dropout = nn.Dropout(dropout)

    def plan(
        self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B S"] | None, num_past: int
    ) -> dict[str, Tensor]:
        """Rotary angles of the positions, and the attention bias (none for a single unmasked step)."""
        num_steps = states.shape[1]
        num_keys = num_past + num_steps
        if mask is None:
            positions = torch.arange(num_past, num_keys, device=states.device)[None]
            readable = None if num_steps == 1 else causal_mask(num_steps, num_keys, states.device)[None, None]
        else:
            positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, num_past:]
            readable = causal_mask(num_steps, num_keys, states.device) & mask[:, None, None, :]
        cosines, sines = self.rotary(positions)
        plan = {"cosines": cosines, "sines": sines}
        if readable is not None:
            plan["bias"] = attention_bias(readable)
        return plan

    def forward(
        self, states: Float[Tensor, "B T D"], memory: Mapping[str, Tensor], steps: Steps, *, remember: bool
    ) -> tuple[Float[Tensor, "B T D"], Mapping[str, Tensor]]:
        """Attention over past and present, then the feed-forward layers."""
        angles = steps.plan["cosines"], steps.plan["sines"]
        normed = self.attention_norm(states)
        keys, values = self.attention.keys(normed)
        keys = rotate(keys, angles)
        memory = extend(memory, keys, values, steps.num_past) if remember else {}
        if steps.num_past:
            num_keys = steps.num_past + states.shape[1]
            keys, values = memory["keys"][:, :, :num_keys], memory["values"][:, :, :num_keys]
        read = self.attention(normed, keys, values, bias=steps.plan.get("bias"), angles=angles)
        states = states + self.dropout(read)
        return states + self.feed_forward(self.feed_forward_norm(states)), memory


def extend(
    memory: Mapping[str, Tensor], keys: Float[Tensor, "B H T d"], values: Float[Tensor, "B H T d"], num_past: int
) -> Mapping[str, Tensor]:
    """Write the new keys and values behind the old; the room doubles when it is full, so a step costs no copy."""
    needed = num_past + keys.shape[2]
    room = memory["keys"].shape[2] if memory else 0
    if needed > room:
        grown = (*keys.shape[:2], max(2 * room, needed, 32), keys.shape[3])
        larger = {"keys": keys.new_empty(grown), "values": values.new_empty(grown)}
        for name, old in memory.items():
            larger[name][:, :, :num_past] = old[:, :, :num_past]
        memory = larger
    memory["keys"][:, :, num_past:needed] = keys
    memory["values"][:, :, num_past:needed] = values
    return memory
