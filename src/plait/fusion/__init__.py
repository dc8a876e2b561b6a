"""Fusion: features of all modalities + the states of the text so far → the states that the next block reads.

A new fusion is one file beside these and one line below. METHODS of each are in its file: formula, source, cost.
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.fusion.attention import AttentionConfig
from plait.fusion.base import Around, Fusion, FusionOptions, build_fusion, passes_words
from plait.fusion.bilinear import BilinearConfig
from plait.fusion.bottleneck import BottleneckConfig
from plait.fusion.concat import ConcatConfig
from plait.fusion.cross_attention import CrossAttentionConfig
from plait.fusion.experts import ExpertsConfig
from plait.fusion.film import FilmConfig
from plait.fusion.gated import GatedConfig
from plait.fusion.late import LateConfig
from plait.fusion.low_rank import LowRankConfig
from plait.fusion.pairwise import PairwiseConfig
from plait.fusion.prefix import PrefixConfig
from plait.fusion.product import ProductConfig
from plait.fusion.resampler import ResamplerConfig
from plait.fusion.sum import SumConfig
from plait.fusion.tensor import TensorConfig

FUSIONS: tuple[type[FusionOptions], ...] = (
    ConcatConfig,
    SumConfig,
    ProductConfig,
    GatedConfig,
    FilmConfig,
    BilinearConfig,
    LowRankConfig,
    TensorConfig,
    ExpertsConfig,
    AttentionConfig,
    PairwiseConfig,
    BottleneckConfig,
    PrefixConfig,
    ResamplerConfig,
    CrossAttentionConfig,
    LateConfig,
)
if TYPE_CHECKING:
    FusionConfig = FusionOptions
else:
    FusionConfig = one_of("fusion", *FUSIONS)

__all__ = ["FUSIONS", "Around", "Fusion", "FusionConfig", "FusionOptions", "build_fusion", "passes_words"]
