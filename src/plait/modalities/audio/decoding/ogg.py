"""Which streams follow one another in an Ogg file (Vorbis, Opus), and whether its pages' positions can be true.

In: an open file that begins with an Ogg page.
Out: its `Piece`s: one for each link of the chain.
Invariant: every page is in a piece. The last page says how many samples there are; where it contradicts the page before it, the
stream is read to its end instead.

libsndfile decodes the first link, as many samples as its last page states.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from plait.modalities.audio.decoding.piece import Damaged, Piece, Source

MAGIC = b"OggS"
HEADER = 27
LARGEST = HEADER + 255 + 255 * 255
FIRST = 0x02
"""The flag of a stream's first page."""

NO_POSITION = -1
FARTHEST = 2**62


@dataclass
class _Link:
    """Streams that begin together. `positions`: of its pages that state one, the last two; `last`: where its last page begins."""

    start: int
    end: int
    last: int
    positions: tuple[int, int] = (0, 0)
    states_none: bool = False


def pieces_of(file: Source, size: int) -> list[Piece]:
    """The links of the chain; a last page that is not all there is a cut."""
    links = _links(file, size)
    pieces: list[Piece] = []
    for link in links:
        before, last = link.positions
        wrong = link.states_none or last < before or last <= 0
        patches = _to_the_end(file, link) if wrong else {}
        if len(links) == 1 and not wrong:
            return [Piece()]
        pieces.append(Piece(link.start, link.end, patches, promised=not wrong))
    return pieces


def _links(file: Source, size: int) -> list[_Link]:
    links: list[_Link] = []
    place, beginning = 0, False
    while place < size:
        file.seek(place)
        head = file.read(HEADER + 255) or b""
        if head[:4] != MAGIC:
            following = _next_page(file, place)
            if following is None:  # something else was put behind it
                break
            place = following
            continue
        length = HEADER + head[26] + sum(head[HEADER : HEADER + head[26]]) if len(head) >= HEADER else LARGEST
        if len(head) < HEADER + (head[26] if len(head) > 26 else 1) or place + length > size:
            raise Damaged(f"the file is cut off: {place + length - size} bytes are missing at its end")
        first = bool(head[5] & FIRST)
        if first and not beginning:
            links.append(_Link(place, place, place))
        beginning = first
        if links:
            _note(links[-1], place, length, int.from_bytes(head[6:14], "little", signed=True))
        place += length
    return links


def _note(link: _Link, place: int, length: int, position: int) -> None:
    link.states_none = position == NO_POSITION
    if position != NO_POSITION:
        link.positions = (link.positions[1], position)
    link.last, link.end = place, place + length


def _next_page(file: Source, place: int) -> int | None:
    """Where the next page begins, looked for as far as the largest page is long."""
    file.seek(place)
    found = (file.read(2 * LARGEST) or b"").find(MAGIC)
    return None if found < 0 else place + found


def _to_the_end(file: Source, link: _Link) -> dict[int, bytes]:
    """The link's last page with a position beyond all sound, and the checksum that goes with it."""
    file.seek(link.last)
    page = bytearray(file.read(link.end - link.last) or b"")
    page[6:14] = FARTHEST.to_bytes(8, "little")
    page[22:26] = bytes(4)
    page[22:26] = _checksum(bytes(page)).to_bytes(4, "little")
    return {link.last + 6: bytes(page[6:14]), link.last + 22: bytes(page[22:26])}


def _checksum(page: bytes) -> int:
    """The CRC of RFC 3533: polynomial 0x04c11db7, not reflected, from 0."""
    table, found = _crc_table(), 0
    for byte in page:
        found = (found << 8 & 0xFFFFFFFF) ^ table[found >> 24 ^ byte]
    return found


@functools.cache
def _crc_table() -> tuple[int, ...]:
    table: list[int] = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7) if value & 0x80000000 else value << 1
        table.append(value & 0xFFFFFFFF)
    return tuple(table)
