"""The whole run in one typed tree.

In: plain data, as a YAML file holds it.
Out: a frozen `RunConfig`.
Invariant: every part is chosen by `kind` from a closed union, or named `my_module:MyConfig`; unknown keys are refused.
"""

from __future__ import annotations

from pydantic import Field

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
from plait.types import Modality


class EncodersConfig(Config):
    """One encoder per modality; those of modalities that the run does not read are not built.

    `start_from`: the folders of runs whose encoders these begin with, by modality. `freeze`: the modalities whose encoders stay
    as they begin; the rest of the model learns to read them. `cache`: the frozen ones whose features are computed once for each
    file or text and kept on the disk for this and all later runs (`plait cache`); not with random changes of that modality.
    """

    text: TextEncoderConfig = TextTransformerConfig()
    image: ImageEncoderConfig = ConvNetConfig()
    audio: AudioEncoderConfig = AudioTransformerConfig()
    start_from: dict[Modality, str] = Field(default_factory=dict)
    freeze: tuple[Modality, ...] = ()
    cache: tuple[Modality, ...] = ()


class RunConfig(Config):
    """A run: its data, its model, how it is trained, evaluated and asked."""

    data: DataConfig
    width: int = Field(default=128, ge=8, description="width of the language model and of what the encoders give")
    encoders: EncodersConfig = EncodersConfig()
    fusion: FusionConfig = ConcatConfig()
    lm: LMConfig = TransformerConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    generate: GenerateConfig = GenerateConfig()
    seed: int = Field(default=0, description="of every random draw")
