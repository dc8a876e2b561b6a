"""Whether a file that may hold pictures or sound (mp4, mov, 3gp, webm, mkv) holds pictures.

In: the path of a file.
Out: `audio` where it has tracks of sound and none of pictures, `video` where it has one, None where it does not say.
Invariant: only the description of its tracks is read, and no more of it than a bound.
"""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from typing import Literal

from plait.errors import UserError
from plait.files import open_regular

AMBIGUOUS = (".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".webm", ".mkv")
MAX_BOXES = 1000
MAX_BYTES = 2**22
EBML = b"\x1a\x45\xdf\xa3"
TRACKS = b"\x16\x54\xae\x6b"

Tracks = Literal["audio", "video"]


def tracks_of(path: Path) -> Tracks | None:
    """What the file holds."""
    try:
        with open_regular(path) as file:
            head = file.read(4)
            file.seek(0)
            kinds = _matroska(file) if head == EBML else _mp4(file)
    except (UserError, OSError):
        return None
    return "video" if "video" in kinds else "audio" if kinds else None


def _mp4(file: BufferedReader) -> set[Tracks]:
    """By ISO/IEC 14496-12: the handler types within the box `moov`, `vide` and `soun`."""
    place, handlers = 0, {b"vide": "video", b"soun": "audio"}
    for _ in range(MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if len(head) < 16 or size < 8:
            return set()
        if head[4:8] == b"moov":
            file.seek(place)
            parts = file.read(min(size, MAX_BYTES)).split(b"hdlr")[1:]
            return {handlers[part[8:12]] for part in parts if part[8:12] in handlers}  # pyright: ignore[reportReturnType]
        place += size
    return set()


def _matroska(file: BufferedReader) -> set[Tracks]:
    """By RFC 9559: the element TrackType (0x83) within Tracks, 1 for pictures and 2 for sound."""
    tracks = file.read(MAX_BYTES).partition(TRACKS)[2]
    first = tracks[0] if tracks else 0
    length = 9 - first.bit_length() if first else 0  # of an EBML number: its first bit tells
    size = int.from_bytes(tracks[:length], "big") & ((1 << 7 * length) - 1)
    body = tracks[length : length + size]
    found: dict[bytes, Tracks] = {b"\x83\x81\x01": "video", b"\x83\x81\x02": "audio"}
    return {kind for mark, kind in found.items() if mark in body}
