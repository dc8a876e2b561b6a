"""Encoders that begin with another run's weights, and encoders that stay as they begin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from plait.config import make_config
from plait.errors import UserError
from plait.run import Run
from plait.train import Progress, fit
from tiny_data import make_manifest, tiny_tree

Train = Callable[..., Run]
READ = ("text", "image", "audio")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_manifest(tmp_path_factory.mktemp("data"))


def trained(manifest: Path, folder: Path, *, progress: Progress | None = None, **parts: Any) -> Run:
    """A tiny run of two steps."""
    tree = tiny_tree(manifest)
    tree["train"] |= {"steps": 2, "batch_size": 8, "evaluate_every": None}
    for name, part in parts.items():
        tree[name] = {**tree.get(name, {}), **part} if isinstance(part, dict) else part
    return fit(make_config(tree), folder, progress=progress).run


@pytest.fixture(scope="module")
def first(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(manifest, tmp_path_factory.mktemp("runs") / "first", seed=5)


@pytest.mark.parametrize("modality", READ)
def test_a_frozen_encoder_is_the_other_runs(manifest: Path, first: Run, modality: str, tmp_path: Path) -> None:
    """With the same vocabulary every number of the encoder is the other run's, before and after training."""
    encoders = {"start_from": {modality: str(first.folder)}, "freeze": [modality]}
    run = trained(manifest, tmp_path / "run", encoders=encoders)
    reloaded = Run.load(tmp_path / "run")
    for model in (run.model, reloaded.model):
        for name, tensor in model.encoder(modality).state_dict().items():
            assert torch.equal(tensor, first.model.encoder(modality).state_dict()[name]), name
    for other in READ:
        same = all(
            torch.equal(a, b)
            for a, b in zip(run.model.encoder(other).parameters(), first.model.encoder(other).parameters(), strict=True)
        )
        assert same == (other == modality)


def test_without_freezing_it_trains_on(manifest: Path, first: Run, tmp_path: Path) -> None:
    start = {m: str(first.folder) for m in READ}
    run = trained(manifest, tmp_path / "run", encoders={"start_from": start})
    for modality in READ:
        found = run.model.encoder(modality).state_dict()
        before = first.model.encoder(modality).state_dict()
        assert any(not torch.equal(found[name], before[name]) for name in before)
        assert all(
            torch.allclose(found[name], before[name], atol=0.2) for name in before
        )  # two steps away, not a new draw


def test_a_frozen_encoder_has_no_dropout_and_no_gradient(manifest: Path, tmp_path: Path) -> None:
    run = trained(manifest, tmp_path / "run", encoders={"freeze": ["text"]})
    run.model.train()
    assert not any(module.training for module in run.model.encoder("text").modules())
    assert all(module.training for module in run.model.encoder("audio").modules())
    assert not any(p.requires_grad for p in run.model.encoder("text").parameters())


def test_words_are_matched_by_name(manifest: Path, first: Run, tmp_path: Path) -> None:
    """With another vocabulary the words that both know keep their vectors."""
    said: list[str] = []

    class Heard(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    tree = tiny_tree(manifest)
    lines = manifest.read_text(encoding="utf-8").replace("which colour", "what shade").replace("and which", "and what")
    other = manifest.with_name("other.jsonl")
    other.write_text(lines, encoding="utf-8")
    start = {"start_from": {"text": str(first.folder)}, "freeze": ["text"]}
    run = trained(
        other, tmp_path / "run", encoders=start, data={**tree["data"], "manifest": str(other)}, progress=Heard()
    )
    table = run.model.encoder("text").state_dict()["embedding.table"]
    before = first.model.encoder("text").state_dict()["embedding.table"]
    places = {token: place for place, token in enumerate(first.tokenizer.vocabulary)}
    shared = [(k, places[token]) for k, token in enumerate(run.tokenizer.vocabulary) if token in places]
    assert 0 < len(shared) < run.tokenizer.size
    assert all(torch.equal(table[new], before[old]) for new, old in shared)
    assert any(f"{len(shared)} of {run.tokenizer.size} tokens known" in line for line in said)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"encoders": {"start_from": {"image": "RUN"}}, "width": 24}, "is another one"),
        ({"encoders": {"start_from": {"image": "nowhere"}}}, "no run folder"),
        ({"encoders": {"start_from": {"image": "RUN"}}, "data": {"image": {"size": 40}}}, "data.image.size=32"),
        ({"encoders": {"start_from": {"audio": "RUN"}}, "data": {"inputs": ["image"]}}, "reads no audio"),
        ({"encoders": {"freeze": ["audio"]}, "data": {"inputs": ["image"]}}, "reads no audio"),
    ],
)
def test_what_does_not_fit_is_refused(
    manifest: Path, first: Run, parts: dict[str, Any], words: str, tmp_path: Path
) -> None:
    tree = tiny_tree(manifest)
    if "data" in parts:
        parts = {**parts, "data": {**tree["data"], **parts["data"]}}
    given = {m: str(first.folder) if p == "RUN" else p for m, p in parts["encoders"].get("start_from", {}).items()}
    parts = {**parts, "encoders": {**parts["encoders"], "start_from": given}}
    with pytest.raises(UserError, match=words):
        trained(manifest, tmp_path / "run", **parts)
    assert not (tmp_path / "run").exists()
