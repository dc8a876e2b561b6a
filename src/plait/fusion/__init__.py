"""Fusion: features of all modalities + the states of the text so far → the states that the next block reads.

A new fusion is one file beside these and one line below. METHODS of each are in its file: formula, source, cost.
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.fusion.attention import AttentionConfig
from plait.fusion.base import Fusion, FusionOptions
from plait.fusion.concat import ConcatConfig
from plait.fusion.cross_attention import CrossAttentionConfig
from plait.fusion.prefix import PrefixConfig
from plait.fusion.product import ProductConfig

FUSIONS: tuple[type[FusionOptions], ...] = (
    ConcatConfig,
    ProductConfig,
    AttentionConfig,
    PrefixConfig,
    CrossAttentionConfig,
)
if TYPE_CHECKING:
    FusionConfig = FusionOptions
else:
    FusionConfig = one_of("fusion", *FUSIONS)

__all__ = ["FUSIONS", "Fusion", "FusionConfig", "FusionOptions"]
