"""The whole run in one typed tree.

In: plain data, as a YAML file holds it.
Out: a frozen `RunConfig`.
Invariant: every part is chosen by `kind` from a closed union, or named `my_module:MyConfig`; unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, model_validator

from plait.balance import BalanceConfig
from plait.balance.none import NoneConfig
from plait.choices import Config
from plait.config.evaluate import EvaluateConfig
from plait.config.generate import GenerateConfig
from plait.config.train import TrainConfig
from plait.data.config import DataConfig
from plait.encoders import (
    AudioEncoderConfig,
    AudioTransformerConfig,
    ConvNetConfig,
    ImageEncoderConfig,
    TextEncoderConfig,
    TextTransformerConfig,
)
from plait.fusion import ConcatConfig, FusionConfig
from plait.lm import LMConfig, TransformerConfig
from plait.types import FIRST_READ


class EncodersConfig(Config):
    """One encoder per modality; those of modalities that the run does not read are not built.

    `start_from`: the folders of runs whose encoders these begin with, by modality. `freeze`: the modalities whose encoders stay
    as they begin; the rest of the model learns to read them. `cache`: the frozen ones whose features are computed once for each
    file or text and kept on the disk for this and all later runs (`plait cache`); not with random changes of that modality.
    """

    text: TextEncoderConfig = TextTransformerConfig()
    image: ImageEncoderConfig = ConvNetConfig()
    audio: AudioEncoderConfig = AudioTransformerConfig()
    start_from: dict[str, str] = Field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()


class RunConfig(Config):
    """A run: its data, its model, how it is trained, evaluated and asked."""

    data: DataConfig
    width: int = Field(
        default=128, ge=8, le=65_536, description="width of the language model and of what the encoders give"
    )
    encoders: EncodersConfig = EncodersConfig()
    fusion: FusionConfig = ConcatConfig()
    lm: LMConfig = TransformerConfig()
    train: TrainConfig = TrainConfig()
    balance: BalanceConfig = NoneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    generate: GenerateConfig = GenerateConfig()
    seed: int = Field(default=0, description="of every random draw")

    @model_validator(mode="after")
    def _said_once(self) -> RunConfig:
        self.balance.check(data=self.data, modality_dropout=self.train.modality_dropout)
        return self

    def highest_dropout(self, modality: str) -> float:
        """The highest chance with which training drops this modality, once warmed up."""
        chance = self.balance.highest_dropout(modality)
        by_itself = self.train.dropout_of(modality, self.train.steps) if chance is None else chance
        return max(by_itself, self.train.subset_chance(self.train.steps) / 2)

    def never_missing(self, modalities: Iterable[str]) -> tuple[str, ...]:
        """Those of these modalities that training never leaves out: without one of them the model is asked what it never saw."""
        if self.balance.trains_alone:
            return ()
        return tuple(m for m in modalities if not self.highest_dropout(m))

    @property
    def sees_subsets(self) -> bool:
        """Whether training leaves out every input now and then, so that the model may be asked without any of them."""
        if self.data.inputs is None:  # not resolved yet
            dropped = all(self.highest_dropout(m) for m in FIRST_READ)
            return dropped or self.balance.trains_alone
        return bool(self.data.inputs) and not self.never_missing(self.data.inputs)
