"""Tensor fusion (TFN, Zadeh et al. 2017, arXiv 1707.07250): `W flatten(⊗_{m=0..M} [1; P_m c_m])`, c_0 = norm(h_t).

Every product of every order between the projected vectors. Its size grows exponentially with the inputs, so they are projected
first, and more than `MAX_PRODUCTS` products per position are refused with the count: up to four inputs at a width of 8, up to 15 at
a width of 1. Plain form: without the residual. Parameters beside the alignment:
(M + 1) p D + (p + 1)^(M + 1) D, and 2 D of the norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.errors import UserError
from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Linear

MAX_PRODUCTS = 65_536
"""Products per position: at width 128 the matrix behind them has 8.4 million numbers."""


class TensorConfig(CombinationOptions):
    """`W flatten(⊗_m [1; P_m c_m])`: all products of all orders; exponential in the number of modalities."""

    kind: Literal["tensor"] = "tensor"
    projected_width: int = Field(default=8, ge=1, le=32, description="width of each factor before the outer product")
    formula: ClassVar[str] = "h + W flatten(⊗_{m=0..M} [1; P_m c_m]), c_0 = norm(h)"
    advice: ClassVar[str] = "one or two modalities whose exact interplay counts"
    size_key: ClassVar[str] = "projected_width"

    def num_products(self, num_modalities: int) -> int:
        """(p + 1)^(M + 1)."""
        return (self.projected_width + 1) ** (num_modalities + 1)

    def size_steps(self, *, num_modalities: int) -> tuple[int, int, int | None]:
        """Up to the largest outer product."""
        return (1, 1, max(1, min(32, largest_width(num_modalities))))

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> TensorFusion:
        """The fusion; refused where the outer product is too large."""
        number = self.num_products(len(feature_widths))
        if number > MAX_PRODUCTS:
            largest = largest_width(len(feature_widths))
            instead = "fusion.kind=low_rank, which never makes them"
            raise UserError(
                f"tensor: {len(feature_widths)} inputs make ({self.projected_width} + 1)^({len(feature_widths)} + 1) = {number:,} "
                "products per position",
                where="fusion.projected_width" if largest else "fusion.kind",
                right=f"At most {MAX_PRODUCTS:,}: take {f'{largest}, or ' if largest else ''}{instead}",
            )
        return TensorFusion(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


def largest_width(num_modalities: int) -> int:
    """The largest projected width whose outer product is within the limit, 0 where none is."""
    return int(MAX_PRODUCTS ** (1 / (num_modalities + 1)) + 1e-9) - 1


class TensorFusion(Combination):
    """See the module."""

    def __init__(self, config: TensorConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        number = len(feature_widths)
        self.norm = nn.LayerNorm(width)
        self.projections = nn.ModuleList(Linear(width, config.projected_width, bias=False) for _ in range(number + 1))
        self.out = Linear(config.num_products(number), width, bias=False)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The outer product, factor by factor, then one matrix."""
        products = states.new_ones(*states.shape[:2], 1)
        for projection, vector in zip(self.projections, [self.norm(states), *aligned], strict=True):
            factor = F.pad(projection(vector), (1, 0), value=1.0)
            products = (products[..., :, None] * factor[..., None, :]).flatten(-2)
        return self.out(products)
