"""Tiny runs to be explained: one trained with modality dropout, one without, one that reads text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.cli.app import run as command
from plait.explain import Explanation
from plait.run import Run
from tiny_data import make_manifest, tiny_tree


def manifest(folder: Path, number: int = 48) -> Path:
    """The rows of `make_manifest`, every subset of the inputs in every split; speakers in groups; row 3 has two references."""
    path = make_manifest(folder, number)
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["split"] = ("test", "train", "tune")[number // 8 % 3]
        row["group"] = {"speaker": f"{row['split']}{number % 12}"}
        row["target"]["answer"] = [row["target"]["answer"], "a long answer"] if number == 3 else row["target"]["answer"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fitted(folder: Path, *, inputs: list[str], modality_dropout: float, rows: int = 48) -> Path:
    """The folder of a run over it."""
    from plait.config import make_config
    from plait.train import fit

    tree = tiny_tree(manifest(folder / "data", rows))
    tree["data"]["inputs"] = inputs
    tree["train"]["modality_dropout"] = modality_dropout
    tree["generate"] = {"max_tokens": 3}
    fit(make_config(tree), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def with_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, image and audio, with modality dropout."""
    folder = tmp_path_factory.mktemp("with")
    return fitted(folder, inputs=["text", "image", "audio"], modality_dropout=0.2)


@pytest.fixture(scope="session")
def explained(with_dropout: Path) -> Explanation:
    """What `plait explain` says of its test split, as it stands."""
    return plait.load(with_dropout).explain(write=False)


@pytest.fixture(scope="session")
def without_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text, image and audio, without modality dropout."""
    return fitted(tmp_path_factory.mktemp("without"), inputs=["text", "image", "audio"], modality_dropout=0.0)


@pytest.fixture(scope="session")
def one_modality(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Audio alone, with modality dropout."""
    return fitted(tmp_path_factory.mktemp("one"), inputs=["audio"], modality_dropout=0.2)


@pytest.fixture
def run(with_dropout: Path) -> Run:
    """The run with modality dropout, loaded."""
    return Run.load(with_dropout)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Any:
    """`shell("explain", folder)` → exit code, standard output, standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = command([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
