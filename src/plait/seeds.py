"""Every random draw of Plait comes from a generator that has a name.

In: the run's seed and the words that name the draw, for example `("order", epoch)` or `("augment", epoch, sample_id)`.
Out: a 63-bit seed, a `torch.Generator` or a `numpy.random.Generator`.
Invariant: the same words give the same draws on every machine and in every process, whatever was drawn before; that is what
makes resuming exact and loader workers harmless.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def derive_seed(seed: int, *words: str | int) -> int:
    """A 63-bit seed for the draw named by `words` (BLAKE2 of the seed and the words)."""
    text = "\x1f".join([str(seed), *map(str, words)]).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def torch_generator(seed: int, *words: str | int) -> torch.Generator:
    """A CPU generator for the draw named by `words`."""
    return torch.Generator().manual_seed(derive_seed(seed, *words))


def numpy_generator(seed: int, *words: str | int) -> np.random.Generator:
    """A numpy generator for the draw named by `words`."""
    return np.random.default_rng(derive_seed(seed, *words))
