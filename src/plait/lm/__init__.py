"""Language models: fused states → hidden states → logits over the vocabulary.

All of Plait asks them through one door (`base.py`); Plait's own differ in the block only (`row.py`).
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.lm.base import CausalLM, CausalLMOptions
from plait.lm.cache import Cache
from plait.lm.recurrent import GRUConfig, LSTMConfig, RNNConfig
from plait.lm.row import Block, LanguageModel, LMOptions, Steps
from plait.lm.transformer import TransformerConfig

LANGUAGE_MODELS: tuple[type[LMOptions], ...] = (TransformerConfig, LSTMConfig, GRUConfig, RNNConfig)
if TYPE_CHECKING:
    LMConfig = LMOptions
else:
    LMConfig = one_of("language model", *LANGUAGE_MODELS)

__all__ = [
    "LANGUAGE_MODELS",
    "Block",
    "Cache",
    "CausalLM",
    "CausalLMOptions",
    "LMConfig",
    "LMOptions",
    "LanguageModel",
    "Steps",
]
