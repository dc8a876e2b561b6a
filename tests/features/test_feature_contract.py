"""Over every encoder: features from the cache are the encoder's, and a training with them is the training without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from feature_helpers import ALL, frozen_config, parts_of
from torch import Tensor

from plait.choices import KINDS
from plait.config import RunConfig
from plait.explain import explain
from plait.train import fit
from plait.types import Modality

CASES: dict[str, dict[str, Any]] = {
    "convnet": {"image": {"kind": "convnet", "channels": [4, 8]}},
    "resnet": {"image": {"kind": "resnet"}},
    "vit": {"image": {"kind": "vit", "layers": 1, "num_heads": 2, "dropout": 0.3}},
    "alexnet": {"image": {"kind": "alexnet"}},
    "vgg": {"image": {"kind": "vgg"}},
    "audio": {"audio": {"kind": "transformer", "layers": 1, "num_heads": 2, "dropout": 0.3}},
    "audio-4-causal": {"audio": {"kind": "transformer", "layers": 1, "num_heads": 2, "stride": 4, "causal": True}},
    "text": {"text": {"kind": "transformer", "layers": 1, "num_heads": 2, "dropout": 0.3}},
}


def test_every_kind_of_encoder_is_here() -> None:
    for axis in ("image", "audio", "text"):
        kinds = {case[axis]["kind"] for case in CASES.values() if axis in case}
        computes_nothing = {"words"}  # refused: tests/encoders/test_words.py
        assert kinds == set(KINDS[f"{axis} encoder"]) - computes_nothing


@pytest.fixture(params=CASES)
def encoders(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


def test_the_cache_gives_the_encoders_features(manifest: Path, encoders: dict[str, Any]) -> None:
    config = frozen_config(manifest, cache=ALL, encoders=encoders)
    plain, cached = parts_of(config), parts_of(config)
    samples = plain.dataset.samples
    cached.cache().fill(samples)
    (modality,) = (Modality(name) for name in encoders)
    for start in range(0, len(samples), 5):
        part = samples[start : start + 5]
        expected, found = (parts.preprocessor.batch(part, training=True) for parts in (plain, cached))
        assert found.inputs[modality].encoded
        assert not expected.inputs[modality].encoded
        with torch.no_grad():
            wanted = plain.model.encode(expected.inputs, len(part))
            got = cached.model.encode(found.inputs, len(part))
        for one in wanted:
            assert torch.equal(got[one].mask, wanted[one].mask)
            torch.testing.assert_close(got[one].values, wanted[one].values, rtol=0, atol=1e-5)


def bits(folder: Path) -> Tensor:
    """Every loss that was written down."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return torch.tensor([line["tune"]["bits"] if "tune" in line else line["bits"] for line in lines])


def train_of(config: RunConfig, **changes: Any) -> RunConfig:
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def test_a_training_with_the_cache_is_the_training_without(
    manifest: Path, encoders: dict[str, Any], tmp_path: Path
) -> None:
    for cached, name in (([], "plain"), ([*encoders], "cached")):
        config = frozen_config(manifest, cache=cached, encoders=encoders)
        config = train_of(config, steps=4, log_every=1, evaluate_every=2, modality_subsets=0.3)
        fit(config, tmp_path / name)
    torch.testing.assert_close(bits(tmp_path / "cached"), bits(tmp_path / "plain"), rtol=0, atol=1e-4)


def test_trainings_with_the_cache_are_alike_to_the_last_bit(manifest: Path, tmp_path: Path) -> None:
    config = train_of(frozen_config(manifest, cache=ALL), steps=4, log_every=1, evaluate_every=2)
    for name in ("first", "second"):
        fit(config, tmp_path / name)
    assert torch.equal(bits(tmp_path / "first"), bits(tmp_path / "second"))


def test_it_is_explained_alike(manifest: Path, tmp_path: Path) -> None:
    found = []
    for cached in ([], ALL):
        config = train_of(frozen_config(manifest, cache=cached), modality_subsets=0.3)
        run = fit(config, tmp_path / str(len(cached))).run
        result = explain(run, parts_of(run.config).dataset.samples, split="test")
        found.append(json.dumps(result.to_json(), default=str))
    one, other = (numbers(json.loads(text)) for text in found)
    torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=0, atol=1e-3, equal_nan=True)


def numbers(value: Any) -> list[float]:
    """Every number of a tree."""
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [float(value)] if isinstance(value, int | float) else []
