"""TIFF pictures whose values count down: 0 is white (`PhotometricInterpretation` 0).

In: the bytes of a TIFF.
Out: whether its deep grey values (12 bits and more) count down, and the same file as if they counted up.
Invariant: pictures of 8 bits and fewer are left to Pillow, which turns their values around itself.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

PHOTOMETRIC, BITS, SAMPLE_FORMAT = 262, 258, 339
_ORDERS = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_SIZES = {3: "H", 4: "I", 16: "Q"}
_DEEP = (12, 16, 32)
_UNSIGNED, _FLOAT = 1, 3


class Grey(NamedTuple):
    """The file with values that count up; whether they counted down, and their largest value (None: Pillow's)."""

    data: bytes
    inverted: bool = False
    most: int | None = None


def counting_up(data: bytes) -> Grey:
    """The TIFF with 0 as black; other files as they are."""
    order = _ORDERS.get(data[:4])
    if order is None:
        return Grey(data)
    try:
        found = _entries(data, order)
    except struct.error:
        return Grey(data)
    photometric, bits = found.get(PHOTOMETRIC), found.get(BITS)
    if photometric is None or bits is None or bits[0] not in _DEEP:
        return Grey(data)
    most = 4095 if bits[0] == 12 else None
    if photometric[0] != 0 or found.get(SAMPLE_FORMAT, (_UNSIGNED, 0))[0] not in (_UNSIGNED, _FLOAT):
        return Grey(data, most=most)
    place = photometric[1]
    return Grey(data[:place] + b"\1" + data[place + 1 :], inverted=True, most=most)


def _entries(data: bytes, order: str) -> dict[int, tuple[int, int]]:
    """Of the first directory, the whole numbers that stand alone: the value and the place of its lowest byte."""
    big = data[2:4] in (b"+\0", b"\0+")
    (place,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (num_entries,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, place)
    start, width, inner = (place + 8, 20, 12) if big else (place + 2, 12, 8)
    found: dict[int, tuple[int, int]] = {}
    for entry in range(start, min(start + num_entries * width, len(data)), width):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        (count,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, entry + 4)
        if count == 1 and kind in _SIZES and tag not in found:
            letter = f"{order}{_SIZES[kind]}"
            last = struct.calcsize(letter) - 1 if order == ">" else 0
            found[tag] = struct.unpack_from(letter, data, entry + inner)[0], entry + inner + last
    return found
