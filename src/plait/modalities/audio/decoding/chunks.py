"""What files that are made of chunks state of their sound, compared with what is there: WAV, RF64, W64, AIFF, CAF, AU, NIST.

In: an open file.
Out: its `Piece`s: more than one where files were joined.
Invariant: no byte behind the header is passed over without knowing what it is: sound, a chunk, a tag, padding. A length that
was never written (0, or the largest number) means: to the end. One that is larger than the file is a cut, one that leaves
something unknown behind it is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from plait.modalities.audio.decoding.piece import Damaged, Piece, Source

UNWRITTEN = 0x7FFF_F000
"""A recorder that writes to a pipe does not know the length, and writes the largest that it can or nearly so."""

MAX_PADDING = 2**16
SLACK = 64
"""Bytes at the end that nobody asks about."""

MAX_CHUNKS = 10_000
_KNOWN = (
    b"LIST",
    b"id3 ",
    b"ID3 ",
    b"bext",
    b"cue ",
    b"smpl",
    b"fact",
    b"JUNK",
    b"PAD ",
    b"iXML",
    b"_PMX",
    b"DISP",
    b"FLLR",
    b"PEAK",
)
"""Chunks of notes, which some programs end too early: no sound is lost."""

_LARGEST = 2**62


@dataclass(frozen=True)
class _Layout:
    """How chunks are written: bytes of the name and of the length, whether the length counts these, to what it is padded."""

    name: int
    width: int
    order: Literal["little", "big"]
    inclusive: bool = False
    align: int = 2

    @cached_property
    def header(self) -> int:
        """Bytes of a chunk before its content."""
        return self.name + self.width

    def length(self, head: bytes) -> int:
        """Of the content of the chunk that begins so."""
        stated = int.from_bytes(head[self.name : self.header], self.order)
        return stated - self.header if self.inclusive else stated

    def end(self, place: int, length: int) -> int:
        """Where a next chunk begins."""
        return place + self.header + length + -length % self.align


_RIFF, _FORM = _Layout(4, 4, "little"), _Layout(4, 4, "big")
_CAF, _W64 = _Layout(4, 8, "big", align=1), _Layout(16, 8, "little", inclusive=True, align=8)


@dataclass(frozen=True)
class _Sound:
    """Where the sound begins, and how many bytes are stated (None: never written).

    `patches`: what to write over the header so that it means all up to the end. `open_ended`: libsndfile reads to the end of the
    file, whatever is stated. `layout`: of the chunks that may follow.
    """

    start: int
    stated: int | None
    layout: _Layout | None
    patches: dict[int, bytes] = field(default_factory=dict)
    open_ended: bool = False


def is_chunked(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is one of these."""
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"caff", b".snd", b"dns.", b"riff") or _is_nist(
        head
    )


def pieces_of(file: Source, size: int) -> list[Piece]:
    """The files that were joined, mostly one."""
    pieces: list[Piece] = []
    start = 0
    while start < size:
        piece, start = _piece(file, start, size)
        pieces.append(piece)
    return pieces


def _piece(file: Source, start: int, size: int) -> tuple[Piece, int]:
    """The file that begins at `start`, and where a next one does (`size`: none)."""
    found = _sound(file, start, size)
    if found is None:
        return (Piece(start, size) if start else Piece()), size
    if found.stated is None:
        return (Piece(start, size, found.patches) if found.patches or start else Piece()), size
    if found.stated > size - found.start:
        missing = found.start + found.stated - size
        raise Damaged(f"the file is cut off: {missing} bytes are missing at its end")
    end = found.start + found.stated
    following = _following(file, found, end, size)
    if start == 0 and following == size and not (found.open_ended and end < size):
        return Piece(), size
    return Piece(start, end if found.open_ended else following), following


def _following(file: Source, found: _Sound, end: int, size: int) -> int:
    """Where the next file begins (`size`: there is none); what is behind the sound and is nothing known is refused."""
    align = found.layout.align if found.layout else 1
    for place in {end + -found.stated % align if found.stated else end, end}:
        if place >= size:
            return size
        if (after := _end_of_chunks(file, place, size, found.layout)) is not None:
            return after
        rest = size - place
        if rest <= MAX_PADDING and not any(_at(file, place, rest)):
            return size
    raise Damaged(
        f"its header states {found.stated:,} bytes of sound, but {size - end:,} more bytes follow that belong to nothing"
        " (was the recording interrupted?)"
    )


def _end_of_chunks(file: Source, place: int, size: int, layout: _Layout | None) -> int | None:
    """Where a row of chunks ends that begins here: at the file's end or where the next one begins; None if these are no chunks."""
    for _ in range(MAX_CHUNKS):
        head = _at(file, place, 24)
        if is_chunked(head[:16]):
            return place
        if size - place < SLACK or head.startswith((b"TAG", b"ID3", b"APETAGEX")):
            return size
        if layout is None or not all(0x20 <= byte < 0x7F for byte in head[:4]):
            return None
        length = layout.length(head)
        if length < 0 or place + layout.header + length > size:
            return size if head[:4] in _KNOWN else None
        place = layout.end(place, length)
    return None


