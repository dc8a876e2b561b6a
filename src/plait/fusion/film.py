"""FiLM (Perez et al. 2018, arXiv 1709.07871): `(γ − 1) ∘ h_t + β`, with `(γ, β) = (1, 0) + V [c_1; …; c_M]`.

V = 0 at the start, so that the untrained fusion leaves the text state as it is. The residual stands in the formula, `γ ∘ h_t +
β`, so the plain form is the same. Parameters beside the alignment: 2 M D².
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Linear
from plait.types import Modality


class FilmConfig(CombinationOptions):
    """`γ ∘ h_t + β`: the modalities scale and shift the text state; identity at the start."""

    kind: Literal["film"] = "film"
    formula: ClassVar[str] = "γ ∘ h + β, (γ, β) = (1, 0) + V [c_1; …; c_M]"
    advice: ClassVar[str] = "language models that exist already; conditions more than contents"

    def build(self, *, width: int, feature_widths: Mapping[Modality, int], num_blocks: int) -> Film:
        """The fusion."""
        return Film(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Film(Combination):
    """See the module."""

    def __init__(
        self, config: FilmConfig, *, width: int, feature_widths: Mapping[Modality, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        self.modulation = Linear(len(feature_widths) * width, 2 * width, bias=False)
        nn.init.zeros_(self.modulation.weight)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`(γ − 1) ∘ h_t + β`."""
        scale, shift = self.modulation(torch.cat(aligned, dim=-1)).chunk(2, dim=-1)
        return scale * states + shift

    def textbook(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`γ ∘ h_t + β`."""
        return states + self.update(states, aligned)
