"""Without --device every command computes on the best device there is, as its help says."""

from __future__ import annotations

from pathlib import Path

import pytest

from plait import api
from plait.cli.app import run as command
from plait.compare import tasks
from plait.config import make_config
from plait.train import fit
from tiny_data import make_manifest, tiny_tree


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run with links."""
    folder = tmp_path_factory.mktemp("runs")
    tree = tiny_tree(make_manifest(folder / "data"))
    tree["data"]["inputs"] = ["text"]
    tree["train"]["alignment"] = {"weight": 0.1}
    return fit(make_config(tree), folder / "run").run.folder


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate"],
        ["explain"],
        ["explain", "--curves", "--limit", "4"],
        ["generate", "--text", "which colour"],
        ["search", "red", "--in", "MANIFEST"],
    ],
)
def test_auto_is_asked_for_by_every_command(linked: Path, words: list[str], monkeypatch: pytest.MonkeyPatch):
    """Previously it was the CPU, whatever the machine had."""
    asked: list[str] = []

    def spy(wanted: str, *, where: str) -> str:
        asked.append(wanted)
        return "cpu"

    monkeypatch.setattr(api, "usable_device", spy)
    manifest = str(linked.parent / "data" / "manifest.jsonl")
    words = [manifest if word == "MANIFEST" else word for word in words]
    assert command([words[0], str(linked), *words[1:]]) == 0
    assert command([words[0], str(linked), *words[1:], "--device", "cpu"]) == 0
    assert asked == ["auto", "cpu"]


def test_an_arm_is_explained_where_it_was_trained(linked: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(tasks, "usable_device", lambda wanted: asked.append(wanted) or "cpu")
    (linked / "explain" / "test.json").unlink(missing_ok=True)
    tasks.explain_task(lambda _: None, folder=linked, split="test")
    assert asked == ["cpu"]
