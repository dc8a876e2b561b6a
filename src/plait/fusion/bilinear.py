"""Bilinear pooling, factorised: `W norm2(ssqrt(Σ_r (U_r norm(h_t)) ∘ (V_r [c_1; …; c_M])))`.

`rank: 1, normalise: false` is MLB (Kim et al. 2017, arXiv 1610.04325) without its tanh; a higher rank without normalisation
MUTAN's rank-constrained core (Ben-younes et al. 2017, arXiv 1705.06676); with `normalise`, the signed square root and the L2
norm, MFB (Yu et al. 2017, arXiv 1708.01471). Plain form: without the residual. Parameters beside the alignment: r I (M + 1) D +
I D, and 2 D of the norm, I the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Linear

ROOT_EPSILON = 1e-3
"""Keeps the slope of the signed square root finite at 0: `x / sqrt(|x| + ε)`."""


class BilinearConfig(CombinationOptions):
    """`W norm2(ssqrt(Σ_r (U_r h_t) ∘ (V_r [c_1; …; c_M])))`: every pair of numbers of state and modalities, at low rank."""

    kind: Literal["bilinear"] = "bilinear"
    rank: int = Field(default=4, ge=1, description="products that are summed")
    inner_width: int | None = Field(default=None, ge=1, description="width of the product; null = that of the states")
    normalise: bool = Field(default=True, description="signed square root, then L2 norm (MFB)")
    formula: ClassVar[str] = "h + W norm2(ssqrt(Σ_r (U_r norm(h)) ∘ (V_r [c_1; …; c_M])))"
    advice: ClassVar[str] = "questions that compare words with what is seen or heard"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Bilinear:
        """The fusion."""
        return Bilinear(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


def signed_root(values: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
    """`sign(x) sqrt(|x|)`, smooth at 0."""
    return values * (values.abs() + ROOT_EPSILON).rsqrt()


class Bilinear(Combination):
    """See the module."""

    def __init__(
        self, config: BilinearConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        inner = config.inner_width or width
        self.rank, self.normalise = config.rank, config.normalise
        self.norm = nn.LayerNorm(width)
        self.states_in = Linear(width, config.rank * inner, bias=False)
        self.aligned_in = Linear(len(feature_widths) * width, config.rank * inner, bias=False)
        self.out = Linear(inner, width, bias=False)
        if config.normalise:  # a vector of length 1 comes in: without this the update would be small by sqrt(I)
            nn.init.normal_(self.out.weight)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The pooled product, brought back to the width of the states."""
        product = self.states_in(self.norm(states)) * self.aligned_in(torch.cat(aligned, dim=-1))
        pooled = product.unflatten(-1, (self.rank, -1)).sum(dim=-2)
        if self.normalise:
            pooled = F.normalize(signed_root(pooled), dim=-1)
        return self.out(pooled)
