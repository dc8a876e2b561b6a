"""Product: `norm(h_t) ∘ (Π_m (1 + tanh(U_m c_m)) − 1)`, identity where every c_m is 0.

Plain form: `h_t ∘ c_1 ∘ … ∘ c_M`, that is `x_1 ∘ … ∘ x_n`. Parameters beside the alignment: M D² (the plain form has none, so
they are not made). With an inner width I, U_m is `W_2 gelu(W_1 c_m)` of 2 D I parameters: still a product of one factor for each
modality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import mapping


class ProductConfig(CombinationOptions):
    """`norm(h_t) ∘ (Π_m (1 + tanh(U_m c_m)) − 1)`: modalities scale the text state and each other; good at synergy."""

    kind: Literal["product"] = "product"
    inner_width: int | None = Field(
        default=None, ge=1, description="width of a hidden layer (gelu) in each of its maps; null = one matrix each"
    )
    formula: ClassVar[str] = "norm(h) ∘ (Π_m (1 + tanh(U_m c_m)) − 1) + h"
    advice: ClassVar[str] = "answers that hang on several modalities at once"

    @model_validator(mode="after")
    def _something_to_widen(self) -> ProductConfig:
        if self.plain and self.inner_width is not None:
            raise ValueError("the plain form has no matrix: leave inner_width out, or take plain: false")
        return self

    def size_steps(self, *, num_modalities: int) -> tuple[int, int, int | None] | None:
        """The plain form has no parameters to change."""
        return None if self.plain else (1, 1, None)

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Product:
        """The fusion."""
        return Product(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Product(Combination):
    """See the module."""

    def __init__(
        self, config: ProductConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        if not config.plain:
            self.norm = nn.LayerNorm(width)
            self.scales = nn.ModuleList(mapping(width, width, config.inner_width) for _ in feature_widths)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The product of the modalities' factors, over the normed text state."""
        factor = torch.ones_like(states)
        for scale, vector in zip(self.scales, aligned, strict=True):
            factor = factor * (1 + torch.tanh(scale(vector)))
        return self.norm(states) * (factor - 1)

    def textbook(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`h_t ∘ c_1 ∘ … ∘ c_M`."""
        for vector in aligned:
            states = states * vector
        return states
