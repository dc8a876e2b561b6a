"""A bit as real input: painted in a picture, sung as a tone, written as words.

In: a bit and a generator.
Out: pixels `(Y, X, 3)` uint8; a wave `(samples,)` float32 at 16 kHz; a text.
Invariant: the bit can be read from every carrier without error, and everything else about it (colours, period, phase, pitch,
loudness, noise, wording) is drawn anew and tells nothing of the bit.
"""

from __future__ import annotations

import numpy as np

SIDE = 32
COLOURS = (50.0, 110.0, 230.0), (240.0, 140.0, 30.0)
"""Red, green and blue of a 0 and of a 1."""
SAMPLE_RATE = 16_000
SECONDS = 0.4
PITCHES = (200.0, 350.0), (900.0, 1600.0)
"""Hertz from which the tone of a 0 and of a 1 is drawn."""
LOUDNESS = 0.1, 0.7
SNR_DB = 15.0, 30.0
TONES = 3
"""Tones of a tune."""
VALUES = (
    ("cold", "icy", "chilly"),
    ("hot", "warm", "boiling"),
)
"""The words that mean 0 and those that mean 1."""
FILLERS = ("well", "today", "the", "soup", "is", "really", "rather", "quite", "it", "seems", "so")


def paint(bit: int, generator: np.random.Generator) -> np.ndarray:
    """A disc, blue for 0 and orange for 1, of random place, size and shade, on a random grey with noise over all.

    A colour is what an untrained convolution already tells apart, so that the laboratory tests fusion and not sight.
    """
    radius = generator.uniform(7.0, 11.0)
    row, column = generator.uniform(radius, SIDE - radius, 2)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    inside = ((rows - row) ** 2 + (columns - column) ** 2 < radius**2)[..., None]
    colour = np.array(COLOURS[bit]) * generator.uniform(0.7, 1.0) + generator.uniform(-20.0, 20.0, 3)
    pixels = np.where(inside, colour, generator.uniform(40.0, 215.0)) + generator.normal(0.0, 8.0, (SIDE, SIDE, 3))
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


def tune(bit: int, generator: np.random.Generator) -> np.ndarray:
    """Three tones one after the other, each low or high: an even number of high ones for 0, an odd one for 1.

    No tone and no two of them tell anything, so an encoder stays on a plateau for many steps before it has all of it.
    """
    tones = generator.integers(0, 2, TONES - 1).tolist()
    length = round(SECONDS * SAMPLE_RATE / TONES)
    return np.concatenate([sing(tone, generator)[:length] for tone in [*tones, (bit - sum(tones)) % 2]])


def write(bit: int, generator: np.random.Generator) -> str:
    """One of the words of this value among filling words."""
    before, after = (list(generator.choice(FILLERS, generator.integers(0, 3))) for _ in range(2))
    return " ".join([*before, VALUES[bit][generator.integers(len(VALUES[bit]))], *after])
