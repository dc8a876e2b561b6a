"""A sound file becomes a wave, and waves become log-mel spectrograms, the features that Whisper reads.

In: a file (wav, flac, ogg, mp3, with `plait[phone]` m4a and others: known by its content), or waves `(samples,)` at 16 kHz.
Out: `load_audio` → float wave `(samples,)`, 16 kHz, one channel; `log_mels` → one `(F, M)` per wave; `mixed`, `add_noise`,
`augment_wave`, `spec_augment`.
Invariant: the features of a wave do not depend, to the last bit, on the waves beside it: each one is padded,
transformed and scaled alone, in blocks that stay in the cache, which is also faster than one transform over them all.

The features are those of Radford et al. 2022 (openai/whisper, audio.py): a 400-sample Hann window every 160 samples,
the power spectrum through Slaney's mel filters, log10, nothing more than 8 below the loudest value, (x + 4) / 4.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from plait.choices import Config
from plait.modalities.audio.decoding.reading import Channel, Wanted, read, seconds_of
from plait.modalities.base import Blob, Item, Preparer, stacked

SAMPLE_RATE = 16_000
WINDOW = 400
HOP = 160
_BLOCK = 512
"""Frames per transform: measured best of 64 … 100,000 (7,000 × real time on one thread; all at once 3,800)."""
_MEL_STEP = math.log(6.4) / 27  # 27 steps from 1 kHz to 6.4 kHz


class AudioAugmentConfig(Config):
    """Changes of the sound in training only; all off by default."""

    noise: float = Field(default=0.0, ge=0, le=1, description="Probability of white noise.")
    snr_db: tuple[float, float] = Field(
        default=(5.0, 30.0), description="Signal-to-noise ratio: drawn between these, in dB."
    )
    vocal_tract: float = Field(
        default=0.0, ge=0, le=0.3, description="Every frequency times up to 1 ± this: a longer or shorter vocal tract."
    )
    time_masks: int = Field(default=0, ge=0, description="Stretches of time blanked out (SpecAugment).")
    time_width: int = Field(
        default=40, ge=1, description="Frames of a time mask at most; never over a fifth of the sound."
    )
    mel_masks: int = Field(default=0, ge=0, description="Ranges of mel bands blanked out (SpecAugment).")
    mel_width: int = Field(default=15, ge=1, description="Bands of a mel mask at most.")

    @model_validator(mode="after")
    def _ordered(self) -> AudioAugmentConfig:
        if not self.snr_db[0] <= self.snr_db[1]:
            raise ValueError(f"snr_db {list(self.snr_db)}: the first must not be above the second")
        return self


class AudioConfig(Config):
    """How sound is read."""

    num_mels: Literal[80, 128] = Field(default=80, description="Mel bands; Whisper's are 80, of its large-v3 128.")
    max_seconds: float = Field(default=30.0, gt=0, description="A longer recording is refused.")
    channel: Channel = Field(
        default="mean", description="What is heard of several channels: their mean, or one of the first two."
    )
    augment: AudioAugmentConfig = AudioAugmentConfig()


def load_audio(path: Path | str | Blob, config: AudioConfig) -> Float[Tensor, " samples"]:
    """The recording at 16 kHz, one channel. Whatever is wrong with the file is said with its name."""
    wanted = Wanted(SAMPLE_RATE, config.max_seconds, config.channel)
    return torch.from_numpy(read(path, wanted).wave)


def num_frames(samples: int) -> int:
    """The frames of the log-mel spectrogram of so many samples."""
    return max(1, samples // HOP)


@functools.cache
def mel_edges(num_mels: int) -> np.ndarray:
    """Where the bands begin and end, in Hz, `(num_mels + 2,)`: band b from b to b + 2, its peak at b + 1 (Slaney's scale)."""
    top = 15 + math.log(SAMPLE_RATE / 2 / 1000) / _MEL_STEP
    mels = np.linspace(0, top, num_mels + 2)
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(_MEL_STEP * (mels - 15)))


