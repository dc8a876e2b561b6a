"""How many samples a FLAC file has, and where another one was joined to it.

In: an open file whose FLAC stream begins at a place.
Out: its `Piece`.
Invariant: a total that is missing (0, RFC 9639 section 8.2) or smaller than what the last frame says is not believed: the frames
are decoded to the end.
"""

from __future__ import annotations

from plait.modalities.audio.decoding.piece import Piece, Source

MAGIC = b"fLaC"
TAILS = (2**13, 2**17)
"""Bytes at the end in which the last frame's header is looked for."""

READ_AHEAD = 2**14
"""More bytes than libFLAC reads before it needs them."""

_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{code: 256 << code - 8 for code in range(8, 16)}}
"""Samples of a frame by the code in its header; 6 and 7 stand for a number behind it."""


def pieces_of(file: Source, size: int, start: int, *, quick: bool = False) -> list[Piece]:
    """The stream; of a file whose total cannot be believed also those behind it, unless `quick`. See `following`."""
    file.seek(max(0, size - 128))
    end = size - 128 if file.read(3) == b"TAG" else size  # ID3v1
    piece = _piece(file, start, end)
    joined = [] if quick or piece.is_whole else _joined(file, start + 8)
    if not joined:
        return [piece]
    starts = [start, *joined]
    return [_piece(file, begin, stop, whole=False) for begin, stop in zip(starts, [*joined, end], strict=True)]


def following(file: Source, size: int, start: int, place: int) -> list[Piece]:
    """The streams joined to the one from `start`, which was decoded to its end; the decoder stopped near `place`."""
    starts = _joined(file, max(start + 8, place - READ_AHEAD))
    ends = [*starts[1:], size][: len(starts)]
    return [_piece(file, begin, end, whole=False) for begin, end in zip(starts, ends, strict=True)]


def _piece(file: Source, start: int, end: int, *, whole: bool = True) -> Piece:
    """`whole`: nothing else is in the file, so that it can be decoded as it is."""
    file.seek(start)
    head = file.read(42) or b""
    total = int.from_bytes(head[21:26], "big") & 2**36 - 1
    least_block, counted = int.from_bytes(head[8:10], "big"), None
    for tail in TAILS:
        if counted is None:
            file.seek(max(start, end - tail))
            counted = _counted(file.read(min(tail, end - start)) or b"", least_block)
    if total and (counted is None or counted <= total):
        return Piece() if whole else Piece(start, end)
    # the total stands in the last 36 bits of these five bytes
    patch = bytes([head[21] & 0xF0, 0, 0, 0, 0]) if len(head) == 42 else b""
    return Piece(start, end, {start + 21: patch} if patch else {}, samples=counted, promised=False)


def _joined(file: Source, place: int) -> list[int]:
    """Where a signature stands from there on, with the header that every stream begins with."""
    found: list[int] = []
    kept = b""
    file.seek(place)
    while data := file.read(2**20):
        block = kept + data if kept else data
        base = place - len(kept)
        at = block.find(MAGIC)
        while at >= 0:
            if block[at + 4 : at + 8] in (b"\0\0\0\x22", b"\x80\0\0\x22"):
                found.append(base + at)
            at = block.find(MAGIC, at + 1)
        place += len(data)
        kept = block[-7:]
    return found


def _counted(tail: bytes, least_block: int) -> int | None:
    """The samples up to the end of the last frame whose header is whole; None if there is none."""
    place = len(tail)
    while (place := max(tail.rfind(b"\xff\xf8", 0, place + 1), tail.rfind(b"\xff\xf9", 0, place + 1))) >= 0:
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
        found = _CRC8[found ^ byte]
    return found


def _crc8_table() -> bytes:
    table = bytearray(range(256))
    for _ in range(8):
        table = bytearray((byte << 1 ^ 0x07) & 0xFF if byte & 0x80 else byte << 1 for byte in table)
    return bytes(table)


_CRC8 = _crc8_table()