def _sound(file: Source, start: int, size: int) -> _Sound | None:
    """What the file that begins at `start` states; None where no sound is found in it, which libsndfile will say."""
    head = _at(file, start, 40)
    magic = head[:4]
    if magic in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(file, start, size, _FORM if magic == b"RIFX" else _RIFF)
    if magic == b"FORM":
        place = _find(file, start + 12, size, _FORM, (b"SSND", b"BODY"))
        return None if place is None else _stated(file, place, size, _FORM, open_ended=_at(file, place, 4) == b"BODY")
    if magic == b"caff":
        place = _find(file, start + 8, size, _CAF, (b"data",))
        return None if place is None else _stated(file, place, size, _CAF, written=True)
    if magic == b"riff":
        place = _find(file, start + 40, size, _W64, (b"data",))
        return None if place is None else _stated(file, place, size, _W64, open_ended=True)
    if magic in (b".snd", b"dns."):
        return _au(head, start, size)
    return _nist(file, start) if _is_nist(head) else None


def _find(file: Source, place: int, size: int, layout: _Layout, names: tuple[bytes, ...]) -> int | None:
    """Where the first chunk of one of the names begins."""
    for _ in range(MAX_CHUNKS):
        head = _at(file, place, layout.header)
        if len(head) < layout.header:
            return None
        if head[:4] in names:
            return place
        length = layout.length(head)
        if length < 0 or place + layout.header + length > size:
            return None
        place = layout.end(place, length)
    return None


def _stated(
    file: Source, place: int, size: int, layout: _Layout, *, open_ended: bool = False, written: bool = False
) -> _Sound:
    """By the chunk of sound that begins at `place`; `written`: libsndfile takes no other length than the true one."""
    start = place + layout.header
    length = layout.length(_at(file, place, layout.header))
    largest = 2 ** (8 * layout.width - 1) - 2**12
    unwritten = not 0 <= length < largest or _is_unwritten_zero(file, start, length, size, layout)
    there = (size - start).to_bytes(layout.width, layout.order)
    patches = {place + layout.name: there} if unwritten and written else {}
    return _Sound(start, None if unwritten else length, layout, patches, open_ended)


def _is_unwritten_zero(file: Source, start: int, length: int, size: int, layout: _Layout) -> bool:
    """Whether a length of 0 was never written: something follows, and it is not further chunks."""
    return length == 0 and size > start and _end_of_chunks(file, start, size, layout) is None


def _wav(file: Source, start: int, size: int, layout: _Layout) -> _Sound | None:
    """WAV, with its length in 64 bits in front (`ds64`) if it was written so."""
    place = _find(file, start + 12, size, layout, (b"data",))
    if place is None:
        return None
    found = _stated(file, place, size, layout)
    there = size - found.start
    wide = _find(file, start + 12, place, layout, (b"ds64",))
    if wide is not None:
        length = int.from_bytes(_at(file, wide + 16, 8), "little")
        if length < _LARGEST and not _is_unwritten_zero(file, found.start, length, size, layout):
            return _Sound(found.start, length, layout)
        patches = {wide + 8: (size - start - 8).to_bytes(8, "little"), wide + 16: there.to_bytes(8, "little")}
        return _Sound(found.start, None, layout, patches)
    if found.stated is not None or layout.length(_at(file, place, layout.header)) >= UNWRITTEN:
        return found
    lengths = {start + 4: size - start - 8, place + 4: there}
    return _Sound(
        found.start,
        None,
        layout,
        {at: min(number, 2**32 - 1).to_bytes(4, layout.order) for at, number in lengths.items()},
    )


def _au(head: bytes, start: int, size: int) -> _Sound | None:
    order: Literal["big", "little"] = "big" if head[:4] == b".snd" else "little"
    offset, length = (int.from_bytes(head[at : at + 4], order) for at in (4, 8))
    first = start + offset
    if offset < 24 or first > size:
        return None
    unwritten = length >= UNWRITTEN or (length == 0 and size > first)
    patches = {start + 8: (2**32 - 1).to_bytes(4, order)} if length == 0 else {}
    return _Sound(first, None if unwritten else length, None, patches if unwritten else {})


def _is_nist(head: bytes) -> bool:
    return head.startswith(b"NIST_1A\n")


def _nist(file: Source, start: int) -> _Sound | None:
    """By the text in front; a length is known of samples that are not packed."""
    head = _at(file, start, 1024)
    said = dict(re.findall(rb"(\w+) -\w+ (\S+)", head))
    try:
        first = start + int(head[8:16])
        count, channels, width = (int(said[key]) for key in (b"sample_count", b"channel_count", b"sample_n_bytes"))
    except (KeyError, ValueError):
        return None
    if said.get(b"sample_coding", b"pcm") not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):
        return None
    return _Sound(first, count * channels * width, None, open_ended=True) if count > 0 else None


def _at(file: Source, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count) or b""
