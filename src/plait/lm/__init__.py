"""Language models: fused states → hidden states → logits over the vocabulary. They differ in the block only."""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.lm.base import Block, Cache, LanguageModel, LMOptions, Steps
from plait.lm.recurrent import GRUConfig, LSTMConfig, RNNConfig
from plait.lm.transformer import TransformerConfig

LANGUAGE_MODELS: tuple[type[LMOptions], ...] = (TransformerConfig, LSTMConfig, GRUConfig, RNNConfig)
if TYPE_CHECKING:
    LMConfig = LMOptions
else:
    LMConfig = one_of("language model", *LANGUAGE_MODELS)

__all__ = ["LANGUAGE_MODELS", "Block", "Cache", "LMConfig", "LMOptions", "LanguageModel", "Steps"]
