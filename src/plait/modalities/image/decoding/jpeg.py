"""What stands before the pixels of a JPEG: EXIF, XMP, its colour profile.

In: the bytes of a JPEG.
Out: a `JpegHead`.
Invariant: only segments are read, one after the other, each by its own length: what a comment, a thumbnail or another program's
segment contains is never taken for one of these. Where Pillow's reader takes segments differently from the standard, as Pillow.
"""

from __future__ import annotations

from typing import NamedTuple

EXIF, XMP, PROFILE = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
APP1, APP2, START_OF_SCAN, FILL, STUFFED = 0xE1, 0xE2, 0xDA, 0xFF, 0x00
_BARE = frozenset([0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)])
"""Markers without a length behind them."""

_WITH_LENGTH = frozenset(range(0xC0, 0xFF)) - _BARE - {START_OF_SCAN}


class JpegHead(NamedTuple):
    """The parts that say how the pixels are meant; None for one that is not there, or not complete."""

    exif: bytes | None
    xmp: bytes | None
    profile: bytes | None


def read_head(data: bytes) -> JpegHead:
    """Walk the segments up to the first scan."""
    exif: list[bytes] = []
    xmp: bytes | None = None
    profile: list[bytes] = []
    place, end = 2, len(data)
    while place + 3 < end:
        if data[place] != 0xFF:
            place = data.find(b"\xff", place)
            if place < 0:
                break
            continue
        marker = data[place + 1]
        if marker in _WITH_LENGTH:
            start = place + 4
            place += 2 + max(2, data[place + 2] << 8 | data[place + 3])
            if marker == APP1 and data.startswith(EXIF, start):
                exif.append(data[start + 6 : place])
            elif marker == APP1 and data.startswith(XMP, start):
                xmp = data[start + len(XMP) : place]
            elif marker == APP2 and data.startswith(PROFILE, start):
                profile.append(data[start + 12 : place])
        elif marker == FILL:
            place += 1
        elif marker == STUFFED or marker in _BARE:
            place += 2
        else:  # the first scan, or no JPEG at all
            break
    return JpegHead(b"".join(exif) if exif else None, xmp, _joined(profile))


def _joined(parts: list[bytes]) -> bytes | None:
    """The colour profile from its numbered parts; a part that is missing makes it unusable."""
    parts = sorted(part for part in parts if len(part) > 2)
    if not parts or parts[0][1] != len(parts):
        return None
    return b"".join(part[2:] for part in parts)
