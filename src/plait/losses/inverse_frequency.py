"""Inverse-frequency weights over groups, tags or classes: every group counts the same in the loss.

In: the division of the samples.
Out: `data.weights` with `inverse_frequency`.
Invariant: a name for what the data section does, so that it can be an arm beside the others; nothing is done here.

Unlike sampling it shows each sample as often as before; with very unequal groups few samples carry the step, and it is noisy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from plait.data.config import DataConfig, GroupedConfig, WeightsConfig
from plait.losses.balance import BalanceOptions


class InverseFrequencyConfig(GroupedConfig, BalanceOptions):
    """Weigh the samples of a group by 1 / its size, mean 1."""

    kind: Literal["inverse_frequency"] = "inverse_frequency"
    advice: ClassVar[str] = "kinds of samples that are rare and matter; costs nothing, noisy where few are very rare"
    num_modalities: ClassVar[int] = 0

    def check(self, *, data: DataConfig, modality_dropout: float | Mapping[str, float]) -> None:
        """Refuse what is said twice."""
        if data.weights is not None:
            raise ValueError("data.weights says what samples count as well: leave one of the two out")

    def data_of(self, data: DataConfig) -> DataConfig:
        """The data with their weights."""
        weights = WeightsConfig.model_validate({**self.division, "inverse_frequency": True})
        return data.model_copy(update={"weights": weights})
