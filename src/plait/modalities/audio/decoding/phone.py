"""Sound that telephones record (m4a, mp4, 3gp, aac, amr) and browsers (webm, mka, mkv), by FFmpeg.

In: an open file; the extra `plait[phone]` (PyAV).
Out: the samples of its first stream of sound, run by run of one rate; its length as stated.
Invariant: the samples are those that FFmpeg gives: the encoder's delay is cut off as the file says. Pictures are never decoded.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from plait.errors import UserError
from plait.modalities.audio.decoding.piece import Damaged, Source

INSTALL = "pip install 'plait[phone]'"
NAMES = {"mov": "MP4", "matroska": "MATROSKA", "aac": "AAC", "amr": "AMR", "amrnb": "AMR", "amrwb": "AMR"}
"""How a format is called, by the first of FFmpeg's names for it."""

_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
MAX_BOXES = 100_000
_EBML = b"\x1a\x45\xdf\xa3"
_GUESSED = ("aac", "amr")
"""Formats that state no length, so that FFmpeg guesses it from the size."""

_DELAY_SECONDS = {"mov": 0.3}
_DELAY_OTHERWISE = 0.1
"""A file that has this much less than it states is cut off. An MP4's statement includes the delay of its encoder."""


def is_phone(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is one of these."""
    is_adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return head[4:8] in _BOXES or head.startswith((_EBML, b"#!AMR", b"ADIF")) or is_adts


@contextmanager
def opened(file: Source) -> Iterator[tuple[Any, Any]]:
    """The container, and its first stream of sound."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        raise UserError("reading this kind of sound (m4a, aac, mp4, 3gp, webm, …) needs PyAV", right=INSTALL) from None
    try:
        _refuse_joined(file)
        file.seek(0)
        with av.open(file, metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise Damaged("there is no sound in it")
            yield container, container.streams.audio[0]
    except (av.FFmpegError, OSError, ValueError, RuntimeError, EOFError) as error:
        raise Damaged(f"it cannot be decoded: {getattr(error, 'strerror', None) or error}") from None


def _refuse_joined(file: Source) -> None:
    """FFmpeg would read the first of two MP4 files and pass over the other."""
    place, num_files = 0, 0
    for _ in range(MAX_BOXES):
        file.seek(place)
        head = file.read(16) or b""
        if len(head) < 8 or not head[4:8].isalnum():
            return
        num_files += head[4:8] == b"ftyp"
        if num_files > 1:
            raise Damaged(f"another file was joined to it at byte {place:,}; only the first would be heard")
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return
        place += size


def name_of(container: Any) -> str:
    """The name of the format, as `plait data check` compares it with the suffix."""
    first = str(container.format.name).partition(",")[0]
    return NAMES.get(first, first.upper())


def seconds_of(container: Any, stream: Any) -> float | None:
    """The length of the sound as it is stated; None if nothing states it."""
    if str(container.format.name).partition(",")[0].startswith(_GUESSED):
        return None
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if stated := stream.metadata.get("DURATION"):
        hours, minutes, seconds = (float(part) for part in stated.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / 1e6
    return None


def delay_of(container: Any) -> float:
    """Seconds by which there may be less sound than is stated, in a file that is whole."""
    return _DELAY_SECONDS.get(str(container.format.name).partition(",")[0], _DELAY_OTHERWISE)


def counted_seconds(container: Any, stream: Any) -> float:
    """The length by its packets, which are not decoded."""
    ticks = sum(packet.duration or 0 for packet in container.demux(stream))
    return float(ticks * stream.time_base)


def blocks(container: Any, stream: Any) -> Iterator[tuple[np.ndarray, int]]:
    """The samples `(frames, channels)` as floats, and their rate, in the order of the file."""
    for frame in container.decode(stream):
        if frame.samples:
            yield _floats(frame), int(frame.sample_rate)


def _floats(frame: Any) -> np.ndarray:
    values = frame.to_ndarray()
    num_channels = frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, num_channels)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128) / 128
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.float32) / (np.iinfo(values.dtype).max + 1)
    return values.astype(np.float32)
