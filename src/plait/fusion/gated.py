"""Gated multimodal unit (GMU, Arevalo et al. 2017, arXiv 1702.01992): `Σ_m g_m ∘ tanh(U_m c_m)`.

The gates `g = softmax_m(W_m [h_t; c_1; …; c_M])` are vectors that sum to one over the modalities. Plain form: without the residual.
Parameters beside the alignment: M D² + M (M + 1) D². With an inner width I every U_m, and the map of all gates, is `W_2 gelu(W_1
x)`: 2 M D I + (2 M + 1) D I.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import mapping


class GatedConfig(CombinationOptions):
    """`Σ_m g_m ∘ tanh(U_m c_m)`: for every number of the state the modalities share a gate that sums to one."""

    kind: Literal["gated"] = "gated"
    inner_width: int | None = Field(
        default=None, ge=1, description="width of a hidden layer (gelu) in each of its maps; null = one matrix each"
    )
    formula: ClassVar[str] = "h + Σ_m g_m ∘ tanh(U_m c_m), g = softmax_m(W_m [h; c_1; …; c_M])"
    advice: ClassVar[str] = "modalities of changing quality; the gates can be read"

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Gated:
        """The fusion."""
        return Gated(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Gated(Combination):
    """See the module."""

    def __init__(self, config: GatedConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        number = len(feature_widths)
        self.contents = nn.ModuleList(mapping(width, width, config.inner_width) for _ in range(number))
        self.gates = mapping((number + 1) * width, number * width, config.inner_width)

    def gate_values(
        self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]
    ) -> Float[Tensor, "B T M D"]:
        """How far each modality's gate is open, 0 to 1; they sum to one over the modalities."""
        scores = self.gates(torch.cat([states, *aligned], dim=-1))
        return scores.unflatten(-1, (len(aligned), -1)).softmax(dim=-2)

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The gated mixture."""
        contents = [torch.tanh(content(vector)) for content, vector in zip(self.contents, aligned, strict=True)]
        return (self.gate_values(states, aligned) * torch.stack(contents, dim=-2)).sum(dim=-2)
