"""One modality's tensors → token features; each encoder is chosen by `kind` and built by its own configuration.

In: `Items` of one modality: pixels `(R, C, Y, X)`, log-mel `(R, F, M)` or ids `(R, S)`, with lengths.
Out: `Features` `(R, L, E)`.
Invariant: all members of an axis keep one contract (`tests/encoders/test_contract.py`).
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.encoders.alexnet import AlexNetConfig
from plait.encoders.audio import AudioTransformerConfig
from plait.encoders.base import Encoder
from plait.encoders.convnet import ConvNetConfig
from plait.encoders.resnet import ResNetConfig
from plait.encoders.text import TextTransformerConfig
from plait.encoders.vgg import VGGConfig
from plait.encoders.vit import ViTConfig

if TYPE_CHECKING:
    ImageEncoderConfig = ConvNetConfig | ResNetConfig | ViTConfig | AlexNetConfig | VGGConfig
    AudioEncoderConfig = AudioTransformerConfig
    TextEncoderConfig = TextTransformerConfig
else:
    ImageEncoderConfig = one_of("image encoder", ConvNetConfig, ResNetConfig, ViTConfig, AlexNetConfig, VGGConfig)
    AudioEncoderConfig = one_of("audio encoder", AudioTransformerConfig)
    TextEncoderConfig = one_of("text encoder", TextTransformerConfig)

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
]
