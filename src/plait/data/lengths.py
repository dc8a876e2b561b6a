"""How long samples are, found without decoding: for buckets, for the estimate of memory, for the choice of workers.

In: samples and the preprocessor that will make batches of them.
Out: `Lengths`; the shapes and bytes of the largest batch that can come.
Invariant: a file that cannot be read has length 0 here and is refused where it is decoded; the largest batch bounds
every batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from plait.modalities.audio.prepare import SAMPLE_RATE, AudioConfig, num_frames
from plait.data.draws import Draw
from plait.data.preprocess import Preprocessor
from plait.modalities.audio.decoding.reading import seconds_of
from plait.types import FIRST, Batch, Items, Sample

MAX_HEADERS = 20_000
"""Sound files whose length is looked up (0.1 ms each; an mp3's frames are counted, 0.5 ms for 30 s); of more, the size in bytes
stands for the length."""

FRAMES_A_SECOND = 100


@dataclass(frozen=True)
class Lengths:
    """Per sample: frames of sound, tokens of text input, pictures, positions of every reference; 0 = it has none.

    `frames_known`: the frames come from headers, checked against the files; otherwise sizes in bytes stand for them, good for
    sorting only.
    """

    audio: np.ndarray
    text: np.ndarray
    image: np.ndarray
    references: tuple[tuple[int, ...], ...]
    frames_known: bool = True

    def of(self, samples: Sequence[Sample], draw: Draw) -> dict[str, np.ndarray]:
        """The lengths of the parts that can be padded, with the target that each sample has in this draw."""
        numbers = [draw.reference_of(sample) for sample in samples]
        target = [1 if k is None else lengths[k] for k, lengths in zip(numbers, self.references, strict=True)]
        return {"audio": self.audio, "text": self.text, "target": np.array(target, dtype=np.int64)}


def measure_lengths(samples: Sequence[Sample], preprocessor: Preprocessor) -> Lengths:
    """The lengths of the inputs that the preprocessor reads."""
    inputs, config = preprocessor.modalities, preprocessor.config
    paths = {sample.audio for sample in samples if sample.audio is not None and "audio" in inputs}
    by_header = len(paths) <= MAX_HEADERS
    known = preprocessor.features.get("audio") if by_header else None

    def frames(path: Path) -> int:
        found = known.frames(path) if known else None
        return min(_longest(config.audio), found or frames_of(path, by_header))

    of_path: dict[Path | None, int] = {path: frames(path) for path in paths}
    image = [len(sample.image) if "image" in inputs else 0 for sample in samples]
    text = [
        min(len(preprocessor.encode(sample.text)), config.text.max_tokens) if "text" in inputs and sample.text else 0
        for sample in samples
    ]
    return Lengths(
        np.array([of_path.get(sample.audio, 0) for sample in samples], dtype=np.int64),
        np.array(text, dtype=np.int64),
        np.array(image, dtype=np.int64),
        tuple(_reference_lengths(sample, preprocessor) for sample in samples),
        by_header,
    )


def _reference_lengths(sample: Sample, preprocessor: Preprocessor) -> tuple[int, ...]:
    places = preprocessor.segments
    return tuple(
        sum(1 + len(preprocessor.encode(texts[name])) for name in places if name in texts)
        for texts in sample.references
    )


def _longest(config: AudioConfig) -> int:
    return num_frames(math.ceil(config.max_seconds * SAMPLE_RATE))


def frames_of(path: Path, by_header: bool = True) -> int:
    """Frames without decoding, or as if every file held 32,000 bytes a second; 0 for one that cannot be read."""
    if by_header:
        seconds = seconds_of(path)
        return 0 if not seconds else num_frames(math.ceil(seconds * SAMPLE_RATE))
    try:
        return num_frames(path.stat().st_size // 2)
    except (OSError, ValueError):
        return 0


def decoded_bytes(samples: Sequence[Sample], lengths: Lengths, preprocessor: Preprocessor) -> int:
    """What the cache would hold after one epoch: bytes of all distinct pictures and sounds, as they are kept.

    What was encoded before is not decoded at all.
    """
    config = preprocessor.config
    total = 0
    if "image" in preprocessor.modalities and "image" not in preprocessor.features:
        pictures = {path for sample in samples for path in sample.image}
        total += len(pictures) * 3 * config.image.size**2
    if "audio" in preprocessor.features:
        return total
    of_file = {s.audio: int(frames) for s, frames in zip(samples, lengths.audio, strict=True)}
    a_frame = 4 * max(config.audio.num_mels, SAMPLE_RATE // FRAMES_A_SECOND if preprocessor.adds_noise else 0)
    return total + sum(of_file.values()) * a_frame


def automatic_workers(samples: Sequence[Sample], lengths: Lengths, preprocessor: Preprocessor) -> int:
    """0 where all that is decoded fits the cache (no worker beats a warm one), otherwise cores − 1, 8 at most."""
    if decoded_bytes(samples, lengths, preprocessor) <= preprocessor.cache.max_bytes:
        return 0
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 1


class WorstBatch(NamedTuple):
    """The largest batch that can come: the shape of each part's values, the seconds of sound in it, its bytes.

    `encoded`: the modalities whose values are features already.
    """

    shapes: Mapping[str, tuple[int, ...]]
    seconds: float
    num_bytes: int
    encoded: frozenset[str] = frozenset()

    def make(self) -> Batch:
        """A batch of these shapes without padding, of zeros: what a trial step for the estimate of memory reads."""
        batch_size, width = self.shapes["target"]
        inputs = {}
        for modality in FIRST:
            if modality in self.shapes:
                shape = self.shapes[modality]
                encoded = modality in self.encoded
                is_ids, is_picture = (modality is kind and not encoded for kind in ("text", "image"))
                values = torch.zeros(shape, dtype=torch.long if is_ids else torch.float32)
                lengths = torch.full((shape[0],), 1 if is_picture else shape[1], dtype=torch.long)
                inputs[modality] = Items(values, lengths, _spread(shape[0], batch_size), encoded=encoded)
        tokens = torch.zeros(batch_size, width, dtype=torch.long)
        return Batch(
            ids=tuple(f"worst-{number}" for number in range(batch_size)),
            inputs=inputs,
            tokens=tokens,
            targets=tokens.clone(),
            segments=tokens.clone(),
            weights=torch.ones(batch_size),
        )


def _spread(num_items: int, batch_size: int) -> torch.Tensor:
    """An index that gives every item to one sample."""
    places = max(1, -(-num_items // batch_size))
    index = torch.full((batch_size * places,), -1, dtype=torch.long)
    index[:num_items] = torch.arange(num_items)
    return index.reshape(places, batch_size).T.contiguous()


def worst_batch(samples: Sequence[Sample], lengths: Lengths, preprocessor: Preprocessor, batch_size: int) -> WorstBatch:
    """A bound of every batch of `batch_size` of these samples: all of them as long as the longest."""
    config = preprocessor.config
    size = min(batch_size, len(samples))
    longest_target = max([1, *(length for of_sample in lengths.references for length in of_sample)])
    shapes: dict[str, tuple[int, ...]] = {"target": (size, min(longest_target, config.max_target_tokens))}
    num_texts, num_sounds = (min(size, int((of > 0).sum())) for of in (lengths.text, lengths.audio))
    frames = max(1, int(lengths.audio.max(initial=0))) if lengths.frames_known else _longest(config.audio)
    if "text" in preprocessor.modalities:
        shapes["text"] = (num_texts, max(1, int(lengths.text.max(initial=0))))
    if "image" in preprocessor.modalities:
        pictures = int(np.sort(lengths.image)[::-1][:size].sum())
        shapes["image"] = (pictures, 3, config.image.size, config.image.size)
    if "audio" in preprocessor.modalities:
        shapes["audio"] = (num_sounds, frames, config.audio.num_mels)
    encoded = {}
    for modality, known in preprocessor.features.items():
        items = {item for sample in samples for item in preprocessor.items_of(modality, sample)}
        longest = max((known.num_tokens(item) or 0 for item in items), default=0)
        if longest:
            encoded[modality] = (shapes[modality][0], longest, known.width)
    shapes |= encoded
    elements = {part: int(np.prod(shape)) for part, shape in shapes.items()}
    elements["target"] *= 3
    num_bytes = sum(n * (4 if p in ("image", "audio", *encoded) else 8) for p, n in elements.items())
    seconds = num_sounds * frames / FRAMES_A_SECOND if "audio" in preprocessor.modalities else 0.0
    return WorstBatch(shapes, seconds, num_bytes, frozenset(encoded))
