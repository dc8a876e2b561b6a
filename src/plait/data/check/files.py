"""The media files of a data set, each decoded once, as training would: what is broken, empty, or wrongly named.

In: the samples.
Out: per file (by its real path) what it is (`ImageFacts`, `SoundFacts`) or what is wrong (`Broken`); keys of contents.
Invariant: a file is broken here exactly if `load_image` or `load_audio` refuses it too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plait.errors import UserError
from plait.files import open_regular
from plait.modalities.audio.decoding.reading import Wanted, read
from plait.modalities.audio.prepare import SAMPLE_RATE, AudioConfig
from plait.modalities.image.decoding.decode import Header, size_of
from plait.modalities.image.prepare import ImageConfig, load_image
from plait.types import Sample

SUFFIXES_OF = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg", ".mpo"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "HEIF": (".heic", ".heif", ".hif"),
    "AVIF": (".avif", ".avifs"),
    "WAV": (".wav", ".wave"),
    "WAVEX": (".wav", ".wave"),
    "RF64": (".wav", ".wave", ".rf64"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".oga", ".opus"),
    "MP3": (".mp3",),
    "MPEG": (".mp3", ".mp2", ".mpga"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "MP4": (".m4a", ".mp4", ".m4b", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".aac"),
    "MATROSKA": (".webm", ".mka", ".mkv", ".weba"),
    "AAC": (".aac", ".adts"),
    "AMR": (".amr", ".awb"),
}
"""The suffixes that a file of a format may have, by the names that Pillow, libsndfile and `decoding/phone.py` give."""

KINDS = (
    ("cut off", "truncated"),
    ("truncated", "truncated"),
    ("finite", "nan"),
    ("sound of 0 s", "empty"),
    ("the file is empty", "empty"),
    ("a sound of", "too-long"),
    ("a picture of", "too-large"),
    ("too large", "too-large"),
)
"""What a decoder's message contains → the kind of the trouble; otherwise the file is `corrupt`."""


@dataclass(frozen=True)
class ImageFacts:
    """A picture that can be read."""

    width: int
    height: int
    format: str
    constant: bool


@dataclass(frozen=True)
class SoundFacts:
    """A recording that can be read: `samples` at 16 kHz, `peak` of 1; whether its two channels cancel when they are averaged."""

    samples: int
    format: str
    peak: float
    opposite: bool = False

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples / SAMPLE_RATE


@dataclass(frozen=True)
class Broken:
    """A file that training cannot read."""

    kind: str
    reason: str


Facts = ImageFacts | SoundFacts | Broken


class MediaUse(NamedTuple):
    """One use of a file by a sample: the file's real path, and as what it is read."""

    real: str
    modality: str


def media_uses(sample: Sample) -> list[tuple[MediaUse, Path]]:
    """The files of a sample, with the paths under which it names them."""
    paths = [("image", path) for path in sample.image]
    paths += [("audio", sample.audio)] if sample.audio else []
    return [(MediaUse(os.path.realpath(path), modality), path) for modality, path in paths]


def probe_all(
    uses: Iterable[MediaUse],
    *,
    image: ImageConfig,
    audio: AudioConfig,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> dict[MediaUse, Facts]:
    """What each file is, decoded on a few threads (the decoders let go of the interpreter)."""
    wanted = list(dict.fromkeys(uses))
    # Borders that padding adds would hide that a picture is constant.
    image = image.model_copy(update={"resize": "squash"})

    def probe(use: MediaUse) -> Facts:
        return probe_image(Path(use.real), image) if use.modality == "image" else probe_sound(Path(use.real), audio)

    found: dict[MediaUse, Facts] = {}
    with ThreadPoolExecutor(threads) as pool:
        for use, facts in zip(wanted, pool.map(probe, wanted), strict=True):
            found[use] = facts
            if progress is not None:
                progress(len(found), len(wanted))
    return found


def probe_image(path: Path, config: ImageConfig) -> ImageFacts | Broken:
    """What a picture is, read as training reads it."""
    try:
        pixels = load_image(path, config)
    except UserError as error:
        return broken(error)
    header = size_of(path) or Header("", 0, 0)
    return ImageFacts(header.columns, header.rows, header.format, bool((pixels == pixels[:, :1, :1]).all()))


def probe_sound(path: Path, config: AudioConfig) -> SoundFacts | Broken:
    """What a recording is, read as training reads it."""
    try:
        found = read(path, Wanted(SAMPLE_RATE, config.max_seconds, config.channel, watch=True))
    except UserError as error:
        return broken(error)
    return SoundFacts(len(found.wave), found.format, float(np.abs(found.wave).max()), found.opposite)


def broken(error: UserError) -> Broken:
    """The kind of a decoder's refusal, and its words without the path."""
    kind = next((kind for words, kind in KINDS if words in error.what), "corrupt")
    return Broken(kind, f"{error.what.rstrip('.')}. {error.right}" if error.right else error.what)


def wrong_suffix(path: Path, facts: Facts) -> str | None:
    """What the name claims and the content is, where these differ."""
    if isinstance(facts, Broken) or not path.suffix:
        return None
    right = SUFFIXES_OF.get(facts.format)
    if right is None or path.suffix.lower() in right:
        return None
    return f"{path.name} is named {path.suffix} and is {facts.format}"


def content_keys(reals: Collection[str]) -> Mapping[str, str]:
    """A key per file, equal for files of equal content. Only files of equal size are read."""
    by_size: dict[int, list[str]] = {}
    for real in dict.fromkeys(reals):
        with contextlib.suppress(OSError):
            by_size.setdefault(os.stat(real).st_size, []).append(real)  # noqa: PTH116
    alike = [(size, real) for size, same in by_size.items() if len(same) > 1 for real in same]
    # A file that cannot be read is like no other; decoding it has said what is wrong.
    return {real: real for real in reals} | dict(_digests(alike))


def _digests(files: Iterable[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for size, real in files:
        with contextlib.suppress(OSError, UserError), open_regular(real) as file:
            yield real, f"{size}:{hashlib.file_digest(file, 'blake2b').hexdigest()}"
