"""Pages that several tests read, and a way to be without matplotlib."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from report_helpers import comparison

from plait.report import comparison_report
from tiny_data import draw, make_manifest, sing, tiny_tree


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed: pages are made at once."""
    find = importlib.util.find_spec

    def without(name: str, *rest: Any) -> Any:
        return None if name == "matplotlib" else find(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a comparison, with plots, a picture and a sound."""
    folder = tmp_path_factory.mktemp("compared")
    draw(folder / "a.png", "red")
    sing(folder / "a.wav", "low", 0.5)
    result = comparison(str(folder / "a.png"), str(folder / "a.wav"))
    result.write(folder)
    return comparison_report(result, folder)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was trained and nothing else, to be read only."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("trained")
    manifest = make_manifest(folder / "data", 24)
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):  # every subset of the inputs in every split
        row["split"] = ("test", "train", "tune")[number // 8]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(manifest, evaluate={"num_resamples": 100, "by": []})
    tree["train"]["modality_dropout"] = 0.2
    tree["generate"] = {"max_tokens": 3}
    fit(make_config(tree), folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def measured(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a record, an explanation and curves."""
    import plait

    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("measured") / "run"))
    model = plait.load(folder)
    model.evaluate()
    model.explain()
    model.curves(limit=2)
    return folder
