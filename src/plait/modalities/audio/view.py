"""A recording as the moments of its encoder's tokens, and as a small file.

In: log-mel `(F, M)`; a file or its bytes.
Out: its `View`; its `Small`.
Invariant: the moments follow each other without a gap, from the beginning to the end.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float
from torch import Tensor

from plait.modalities.audio.decoding.reading import beginning_of, seconds_of
from plait.modalities.audio.prepare import HOP, SAMPLE_RATE
from plait.modalities.base import Blob
from plait.modalities.view import Seen, Small, View

LONG = 8000
"""Frames of a sound whose tokens tell how many frames one token stands for."""

WINDOW_SECONDS = 0.24
"""A moment is hidden with what is around it: sounds run into each other, so a neighbour would tell what is hidden (LOG.md)."""

MAX_SECONDS = 20.0
"""Of a small recording."""

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


def audio_view(mel: Float[Tensor, "F M"], seen: Seen) -> View:
    """A sound and its moments."""
    frames = len(mel)
    num_tokens = seen.encoder.num_tokens(frames)
    step, end = LONG / seen.encoder.num_tokens(LONG) * HOP / SAMPLE_RATE, frames * HOP / SAMPLE_RATE
    spans = tuple((k * step, min(end, (k + 1) * step)) for k in range(num_tokens))
    labels = tuple(f"{start:.2f}–{stop:.2f} s" for start, stop in spans)
    near = tuple(tuple(window_of(place, num_tokens, step)) for place in range(num_tokens))
    hidden = f"a moment with what is around it, {len(near[num_tokens // 2]) * step:.2f} s"
    return View("moments", (num_tokens,), labels, near, hidden, spans, mel.cpu().numpy())


def window_of(place: int, num_tokens: int, step: float, *, seconds: float = WINDOW_SECONDS) -> range:
    """The tokens of `step` seconds that are hidden with the one at `place`: as many before as behind it."""
    around = max(0, round((seconds / step - 1) / 2))
    return range(max(0, place - around), min(num_tokens, place + around + 1))


def small_sound(item: Path | str | Blob) -> Small:
    """The first seconds, one channel: MP3, which every browser plays, or WAV where that cannot be written."""
    full = seconds_of(item)
    found = beginning_of(item, seconds=MAX_SECONDS)
    if found is None or full is None or not len(found.wave):
        raise ValueError("damaged, or no sound in it")
    wave, rate = found.wave[: int(MAX_SECONDS * found.rate)], found.rate
    if rate not in MP3_RATES:
        import soxr

        wave, rate = soxr.resample(wave, rate, 24000), 24000
    kind = (
        ("MP3", "MPEG_LAYER_III", "audio/mpeg")
        if "MP3" in soundfile.available_formats()
        else ("WAV", "PCM_16", "audio/wav")
    )
    file = io.BytesIO()
    soundfile.write(file, np.clip(wave, -1, 1), rate, format=kind[0], subtype=kind[1])
    note = f"the first {MAX_SECONDS:g} of {full:.0f} seconds" if full > MAX_SECONDS else ""
    return Small("sound", file.getvalue(), kind[2], note=note)
