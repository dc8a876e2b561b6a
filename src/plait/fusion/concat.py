"""Concatenation: `W [h_t; c_1; …; c_M]`, the field's default.

Plain form: the projected concatenation `W [x_1; …; x_n]` alone. Parameters beside the alignment: (M + 1) D².
With an inner width I the mixing is a small network, `W_2 gelu(W_1 [h_t; c_1; …; c_M])`, of (M + 2) D I parameters: the
"concatenation and MLP" of the field. It is no longer linear in h and c, so it is no longer of one class with `sum`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import mapping


class ConcatConfig(CombinationOptions):
    """`W [h_t; c_1; …; c_M]`: states and aligned vectors side by side, mixed by one matrix."""

    kind: Literal["concat"] = "concat"
    inner_width: int | None = Field(
        default=None, ge=1, description="width of a hidden layer (gelu) in each of its maps; null = one matrix each"
    )
    formula: ClassVar[str] = "h + W [h; c_1; …; c_M]"
    advice: ClassVar[str] = "the default: the best average rank in public comparisons"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Concat:
        """The fusion."""
        return Concat(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Concat(Combination):
    """See the module."""

    def __init__(self, config: ConcatConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        self.mix = mapping((len(feature_widths) + 1) * width, width, config.inner_width)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """One map over everything."""
        return self.mix(torch.cat([states, *aligned], dim=-1))
