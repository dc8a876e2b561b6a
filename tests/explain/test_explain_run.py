"""`plait explain` from end to end, and its call in Python."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import plait
from plait.evaluate.statistics import Figure
from plait.explain import Explanation
from plait.types import Modality


def own_copy(folder: Path, into: Path) -> Path:
    return Path(shutil.copytree(folder, into / "run"))


def test_credit_table_and_file(with_dropout: Path, tmp_path: Path, shell: Any):
    folder = own_copy(with_dropout, tmp_path)
    code, out, err = shell("explain", folder, "-v")
    assert (code, err) == (0, "")
    for word in (
        "credit of",
        "together",
        "text × image × audio",
        "no input",
        "constant answer",
        "reliance on",
        "With the true `heard` already given",
    ):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80
    data = json.loads((folder / "explain" / "test.json").read_text(encoding="utf-8"))
    assert data["kind"] == "credit"
    assert [(s["segment"], s["context"]) for s in data["segments"]] == [
        ("heard", "true"),
        ("answer", "true"),
        ("answer", "own"),
    ]
    for segment in data["segments"]:
        total = sum(credit["credit"]["value"] for credit in segment["credits"].values())
        assert total == pytest.approx(segment["together"]["value"], abs=1e-9)
        saved = segment["losses"]["no_input"]["value"] - segment["losses"]["text+image+audio"]["value"]
        assert segment["together"]["value"] == pytest.approx(saved, abs=1e-9)
        assert len(segment["losses"]) == 8
        assert len(segment["interactions"]) == 4
    assert set(data["temperatures"]["true"]) == set(data["segments"][0]["losses"])
    has_picture = (folder / "explain" / "test.png").exists()
    assert has_picture == (importlib.util.find_spec("matplotlib") is not None)


def test_without_matplotlib_there_is_no_picture_and_it_is_said(
    with_dropout: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    folder = own_copy(with_dropout, tmp_path)
    for module in ("plait.api", "plait.explain"):
        monkeypatch.setattr(f"{module}.can_plot", lambda: False)
    code, out, _ = shell("explain", folder)
    assert code == 0
    assert "pip install 'plait[plot]'" in out
    assert [path.name for path in (folder / "explain").iterdir()] == ["test.json"]


def test_json_is_one_object_and_repeats(one_modality: Path, tmp_path: Path, shell: Any):
    folder = own_copy(one_modality, tmp_path)
    words = ("explain", folder, "--json", "--seed", 3, "--batch-size", 5, "--split", "tune")
    first, again = (shell(*words)[1] for _ in range(2))
    assert json.loads(first) == json.loads(again)
    assert json.loads(first)["split"] == "tune"


def test_the_batch_size_does_not_matter(with_dropout: Path, explained: Explanation):
    small = plait.load(with_dropout).explain(batch_size=5, write=False)
    for one, other in zip(small.segments, explained.segments, strict=True):
        for name in one.credits:
            assert one.credits[name].credit.value == pytest.approx(other.credits[name].credit.value, abs=1e-4)


def test_without_modality_dropout_there_is_reliance_only(without_dropout: Path, tmp_path: Path, shell: Any):
    folder = own_copy(without_dropout, tmp_path)
    code, out, _ = shell("explain", folder)
    assert code == 0
    assert "retrain with train.modality_dropout=0.2 to get bits" in " ".join(out.split())
    assert "credit of" not in out
    assert "no input" not in out
    data = json.loads((folder / "explain" / "test.json").read_text(encoding="utf-8"))
    assert data["kind"] == "reliance"
    assert all(list(s["losses"]) == ["text+image+audio"] and not s["credits"] for s in data["segments"])
    assert set(data["segments"][0]["reliance"]) == {"text", "image", "audio"}


def test_one_modality_has_nothing_to_compare(one_modality: Path, tmp_path: Path, shell: Any):
    folder = own_copy(one_modality, tmp_path)
    code, out, _ = shell("explain", folder)
    assert code == 0
    assert "nothing to compare" in " ".join(out.split())
    data = json.loads((folder / "explain" / "test.json").read_text(encoding="utf-8"))
    for segment in data["segments"]:
        credit = segment["credits"]["audio"]
        assert credit["credit"]["value"] == pytest.approx(credit["alone"]["value"], abs=1e-12)


def test_an_unknown_modality_is_the_users_mistake(with_dropout: Path, tmp_path: Path, shell: Any):
    folder = own_copy(with_dropout, tmp_path)
    code, _, err = shell("explain", folder, "--fail-if-unused", "adio")
    assert code == 2
    assert "Did you mean 'audio'?" in err
    assert not (folder / "explain").exists()


@pytest.mark.parametrize("used", [True, False])
def test_fail_if_unused(used: bool, one_modality: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch):
    folder = own_copy(one_modality, tmp_path)
    monkeypatch.setattr(Explanation, "used", property(lambda self: dict.fromkeys(self.modalities, used)))
    code, out, err = shell("explain", folder, "--fail-if-unused", "audio", "--json")
    assert code == (0 if used else 1)
    assert ("audio is not measurably used" in err) == (not used)
    assert json.loads(out)["split"] == "test"


def test_an_unknown_split_is_the_users_mistake(with_dropout: Path, shell: Any):
    code, _, err = shell("explain", with_dropout, "--split", "tset")
    assert code == 2
    assert "'tset'" in err


def test_without_a_tuning_split_temperatures_are_one_and_it_is_said(with_dropout: Path, tmp_path: Path):
    folder = own_copy(with_dropout, tmp_path)
    model = plait.load(folder)
    path = Path(model.run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    mine = path.parent / "no_tune.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows if row["split"] != "tune"), encoding="utf-8")
    found = model.explain(manifest=mine, write=False)
    assert set(found.temperatures["true"].values()) == {1.0}
    assert any("no row in split 'tune'" in note for note in found.notes)


def test_a_modality_that_was_never_dropped_is_named(with_dropout: Path):
    model = plait.load(with_dropout)
    train = model.run.config.train.model_copy(update={"modality_dropout": {Modality.AUDIO: 0.2}})
    model.run.config = model.run.config.model_copy(update={"train": train})
    found = model.explain(write=False)
    assert found.kind == "credit"
    never = [note.split()[0] for note in found.notes if "never dropped" in note]
    assert never == ["text", "image"]


def test_pairs_that_never_meet_are_not_identifiable(with_dropout: Path, tmp_path: Path):
    model = plait.load(with_dropout)
    path = Path(model.run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if "image" in row:
            row.pop("audio", None)
    mine = path.parent / "apart.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = model.explain(manifest=mine, write=False)
    by_members = {i.members: i for i in found.segments[0].interactions}
    assert "not identifiable" in (by_members["image", "audio"].note or "")
    assert isinstance(by_members["text", "image"].pair, Figure)


def test_a_run_without_inputs_is_refused(with_dropout: Path):
    model = plait.load(with_dropout)
    model.run.config = model.run.config.model_copy(
        update={"data": model.run.config.data.model_copy(update={"inputs": ()})}
    )
    with pytest.raises(plait.UserError, match="reads no inputs"):
        model.explain(write=False)
