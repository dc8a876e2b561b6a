"""From what a run says of its data to its batches: one way, for whoever reads them."""

from __future__ import annotations

from pathlib import Path

import torch

from plait.config import make_config
from plait.data.reading import dataset_of, first_batch, loaders_of, texts_of
from plait.data.text import Tokenizer
from plait.train.fit import loaders_for, read_data
from plait.train.resolve import resolved
from tiny_data import make_manifest, tiny_tree


def test_a_run_reads_its_data_as_everyone_does(tmp_path: Path):
    """The names of before give the same rows and batches, and the first batch is the one that training gets first."""
    config = make_config(tiny_tree(make_manifest(tmp_path, 24)))
    dataset = dataset_of(config.data)
    assert dataset.samples == read_data(config).samples
    config = resolved(config, dataset)
    texts = texts_of(dataset.split("train", needed=True))
    assert {"red", "a low tone."} <= set(texts)
    assert any(text.startswith("which colour") for text in texts)
    tokenizer = Tokenizer.train(config.data.tokenizer, texts, config.data.segments or ())
    one = loaders_of(config.data, dataset, tokenizer, batch_size=config.train.batch_size, seed=config.seed)
    other = loaders_for(config, dataset, tokenizer)
    assert one.tune is not None
    assert [s.id for s in one.tune.samples] == [s.id for s in dataset.split("tune")]
    made, (_, first), (_, again) = first_batch(one.train), next(one.train.batches()), next(other.train.batches())
    assert made.ids == first.ids == again.ids
    for name, items in made.inputs.items():
        assert torch.equal(items.values, first.inputs[name].values)
        assert torch.equal(items.values, again.inputs[name].values)
    assert torch.equal(made.targets, again.targets)


def test_without_held_out_rows_there_is_no_loader_of_them(tmp_path: Path):
    config = make_config(tiny_tree(make_manifest(tmp_path, 4)))
    dataset = dataset_of(config.data)
    config = resolved(config, dataset)
    tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(dataset.samples), config.data.segments or ())
    assert loaders_of(config.data, dataset, tokenizer, batch_size=2, seed=0).tune is None
