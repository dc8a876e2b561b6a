"""Combinations: fusions whose alignment is chosen apart from them, `where × alignment × combination`.

In: the state of each text position h_t and one aligned vector c_m(t) per modality.
Out: what the next block reads: `h_t + update(h_t, c_1, …, c_M)`, or with `plain: true` the textbook form without the residual.
Invariant: a new combination is one file with an `update` (and a `textbook` form, where it has one).
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from plait.fusion.align import AlignKind, Alignments
from plait.fusion.base import Attended, Fusion, FusionOptions, ModalityTokens, Place, resolve_place
from plait.types import Condition, Features


class CombinationOptions(FusionOptions):
    """Options of every combination."""

    at: Place = Field(
        default=1, description="after which block: 0 = at the embeddings, k = after k blocks, last = before the head"
    )
    align: AlignKind = Field(
        default="attend", description="how a modality's tokens become one vector per text position"
    )
    num_heads: int = Field(default=4, ge=1, description="heads of the alignment (attend and pool)")
    plain: bool = Field(default=False, description="the textbook form, without the residual of the text state")


class Combination(Fusion):
    """A fusion by `update`, after an alignment of its own choice."""

    def __init__(
        self, config: CombinationOptions, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__()
        self.at = (resolve_place(config.at, num_blocks),)
        self.plain = config.plain
        self.tokens = ModalityTokens(feature_widths, width)
        self.alignments = Alignments(config.align, self.tokens.modalities, width, config.num_heads)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """Keys and values, or pooled vectors, of every modality."""
        return self.alignments.prepare(self.tokens(features))

    def fuse(self, states: Float[Tensor, "B T D"], condition: Condition, place: int) -> Float[Tensor, "B T D"]:
        """The update of every position from what it reads of each modality."""
        aligned = self.alignments.read(states, condition)
        if self.plain:
            return self.textbook(states, aligned)
        return states + self.update(states, aligned)

    def attended(
        self, features: Mapping[str, Features], states: Mapping[int, Float[Tensor, "B T D"]]
    ) -> Attended | str:
        """Where each position looked within each modality."""
        shares = self.alignments.shares(states[self.at[0]], self.tokens(features))
        return Attended(shares, False) if shares else "align: mean reads every token alike"

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """What is added to the text state."""
        raise NotImplementedError

    def textbook(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The form of the textbooks; by default the update alone."""
        return self.update(states, aligned)
