"""A bit as real input: painted in a picture, sung as a tone, written as words.

In: a bit and a generator.
Out: pixels `(Y, X, 3)` uint8; a wave `(samples,)` float32 at 16 kHz; a text.
Invariant: the bit can be read from every carrier without error, and everything else about it (colours, period, phase, pitch,
loudness, noise, wording) is drawn anew and tells nothing of the bit.
"""

from __future__ import annotations

import numpy as np

SIDE = 32
SAMPLE_RATE = 16_000
SECONDS = 0.4
PITCHES = (220.0, 440.0), (900.0, 1800.0)
"""Hertz from which the tone of a 0 and of a 1 is drawn."""
LOUDNESS = 0.1, 0.7
SNR_DB = 15.0, 30.0
VALUES = (
    ("cold", "icy", "chilly", "frozen", "freezing"),
    ("hot", "warm", "boiling", "burning", "heated"),
)
"""The words that mean 0 and those that mean 1."""
FILLERS = ("well", "today", "the", "soup", "is", "really", "rather", "quite", "it", "seems", "so", "to", "me")


def paint(bit: int, generator: np.random.Generator) -> np.ndarray:
    """Stripes, lying for 0 and upright for 1, of random period, phase and colours, with noise over them."""
    period, phase = generator.uniform(4.0, 9.0), generator.uniform(0.0, 2 * np.pi)
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(SIDE) / period + phase)
    share = np.broadcast_to(wave if bit else wave[:, None], (SIDE, SIDE))[..., None]
    dark = generator.uniform(0.0, 110.0, 3)
    bright = dark + generator.uniform(80.0, 140.0, 3)
    first, second = (dark, bright) if generator.random() < 0.5 else (bright, dark)
    pixels = first + (second - first) * share + generator.normal(0.0, 8.0, (SIDE, SIDE, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def sing(bit: int, generator: np.random.Generator) -> np.ndarray:
    """A tone, low for 0 and high for 1, of random pitch, phase and loudness, with white noise."""
    low, high = PITCHES[bit]
    pitch, phase = np.exp(generator.uniform(np.log(low), np.log(high))), generator.uniform(0.0, 2 * np.pi)
    time = np.arange(round(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    loudness = np.exp(generator.uniform(*np.log(LOUDNESS)))
    noise = np.sqrt(0.5 / 10 ** (generator.uniform(*SNR_DB) / 10))
    wave = np.sin(2 * np.pi * pitch * time + phase) + noise * generator.standard_normal(len(time))
    return (loudness * wave).astype(np.float32)


def write(bit: int, generator: np.random.Generator) -> str:
    """One of the words of this value among filling words."""
    before, after = (list(generator.choice(FILLERS, generator.integers(0, 4))) for _ in range(2))
    return " ".join([*before, VALUES[bit][generator.integers(len(VALUES[bit]))], *after])
