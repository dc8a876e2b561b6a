"""Words' ids → vectors: the one embedding that the text encoder and the language model use.

In: ids of any shape.
Out: vectors of the same shape with one more axis, `width`.
Invariant: whatever the table was made from, its numbers begin with a root mean square of 1 / √W and what comes out with one of 1,
so that word vectors from elsewhere start on equal terms with a table from scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from plait.choices import Config
from plait.layers import Linear


class ScratchConfig(Config):
    """An embedding that begins at random and trains with the model."""

    kind: Literal["scratch"] = "scratch"
    frozen: ClassVar[bool] = False


def embedding_of(part: Config) -> Any:
    """The configuration of a part's word vectors; a part that has none of its own (or makes them itself) begins from scratch."""
    return getattr(part, "embedding") if "embedding" in type(part).model_fields else ScratchConfig()  # noqa: B009


C = TypeVar("C", bound=Config)


def with_embedding(part: C, change: Callable[[Any], Any]) -> C:
    """The part with another configuration of its word vectors; as it is where it has none."""
    if "embedding" not in type(part).model_fields:
        return part
    return part.model_copy(update={"embedding": change(embedding_of(part))})


class Embedding(nn.Module):
    """A table `(V, W)`, scaled to unit size, and a projection to `width` where W is another."""

    def __init__(self, table: Float[Tensor, "V W"], width: int, *, frozen: bool, pad_id: int) -> None:
        super().__init__()
        self.width, self.pad_id = width, pad_id
        self.table = nn.Parameter(table, requires_grad=not frozen)
        self.projection = None
        if table.shape[1] != width:
            self.projection = Linear(table.shape[1], width, bias=False)
            nn.init.normal_(self.projection.weight, std=table.shape[1] ** -0.5)

    def forward(self, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """The vectors of the ids."""
        vectors = F.embedding(ids, self.table, padding_idx=self.pad_id) * self.table.shape[1] ** 0.5
        return self.projection(vectors) if self.projection else vectors

    def logits(self, states: Float[Tensor, "*shape width"]) -> Float[Tensor, "*shape V"]:
        """The same table as an output layer (weight tying, Press and Wolf 2017)."""
        if self.projection:
            states = states @ self.projection.weight
        return states @ self.table.T


def build_embedding(
    vocabulary_size: int, width: int, *, vectors: Float[Tensor, "V W"] | None, frozen: bool, pad_id: int
) -> Embedding:
    """An embedding of `vectors` (scaled as one, directions and proportions kept), or from scratch without them."""
    if vectors is None:
        table = torch.randn(vocabulary_size, width) * width**-0.5
    else:
        if len(vectors) != vocabulary_size:
            raise ValueError(f"{len(vectors)} vectors for a vocabulary of {vocabulary_size}")
        table = vectors.detach().float().clone()
        size = table.square().mean().sqrt()
        if size > 0:
            table *= table.shape[1] ** -0.5 / size
    table[pad_id] = 0
    return Embedding(table, width, frozen=frozen, pad_id=pad_id)
