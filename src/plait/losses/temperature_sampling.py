"""Temperature sampling over groups, tags or classes: a group of n samples is drawn with p ∝ n^(1/T).

In: the division of the samples, and T.
Out: `data.sampling` with the exponent 1/T.
Invariant: a name for what the data section does, so that it can be an arm beside the others; nothing is done here.

T = 1 leaves groups as large as they are, a high T makes them alike (Arivazhagan et al. 2019, arXiv 1907.05019, section 4.2, for
languages). Samples are drawn with replacement: small groups are repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from plait.data.config import DataConfig, GroupedConfig, SamplingConfig
from plait.losses.balance import BalanceOptions


class TemperatureSamplingConfig(GroupedConfig, BalanceOptions):
    """Draw a group of n samples with p ∝ n^(1 / `temperature`)."""

    kind: Literal["temperature_sampling"] = "temperature_sampling"
    temperature: float = Field(default=2.0, ge=1.0, description="1 = groups as large as they are, high = alike")
    advice: ClassVar[str] = "kinds of samples that are rare and matter; costs nothing"
    num_modalities: ClassVar[int] = 0

    def check(self, *, data: DataConfig, modality_dropout: float | Mapping[str, float]) -> None:
        """Refuse what is said twice."""
        if data.sampling is not None:
            raise ValueError("data.sampling says how samples are drawn as well: leave one of the two out")

    def data_of(self, data: DataConfig) -> DataConfig:
        """The data with their sampling."""
        sampling = SamplingConfig.model_validate({**self.division, "temperature": 1 / self.temperature})
        return data.model_copy(update={"sampling": sampling})
