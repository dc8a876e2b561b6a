"""Tiny runs with links, over every subset of the inputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait.run import Run
from tiny_data import make_manifest, tiny_tree


@pytest.fixture(scope="session")
def linked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with links, and its data beside it; to be read only."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("linked")
    tree = tiny_tree(make_manifest(folder / "data"))
    tree["train"] = {**tree["train"], "alignment": {"weight": 0.5, "segment": "answer"}, "modality_dropout": 0.2}
    fit(make_config(tree), folder / "run")
    return folder


@pytest.fixture
def run(linked_folder: Path) -> Run:
    """The run with links, loaded."""
    return Run.load(linked_folder / "run")
