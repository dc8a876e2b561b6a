"""From what a run says of its data to rows, texts and batches.

In: the `data:` part of a run's configuration, and its tokenizer.
Out: the rows of the manifest; every text in them; loaders of training and held-out batches.
Invariant: whoever reads a run's data (its training, its evaluation, a comparison) reads the same rows in the same batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from plait.data.config import DataConfig
from plait.data.loader import Loader
from plait.data.manifest import Dataset, read_manifest
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer
from plait.types import Batch, Sample


class Loaders(NamedTuple):
    """Training batches, and held-out ones where the manifest has a tune split."""

    train: Loader
    tune: Loader | None


def dataset_of(data: DataConfig) -> Dataset:
    """The rows of a configuration's manifest."""
    return read_manifest(
        Path(data.manifest),
        inputs=data.inputs,
        segments=data.segments,
        split=data.split,
        max_left_out=data.max_left_out,
        **data.reading,
    )


def loaders_of(data: DataConfig, dataset: Dataset, tokenizer: Tokenizer, *, batch_size: int, seed: int) -> Loaders:
    """The loaders of a run; they share what is decoded."""
    preprocessor = Preprocessor(data, tokenizer, data.segments or (), tuple(data.modality_of_input))
    tune = dataset.split("tune")

    def loader(samples: Sequence[Sample], *, training: bool) -> Loader:
        return Loader(samples, preprocessor, batch_size=batch_size, seed=seed, training=training, workers=data.workers)

    held_out = loader(tune, training=False) if tune else None
    return Loaders(loader(dataset.split("train", needed=True), training=True), held_out)


def first_batch(loader: Loader) -> Batch:
    """The first batch of the training, made in this process: its files stay in the loader's cache."""
    samples = [loader.samples[number] for number in loader.plan(0)[0]]
    return loader.preprocessor.batch(samples, training=True, seed=loader.seed, epoch=0)


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Every text of the samples: inputs, and all segments of all references."""
    return [text for sample in samples for text in texts_of_one(sample)]


def texts_of_one(sample: Sample) -> Iterable[str]:
    """The texts of one sample."""
    yield from sample.texts
    for reference in sample.references:
        yield from reference.values()
