"""The features of one encoder on the disk, and what a preparation reads of them.

In: an encoder's identity; keys; features of new items.
Out: a folder `features/ID` with `about.json` and blocks; the features of a key, mapped.
Invariant: whoever reads sees whole blocks only; any number of processes may read, add and delete at once. The lock keeps two of
them from computing the same items, and goes with its process; where the system has none, items are at worst there twice. A block
in which anything was changed is named and set aside: its items are not known any more, and are computed again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from jaxtyping import Float
from torch import Tensor

from plait.features.block import SUFFIX, Block, CacheUnwritable, DamagedBlock, open_block, write_block
from plait.features.place import cache_folder
from plait.locks import NAME, PART, is_abandoned, lock, temporary
from plait.run import remove, write_json

FEATURES, ABOUT, LOCK = "features", "about.json", ".lock"
ASIDE = ".damaged"
"""The ending of a block in which something was changed; whoever fills the store next deletes it."""
IDENTITY = "identity"
POLL_SECONDS = 0.2


def features_folder() -> Path:
    """Where the folders of all encoders lie."""
    return cache_folder() / FEATURES


class FeatureStore:
    """The features of one encoder by key. `about` says in words whose they are; `say` is told of blocks that are damaged."""

    def __init__(self, id: str, about: Mapping[str, Any], say: Callable[[str], None] | None = None) -> None:
        self.folder, self.about = features_folder() / id, dict(about)
        self._say, self._process = say, os.getpid()
        self._start()

    def _start(self) -> None:
        """Nothing is mapped yet. Items are numbered through all blocks: plain numbers cost Python's collector nothing."""
        self._blocks: dict[Path, Block | None] = {}
        self._places: dict[bytes, int] = {}
        self._first: list[int] = []
        self._whole: list[Block] = []

    def __getstate__(self) -> dict[str, Any]:
        """For a process that does not inherit the memory: it maps the blocks itself."""
        return {"folder": self.folder, "about": self.about}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self.about = state["folder"], state["about"]
        self._say, self._process = None, os.getpid()
        self._start()
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: bytes) -> bool:
        return key in self._places

    def get(self, key: bytes) -> Float[Tensor, "L E"] | None:
        """The features of an item; not to be changed in place."""
        found = self._find(key)
        if found is None:
            return None
        try:
            return found[0].item(found[1])
        except DamagedBlock:
            self._set_aside(found[0])
            return None

    def _set_aside(self, block: Block) -> None:
        """Do not use a block any more, in no process: its items are not known until they are computed again."""
        self._blocks[block.path] = None
        gone = {n for n, one in enumerate(self._whole) if one is block}
        for key in block.keys:
            place = self._places.get(key)
            if place is not None and bisect_right(self._first, place) - 1 in gone:
                del self._places[key]
        with contextlib.suppress(OSError):  # a cache that only may be read: it is left out here all the same
            os.replace(block.path, block.path.with_suffix(ASIDE))  # noqa: PTH105
        self._tell(block.path)

    def _tell(self, path: Path) -> None:
        """Name a damaged block: a loader's worker does it by itself."""
        text = f"features: {path} is damaged and not used: what was in it is computed again"
        if self._say is None or os.getpid() != self._process:
            print(f"plait: {text}", file=sys.stderr, flush=True)
        else:
            self._say(text)

    def num_tokens(self, key: bytes) -> int | None:
        """The tokens of an item."""
        found = self._find(key)
        return None if found is None else found[0].lengths[found[1]]

    def frames(self, key: bytes) -> int | None:
        """The frames that a sound was made of, by its header."""
        found = self._find(key)
        return None if found is None else found[0].frames[found[1]]

    def _find(self, key: bytes) -> tuple[Block, int] | None:
        place = self._places.get(key)
        if place is None:
            return None
        number = bisect_right(self._first, place) - 1
        return self._whole[number], place - self._first[number]

    def refresh(self) -> None:
        """Take up the blocks that others have added. What is mapped stays, even if it was deleted since."""
        for path in sorted(self.folder.glob(f"*{SUFFIX}")):
            if path not in self._blocks:
                self._take(path)

    def _take(self, path: Path) -> None:
        block = self._blocks[path] = open_block(path)
        if block is not None:
            first = self._first[-1] + len(self._whole[-1].keys) if self._whole else 0
            self._first.append(first)
            self._whole.append(block)
            self._places.update(zip(block.keys, range(first, first + len(block.keys)), strict=True))

    def use(self) -> None:
        """Note that the features were used now: `plait cache` says it, and clears what was not used for long.

        What an older Plait wrote learns what it is made with: it has just been found, so it is what is made here and now.
        """
        with contextlib.suppress(OSError):
            about = read_about(self.folder)
            if about and IDENTITY in self.about and about.get(IDENTITY) != self.about[IDENTITY]:
                self._write_about()
            else:
                os.utime(self.folder / ABOUT)

    def _write_about(self) -> None:
        part = temporary(self.folder / ABOUT)
        write_json(part, self.about)
        os.replace(part, self.folder / ABOUT)  # noqa: PTH105

    def add(self, keys: Sequence[bytes], values: Sequence[Float[Tensor, "_ E"]], frames: Sequence[int]) -> None:
        """One more block, in the folder even if it was cleared a moment ago."""
        self.make()
        try:
            path = write_block(self.folder, keys, values, frames)
        except CacheUnwritable as error:
            if self.folder.is_dir() and not isinstance(error.__cause__, FileNotFoundError):
                raise
            self.make()  # cleared between the two, or cleaned by who holds the lock of the folder made anew
            path = write_block(self.folder, keys, values, frames)
        self._take(path)

    def make(self) -> None:
        """The folder, and what it says about itself."""
        about = self.folder / ABOUT
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not about.exists():
                self._write_about()
        except OSError as error:
            raise CacheUnwritable(self.folder, error) from error

    @contextmanager
    def filling(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the right to compute for this encoder; whoever waited for it takes up what the other has computed."""
        self.make()
        try:
            file = (self.folder / LOCK).open("a", encoding="utf-8")
        except OSError as error:
            raise CacheUnwritable(self.folder, error) from error
        with file:
            held = wait_for(file, lambda: say("features: another process computes some of these, waiting for it"))
            if held:
                self._clean()
            self.refresh()
            yield

    def _clean(self) -> None:
        """Remove what a crash left: half a block, and blocks that are damaged. (`about.json` is written without the lock, so its
        half may be alive.)
        """
        for part in [*self.folder.glob(f".*{SUFFIX}{PART}"), *self.folder.glob(f"*{ASIDE}")]:
            remove(part)
        for part in self.folder.glob(f".{ABOUT}.*{PART}"):
            if NAME.search(part.name) and is_abandoned(part):
                remove(part)
        for path in self.folder.glob(f"*{SUFFIX}"):
            if path not in self._blocks:
                self._take(path)
            if self._blocks[path] is None:
                self._tell(path)
                with contextlib.suppress(OSError):
                    path.unlink()


def wait_for(file: IO[str], waiting: Callable[[], None]) -> bool:
    """Lock the file, however long another process holds it; False where the system has no such locks."""
    told = False
    while (is_locked := lock(file)) is False:
        if not told:
            waiting()
        told = True
        time.sleep(POLL_SECONDS)
    return bool(is_locked)


def read_about(folder: Path) -> dict[str, Any]:
    """What a store says about itself; nothing where it is not readable."""
    try:
        return dict(json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
