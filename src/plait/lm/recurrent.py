"""The recurrent blocks: RNN (Elman 1990), LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014).

In: states `(B, T, D)` and the hidden state after the positions before.
Out: states `(B, T, D)` and the hidden state after the last real position.
Invariant: masked positions are skipped, not read as zeros: the hidden state passes over them unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plait.lm.row import Block, LMOptions, Steps


class RecurrentOptions(LMOptions):
    """Options of the recurrent language models."""

    def layer(self, width: int) -> nn.RNNBase:
        """PyTorch's layer of this kind."""
        raise NotImplementedError

    def build_blocks(self, width: int) -> list[Block]:
        """`layers` blocks, each one recurrent layer."""
        return [RecurrentBlock(self.layer(width), dropout=self.dropout) for _ in range(self.layers)]


class RNNConfig(RecurrentOptions):
    """Simple recurrent network, tanh."""

    kind: Literal["rnn"] = "rnn"

    def layer(self, width: int) -> nn.RNNBase:
        """`nn.RNN`."""
        return nn.RNN(width, width, batch_first=True)


class LSTMConfig(RecurrentOptions):
    """Long short-term memory."""

    kind: Literal["lstm"] = "lstm"

    def layer(self, width: int) -> nn.RNNBase:
        """`nn.LSTM`."""
        return nn.LSTM(width, width, batch_first=True)


class GRUConfig(RecurrentOptions):
    """Gated recurrent unit."""

    kind: Literal["gru"] = "gru"

    def layer(self, width: int) -> nn.RNNBase:
        """`nn.GRU`."""
        return nn.GRU(width, width, batch_first=True)


class RecurrentBlock(Block):
    """One recurrent layer. The memory holds `hidden (B, D)` and, for an LSTM, `cell (B, D)`."""

    columns: ClassVar[Mapping[str, int | None]] = {"hidden": None, "cell": None}

    def __init__(self, layer: nn.RNNBase, *, dropout: float) -> None:
        super().__init__()
        self.layer = layer
        self.dropout = nn.Dropout(dropout)

    def plan(
        self, states: Float[Tensor, "B T D"], mask: Bool[Tensor, "B S"] | None, num_past: int
    ) -> dict[str, Tensor]:
        """Where masked positions occur: the order that moves them to the end, and how many are real."""
        if mask is None or bool(mask[:, num_past:].all()):
            return {}
        present = mask[:, num_past:]
        return {"order": (~present).long().argsort(dim=1, stable=True), "lengths": present.sum(dim=1)}

    def forward(
        self, states: Float[Tensor, "B T D"], memory: Mapping[str, Tensor], steps: Steps, *, remember: bool
    ) -> tuple[Float[Tensor, "B T D"], Mapping[str, Tensor]]:
        """The layer over the real positions."""
        if steps.plan:
            states, hidden = self.run_masked(states, self.unpack(memory), steps.plan["order"], steps.plan["lengths"])
        else:
            states, hidden = self.layer(states, self.unpack(memory))
        return self.dropout(states), self.pack(hidden) if remember else {}

    def run_masked(
        self, states: Float[Tensor, "B T D"], hidden: object, order: Int[Tensor, "B T"], lengths: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, "B T D"], object]:
        """Real positions moved together, run as a packed sequence, moved back; masked positions give zeros."""
        places = order[..., None].expand_as(states)
        packed = pack_padded_sequence(
            states.gather(1, places), lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
        )
        output, after = self.layer(packed, hidden)
        output, _ = pad_packed_sequence(output, batch_first=True, total_length=states.shape[1])
        empty = lengths == 0  # its row was run over one masked position, which is taken back
        output = output.masked_fill(empty[:, None, None], 0)
        return torch.zeros_like(output).scatter(1, places, output), kept(empty, hidden, after)

    def unpack(self, memory: Mapping[str, Tensor]) -> object:
        """The layer's own form of the hidden state."""
        if not memory:
            return None
        hidden = memory["hidden"][None].contiguous()
        return (hidden, memory["cell"][None].contiguous()) if "cell" in memory else hidden

    def pack(self, hidden: object) -> Mapping[str, Tensor]:
        """The memory, batch first."""
        if isinstance(hidden, tuple):
            return {"hidden": hidden[0][0], "cell": hidden[1][0]}
        assert isinstance(hidden, Tensor)
        return {"hidden": hidden[0]}


def kept(rows: Bool[Tensor, " B"], before: object, after: object) -> object:
    """The hidden state after a call, of these rows as it was before (zeros where nothing was)."""
    if isinstance(after, tuple):
        both = before if isinstance(before, tuple) else (None, None)
        return tuple(kept(rows, *pair) for pair in zip(both, after, strict=True))
    assert isinstance(after, Tensor)
    return torch.where(rows[None, :, None], before if isinstance(before, Tensor) else torch.zeros_like(after), after)
