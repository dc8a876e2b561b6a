"""What was decoded once, kept in memory up to a bound.

In: a file, and what was decoded from it by a stated preparation.
Out: the same tensor again, as long as file and preparation are the same.
Invariant: a tensor that came from here equals one decoded anew, so a full, an empty and no cache give equal batches;
the bound holds at every moment, and what is in stays in (replacing the oldest would lose all at every pass).
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from torch import Tensor

from plait.files import FileState, state_of


class CacheKey(NamedTuple):
    """A file as it is now (by name and state) and the preparation of it."""

    path: str
    state: FileState
    preparation: str


def cache_key(item: Hashable, preparation: str) -> Hashable | None:
    """The key of an item: of a file as it is now (None for one that cannot be looked at: whoever decodes it says what is wrong), of
    anything else itself."""
    if not isinstance(item, Path):
        return (item, preparation)
    state = state_of(item)
    return None if state is None else CacheKey(str(item), state, preparation)


class DecodedCache:
    """Tensors by key; `hits` and `misses` count the questions."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = self.hits = self.misses = 0
        self._lock = Lock()
        self._tensors: dict[Hashable, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What a worker gets: everything but the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def __len__(self) -> int:
        return len(self._tensors)

    def get(self, key: Hashable | None) -> Tensor | None:
        """The tensor kept under the key; it must not be changed in place."""
        found = None if key is None else self._tensors.get(key)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key: Hashable | None, tensor: Tensor) -> None:
        """Keep the tensor if it still fits."""
        size = tensor.numel() * tensor.element_size()
        with self._lock:
            if key is None or key in self._tensors or self.num_bytes + size > self.max_bytes:
                return
            self.num_bytes += size
            # A view would keep the whole tensor alive that it was cut from, past the bound.
            self._tensors[key] = tensor.clone() if tensor.untyped_storage().nbytes() > size else tensor
