"""Links between the sides of a sample: a contrastive loss that brings together what belongs to one sample.

In: features of every modality `(B, L, E)`, the language model's word vectors, and the batch.
Out: Σ over the samples of −log p(the other side | all of the micro-batch), in nats; and vectors of length 1 to search with.
Invariant: it touches training only: what the model says and its held-out loss come from the language model alone. The loss does
not depend on the order of samples, of modalities, or of the two sides of a pair.

A *side* is a modality or the target. InfoNCE as in CLIP (Radford et al. 2021, arXiv 2103.00020, section 2.3): mean over a side's
tokens, a learned projection, length 1; for each pair of sides the cross-entropy of finding the right row, the mean of both
directions, at a temperature that is learned as a logarithm and never lets scores grow by more than 100.

Only samples that have both sides in this step count (after modality dropout). The others of the *micro-batch* are the wrong
answers, so unlike the token loss it changes with `train.micro_batch_size`. A sample that shares one of the two sides (the same
file, or the same words) is no wrong answer. A pair with fewer than two samples adds nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError, did_you_mean
from plait.layers import Linear
from plait.losses.base import Beside, Given, LossOptions, WordVectors
from plait.named import ByName
from plait.types import IGNORED, Batch, Features, Items

TARGET = "target"
"""The side that is no modality."""

MAX_SCALE = 100.0


class AlignmentConfig(LossOptions):
    """Beside the language model's loss, a contrastive loss that links the modalities and the target of a sample.

    `weight`: what a sample's loss (the mean over all pairs, in nats) adds to the sum of its token losses. `temperature`: where the
    learned one begins; it never falls below 0.01. `segment`: the segment that stands for the target; null = all of it. The wrong
    answers are the other samples of the micro-batch, with what modality dropout leaves them.
    """

    stated_as: ClassVar[str] = "train.alignment"
    kept_as: ClassVar[str] = "links"

    weight: Annotated[float, Field(gt=0.0)] = 0.1
    temperature: Annotated[float, Field(ge=0.01, le=10.0)] = 0.07
    segment: str | None = None

    def beside(self, given: Given) -> Links:
        """See the module."""
        tokenizer = given.tokenizer
        if self.segment is not None and self.segment not in tokenizer.segments:
            right = did_you_mean(self.segment, tokenizer.segments)
            raise UserError(f"no segment {self.segment!r}", where=f"{self.stated_as}.segment", right=right)
        if not given.widths:
            right = "Leave it out, or add an input to data.inputs"
            raise UserError("there is no input to link with the target", where=self.stated_as, right=right)
        return Links(
            given.widths,
            width=given.width,
            target_width=given.embed_width,
            segment=None if self.segment is None else tokenizer.segments.index(self.segment),
            end_id=tokenizer.end_id,
            weight=self.weight,
            temperature=self.temperature,
        )


class Links(Beside):
    """A projection for every side, a temperature, and the loss. `segment`: the target's segment that counts; None = all."""

    def __init__(
        self,
        widths: Mapping[str, int],
        *,
        width: int,
        target_width: int | None = None,
        segment: int | None,
        end_id: int,
        weight: float,
        temperature: float,
    ) -> None:
        super().__init__()
        of_sides = {**widths, TARGET: target_width or width}
        self.projections = ByName({side: Linear(size, width) for side, size in of_sides.items()})
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))
        self.width, self.segment, self.end_id, self.weight = width, segment, end_id, weight

    @property
    def sides(self) -> tuple[str, ...]:
        """The modalities in their order, then the target."""
        return tuple(self.projections)

    def vectors(self, side: str, features: Features) -> Float[Tensor, "B D"]:
        """One vector of length 1 for each row: the mean of its tokens, projected. Rows without any token mean nothing."""
        values = features.values.float().masked_fill(~features.mask[..., None], 0)
        pooled = values.sum(dim=1) / features.mask.sum(dim=1, keepdim=True).clamp(min=1)
        return F.normalize(self.projections[side](pooled), dim=-1)

    def said(self, batch: Batch) -> Bool[Tensor, "B T"]:
        """The words of the target that count."""
        words = (batch.targets != IGNORED) & (batch.targets != self.end_id)
        return words if self.segment is None else words & (batch.segments == self.segment)

    def forward(self, features: Mapping[str, Features], batch: Batch, embedding: WordVectors) -> Float[Tensor, ""]:
        """`weight` × Σ over the samples of the mean over the pairs; a pair that a sample lacks counts 0."""
        with torch.no_grad():
            self.log_scale.clamp_(max=math.log(MAX_SCALE))
        said = self.said(batch)
        words = torch.where(said, batch.targets, 0)
        with torch.autocast(batch.tokens.device.type, enabled=False):
            of_sides = {m: features[m] for m in self.sides if m in features}
            of_sides[TARGET] = Features(embedding(words), said)
            vectors = {side: self.vectors(side, found) for side, found in of_sides.items()}
            items = {m: same_items(items) for m, items in batch.inputs.items()}
            items[TARGET] = same_rows(torch.where(said, batch.targets, -1))
            total = batch.weights.new_zeros(())
            pairs = list(combinations(self.sides, 2))
            for one, other in pairs:
                has_both = of_sides[one].mask.any(dim=1) & of_sides[other].mask.any(dim=1)
                rows = has_both.nonzero()[:, 0]
                if len(rows) >= 2:
                    losses = contrast(
                        vectors[one][rows],
                        vectors[other][rows],
                        same=is_same(items[one][rows]) | is_same(items[other][rows]),
                        scale=self.log_scale.exp(),
                    )
                    total = total + (losses * batch.weights[rows]).sum()
        return self.weight * total / len(pairs)


def contrast(
    one: Float[Tensor, "n D"], other: Float[Tensor, "n D"], *, same: Bool[Tensor, "n n"], scale: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """−log p of finding each row's partner among all rows but those that are the `same`, the mean of both directions."""
    own = torch.eye(len(one), dtype=torch.bool, device=one.device)
    scores = (scale * one @ other.T).masked_fill(same & ~own, -torch.inf)
    return -(scores.log_softmax(dim=1).diagonal() + scores.log_softmax(dim=0).diagonal()) / 2


def same_items(items: Items) -> Int[Tensor, " B"]:
    """The same number for samples that have the same files or texts of one modality, in whatever order."""
    if len(items.lengths) == 0:
        return torch.zeros(len(items.index), dtype=torch.long, device=items.index.device)
    sources = torch.arange(len(items.lengths), device=items.index.device) if items.sources is None else items.sources
    return same_rows(torch.where(items.index >= 0, sources[items.index.clamp(min=0)], -1))


def same_rows(rows: Int[Tensor, "B K"]) -> Int[Tensor, " B"]:
    """The same number for rows that hold the same numbers in any order: a mean over them is the same."""
    return rows.sort(dim=1).values.unique(dim=0, return_inverse=True)[1]


def is_same(numbers: Int[Tensor, " n"]) -> Bool[Tensor, "n n"]:
    """Which of all pairs have the same number."""
    return numbers[:, None] == numbers[None]
