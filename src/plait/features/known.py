"""One modality's features for a preparation: files and texts by their content, in the store of one encoder.

In: a store, and for files their digests.
Out: what `plait.data.known.KnownFeatures` asks for; which of some items are missing.
Invariant: a file that was changed since it was encoded is not known; a copy under another name is.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from plait.data.known import Item
from plait.features.block import KEY_BYTES
from plait.features.digests import FileDigests
from plait.features.store import FeatureStore
from plait.modalities.base import digest_of_item

SAY_EVERY = 5.0
"""Seconds between two lines on what is under way."""


@dataclass(frozen=True)
class StoredFeatures:
    """See the module."""

    store: FeatureStore
    digests: FileDigests
    width: int

    def key(self, item: Item) -> bytes | None:
        """What an item is called in the store; None for a file that cannot be read."""
        if isinstance(item, Path):
            return self.digests.of(item)
        if isinstance(item, tuple) and all(isinstance(number, int) for number in item):  # the ids of a text
            return hashlib.blake2b(np.asarray(item, dtype="<i8").tobytes(), digest_size=KEY_BYTES).digest()
        return digest_of_item(item, KEY_BYTES)

    def get(self, item: Item) -> Float[Tensor, "L E"] | None:
        """The features of an item; not to be changed in place."""
        key = self.key(item)
        return None if key is None else self.store.get(key)

    def num_tokens(self, item: Item) -> int | None:
        """How many tokens they are."""
        key = self.key(item)
        return None if key is None else self.store.num_tokens(key)

    def frames(self, item: Item) -> int | None:
        """The length of what has to be opened for it."""
        key = self.key(item)
        return None if key is None else self.store.frames(key)

    def learn(self, items: Iterable[Item], say: Callable[[str], None]) -> None:
        """Know the digests of many files: those that are new to this machine are read."""
        said = time.monotonic()

        def told(done: int, of: int) -> None:
            nonlocal said
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                say(f"features: looked into {done:,} of {of:,} files")

        self.digests.learn((item for item in items if isinstance(item, Path)), told)

    def check(self, items: Iterable[Item]) -> None:
        """Compare what is kept of the items with its digests, so that what is damaged is missing before anything is computed."""
        for item in items:
            self.get(item)

    def missing(self, items: Iterable[Item]) -> dict[bytes, Item]:
        """The items to encode by key, each content once; files that cannot be read are left to whoever reads them."""
        found: dict[bytes, Item] = {}
        for item in items:
            key = self.key(item)
            if key is not None and key not in self.store:
                found.setdefault(key, item)
        return found
