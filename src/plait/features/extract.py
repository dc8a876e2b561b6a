"""Encode what is missing in a store: in batches of like length, in whole blocks.

In: a frozen encoder, the items of some samples, and their store.
Out: blocks.
Invariant: an item is encoded from the file as a training without the cache would read it, in fp32 and without dropout, and kept
only if it still was that file afterwards; a crash loses no more than the block that was being filled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from plait.data.known import Item
from plait.data.loader import Loader
from plait.data.preprocess import Preprocessor
from plait.encoders import Encoder
from plait.features.known import SAY_EVERY, StoredFeatures
from plait.layers import Attention, Implementation, set_attention
from plait.memory import within_memory
from plait.types import Items, Sample

BATCH_SIZE = 32
BLOCK_BYTES = 2**26
BLOCK_SECONDS = 60.0
"""A block is closed at whichever comes first."""

WORKERS_FROM_BYTES = 2**28
"""Of less than this in files, starting processes that decode costs more than they save."""


@dataclass
class Block:
    """What waits to be written."""

    known: StoredFeatures
    keys: list[bytes] = field(default_factory=list)
    values: list[Float[Tensor, "_ E"]] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    num_bytes: int = 0
    began: float = field(default_factory=time.monotonic)

    def take(self, key: bytes, values: Float[Tensor, "L E"], frames: int) -> None:
        """One more item; the block is written when it is large or old enough."""
        self.keys.append(key)
        self.values.append(values)
        self.frames.append(frames)
        self.num_bytes += values.numel() * values.element_size()
        if self.num_bytes >= BLOCK_BYTES or time.monotonic() - self.began > BLOCK_SECONDS:
            self.write()

    def write(self) -> None:
        """What waits goes to the disk."""
        if self.keys:
            self.known.store.add(self.keys, self.values, self.frames)
        self.keys, self.values, self.frames, self.num_bytes = [], [], [], 0
        self.began = time.monotonic()


def extract(
    encoder: Encoder,
    known: StoredFeatures,
    modality: str,
    samples: Sequence[Sample],
    preprocessor: Preprocessor,
    say: Callable[[str], None],
) -> int:
    """Encode the items of the samples that the store lacks; their number, less those that cannot be read (`on_error: skip`)."""
    data = preprocessor.config.model_copy(update={"cache_mb": 0})
    reader = Preprocessor(data, preprocessor.tokenizer, preprocessor.segments, (modality,))
    preparer, many = reader.preparers[modality], data.modality_of(modality).many
    owners: dict[Item, Sample] = {}
    for sample in samples:
        for item in reader.items_of(modality, sample):
            owners.setdefault(item, sample)
    missing = known.missing(owners)
    if not missing:
        return 0
    began, done, said = time.monotonic(), 0, time.monotonic()
    block, at_once = Block(known), BATCH_SIZE

    def fewer(_: str) -> None:
        say(f"features: out of memory with so many {many} at once, going on with fewer")

    for keys, items in encodable(missing, owners, modality, reader):
        encoded, at_once = within_memory(lambda size, items=items: encode(encoder, items, size), at_once, fewer)
        for row, key in enumerate(keys):
            item = missing[key]
            frames = preparer.length(item) if preparer.opens_files else 0
            if known.key(item) != key:  # changed since its content was named: these may be another file's features
                continue
            block.take(key, encoded[row], frames)
        done += len(keys)
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            say(f"features: {done:,} of {len(missing):,} {many}")
    block.write()
    say(f"features: {done:,} {many} encoded in {time.monotonic() - began:.1f} s, kept for all later runs")
    return done


def encode(encoder: Encoder, items: Items, size: int) -> list[Float[Tensor, "_ E"]]:
    """The features of each item, `size` items at a time."""
    found: list[Tensor] = []
    for at in range(0, len(items.values), size):
        part = Items(items.values[at : at + size], items.lengths[at : at + size], items.index)
        with encoding(encoder):
            features = encoder(part.to(device_of(encoder)))
        values, mask = features.values.float().cpu(), features.mask.cpu()
        found += [values[row][mask[row]] for row in range(len(values))]
    return found


def encodable(
    missing: Mapping[bytes, Item], owners: Mapping[Item, Sample], modality: str, reader: Preprocessor
) -> Iterator[tuple[list[bytes], Items]]:
    """Batches of items, the longest first, with the key of each; an item that cannot be read is treated as its sample would be."""
    keys = list(missing)
    samples = [alone(owners[item], modality, item, reader) for item in missing.values()]
    num_bytes = sum(item.stat().st_size for item in missing.values() if isinstance(item, Path) and item.exists())
    workers = 0 if num_bytes < WORKERS_FROM_BYTES else reader.config.workers
    loader = Loader(samples, reader, batch_size=BATCH_SIZE, seed=0, training=False, workers=workers)
    for numbers, batch in loader.indexed_batches():
        items = batch.inputs[modality]
        order = items.index[:, 0].tolist()
        rows = sorted((item, number) for item, number in zip(order, numbers, strict=True))
        yield [keys[number] for _, number in rows], items


def alone(owner: Sample, name: str, key: Item, reader: Preprocessor) -> Sample:
    """A sample with the item of this key and nothing else, which stands where its owner does."""
    preparer = reader.preparers[name]
    item = next(item for item in owner.items(name) if preparer.key(item) == key)
    return Sample(owner.id, owner.split, inputs={name: (item,)}, where=owner.where)


def device_of(encoder: Encoder) -> torch.device:
    """Where the encoder is; an encoder without parameters computes on the CPU."""
    return next((p.device for p in encoder.parameters()), torch.device("cpu"))


@contextmanager
def encoding(encoder: Encoder) -> Iterator[None]:
    """The encoder without dropout, in exact fp32, and afterwards as it was.

    Its attention is one and the same for all runs, whatever a run has chosen: the features are shared, to the last bit.
    """
    training, precision = encoder.training, torch.get_float32_matmul_precision()
    attentions: list[tuple[Attention, Implementation]] = [
        (module, module.implementation) for module in encoder.modules() if isinstance(module, Attention)
    ]
    set_attention(encoder, "fused")
    encoder.eval()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.autocast(device_of(encoder).type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
        encoder.train(training)
        for module, implementation in attentions:
            module.implementation = implementation
