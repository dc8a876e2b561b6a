"""Sound: recordings of speech, music, noises.

In: a file known by its content, or its bytes.
Out: log-mel `(F, M)`, a frame every 10 ms; features of a convolutional stem and self-attention.
Invariant: see `plait.modalities.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor

from plait.choices import one_of
from plait.modalities.audio.damage import Babble, WhiteNoise
from plait.modalities.audio.decoding.containers import AMBIGUOUS, tracks_of
from plait.modalities.audio.decoding.reading import Wanted, read
from plait.modalities.audio.first import first_of
from plait.modalities.audio.prepare import SAMPLE_RATE, AudioConfig, AudioPreparer, num_frames
from plait.modalities.audio.transformer import AudioTransformerConfig
from plait.modalities.audio.view import audio_view, small_sound
from plait.modalities.base import Facts, Field, FieldError, First, Item, Modality, Parts, path_of
from plait.modalities.view import Seen, Small, View

if TYPE_CHECKING:
    AudioEncoderConfig = AudioTransformerConfig
else:
    AudioEncoderConfig = one_of("audio encoder", AudioTransformerConfig)

PHONE = (".m4a", ".m4b", ".aac", ".3gp", ".3gpp", ".3g2", ".3ga", ".amr", ".awb", ".weba", ".mka")
"""Suffixes of what the extra `[phone]` reads."""

SILENT = 1e-3
"""A recording whose peak (of 1) is not above this is silent."""


class Audio(Modality):
    """See the module."""

    name = "audio"
    one, many = "recording", "recordings"
    Options = AudioConfig
    encoder_axis = "audio encoder"
    encoders = AudioEncoderConfig
    other_names = ("sound", "speech", "wav", "recording", "audio_path", "audio_filepath")
    holds = "the path of one recording"
    damages = (WhiteNoise, Babble)
    hue = ("#2ca02c", "#5fc75f")
    remarks: ClassVar[Mapping[str, str]] = {
        "silent": "recordings that are silent",
        "opposite": "recordings whose left and right channels are opposite and cancel when they are averaged"
        " (set data.audio.channel: left, or right)",
    }
    suffixes = (
        *(".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"),
        *(".wave", ".oga", ".mpga", ".mp2", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".voc"),
        *PHONE,
    )
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {
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
    """By the names that libsndfile and `decoding/phone.py` give."""
    troubles: ClassVar[Mapping[str, str]] = {"sound of 0 s": "empty", "a sound of": "too-long"}
    packages: ClassVar[Mapping[str, tuple[str, ...]]] = {"av": PHONE}
    doubtful = AMBIGUOUS
    doubt = "are read as sound: they hold no pictures, or do not say"
    unit = "frames"
    prepared_by = (
        "plait.modalities.audio.prepare",
        *(
            f"plait.modalities.audio.decoding.{name}"
            for name in ("chunks", "flac", "mpeg", "ogg", "phone", "piece", "reading")
        ),
    )

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """One recording."""
        try:
            return (path_of(value, field),)
        except TypeError:
            right = "Give the path of one recording."
            raise FieldError("type", f"{field.name} {field.shown(value)} is not a path", right=right) from None

    def preparer(self, options: AudioConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> AudioPreparer:
        """See the base."""
        return AudioPreparer(options)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Any:
        """The encoder for as many mel bands as the sounds have."""
        assert isinstance(parts.options, AudioConfig)
        return config.build(width, num_mels=parts.options.num_mels)

    def look(self, item: Item, options: AudioConfig) -> Facts:
        """Its length, its format, whether it is silent and whether its channels cancel."""
        found = read(item, Wanted(SAMPLE_RATE, options.max_seconds, options.channel, watch=True))  # pyright: ignore[reportArgumentType]
        peak, odd, levels = float(np.abs(found.wave).max()), {}, {}
        if found.opposite and options.channel == "mean":
            odd["opposite"] = f"(what is left of it has a peak of {peak:.2g})"
        else:
            levels["silent"] = peak
            odd |= {"silent": f"(peak {peak:.2g})"} if peak <= SILENT else {}
        seconds = round(len(found.wave) / SAMPLE_RATE, 3)
        return Facts(num_frames(len(found.wave)), {"": ("seconds", seconds)}, found.format, odd, levels)

    def field_of(self, path: Path) -> str | None:
        """Films have the same suffixes as recordings: the description of their tracks tells."""
        return tracks_of(path)

    def first(self, items: Sequence[Item]) -> First:
        """See `plait.modalities.audio.first`."""
        return first_of(items)

    def view(self, value: Tensor, seen: Seen) -> View:
        """See `view.py`."""
        return audio_view(value, seen)

    def small(self, item: Item) -> Small:
        """See `view.py`."""
        return small_sound(item)  # pyright: ignore[reportArgumentType]

    def typical(self, options: AudioConfig, *, seconds: float, words: int) -> int:
        """So many seconds."""
        return num_frames(round(seconds * SAMPLE_RATE))
