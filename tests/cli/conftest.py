"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from cli_helpers import Shell

from tiny_data import make_manifest, tiny_tree


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    """Runs a command."""
    return Shell(capsys)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained run, to be read only."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("trained")
    fit(make_config(tiny_tree(make_manifest(folder / "data"))), folder / "run")
    return folder / "run"


@pytest.fixture
def tiny_yaml(tmp_path: Path) -> Path:
    """A configuration over a manifest of its own."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_tree(make_manifest(tmp_path / "data"))), encoding="utf-8")
    return path
