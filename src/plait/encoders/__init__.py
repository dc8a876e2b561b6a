"""The encoders under the name that programs knew them by; they live in the folders of their modalities.

In: nothing.
Out: `plait.modalities.encoder.Encoder` and the configurations of Plait's own encoders.
Invariant: nothing is defined here.
"""

from plait.modalities.audio import AudioEncoderConfig, AudioTransformerConfig
from plait.modalities.encoder import Encoder
from plait.modalities.image import (
    AlexNetConfig,
    ConvNetConfig,
    ImageEncoderConfig,
    ResNetConfig,
    VGGConfig,
    ViTConfig,
)
from plait.modalities.text import TextEncoderConfig, TextTransformerConfig, WordsConfig

__all__ = [
    "AlexNetConfig",
    "AudioEncoderConfig",
    "AudioTransformerConfig",
    "ConvNetConfig",
    "Encoder",
    "ImageEncoderConfig",
    "ResNetConfig",
    "TextEncoderConfig",
    "TextTransformerConfig",
    "VGGConfig",
    "ViTConfig",
    "WordsConfig",
]
