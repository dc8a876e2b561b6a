"""The features of frozen encoders, computed once on a machine and kept on its disk (`encoders.cache`).

In: a run with frozen encoders, and samples.
Out: batches that hold features in the place of pictures, sounds and texts.
Invariant: an item's features are named by its content, its preparation and the encoder's weights, so they are never stale.
"""

from plait.features.block import CacheUnwritable
from plait.features.place import cache_folder
from plait.features.use import FeatureCache, can_cache, check_cache

__all__ = ["CacheUnwritable", "FeatureCache", "cache_folder", "can_cache", "check_cache"]
