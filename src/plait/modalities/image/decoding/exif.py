"""Which way up a picture is: the orientation that its EXIF or XMP data state.

In: the EXIF data (TIFF, with or without `Exif\\0\\0` before it) and the XMP packet of a picture, as far as it has them.
Out: 1 … 8 as the EXIF standard numbers them (1 = as stored); pixels turned upright.
Invariant: the same as Pillow's `ImageOps.exif_transpose`; where Pillow cannot read the data, they state nothing.
"""

from __future__ import annotations

import re
import struct

from PIL import Image
from torch import Tensor

ORIENTATION = 274  # the tag, in EXIF as in TIFF
SHORT, LONG = 3, 4
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
"""Bytes of a value by its TIFF type, as Pillow reads them."""

_XMP = re.compile(rb'tiff:Orientation(="|>)([0-9])')
_FLIPS = {2: [1], 3: [0, 1], 4: [0], 5: [], 6: [1], 7: [0, 1], 8: [0]}
_TURNED = (5, 6, 7, 8)


def orientation_of(exif: bytes | None, xmp: bytes | None) -> int:
    """The orientation by EXIF, or by XMP where EXIF does not state it."""
    found = _orientation_of_exif(exif) if exif else None
    if found is None and xmp and (match := _XMP.search(xmp)):
        found = int(match[2])
    return found if found in _FLIPS else 1


def _orientation_of_exif(exif: bytes) -> int | None:
    """None where it states none. Ordinary data are read here in some microseconds, all others by Pillow."""
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[start : start + 4])
    if order is not None:
        try:
            return _entry(exif[start:], order)
        except (struct.error, ValueError):
            pass
    return _by_pillow(exif)


def _entry(tiff: bytes, order: str) -> int | None:
    """The orientation in the first directory; `ValueError` for whatever is unusual up to it."""
    (place,) = struct.unpack_from(f"{order}I", tiff, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", tiff, place)
    total = 0
    for start in range(place + 2, place + 2 + 12 * num_entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, start)
        if tag == ORIENTATION:
            if count != 1 or kind not in (SHORT, LONG):
                raise ValueError("an orientation of another type")
            return struct.unpack_from(f"{order}{'H' if kind == SHORT else 'I'}", tiff, start + 8)[0]
        size = SIZES.get(kind, 0) * count
        if size > 4:
            total += size
            (offset,) = struct.unpack_from(f"{order}I", tiff, start + 8)
            if offset + size > len(tiff) or total > len(tiff):
                raise ValueError("a value outside of the data")
    return None


def _by_pillow(exif: bytes) -> int | None:
    found = Image.Exif()
    try:
        found.load(exif)
        value = found.get(ORIENTATION)
        return None if value is None else {number: number for number in _FLIPS}.get(value, 1)
    except Exception:  # damaged EXIF data are no reason to lose a picture, and Pillow then looks at nothing else
        return 1


def orientation_of_picture(picture: Image.Image) -> int:
    """The orientation of a picture that Pillow has loaded (some formats turn it themselves, and then state none)."""
    try:
        value = picture.getexif().get(ORIENTATION, 1)
        return {number: number for number in _FLIPS}.get(value, 1)
    except Exception:
        return 1


def upright(pixels: Tensor, orientation: int) -> Tensor:
    """Undo the orientation of a `(rows, columns, 3)` picture."""
    if orientation in _TURNED:
        pixels = pixels.transpose(0, 1)
    flips = _FLIPS.get(orientation, [])
    return pixels.flip(flips).contiguous() if flips else pixels.contiguous()
