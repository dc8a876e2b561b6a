"""How many samples a FLAC file has, and where another one was joined to it.

In: an open file whose FLAC stream begins at a place.
Out: its `Piece`.
Invariant: a total that is missing (0, RFC 9639 section 8.2) or smaller than what the last frame says is not believed: the frames
are decoded to the end.
"""

from __future__ import annotations

from plait.data.sounds.piece import Piece, Source

MAGIC = b"fLaC"
TAIL = 2**17
_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 256 << code - 8 for code in range(8, 16)}}
"""Samples of a frame by the code in its header; 6 and 7 stand for a number behind it."""


def pieces_of(file: Source, size: int, start: int, *, quick: bool = False) -> list[Piece]:
    """The stream, and any FLAC files that follow it (`quick`: these are not looked for)."""
    starts = [start, *([] if quick else _joined(file, start))]
    return [
        _piece(file, begin, end, whole=len(starts) == 1) for begin, end in zip(starts, [*starts[1:], size], strict=True)
    ]


def _piece(file: Source, start: int, end: int, *, whole: bool) -> Piece:
    file.seek(start)
    head = file.read(42) or b""
    total = int.from_bytes(head[21:26], "big") & 2**36 - 1
    file.seek(max(start, end - TAIL))
    counted = _counted(file.read(min(TAIL, end - start)) or b"", int.from_bytes(head[8:10], "big"))
    if total and (counted is None or counted <= total):
        return Piece() if whole else Piece(start, end)
    # the total stands in the last 36 bits of these five bytes
    patch = bytes([head[21] & 0xF0, 0, 0, 0, 0]) if len(head) == 42 else b""
    return Piece(start, end, {start + 21: patch} if patch else {}, samples=counted, promised=False)


def _joined(file: Source, start: int) -> list[int]:
    """Where the signature stands again, with the header that every stream begins with."""
    found: list[int] = []
    wanted = (MAGIC + b"\0\0\0\x22", MAGIC + b"\x80\0\0\x22")
    place, kept = start + 8, b""
    file.seek(place)
    while data := file.read(2**20):
        block = kept + data
        base = place - len(kept)
        for signature in wanted:
            at = block.find(signature)
            while at >= 0:
                found.append(base + at)
                at = block.find(signature, at + 1)
        place += len(data)
        kept = block[-7:]
    return sorted(set(found))


def _counted(tail: bytes, least_block: int) -> int | None:
    """The samples up to the end of the last frame whose header is whole; None if there is none."""
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        if tail[place + 1 : place + 2] in (b"\xf8", b"\xf9"):
            counted = _end_of_frame(tail[place : place + 16], least_block)
            if counted is not None:
                return counted
    return None


def _end_of_frame(head: bytes, least_block: int) -> int | None:
    """The number of the sample behind this frame, if the bytes are a frame's header (RFC 9639, section 9.1)."""
    if len(head) < 6 or head[3] & 1 or head[2] & 15 == 15:
        return None
    number, place = _utf8(head, 4)
    code, rate = head[2] >> 4, head[2] & 15
    width = {6: 1, 7: 2}.get(code, 0)
    if number is None or (code not in _SIZES and not width):
        return None
    count = int.from_bytes(head[place : place + width], "big") + 1 if width else _SIZES[code]
    place += width + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if place >= len(head) or _crc8(head[:place]) != head[place]:
        return None
    return (number if head[1] & 1 else number * least_block) + count


def _utf8(head: bytes, place: int) -> tuple[int | None, int]:
    """A number coded as UTF-8 codes characters, of up to 36 bits; and the place behind it."""
    first = head[place]
    more = 0 if first < 0x80 else 8 - (~first & 0xFF).bit_length() - 1
    if more < 0 or more > 6 or (first >= 0x80 and more == 0) or place + more >= len(head):
        return None, place
    number = first if not more else first & (0x3F >> more)
    for byte in head[place + 1 : place + 1 + more]:
        if byte & 0xC0 != 0x80:
            return None, place
        number = number << 6 | byte & 0x3F
    return number, place + 1 + more


def _crc8(data: bytes) -> int:
    """Polynomial x⁸ + x² + x + 1, from 0."""
    found = 0
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found << 1 ^ 0x07) & 0xFF if found & 0x80 else found << 1
    return found
