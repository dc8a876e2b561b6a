"""FiLM (Perez et al. 2018, arXiv 1709.07871): `(γ − 1) ∘ h_t + β`, with `(γ, β) = (1, 0) + V [c_1; …; c_M]`.

V = 0 at the start, so that the untrained fusion leaves the text state as it is. The residual stands in the formula, `γ ∘ h_t +
β`, so the plain form is the same. Parameters beside the alignment: 2 M D².
With an inner width I, V is `W_2 gelu(W_1 x)` of (M + 2) D I parameters, W_2 = 0 at the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Hidden, mapping


class FilmConfig(CombinationOptions):
    """`γ ∘ h_t + β`: the modalities scale and shift the text state; identity at the start."""

    kind: Literal["film"] = "film"
    inner_width: int | None = Field(
        default=None, ge=1, description="width of a hidden layer (gelu) in each of its maps; null = one matrix each"
    )
    formula: ClassVar[str] = "γ ∘ h + β, (γ, β) = (1, 0) + V [c_1; …; c_M]"
    advice: ClassVar[str] = "language models that exist already; conditions more than contents"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Film:
        """The fusion."""
        return Film(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Film(Combination):
    """See the module."""

    def __init__(self, config: FilmConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        self.modulation = mapping(len(feature_widths) * width, 2 * width, config.inner_width)
        last = self.modulation.contract if isinstance(self.modulation, Hidden) else self.modulation
        nn.init.zeros_(last.weight)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`(γ − 1) ∘ h_t + β`."""
        scale, shift = self.modulation(torch.cat(aligned, dim=-1)).chunk(2, dim=-1)
        return scale * states + shift

    def textbook(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`γ ∘ h_t + β`."""
        return states + self.update(states, aligned)
