"""Sum: `Σ_m U_m c_m`, additive fusion.

Source: the oldest joint representation (Baltrušaitis et al. 2019, arXiv 1705.09406, section 3). Plain form: `h_t + Σ_m c_m`,
that is `x_1 + … + x_n`, without parameters. Parameters beside the alignment: M D². With a linear head right behind it, it
cannot represent an exclusive or of two modalities. With an inner width I, U_m is `W_2 gelu(W_1 c_m)` of 2 D I parameters: still
a sum of what each modality says by itself.
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


class SumConfig(CombinationOptions):
    """`Σ_m U_m c_m`: what each modality says is added; the cheapest."""

    kind: Literal["sum"] = "sum"
    inner_width: int | None = Field(
        default=None, ge=1, description="width of a hidden layer (gelu) in each of its maps; null = one matrix each"
    )
    formula: ClassVar[str] = "h + Σ_m U_m c_m"
    advice: ClassVar[str] = "a cheap baseline; modalities that say the same or complete each other"

    @model_validator(mode="after")
    def _something_to_widen(self) -> SumConfig:
        if self.plain and self.inner_width is not None:
            raise ValueError("the plain form has no matrix: leave inner_width out, or take plain: false")
        return self

    def size_steps(self, *, num_modalities: int) -> tuple[int, int, int | None] | None:
        """The plain form has no parameters to change."""
        return None if self.plain else (1, 1, None)

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Sum:
        """The fusion."""
        return Sum(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Sum(Combination):
    """See the module."""

    def __init__(self, config: SumConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        if not config.plain:
            self.shares = nn.ModuleList(mapping(width, width, config.inner_width) for _ in feature_widths)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """One map for each modality."""
        return torch.stack([share(vector) for share, vector in zip(self.shares, aligned, strict=True)]).sum(dim=0)

    def textbook(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """`h_t + Σ_m c_m`."""
        return states + torch.stack(aligned).sum(dim=0)
