"""What was decoded once, kept in memory up to a bound.

In: a file, and what was decoded from it by a stated preparation.
Out: the same tensor again, as long as file and preparation are the same.
Invariant: a tensor that came from here equals one decoded anew, so a full, an empty and no cache give equal batches;
the bound holds at every moment, and what is in stays in (replacing the oldest would lose all at every pass).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from plait.files import FileState, state_of


class CacheKey(NamedTuple):
    """A file as it is now (by name and state) and the preparation of it."""

    path: str
    state: FileState
    preparation: str


def cache_key(path: Path, preparation: str) -> CacheKey | None:
    """The key of a file, or None for one that cannot be looked at (whoever decodes it says what is wrong)."""
    state = state_of(path)
    return None if state is None else CacheKey(str(path), state, preparation)


class DecodedCache:
    """Tensors by key; `hits` and `misses` count the questions."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = self.hits = self.misses = 0
        self._tensors: dict[CacheKey, Tensor] = {}

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: CacheKey | None) -> Tensor | None:
        """The tensor kept under the key; it must not be changed in place."""
        found = None if key is None else self._tensors.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key: CacheKey | None, tensor: Tensor) -> None:
        """Keep the tensor if it still fits."""
        size = tensor.numel() * tensor.element_size()
        if key is None or key in self._tensors or self.num_bytes + size > self.max_bytes:
            return
        # A view would keep the whole tensor alive that it was cut from, past the bound.
        self._tensors[key] = tensor.clone() if tensor.untyped_storage().nbytes() > size else tensor
        self.num_bytes += size
