"""A part of a file that decodes as one recording, and the view of the file that libsndfile is given for it.

In: an open file and the places in it.
Out: `Piece`; `Window`, a file object.
Invariant: a window shows the bytes of its part, those in `patches` replaced, and nothing outside of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

Source = io.RawIOBase | io.BufferedIOBase | BinaryIO
"""An open file."""

ID3V1 = 128
"""Bytes at a file's end in which a decoder of MPEG looks for tags."""


class Damaged(Exception):
    """A file that must not be read in part: what is wrong with it, for the user."""


@dataclass(frozen=True)
class Piece:
    """From `start` to `end` (None: the whole file, as it is).

    `samples`: how many there are, where that is known better than libsndfile knows it. `promised`: its header says how many there
    are, so fewer are a cut. `claimed`: a size that is stated in place of the true one (see `mpeg.py`). `alone`: all
    the sound of the file is in it.
    """

    start: int = 0
    end: int | None = None
    patches: Mapping[int, bytes] = field(default_factory=dict)
    samples: int | None = None
    promised: bool = True
    claimed: int | None = None
    alone: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether libsndfile may read the file itself."""
        return self.end is None and not self.patches and self.claimed is None


class Window:
    """A part of a file as a file; what libsndfile needs of one."""

    def __init__(self, file: Source, piece: Piece, size: int) -> None:
        self._file, self._piece = file, piece
        self._end = size if piece.end is None else piece.end
        self._claimed = piece.claimed or self._end - piece.start
        self._place = 0

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._claimed}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, count: int) -> bytes:
        start = self._piece.start + self._place
        if self._piece.claimed is not None and self._place >= self._claimed - ID3V1:
            data = bytes(max(0, min(count, self._claimed - self._place)))
        else:
            self._file.seek(start)
            data = self._file.read(max(0, min(count, self._end - start))) or b""
        for place, patch in self._piece.patches.items():
            if place < start + len(data) and start < place + len(patch):
                data = _patched(data, place - start, patch)
        self._place += len(data)
        return data


def _patched(data: bytes, place: int, patch: bytes) -> bytes:
    """The data with the patch laid over them where the two overlap."""
    if place < 0:
        patch, place = patch[-place:], 0
    patch = patch[: len(data) - place]
    return data[:place] + patch + data[place + len(patch) :]
