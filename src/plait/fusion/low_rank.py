"""Low-rank fusion (LMF, Liu et al. 2018, arXiv 1806.00064): `W Σ_r Π_{m=0..M} F_{m,r} [1; c_m]`, c_0 = norm(h_t).

It equals the contraction of the whole outer product of all `[1; c_m]` with a weight tensor of that rank, without ever making
either. Plain form: without the residual. Parameters beside the alignment: r I (M + 1) (D + 1) + I D, and 2 D of the norm, I the
inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Linear


class LowRankConfig(CombinationOptions):
    """`W Σ_r Π_m F_{m,r} [1; c_m]`: products of every order between states and modalities, at low rank."""

    kind: Literal["low_rank"] = "low_rank"
    rank: int = Field(default=4, ge=1, description="products that are summed")
    inner_width: int | None = Field(default=None, ge=1, description="width of the product; null = that of the states")
    formula: ClassVar[str] = "h + W Σ_r Π_{m=0..M} F_{m,r} [1; c_m], c_0 = norm(h)"
    advice: ClassVar[str] = "three and more modalities that only together say something"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> LowRank:
        """The fusion."""
        return LowRank(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class LowRank(Combination):
    """See the module. A factor's bias is its column for the constant 1; it begins at 1, so that every order is there at once."""

    def __init__(
        self, config: LowRankConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        inner = config.inner_width or width
        self.rank = config.rank
        self.norm = nn.LayerNorm(width)
        self.factors = nn.ModuleList(Linear(width, config.rank * inner) for _ in range(len(feature_widths) + 1))
        for factor in self.factors:
            nn.init.ones_(factor.bias)  # pyright: ignore[reportArgumentType]
        self.out = Linear(inner, width, bias=False)
        nn.init.normal_(self.out.weight, std=(config.rank * inner) ** -0.5)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The product of the factors, summed over the ranks."""
        product = torch.ones((), dtype=states.dtype, device=states.device)
        for factor, vector in zip(self.factors, [self.norm(states), *aligned], strict=True):
            product = product * factor(vector)
        return self.out(product.unflatten(-1, (self.rank, -1)).sum(dim=-2))
