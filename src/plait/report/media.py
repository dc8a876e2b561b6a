"""Pictures and sounds inside the page: made small, counted, and left out with a word where they would make it too large.

In: paths of media files.
Out: a `Shown` for each: a `data:` URI, or why there is none.
Invariant: a file is never copied as it is, so nothing hidden in it (where a photograph was taken) travels with the page; what the
page holds stays under the limit; what was left out is counted and named.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from plait.errors import UserError
from plait.files import read_bytes
from plait.modalities.audio.decoding.reading import beginning_of, seconds_of
from plait.modalities.image.decoding.decode import seen
from plait.modalities.image.prepare import MAX_BYTES
from plait.report.words import several, size

LIMIT = 3_000_000
"""Bytes of all pictures and sounds of a page, as they stand in it."""

MAX_SIDE = 360
"""Pixels of a picture's longer side."""

SMALL = 128
"""Up to so many pixels a picture is kept exactly (PNG)."""

MAX_PIXELS = 64_000_000
MAX_SECONDS = 20.0


@dataclass(frozen=True)
class Shown:
    """A picture or a sound: its `uri`, or the `reason` why there is none. `note`: what was done to it."""

    name: str
    uri: str = ""
    reason: str = ""
    note: str = ""
    width: int = 0
    height: int = 0


@dataclass
class Media:
    """All pictures and sounds of one page."""

    limit: int = LIMIT
    num_bytes: int = 0
    over: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def picture(self, path: str | Path, *, most: int = MAX_SIDE) -> Shown:
        """A picture, upright, its longer side at most so many pixels."""
        path = Path(path)
        try:
            data, kind, (width, height) = small_picture(path, most)
        except Exception as error:
            return self._cannot(path, "picture", error)
        return self._counted(Shown(path.name, width=width, height=height), data, kind, "picture")

    def sound(self, path: str | Path) -> Shown:
        """A sound, its first 20 seconds, one channel."""
        path = Path(path)
        try:
            data, kind, full = small_sound(path)
        except Exception as error:
            return self._cannot(path, "sound", error)
        note = f"the first {MAX_SECONDS:g} of {full:.0f} seconds" if full > MAX_SECONDS else ""
        return self._counted(Shown(path.name, note=note), data, kind, "sound")

    @property
    def notes(self) -> list[str]:
        """What was left out, and why."""
        over = [several(number, kind) for kind, number in sorted(self.over.items())]
        words = [
            f"Left out: {' and '.join(over)}, because the page would hold more than {size(self.limit)} of pictures and sounds."
        ]
        return [*(words if over else []), *(f"Not shown: {one}" for one in self.failed)]

    def _counted(self, shown: Shown, data: bytes, kind: str, what: str) -> Shown:
        uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
        if self.num_bytes + len(uri) > self.limit:
            self.over[what] += 1
            return Shown(
                shown.name, reason=f"left out: the page holds at most {size(self.limit)} of pictures and sounds"
            )
        self.num_bytes += len(uri)
        return Shown(shown.name, uri, note=shown.note, width=shown.width, height=shown.height)

    def _cannot(self, path: Path, what: str, error: Exception) -> Shown:
        said = error.what if isinstance(error, UserError) else error
        why = f"it cannot be read ({said})" if path.exists() else "the file is not there any more"
        self.failed.append(f"the {what} {path}: {why}")
        return Shown(path.name, reason=why)


def small_picture(path: Path, most: int = MAX_SIDE) -> tuple[bytes, str, tuple[int, int]]:
    """Its bytes, their type and its size: a small one exactly, a larger one as JPEG, without anything else that the file holds."""
    picture = seen(read_bytes(path, max_bytes=MAX_BYTES), allowed=_allowed, least=2 * most)
    exact = max(picture.size) <= SMALL
    picture.thumbnail((most, most))
    file = io.BytesIO()
    if exact:
        picture.save(file, format="PNG", optimize=True)
        return file.getvalue(), "image/png", picture.size
    picture.save(file, format="JPEG", quality=82, optimize=True)
    return file.getvalue(), "image/jpeg", picture.size


def _allowed(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        raise ValueError(f"{columns} × {rows} pixels")


def small_sound(path: Path) -> tuple[bytes, str, float]:
    """Its bytes, their type and the seconds of the file: MP3, which every browser plays, or WAV where that cannot be written."""
    full = seconds_of(path)
    found = beginning_of(path, seconds=MAX_SECONDS)
    if found is None or full is None or not len(found.wave):
        raise ValueError("damaged, or no sound in it")
    wave, rate = found.wave[: int(MAX_SECONDS * found.rate)], found.rate
    if rate not in (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000):  # what MP3 knows
        import soxr

        wave, rate = soxr.resample(wave, rate, 24000), 24000
    kind = (
        ("MP3", "MPEG_LAYER_III", "audio/mpeg")
        if "MP3" in soundfile.available_formats()
        else ("WAV", "PCM_16", "audio/wav")
    )
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format=kind[0], subtype=kind[1])
    return file.getvalue(), kind[2], full
