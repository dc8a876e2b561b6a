"""Unimodal auxiliary losses: beside the loss with all inputs, the loss with each modality alone.

In: the features of a batch, encoded once.
Out: `(Σ_i ℓ_i(all) + w Σ_m Σ_{i has m} ℓ_i({m})) ÷ Σ weight`, ℓ_i(S) the summed token losses of sample i with S given, through
the same fusion and language model.
Invariant: sums over target tokens and samples; the reported loss is the first term.

A modality that the joint loss needs no more (another one has brought it to 0) goes on learning from its own loss: the simplest cure
of greedy learning, "uniform baseline" in Wei and Hu 2024 (arXiv 2405.17730), there with a head for each modality. It costs one
more pass through fusion and language model per modality. The model also learns what to do with one modality alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from plait.losses.balance import Balance, BalanceOptions, Encoding, Losses, WithAlone


class UnimodalConfig(BalanceOptions):
    """Add `weight` × the loss with each modality alone."""

    kind: Literal["unimodal"] = "unimodal"
    weight: float = Field(default=0.3, gt=0, description="of the summed losses with one modality each")
    advice: ClassVar[str] = "a modality that is learnt slowly behind a quick one; one more pass per modality"
    num_modalities: ClassVar[int] = 2
    trains_alone: ClassVar[bool] = True

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """See the module."""
        self.refuse_few(model)
        return Unimodal(self, state=state)


class Unimodal(WithAlone):
    """See the module."""

    def __init__(self, config: UnimodalConfig, *, state: Mapping[str, float] | None = None) -> None:
        super().__init__(state=state)
        self.weight = config.weight

    def backward(self, found: Losses, weight: Float[Tensor, ""]) -> None:
        """One backward pass through all of them."""
        total = found.total + found.auxiliary
        for one in found.alone.values():
            total = total + self.weight * one.total
        (total / weight).backward()
