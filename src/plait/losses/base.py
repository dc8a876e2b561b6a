"""What a pass of the model is asked for and answers, and what every loss beside the language model's own is.

In: a question to the model about a batch; for a kind of loss the parts of a model that is built.
Out: the answer: sums that add up over micro-batches and ranks; for a kind of loss what it adds to the model.
Invariant: an answer is made of tensors in tuples and mappings, so whatever wraps the model (DDP, FSDP, `torch.compile`) finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from plait.choices import Config
from plait.data.text import Tokenizer
from plait.types import IGNORED, Batch, Features


class LossSums(NamedTuple):
    """Σ weight × loss of every target token (nats) and Σ weight, to be summed over micro-batches and ranks.

    `auxiliary` is what training adds to `total` (already weighted), and no part of the reported loss.
    """

    total: Float[Tensor, ""]
    weight: Float[Tensor, ""]
    num_tokens: int
    auxiliary: Float[Tensor, ""]


class Alone(NamedTuple):
    """Sums over target tokens with one input given. `likelihood` holds p(target), whatever the label smoothing."""

    total: Float[Tensor, ""]
    likelihood: Float[Tensor, ""]
    weight: Float[Tensor, ""]

    def detached(self) -> Alone:
        """The same numbers, without what led to them."""
        return Alone(*(value.detach() for value in self))


AloneKind = Literal["losses", "apart", "scores"]
"""`losses`: with gradients, where they are on. `apart`: the same, for a backward pass of their own. `scores`: without gradients,
and no draw of the model's changes a later one."""


class Ask(NamedTuple):
    """What one pass is to give. `sums`: the losses of training; `token_losses`: of every target; `alone`: with each input alone."""

    sums: bool = True
    token_losses: bool = False
    alone: AloneKind | None = None
    label_smoothing: float = 0.0


class Answer(NamedTuple):
    """What was asked for; the rest is None or empty."""

    sums: LossSums | None = None
    token_losses: Float[Tensor, "B T"] | None = None
    alone: Mapping[str, Alone] = {}


WordVectors = Callable[[Tensor], Tensor]
"""The language model's: ids of any shape → their vectors."""


class Beside(nn.Module):
    """A loss that the model adds to its own in every pass of training; it may have parameters."""

    def forward(self, features: Mapping[str, Features], batch: Batch, embedding: WordVectors) -> Float[Tensor, ""]:
        """The weighted sum over the samples, in nats; `embedding`: the language model's word vectors."""
        raise NotImplementedError


@dataclass(frozen=True)
class Given:
    """What a loss is built from: the inputs' modalities in order, the widths of their features, the words, the run's width, and
    that of the language model's word vectors (None = the same)."""

    modalities: Mapping[str, str]
    widths: Mapping[str, int]
    tokenizer: Tokenizer
    width: int
    embed_width: int | None = None


class LossOptions(Config):
    """The base of every kind's configuration: a loss in the model (`beside`), things done in a step (`balance.py`), or both."""

    stated_as: ClassVar[str]
    """Where a run's configuration says it."""
    kept_as: ClassVar[str]
    """What the model calls its part."""

    def beside(self, given: Given) -> Beside | None:
        """What it adds to the model, None = nothing; UserError where the run has not what it needs."""
        return None


def token_weights(batch: Batch, segment_weights: Sequence[float]) -> Float[Tensor, "B T"]:
    """What each target token counts in training: its sample's weight × its segment's; 0 where nothing is scored."""
    weights = batch.weights[:, None] * (batch.targets != IGNORED)
    if not segment_weights:
        return weights
    return weights * weights.new_tensor(segment_weights)[batch.segments.clamp(min=0)]


def loss_weight(batch: Batch, segment_weights: Sequence[float] = ()) -> Float[Tensor, ""]:
    """Σ weight over the scored targets of a step: what its summed loss is divided by."""
    return token_weights(batch, segment_weights).sum()
