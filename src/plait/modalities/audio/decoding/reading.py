"""Every sample of a sound file, at the rate asked for, as one channel.

In: a path; what is made of several channels; the longest that may be.
Out: `read` → a `Recording`; `seconds_of` → its length without decoding it.
Invariant: the file is read to its end, or a `UserError` says why not; memory is bounded by the longest that may be, whatever
the header says; what a decoder would print is not.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import soundfile
import soxr

from plait.errors import UserError
from plait.modalities.audio.decoding import chunks, flac, mpeg, ogg, phone
from plait.modalities.audio.decoding.piece import Damaged, Piece, Source, Window
from plait.modalities.base import Blob, opened
from plait.quiet import quiet

Channel = Literal["mean", "left", "right"]
RATES = (1_000, 1_000_000)
"""Sample rates outside of these are a broken header, not a recording."""

BLOCK = 2**16
"""Values of all channels read at once: what stays in the processor's cache."""

OPPOSITE = -0.9
"""Two channels whose correlation is below this cancel when they are averaged."""

_UNKNOWN = 2**56
_MPEG_FRAME = 1152
_READ = "Wav, flac, ogg or mp3; with pip install 'plait[phone]' m4a, aac, mp4, 3gp, webm."


class Recording(NamedTuple):
    """A wave of one channel, and its rate; the name of the file's format; its channels, and whether left and right cancel."""

    wave: np.ndarray
    rate: int
    format: str
    channels: int
    opposite: bool


@dataclass(frozen=True)
class Wanted:
    """How a file is to be read. `rate` 0: as it is. `watch`: compare the channels, too (a tenth of the time)."""

    rate: int
    max_seconds: float
    channel: Channel = "mean"
    watch: bool = False


class _Sound(soundfile.SoundFile):
    """Read from the beginning to the end. The wrapper seeks after every block where it can, which makes libmpg123 forget
    what an mp3's next frame needs: the samples there were wrong."""

    def seekable(self) -> bool:
        return False


class _Gathered:
    """What was read so far: waves of one rate after another, never more than may be."""

    def __init__(self, wanted: Wanted, where: str) -> None:
        self.wanted, self.where = wanted, where
        self.waves: list[np.ndarray] = []
        self.blocks: list[np.ndarray] = []
        self.rate = self.num_read = self.channels = 0
        self.seconds = 0.0
        self.products = np.zeros(3)

    def begin(self, rate: int) -> None:
        """From here on samples have this rate."""
        if not RATES[0] <= rate <= RATES[1]:
            raise UserError(
                f"a sample rate of {rate} Hz", where=self.where, right=f"Between {RATES[0]} and {RATES[1]} Hz."
            )
        self.finish()
        self.rate, self.num_read = rate, 0

    def take(self, block: np.ndarray) -> None:
        """A block of samples `(frames, channels)`."""
        if not np.isfinite(block).all():
            row = self.num_read + int(np.argmin(np.isfinite(block).all(1)))
            at = self.seconds + row / self.rate
            raise UserError(f"a sample that is not a finite number at {at:.3f} s", where=self.where)
        self.channels = max(self.channels, block.shape[1])
        self.blocks.append(_one_channel(block, self.wanted.channel))
        self.num_read += len(block)
        if self.wanted.watch and block.shape[1] == 2:
            left, right = block.astype(np.float64).T
            self.products += left @ left, right @ right, left @ right
        self.refuse_long(self.seconds + self.num_read / self.rate)

    def take_beginning(self, blocks: Iterator[tuple[np.ndarray, int]], seconds: float) -> None:
        """Blocks of the first rate, until there are so many seconds."""
        for block, rate in blocks:
            if not self.rate:
                self.begin(rate)
            if rate != self.rate:
                break
            self.take(block)
            if self.num_read >= seconds * rate:
                break

    def finish(self) -> None:
        """Bring what has the present rate to the one that is wanted."""
        if self.blocks:
            wave = np.concatenate(self.blocks)
            as_it_is = self.wanted.rate in (self.rate, 0)
            self.waves.append(wave if as_it_is else soxr.resample(wave, self.rate, self.wanted.rate))
            self.seconds += self.num_read / self.rate
            self.blocks = []

    def refuse_long(self, seconds: float) -> None:
        """Refuse more than may be."""
        if seconds > self.wanted.max_seconds:
            raise UserError(
                f"a sound of {seconds:.1f} seconds",
                where=self.where,
                right=f"At most audio.max_seconds = {self.wanted.max_seconds:g}; cut it, or raise the limit.",
            )

    def recording(self, format: str) -> Recording:
        """All of it."""
        self.finish()
        wave = self.waves[0] if len(self.waves) == 1 else np.concatenate([np.zeros(0, np.float32), *self.waves])
        if not len(wave):
            right = f"At least one sample at {(self.wanted.rate or self.rate) // 1000} kHz."
            raise UserError("a sound of 0 seconds", where=self.where, right=right)
        return Recording(wave, self.wanted.rate or self.rate, format, self.channels, self.opposite)

    @property
    def opposite(self) -> bool:
        """Whether the two channels nearly cancel; not where one of them is next to silent."""
        left, right, both = self.products
        return bool(min(left, right) > 1e-4 * max(left, right) and both < OPPOSITE * np.sqrt(left * right))