@functools.cache
def mel_filters(num_mels: int) -> Float[Tensor, "bins M"]:
    """The mel filters of Slaney's Auditory Toolbox, each of unit area: linear below 1 kHz, logarithmic above."""
    bins = np.linspace(0, SAMPLE_RATE / 2, 1 + WINDOW // 2)
    hertz = mel_edges(num_mels)
    rising = (bins[:, None] - hertz[:-2]) / np.diff(hertz)[:-1]
    falling = (hertz[2:] - bins[:, None]) / np.diff(hertz)[1:]
    area = (hertz[2:] - hertz[:-2]) / 2
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)) / area).float()


@functools.cache
def hann() -> Float[Tensor, " samples"]:
    """The window of every frame."""
    return torch.hann_window(WINDOW)


def log_mels(waves: Sequence[Float[Tensor, " _"]], config: AudioConfig) -> list[Float[Tensor, "_ M"]]:
    """Whisper's features of each wave, `num_frames(samples)` frames long."""
    filters = mel_filters(config.num_mels)
    window = hann()
    return [_log_mel(wave, filters, window) for wave in waves]


def _log_mel(wave: Tensor, filters: Tensor, window: Tensor) -> Tensor:
    num = num_frames(wave.numel())
    frames = _reflected(wave, WINDOW // 2).unfold(0, WINDOW, HOP)
    mel = torch.empty(num, filters.shape[1])
    for start in range(0, num, _BLOCK):
        end = min(start + _BLOCK, num)
        spectrum = torch.fft.rfft(frames[start:end] * window)
        power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
        torch.matmul(power, filters, out=mel[start:end])
    mel.clamp_(min=1e-10).log10_()
    return mel.clamp_(min=mel.max() - 8).add_(4).div_(4)


def _reflected(wave: Tensor, width: int) -> Tensor:
    """The wave with `width` samples mirrored at either end, back and forth where it is shorter than that."""
    num = wave.numel()
    if num > width:
        return torch.cat([wave[1 : width + 1].flip(0), wave, wave[-width - 1 : -1].flip(0)])
    period = max(1, 2 * (num - 1))
    index = torch.arange(-width, num + width) % period
    return wave[torch.minimum(index, period - index) if num > 1 else index]


def mixed(
    wave: Float[Tensor, " samples"], noise: Float[Tensor, " samples"], snr_db: float
) -> Float[Tensor, " samples"]:
    """The wave plus the noise (not silent), scaled so that the ratio of their measured powers is `snr_db`; nothing is clipped."""
    power = wave.double().square().mean()
    scale = (power / noise.double().square().mean() / 10 ** (snr_db / 10)).sqrt()
    return wave + noise * scale.float()


def add_noise(wave: Float[Tensor, " samples"], snr_db: float, generator: torch.Generator) -> Float[Tensor, " samples"]:
    """The wave with white noise, the ratio of their measured powers being `snr_db`; silence stays silence."""
    return mixed(wave, torch.randn(wave.shape, generator=generator), snr_db)


def augment_wave(
    wave: Float[Tensor, " samples"], config: AudioAugmentConfig, generator: torch.Generator
) -> Float[Tensor, " samples"]:
    """The wave, with noise where the draw says so."""
    chance, place = torch.rand(2, generator=generator).tolist()
    if chance >= config.noise:
        return wave
    low, high = config.snr_db
    return add_noise(wave, low + (high - low) * place, generator)


def spec_augment(
    mel: Float[Tensor, "F M"], config: AudioAugmentConfig, generator: torch.Generator
) -> Float[Tensor, "F M"]:
    """The spectrogram warped in frequency, with stretches of time and ranges of bands set to its mean (SpecAugment, Park 2019)."""
    if config.vocal_tract:
        draw = float(torch.rand((), generator=generator))
        mel = warp_frequencies(mel, 1 + config.vocal_tract * (2 * draw - 1))
    if not (config.time_masks or config.mel_masks):
        return mel
    num, bands = mel.shape
    mean, masked = mel.mean(), mel.clone()
    for _ in range(config.time_masks):
        start, end = _stretch(num, min(config.time_width, num // 5), generator)
        masked[start:end] = mean
    for _ in range(config.mel_masks):
        start, end = _stretch(bands, min(config.mel_width, bands), generator)
        masked[:, start:end] = mean
    return masked


def warp_frequencies(mel: Float[Tensor, "F M"], factor: float) -> Float[Tensor, "F M"]:
    """What stood at f Hz stands at f · factor, as if the vocal tract were shorter by it (VTLP, Jaitly and Hinton 2013).

    Bands are read at f / factor, between two of them linearly; above the last band's peak the last one is read.
    """
    peaks = mel_edges(mel.shape[1])[1:-1]
    places = torch.from_numpy(np.interp(peaks / factor, peaks, np.arange(len(peaks)))).float()
    below = places.long()
    above = (below + 1).clamp(max=len(peaks) - 1)
    return torch.lerp(mel.index_select(1, below), mel.index_select(1, above), places - below)


def _stretch(size: int, widest: int, generator: torch.Generator) -> tuple[int, int]:
    width = int(torch.randint(0, widest + 1, (), generator=generator))
    start = int(torch.randint(0, size - width + 1, (), generator=generator))
    return start, start + width


FRAMES_A_SECOND = SAMPLE_RATE // HOP


class AudioPreparer(Preparer):
    """Waves `(samples,)` at 16 kHz, then log-mel `(F, M)`."""

    decoded_is_value = False
    decoded_draw = "noise"
    opens_files = True
    cost = 1.0

    def __init__(self, options: AudioConfig) -> None:
        self.options = options
        self.changes_decoded = options.augment.noise > 0
        self.changes_value = options.augment != AudioAugmentConfig()
        self.longest = num_frames(math.ceil(options.max_seconds * SAMPLE_RATE))

    @property
    def preparation(self) -> str:
        """See the base."""
        return "audio" + self.options.model_dump_json(exclude={"augment"})

    def decode(self, item: Item) -> Float[Tensor, " samples"]:
        """The wave of a file."""
        return load_audio(item, self.options)  # pyright: ignore[reportArgumentType]

    def change_decoded(self, decoded: Tensor, generator: torch.Generator) -> Tensor:
        """See `augment_wave`."""
        return augment_wave(decoded, self.options.augment, generator)

    def value(self, decoded: Tensor) -> Float[Tensor, "F M"]:
        """Its log-mel."""
        return log_mels([decoded], self.options)[0]

    def change_value(self, value: Tensor, generator: torch.Generator) -> Tensor:
        """See `spec_augment`."""
        return spec_augment(value, self.options.augment, generator)

    def collate(self, values: Sequence[Tensor]) -> tuple[Float[Tensor, "R F M"], Int[Tensor, " R"]]:
        """Padded with 0."""
        lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
        return stacked(values, torch.zeros(1, self.options.num_mels)), lengths

    def length(self, item: Item) -> int:
        """The frames by the file's header, checked against what can be true."""
        seconds = seconds_of(item)  # pyright: ignore[reportArgumentType]
        return 0 if not seconds else min(self.longest, num_frames(math.ceil(seconds * SAMPLE_RATE)))

    def guessed_length(self, item: Item) -> int:
        """As if every file held 32,000 bytes a second."""
        try:
            num_bytes = len(item.data) if isinstance(item, Blob) else Path(str(item)).stat().st_size
        except (OSError, ValueError):
            return 0
        return min(self.longest, num_frames(num_bytes // 2))

    def shape(self, length: int) -> tuple[int, ...]:
        """`(F, M)`."""
        return (length, self.options.num_mels)

    def decoded_bytes(self, length: int) -> int:
        """Of the log-mel, or of the wave where noise is added to it."""
        return 4 * length * max(self.options.num_mels, HOP if self.changes_decoded else 0)

    def seconds(self, length: int) -> float:
        """A frame is 10 ms."""
        return length / FRAMES_A_SECOND
