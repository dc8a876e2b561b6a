"""Fixtures of the training's tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from train_helpers import TinyModel, random_batch, tiny_config, write_manifest

from plait.config import RunConfig
from plait.types import Batch


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """The manifest in the test's own folder."""
    return write_manifest(tmp_path)


@pytest.fixture
def config(manifest: Path) -> Callable[..., RunConfig]:
    """`config(steps=5, **train)`: the tiny configuration over the test's own manifest."""
    return partial(tiny_config, manifest)


@pytest.fixture
def tiny() -> TinyModel:
    """A model with fixed first weights."""
    torch.manual_seed(3)
    return TinyModel()


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """`batch_of(num_samples, seed=…)`."""
    return random_batch
