"""Sparse mixture of experts (Shazeer et al. 2017, arXiv 1701.06538): `Σ_{e in top-k} g_e E_e([h_t; c_1; …; c_M])`.

Each expert is `W_2 gelu(W_1 x)`; the gates are a softmax over the k best of `G x`. Training adds the load-balance term of
Switch (Fedus et al. 2021, arXiv 2101.03961), `E Σ_e f_e p_e`: f the share of positions whose first choice is e, p the mean gate
before the choice; it is 1 when all are used alike. All experts are computed and those not chosen weighed 0, which at these
widths is cheaper than gathering. Plain form: without the residual. Parameters beside the alignment: n ((M + 1) D I + I D) + n
(M + 1) D, n the experts and I the inner width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from plait.fusion.combination import Combination, CombinationOptions
from plait.layers import Linear


class ExpertsConfig(CombinationOptions):
    """`Σ_{e in top-k} g_e E_e([h_t; c_1; …; c_M])`: every position chooses the experts that mix its modalities."""

    kind: Literal["experts"] = "experts"
    num_experts: int = Field(default=4, ge=2, le=64, description="experts")
    num_chosen: int = Field(default=2, ge=1, description="experts that a position uses")
    inner_width: int | None = Field(
        default=None, ge=1, description="inner width of an expert; null = that of the states"
    )
    balance: float = Field(default=0.01, ge=0, description="weight of the load-balance term in training")
    formula: ClassVar[str] = "h + Σ_{e in top-k} g_e W_e2 gelu(W_e1 [h; c_1; …; c_M])"
    advice: ClassVar[str] = "large data of several kinds; most parameters for its speed"

    @model_validator(mode="after")
    def _enough(self) -> ExpertsConfig:
        if self.num_chosen > self.num_experts:
            raise ValueError(f"num_chosen {self.num_chosen} is more than num_experts {self.num_experts}")
        return self

    def build(self, *, width: int, feature_widths: Mapping[str, int], num_blocks: int) -> Experts:
        """The fusion."""
        return Experts(self, width=width, feature_widths=feature_widths, num_blocks=num_blocks)


class Experts(Combination):
    """See the module."""

    def __init__(
        self, config: ExpertsConfig, *, width: int, feature_widths: Mapping[str, int], num_blocks: int
    ) -> None:
        super().__init__(config, width=width, feature_widths=feature_widths, num_blocks=num_blocks)
        wide, inner = (len(feature_widths) + 1) * width, config.inner_width or width
        self.num_chosen, self.balance = config.num_chosen, config.balance
        self.gate = Linear(wide, config.num_experts, bias=False)
        self.expand = nn.Parameter(torch.randn(config.num_experts, wide, inner) * wide**-0.5)
        self.contract = nn.Parameter(torch.randn(config.num_experts, inner, width) * inner**-0.5)
        self.imbalance: Tensor | None = None

    def update(self, states: Float[Tensor, "B T D"], aligned: list[Float[Tensor, "B T D"]]) -> Float[Tensor, "B T D"]:
        """The chosen experts' answers, by their gates."""
        inputs = torch.cat([states, *aligned], dim=-1)
        scores = self.gate(inputs)
        best, places = scores.topk(self.num_chosen, dim=-1)
        gates = torch.zeros_like(scores).scatter(-1, places, best.softmax(dim=-1))
        if self.training and self.balance:
            first = F.one_hot(places[..., 0], scores.shape[-1]).to(scores.dtype)
            used, wanted = first.flatten(0, 1).mean(dim=0), scores.softmax(dim=-1).flatten(0, 1).mean(dim=0)
            self.imbalance = scores.shape[-1] * (used * wanted).sum()
        inner = F.gelu(torch.einsum("btw,ewi->btei", inputs, self.expand))
        answers = torch.einsum("btei,eid->bted", inner, self.contract)
        return (gates[..., None] * answers).sum(dim=-2)

    def auxiliary(self) -> Tensor | None:
        """The weighted load-balance term of the last call in training, handed over once."""
        found, self.imbalance = self.imbalance, None
        return None if found is None else self.balance * found
