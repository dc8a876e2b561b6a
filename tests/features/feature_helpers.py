"""Tiny frozen encoders over tiny data, with and without the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from plait.build import build_model
from plait.config import RunConfig, make_config
from plait.data.manifest import Dataset
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer
from plait.features import FeatureCache
from plait.model import Model
from plait.train.fit import read_data, resolved, texts_of
from tiny_data import tiny_tree

ALL = ["text", "image", "audio"]


def frozen_config(manifest: Path, *, cache: list[str], freeze: list[str] | None = None, **parts: Any) -> RunConfig:
    """A tiny run whose encoders stay as they begin; `parts` replace sections, and kinds of encoders."""
    tree = tiny_tree(manifest)
    encoders = {**tree["encoders"], **parts.pop("encoders", {})}
    encoders |= {"freeze": ALL if freeze is None else freeze, "cache": cache}
    tree = {**tree, **parts, "encoders": encoders}
    return make_config(tree)


class Parts(NamedTuple):
    """What a run is made of before it is trained."""

    config: RunConfig
    dataset: Dataset
    model: Model
    preprocessor: Preprocessor
    said: list[str]

    def cache(self) -> FeatureCache:
        """The cache given to the preprocessor."""
        return FeatureCache(self.config, self.model, self.preprocessor, say=self.said.append)


def parts_of(config: RunConfig) -> Parts:
    """The model with its first weights, and a preprocessor without the cache yet."""
    dataset = read_data(config)
    config = resolved(config, dataset)
    tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(dataset.samples), config.data.segments or ())
    model = build_model(config, tokenizer, config.data.inputs or ()).model.eval()
    preprocessor = Preprocessor(config.data, tokenizer, config.data.segments or (), config.data.inputs or ())
    return Parts(config, dataset, model, preprocessor, [])
