"""How long samples are, found without decoding: for buckets, for the estimate of memory, for the choice of workers.

In: samples and the preprocessor that will make batches of them.
Out: `Lengths`; the shapes and bytes of the largest batch that can come.
Invariant: a file that cannot be read has length 0 here and is refused where it is decoded; the largest batch bounds
every batch.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from plait.data.draws import Draw
from plait.data.preprocess import Preprocessor
from plait.types import Batch, Items, Sample

MAX_HEADERS = 20_000
"""Files whose length is looked up (a sound's: 0.1 ms each; an mp3's frames are counted, 0.5 ms for 30 s); of more, the size in
bytes stands for the length."""

TARGET = "target"
TARGET_COST = 8.0
"""What a padded position of the target costs beside a frame of sound."""


@dataclass(frozen=True)
class Lengths:
    """Per input and sample: the positions of its longest item (0 = it has none) and how many items it has; of the target, the
    positions of every reference.

    `costs`: what a padded position costs, of the inputs that are padded, the cheapest first. `guessed`: the inputs whose lengths
    are no more than sizes in bytes, good for sorting only.
    """

    longest: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    references: tuple[tuple[int, ...], ...]
    costs: Mapping[str, float] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()

    def of(self, samples: Sequence[Sample], draw: Draw) -> dict[str, np.ndarray]:
        """The lengths of the parts that can be padded, with the target that each sample has in this draw."""
        numbers = [draw.reference_of(sample) for sample in samples]
        target = [1 if k is None else lengths[k] for k, lengths in zip(numbers, self.references, strict=True)]
        padded = {name: self.longest[name] for name in self.costs if name in self.longest}
        return {**padded, TARGET: np.array(target, dtype=np.int64)}


def measure_lengths(samples: Sequence[Sample], preprocessor: Preprocessor) -> Lengths:
    """The lengths of the inputs that the preprocessor reads."""
    longest, counts, guessed = {}, {}, []
    for name in preprocessor.inputs:
        of_item, known = lengths_of_items(samples, preprocessor, name)
        of_samples = [[of_item[item] for item in sample.items(name)] for sample in samples]
        longest[name] = np.array([max(lengths, default=0) for lengths in of_samples], dtype=np.int64)
        counts[name] = np.array([sum(n > 0 for n in lengths) for lengths in of_samples], dtype=np.int64)
        guessed += [] if known else [name]
    costs = {name: one.cost for name, one in preprocessor.preparers.items() if one.cost}
    costs = {name: costs[name] for name in sorted(costs, key=lambda name: costs[name])}
    references = tuple(_reference_lengths(sample, preprocessor) for sample in samples)
    return Lengths(longest, counts, references, {**costs, TARGET: TARGET_COST}, frozenset(guessed))


def lengths_of_items(
    samples: Sequence[Sample], preprocessor: Preprocessor, name: str
) -> tuple[dict[Hashable, int], bool]:
    """The length of every distinct item of an input, and whether it was looked up."""
    preparer = preprocessor.preparers[name]
    items = dict.fromkeys(item for sample in samples for item in sample.items(name))
    if not preparer.opens_files:
        return {item: preparer.length(item) for item in items}, True
    if len(items) > MAX_HEADERS:
        return {item: preparer.guessed_length(item) for item in items}, False
    known = preprocessor.features.get(name)
    of_cache = {item: known.frames(item) if known else None for item in items}
    return {
        item: preparer.length(item) if frames is None or not frames else min(preparer.longest, frames)
        for item, frames in of_cache.items()
    }, True


def _reference_lengths(sample: Sample, preprocessor: Preprocessor) -> tuple[int, ...]:
    places = preprocessor.segments
    return tuple(
        sum(1 + len(preprocessor.encode(texts[name])) for name in places if name in texts)
        for texts in sample.references
    )


def decoded_bytes(samples: Sequence[Sample], lengths: Lengths, preprocessor: Preprocessor) -> int:
    """What the cache would hold after one epoch: bytes of all distinct files, as they are kept.

    What was encoded before is not decoded at all.
    """
    total = 0
    for name, preparer in preprocessor.preparers.items():
        if name in preprocessor.features or not preparer.is_kept:
            continue
        rows = zip(samples, lengths.longest[name].tolist(), strict=True)
        of_item = {item: length for sample, length in rows for item in sample.items(name)}
        total += sum(preparer.decoded_bytes(length) for length in of_item.values())
    return total


def automatic_workers(samples: Sequence[Sample], lengths: Lengths, preprocessor: Preprocessor) -> int:
    """0 where all that is decoded fits the cache (no worker beats a warm one), otherwise cores − 1, 8 at most."""
    if decoded_bytes(samples, lengths, preprocessor) <= preprocessor.cache.max_bytes:
        return 0
    return max(1, min(8, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 1


class Part(NamedTuple):
    """One input of the largest batch: the shape and type of its values, whether they are padded, whether they are features."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    padded: bool
    encoded: bool = False


class WorstBatch(NamedTuple):
    """The largest batch that can come: its inputs, the shape of its targets, the seconds of sound in it, its bytes."""

    inputs: Mapping[str, Part]
    target: tuple[int, int]
    seconds: float
    num_bytes: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part's values."""
        return {TARGET: self.target, **{name: part.shape for name, part in self.inputs.items()}}

    def make(self) -> Batch:
        """A batch of these shapes without padding, of zeros: what a trial step for the estimate of memory reads."""
        batch_size, width = self.target
        inputs = {}
        for name, part in self.inputs.items():
            num = part.shape[0]
            lengths = torch.full((num,), part.shape[1] if part.padded else 1, dtype=torch.long)
            values = torch.zeros(part.shape, dtype=part.dtype)
            inputs[name] = Items(values, lengths, _spread(num, batch_size), encoded=part.encoded)
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
    size = min(batch_size, len(samples))
    longest_target = max([1, *(length for of_sample in lengths.references for length in of_sample)])
    target = (size, min(longest_target, preprocessor.config.max_target_tokens))
    inputs, seconds = {}, 0.0
    for name, preparer in preprocessor.preparers.items():
        num = int(np.sort(lengths.counts[name])[::-1][:size].sum())
        longest = preparer.longest if name in lengths.guessed else max(1, int(lengths.longest[name].max(initial=0)))
        seconds += num * preparer.seconds(longest)
        inputs[name] = Part((num, *preparer.shape(longest)), preparer.dtype, preparer.cost > 0)
        known = preprocessor.features.get(name)
        items = {item for sample in samples for item in preprocessor.items_of(name, sample)} if known else ()
        tokens = max((known.num_tokens(item) or 0 for item in items), default=0) if known else 0
        if known and tokens:
            inputs[name] = Part((num, tokens, known.width), torch.float32, True, encoded=True)
    num_bytes = 3 * 8 * int(np.prod(target))
    num_bytes += sum(int(np.prod(part.shape)) * part.dtype.itemsize for part in inputs.values())
    return WorstBatch(inputs, target, seconds, num_bytes)
