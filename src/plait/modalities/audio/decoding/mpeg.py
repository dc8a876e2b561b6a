"""Which frames an MPEG sound (mp3) holds: counted one by one, because nothing else in the file need be true.

In: an open file that begins with an MPEG frame or an ID3 tag.
Out: its `Piece`s: one for each stream that was joined to it.
Invariant: every frame of the file is in a piece; tags are not; bytes that are neither are a damage, if they are more than a decoder
can pass over.

libmpg123, which libsndfile decodes with, takes the number of samples from the Xing frame in front. Where that is missing, it
divides the file's size by the size of the first frame, and stops there. A piece without it therefore claims a size that is far
too large (`Piece.claimed`): the decoder then reads to the end of the bytes. Where the Xing frame states another number than there
is, the right one is laid over it.
"""

from __future__ import annotations

from dataclasses import dataclass

from plait.modalities.audio.decoding.piece import Damaged, Piece, Source

BLOCK = 2**18
RESYNC = 1024
"""Bytes that libmpg123 passes over between two frames."""

FARTHEST = 2**16
"""Bytes after the last frame in which another one is looked for."""

_MPEG1 = (
    (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
_MPEG2 = (
    (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""Kilobits a second by layer and index (ISO 11172-3 and 13818-3; layers II and III of MPEG-2 share theirs)."""

_RATES = (44_100, 48_000, 32_000)


@dataclass(frozen=True)
class _Kind:
    """What all frames of a stream share: version (1, 2, 4 for 2.5), layer, rate; and the samples of each."""

    version: int
    layer: int
    rate: int

    @property
    def samples(self) -> int:
        return 384 if self.layer == 1 else 576 if self.layer == 3 and self.version > 1 else 1152


def _table() -> dict[int, tuple[int, _Kind]]:
    """The second and third byte of a frame → its bytes, and its kind."""
    found: dict[int, tuple[int, _Kind]] = {}
    kinds: dict[_Kind, _Kind] = {}
    for key in range(0xE000, 0x10000):
        version = {3: 1, 2: 2, 0: 4}.get(key >> 11 & 3)
        layer, rate, bits = 4 - (key >> 9 & 3), key >> 2 & 3, key >> 4 & 15
        if version is None or layer == 4 or rate == 3 or not 0 < bits < 15:
            continue
        kind = _Kind(version, layer, _RATES[rate] // version)
        kind = kinds.setdefault(kind, kind)
        speed = 1000 * (_MPEG1[layer - 1] if version == 1 else _MPEG2[min(layer - 1, 1)])[bits]
        padding = key >> 1 & 1
        if layer == 1:
            size = 4 * (12 * speed // kind.rate + padding)
        else:
            size = kind.samples // 8 * speed // kind.rate + padding
        found[key] = size, kind
    return found


_FRAMES = _table()


@dataclass
class _Stream:
    """Frames that follow one another: `frames` of them that hold sound; how many its Xing frame states, and where."""

    kind: _Kind
    mono: bool
    start: int
    end: int
    frames: int = 0
    stated: int | None = None
    place: int | None = None


def pieces_of(file: Source, size: int, start: int) -> list[Piece]:
    """The streams of a file whose first frame stands at `start`, or behind tags there; [] where no frame can be told."""
    streams = _Walk(file, size).streams(start)
    return [_piece(stream, alone=len(streams) == 1) for stream in streams]


def _piece(stream: _Stream, *, alone: bool) -> Piece:
    stated, there = stream.stated, stream.frames
    each = stream.kind.samples
    if stated is None or stream.place is None:
        claimed = 64 * (stream.end - stream.start) + 2**20
        return Piece(stream.start, stream.end, samples=there * each, promised=False, claimed=claimed, alone=alone)
    if there < stated - 1:
        second = each / stream.kind.rate
        raise Damaged(f"the file is cut off: {there * second:.2f} s of {stated * second:.2f} s are there")
    if there > stated:
        return Piece(stream.start, stream.end, {stream.place: there.to_bytes(4, "big")})
    return Piece() if alone else Piece(stream.start, stream.end)


class _Walk:
    """From frame to frame through a file, a block of it in memory."""

    def __init__(self, file: Source, size: int) -> None:
        self.file, self.size = file, size
        self.found: list[_Stream] = []
        self.base, self.block = 0, b""

    def streams(self, place: int) -> list[_Stream]:
        """The streams that have sound."""
        last, fresh = place, True
        while True:
            place, last, fresh = self._frames(place, last, fresh=fresh)
            if place + 4 > self.size or self._frame(place) is not None:  # the end, or a frame that is not all there
                break
            after = _after_tag(self._at(place, 256))
            if after:
                place, fresh = place + after, True
                continue
            following = self._next_frame(place if fresh else last + 1)
            if following is None:
                break
            self._pass_over(place, last, following, fresh=fresh)
            place = following
        return [stream for stream in self.found if stream.frames]

    def _frames(self, place: int, last: int, *, fresh: bool) -> tuple[int, int, bool]:
        """Walk on as long as one whole frame follows another: where that ends, and where the last one began."""
        stream = self.found[-1] if self.found and not fresh else None
        frames, size = _FRAMES, self.size
        while place + 4 <= size:
            block, base = self._from(place)
            end = len(block) - 64  # a frame's header and what may follow it, so that one look at the block will do
            i = place - base
            while i <= end:
                entry = frames.get(block[i + 1] << 8 | block[i + 2]) if block[i] == 0xFF else None
                if entry is None or base + i + entry[0] > size:
                    return base + i, last, stream is None
                length, kind = entry
                mono = block[i + 3] > 0xBF
                tag = i + (21 if mono else 36) if kind.version == 1 else i + (13 if mono else 21)
                is_head = kind.layer == 3 and block[tag : tag + 4] in (b"Xing", b"Info")
                if stream is None or is_head or kind is not stream.kind or mono is not stream.mono:
                    stream = _Stream(kind, mono, base + i, base + i)
                    self.found.append(stream)
                if is_head and block[tag + 7] & 1:
                    stream.place = base + tag + 8
                    stream.stated = int.from_bytes(block[tag + 8 : tag + 12], "big")
                stream.frames += not is_head
                last = base + i
                i += length
                stream.end = base + i
            place = base + i
        return place, last, stream is None

    def _pass_over(self, place: int, last: int, following: int, *, fresh: bool) -> None:
        """Between `place` and the following frame is no frame: padding after a tag, a little damage, or too much of it."""
        if not self.found:
            return
        gap = self._at(place, following - place) if 0 < following - place < 2**24 else b""
        if following < place:  # what was taken for the last frame was cut: another one begins inside of it
            self.found[-1].frames -= 1
            self.found[-1].end = last
        elif following - place >= RESYNC and not (fresh and gap and not any(gap)):
            seconds = sum(stream.frames * stream.kind.samples / stream.kind.rate for stream in self.found)
            raise Damaged(f"the file is damaged: at {seconds:.2f} s, {following - place:,} bytes are not sound")

    def _next_frame(self, place: int) -> int | None:
        """Where the next frame begins that another one of its kind follows."""
        while place + 4 <= self.size:
            block, base = self._from(place)
            i = block.find(b"\xff", place - base)
            if i < 0 or i > len(block) - 64:
                place = max(place + 1, base + len(block) - 64) if i < 0 else base + i
                if i < 0:
                    continue
            place = base + i
            entry = self._frame(place)
            if entry is not None:
                after = self._frame(place + entry[0])
                if after is not None and after[1] is entry[1]:
                    return place
            place += 1
        return None

    def _frame(self, place: int) -> tuple[int, _Kind] | None:
        head = self._at(place, 3)
        return _FRAMES.get(head[1] << 8 | head[2]) if len(head) == 3 and head[0] == 0xFF else None

    def _at(self, place: int, count: int) -> bytes:
        """So many bytes, fewer at the end."""
        if self.base <= place and place + count <= self.base + len(self.block):
            return self.block[place - self.base : place - self.base + count]
        self.file.seek(place)
        return self.file.read(count) or b""

    def _from(self, place: int) -> tuple[bytes, int]:
        """A block that holds the place and at least 64 bytes from there (zeros after the file's end); and where it begins."""
        if not self.base <= place <= self.base + len(self.block) - 64:
            self.file.seek(place)
            self.base, self.block = place, (self.file.read(BLOCK) or b"") + bytes(64)
        return self.block, self.base


def _after_tag(head: bytes) -> int:
    """How long the tag is that begins so; 0 for none."""
    if head.startswith(b"ID3") and len(head) >= 10:
        return id3_size(head)
    if head.startswith(b"TAG+"):
        return 227
    if head.startswith(b"TAG"):
        return 128
    if head.startswith(b"APETAGEX") and len(head) >= 32:
        has_header_first = int.from_bytes(head[20:24], "little") >> 29 & 1
        return 32 + (int.from_bytes(head[12:16], "little") if has_header_first else 0)
    return 0


def id3_size(head: bytes) -> int:
    """The bytes of an ID3v2 tag by its first ten: seven bits of each of four (id3.org, ID3v2.4.0, 3.1)."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)
