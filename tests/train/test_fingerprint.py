"""What a run was trained on: folders count, moving does not, and what the first format did not know is not asked of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest

from plait.config import make_config
from plait.data.config import DataConfig
from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.train import fit
from plait.train.checkpoint import newest, read_state
from plait.train.fingerprint import alike, fingerprint, is_same
from plait.types import Sample
from tiny_data import draw, tiny_tree

PLAIN = DataConfig(manifest="m")


def write(folder: Path) -> Path:
    """Cats and dogs with the same names in two folders, and a tag."""
    rows = []
    for animal, colour in (("cats", "red"), ("dogs", "blue")):
        (folder / animal).mkdir(parents=True)
        for number in range(4):
            draw(folder / animal / f"{number}.png", colour)
            row = {"id": f"{animal}{number}", "split": "train", "image": f"{animal}/{number}.png", "target": animal}
            rows.append({**row, "tags": {"pattern": "a" if number else "b"}})
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def of(manifest: Path, data: DataConfig = PLAIN) -> str:
    dataset = read_manifest(manifest)
    return fingerprint(dataset.samples, dataset.folder, data)


def of_before(samples: list[Sample]) -> str:
    """As the version before computed it (plait 0.1.0, train/fit.py), written out."""
    digest = blake2b(digest_size=16)
    for sample in samples:
        media = [path.name for path in (*sample.image, sample.audio, sample.video) if path is not None]
        row = [sample.id, sample.text, [dict(r) for r in sample.references], media, dict(sample.groups)]
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def test_another_folder_is_another_picture(tmp_path: Path):
    """Previously cats/1.png and dogs/1.png were one and the same."""
    manifest = write(tmp_path / "data")
    before = of(manifest)
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("dogs/1.png", "cats/1.png"), encoding="utf-8")
    assert not is_same(before, of(manifest))
    manifest.write_text(text, encoding="utf-8")
    assert is_same(before, of(manifest))


def test_data_may_move(tmp_path: Path):
    manifest = write(tmp_path / "data")
    before = of(manifest)
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    assert is_same(before, of(tmp_path / "elsewhere" / "m.jsonl"))


@pytest.mark.parametrize("moved", ["all", "manifest"])
def test_pictures_outside_may_move_with_the_manifest_or_stay(tmp_path: Path, moved: str):
    def sample(root: Path) -> list[Sample]:
        return [Sample("1", "train", image=(root / "pictures" / "1.png",), references=({"answer": "x"},))]

    first, second = tmp_path / "one", tmp_path / "two"
    before = fingerprint(sample(first), first / "lists", PLAIN)
    pictures = second if moved == "all" else first
    assert is_same(before, fingerprint(sample(pictures), second / "lists", PLAIN))
    other = [replace(sample(pictures)[0], image=(pictures / "others" / "1.png",))]
    assert not is_same(before, fingerprint(other, second / "lists", PLAIN))


@pytest.mark.parametrize("key", ["sampling", "weights"])
def test_what_samples_are_drawn_or_weighed_by_counts(tmp_path: Path, key: str):
    """Previously a changed tag changed the draws of a resumed run in silence."""
    samples = [Sample(str(n), "train", references=({"a": "x"},), tags={"kind": "ab"[n % 2]}) for n in range(6)]
    changed = [replace(samples[0], tags={"kind": "b"}), *samples[1:]]
    part = {"tag": "kind"} | ({"inverse_frequency": True} if key == "weights" else {})
    data = DataConfig.model_validate({"manifest": "m", key: part})
    assert not is_same(fingerprint(samples, tmp_path, data), fingerprint(changed, tmp_path, data))
    assert is_same(fingerprint(samples, tmp_path, PLAIN), fingerprint(changed, tmp_path, PLAIN))


def test_a_run_of_before_is_asked_what_it_knew(tmp_path: Path):
    manifest = write(tmp_path / "data")
    samples = read_manifest(manifest).samples
    kept = of_before(samples)
    assert is_same(kept, of(manifest))
    assert not is_same(kept, fingerprint(samples[1:], manifest.parent, PLAIN))
    assert len(set(alike([kept, of(manifest)]))) == 1
    assert len(set(alike([of(manifest), fingerprint(samples[1:], manifest.parent, PLAIN)]))) == 2


def test_a_resume_refuses_pictures_of_another_folder(tmp_path: Path):
    manifest = write(tmp_path / "data")
    tree = {**tiny_tree(manifest), "data": {"manifest": str(manifest), "image": {"size": 16}, "workers": 0}}
    tree["train"] = {**tree["train"], "steps": 1, "evaluate_every": None}
    run = fit(make_config(tree), tmp_path / "run").run.folder
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text.replace("dogs/1.png", "cats/1.png"), encoding="utf-8")
    with pytest.raises(UserError, match="training samples changed"):
        fit(None, run, resume=True)
    manifest.write_text(text, encoding="utf-8")
    fit(None, run, resume=True)
    assert read_state(run).data.count(":") == 3
    assert newest(run).is_dir()
