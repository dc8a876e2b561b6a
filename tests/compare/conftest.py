"""A tiny comparison, trained once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compare_helpers import ARMS

from plait.cli.app import run as command
from tiny_data import make_manifest, tiny_tree


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command: (code, standard output, standard error)."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = command([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration over pictures, sounds and texts, trained with subsets of its modalities."""
    folder = tmp_path_factory.mktemp("compare")
    tree = tiny_tree(make_manifest(folder, 48))
    tree["train"] |= {"modality_subsets": 0.2, "steps": 4}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def compared(config: Path) -> Path:
    """The folder of a comparison of two fusions with all baselines; to be read only."""
    folder = config.parent / "compared"
    assert command(["compare", str(config), "--folder", str(folder), *ARMS]) == 0
    return folder