def _one_channel(block: np.ndarray, channel: Channel) -> np.ndarray:
    if block.shape[1] == 1:
        return block[:, 0]
    if channel == "mean":
        return block.mean(1)
    return block[:, 0 if channel == "left" else 1].copy()


def read(path: Path | str | Blob, wanted: Wanted) -> Recording:
    """The recording. Whatever is wrong with the file is said with its name."""
    where = str(path)
    gathered = _Gathered(wanted, where)
    with _telling(where), opened(path) as file:
        head, start, size = _look(file, where)
        if phone.is_phone(head):
            return gathered.recording(_read_phone(file, gathered))
        pieces = _pieces(file, head, start, size)
        format = ""
        for piece in pieces:
            with _open(file, piece, size) as sound:
                format = sound.format
                _read_piece(sound, piece, gathered)
                if format == "FLAC" and piece.is_whole:
                    pieces += flac.following(file, size, start, os.lseek(file.fileno(), 0, os.SEEK_CUR))
    return gathered.recording(format)


def seconds_of(path: Path | str | Blob) -> float | None:
    """The length without decoding: by what the header states, if it can be true, else by counting. None for a broken file.

    A FLAC that others were joined to counts as its first part: to find them, all of it would have to be read.
    """
    where = str(path)
    try:
        with _telling(where), opened(path) as file:
            head, start, size = _look(file, where)
            if phone.is_phone(head):
                with phone.opened(file) as (container, stream):
                    stated = phone.seconds_of(container, stream)
                    return stated if stated is not None else phone.counted_seconds(container, stream)
            seconds = 0.0
            for piece in _pieces(file, head, start, size, quick=True):
                with _open(file, piece, size) as sound:
                    samples = _samples(sound, piece)
                    if samples is None:
                        samples = sum(len(block) for block in _blocks(sound))
                    seconds += samples / sound.samplerate
            return seconds
    except UserError:
        return None


def beginning_of(path: Path | str | Blob, *, seconds: float) -> Recording | None:
    """The first seconds of a recording at its own rate, its channels compared; None for a broken file."""
    where = str(path)
    gathered = _Gathered(Wanted(0, float("inf"), watch=True), where)
    try:
        with _telling(where), opened(path) as file:
            head, start, size = _look(file, where)
            if phone.is_phone(head):
                with phone.opened(file) as (container, stream):
                    gathered.take_beginning(phone.blocks(container, stream), seconds)
                    return gathered.recording(phone.name_of(container))
            piece = _pieces(file, head, start, size, quick=True)[0]
            with _open(file, piece, size) as sound:
                blocks = _blocks(sound, min(_samples(sound, piece) or _UNKNOWN, math.ceil(seconds * sound.samplerate)))
                gathered.take_beginning(((block, sound.samplerate) for block in blocks), seconds)
                return gathered.recording(sound.format)
    except UserError:
        return None


class _telling:
    """Whatever goes wrong inside, as a `UserError` about the file; decoders are silent inside."""

    def __init__(self, where: str) -> None:
        self.where, self.quiet = where, quiet()

    def __enter__(self) -> None:
        self.quiet.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.quiet.__exit__(None, None, None)
        if isinstance(error, UserError):
            if error.where is None:
                raise UserError(error.what, where=self.where, right=error.right) from None
        elif isinstance(error, Damaged):
            raise UserError(str(error), where=self.where) from None
        elif isinstance(error, OSError):
            raise UserError(f"cannot read the sound: {error.strerror or error}", where=self.where) from None
        elif isinstance(error, soundfile.SoundFileError):
            reason = str(error).rpartition(": ")[2]
            raise UserError(f"cannot read the sound: {reason}", where=self.where, right=_READ) from None


