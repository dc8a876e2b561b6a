"""What Pillow's reader of PNG cannot be asked for: pictures with much text in them, transparent colours of all depths.

In: the bytes of a PNG.
Out: the same without its text; its transparent colour in the values that Pillow decodes.
Invariant: the pixels, the orientation (EXIF or XMP) and the colour profile stay; what is dropped is never seen in the picture.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
WANTED = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Texts that may say which way up the picture is."""

MAX_TEXT = 2**19
"""Bytes of such a text; Pillow refuses a picture with texts of more than 1 MiB."""

MAX_PROFILE = 2**20
GREY, RGB = 0, 2


class Prepared(NamedTuple):
    """The file to decode, and a colour profile that was too large to be left in it."""

    data: bytes
    profile: bytes | None = None


def prepared(data: bytes) -> Prepared:
    """A PNG that Pillow reads, however much else than a picture it contains; other files as they are."""
    if not data.startswith(SIGNATURE):
        return Prepared(data)
    kept, profile, last = [data[:8]], None, 8
    for start, end in _chunks(data):
        kind = data[start + 4 : start + 8]
        if kind in TEXTS:
            drop = not _is_wanted(kind, data[start + 8 : end - 4])
        elif kind == b"iCCP":
            large = _large_profile(data[start + 8 : end - 4])
            profile, drop = large or profile, large is not None
        else:
            continue
        if drop:
            kept.append(data[last:start])
            last = end
    return Prepared(data if last == 8 else b"".join([*kept, data[last:]]), profile)


def _chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk begins and ends, its length, name and checksum included."""
    start = 8
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if end > len(data):
            return
        yield start, end
        start = end


def _is_wanted(kind: bytes, content: bytes) -> bool:
    if len(content) > MAX_TEXT or not content.startswith(WANTED):
        return False
    _, _, text = content.partition(b"\0")
    if kind == b"zTXt":
        return _inflated(text[1:], MAX_TEXT) is not None
    if kind == b"iTXt" and text[:1] == b"\1":
        return _inflated(text[2:].split(b"\0", 2)[-1], MAX_TEXT) is not None
    return True


def _large_profile(content: bytes) -> bytes | None:
    """The profile, if it is larger than Pillow takes; it is cut off at 16 MiB, and then of no use to anyone."""
    _, _, packed = content.partition(b"\0")
    if _inflated(packed[1:], MAX_PROFILE) is not None:
        return None
    return _inflated(packed[1:], 2**24, cut=True)


def _inflated(packed: bytes, most: int, *, cut: bool = False) -> bytes | None:
    """What was compressed, of at most so many bytes; None for more. What is damaged counts as short: Pillow passes it over."""
    try:
        found = zlib.decompressobj().decompress(packed, most + 1)
    except zlib.error:
        return b""
    return found if len(found) <= most or cut else None


def has_16_bit_colours(data: bytes) -> bool:
    """Whether Pillow halves the values of this RGB picture."""
    return data.startswith(SIGNATURE) and data[24:26] == bytes([16, RGB])


def scale_transparent(picture: Image.Image, data: bytes) -> None:
    """The transparent grey of up to 4 bits in Pillow's 8; bits above the depth mean nothing (PNG specification, 11.3.2.1)."""
    if (
        not data.startswith(SIGNATURE)
        or "transparency" not in picture.info
        or data[24] > 8
        or data[25] not in (GREY, RGB)
    ):
        return
    most = 2 ** data[24] - 1
    for start, end in _chunks(data):
        if data[start + 4 : start + 8] == b"tRNS":
            values = struct.unpack_from(f">{(end - start - 12) // 2}H", data, start + 8)
            scaled = tuple((value & most) * 255 // most for value in values)
            picture.info["transparency"] = scaled[0] if data[25] == GREY else scaled[:3]
            return


def transparent_pixels(picture: Image.Image, data: bytes) -> np.ndarray:
    """Where a loaded RGB picture of 16 bits has its transparent colour, `(rows, columns)`: by both bytes of each value."""
    colour = np.array(picture.info.pop("transparency"))
    high = np.array(picture)
    with PngImagePlugin.PngImageFile(io.BytesIO(data)) as again:
        # the values as if they were little-endian: Pillow keeps the byte that it drops otherwise
        again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
        again.load()
        low = np.array(again)
    return ((high == colour // 256) & (low == colour % 256)).all(axis=2)