def _look(file: Source, where: str) -> tuple[bytes, int, int]:
    """How the file begins behind its tags, where that is, and its size."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise UserError("cannot read the sound: the file is empty", where=where)
    start, head = 0, file.read(16)
    while head.startswith(b"ID3") and len(head) >= 10 and start < size:
        start += mpeg.id3_size(head)
        file.seek(start)
        head = file.read(16)
    return head, start, size


def _pieces(file: Source, head: bytes, start: int, size: int, *, quick: bool = False) -> list[Piece]:
    """What of the file is to be decoded, one after the other; `quick`: for a length only."""
    if head.startswith(flac.MAGIC):
        return flac.pieces_of(file, size, start, quick=quick)
    if start > 0 or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0):
        return mpeg.pieces_of(file, size, start) or [Piece()]
    if head.startswith(ogg.MAGIC):
        return ogg.pieces_of(file, size)
    return chunks.pieces_of(file, size) if chunks.is_chunked(head) else [Piece()]


def _open(file: Source, piece: Piece, size: int) -> _Sound:
    """libsndfile on the piece; by descriptor where it is the whole file, so that the name's extension has no say."""
    if piece.is_whole or _estimate_suffices(file, piece):
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        return _Sound(file.fileno(), closefd=False)
    return _Sound(cast("Any", Window(file, piece, size)))


def _estimate_suffices(file: Source, piece: Piece) -> bool:
    """Whether libmpg123 would read an mp3 without a Xing frame to its end (constant bit rates): the descriptor is faster."""
    if piece.claimed is None or piece.samples is None or not piece.alone:
        return False
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        with _Sound(file.fileno(), closefd=False) as sound:
            return piece.samples <= sound.frames < _UNKNOWN
    except soundfile.SoundFileError:
        return False


def _samples(sound: _Sound, piece: Piece) -> int | None:
    """How many samples there are, None if nothing tells."""
    if piece.samples is not None:
        return piece.samples
    return sound.frames if 0 <= sound.frames < _UNKNOWN else None


def _read_piece(sound: _Sound, piece: Piece, gathered: _Gathered) -> None:
    gathered.begin(sound.samplerate)
    stated = _samples(sound, piece)
    if stated is not None:
        gathered.refuse_long(gathered.seconds + stated / sound.samplerate)
    for block in _blocks(sound, stated):
        gathered.take(block)
    # an mp3 states its length in whole frames
    slack = _MPEG_FRAME if sound.format == "MP3" else 0
    if piece.promised and stated is not None and gathered.num_read + slack < stated:
        there, all_of_it = (gathered.seconds + number / sound.samplerate for number in (gathered.num_read, stated))
        raise Damaged(f"the file is cut off: {there:.2f} s of {all_of_it:.2f} s are there")


def _blocks(sound: _Sound, most: int | None = None) -> Iterator[np.ndarray]:
    """Block by block, so that a file of many channels needs no more memory than one; nothing is asked for behind the end, where
    a decoder would stumble over tags."""
    left, at_once = _UNKNOWN if most is None else most, max(1, BLOCK // sound.channels)
    while left and len(block := sound.read(min(at_once, left), dtype="float32", always_2d=True)):
        left -= len(block)
        yield block


def _read_phone(file: Source, gathered: _Gathered) -> str:
    """All that FFmpeg gives; the name of the format."""
    with phone.opened(file) as (container, stream):
        stated, delay = phone.seconds_of(container, stream), phone.delay_of(container)
        if stated is not None:
            gathered.refuse_long(stated - delay)
        for block, rate in phone.blocks(container, stream):
            if rate != gathered.rate:
                gathered.begin(rate)
            gathered.take(block)
        there = gathered.seconds + (gathered.num_read / gathered.rate if gathered.rate else 0.0)
        if stated is not None and there < stated - delay:
            raise Damaged(f"the file is cut off: {there:.2f} s of {stated:.2f} s are there")
        return phone.name_of(container)
