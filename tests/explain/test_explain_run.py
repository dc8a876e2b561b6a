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
from plait.explain import Explanation, Verdict


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
    """Previously, bits were told of subsets that training had never shown the model."""
    model = plait.load(with_dropout)
    train = model.run.config.train.model_copy(update={"modality_dropout": {"audio": 0.2}})
    model.run.config = model.run.config.model_copy(update={"train": train})
    found = model.explain(write=False)
    assert found.kind == "reliance"
    assert any("no input in none" in note and "train.modality_dropout=0.2 to get bits" in note for note in found.notes)
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


def test_the_conclusion_comes_first(with_dropout: Path, tmp_path: Path, shell: Any):
    """Two segments, three inputs, few groups: the verdicts, one table, its notes; all figures with -v and in the JSON."""
    folder = own_copy(with_dropout, tmp_path)
    code, out, _ = shell("explain", folder)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "All verdicts rest on few groups: only 8 speakers"
    assert lines[1].startswith("text: ")
    starts = [line.split(":")[0] for line in lines[: lines.index("")] if not line.startswith(" ")]
    assert starts[1:] == ["text", "image", "audio"] * 2
    assert any(line.startswith("-v adds") for line in lines[-4:])
    assert sum(line.startswith("---") for line in lines) == 1
    again = shell("explain", folder, "--verbose")[1]
    assert again.splitlines()[: lines.index("")] == lines[: lines.index("")]
    data = json.loads((folder / "explain" / "test.json").read_text(encoding="utf-8"))
    assert [one["primary"] for one in data["segments"]] == [True, False, True]


def test_the_worth_of_an_effect_is_an_option(with_dropout: Path, tmp_path: Path, shell: Any):
    folder = own_copy(with_dropout, tmp_path)
    for words, percent in (((), 1.0), (("--worth", "100"), 100.0), (("--worth", "0"), 0.0)):
        code, out, _ = shell("explain", folder, "--json", *words)
        assert code == 0
        data = json.loads(out)
        assert data["worth"] == percent
        for one in data["segments"]:
            assert one["worth"]["bits"] == pytest.approx(percent / 100 * one["losses"]["no_input"]["value"])
        statuses = {verdict["status"] for one in data["segments"] for verdict in one["verdicts"]}
        assert (statuses == {"negligible"}) == (percent == 100)
        assert percent or "negligible" not in statuses
    assert plait.load(folder).explain(worth=100, write=False).used == {"text": False, "image": False, "audio": False}


@pytest.mark.parametrize("words", [("--worth", "-1"), ("--worth", "101"), ("--worth", "nan"), ("--worth", "inf")])
def test_a_worth_that_is_no_percentage_is_one_message(words: tuple[str, ...], with_dropout: Path, shell: Any):
    code, out, err = shell("explain", with_dropout, *words)
    assert (code, out) == (2, "")
    assert "--worth: " in err
    assert "Give a number from 0 to 100" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", [("--worth", "2"), ("-v",)])
@pytest.mark.parametrize("other", [("--sample", "row0"), ("--curves",)])
def test_what_is_about_a_whole_split_is_refused_elsewhere(
    option: tuple[str, ...], other: tuple[str, ...], with_dropout: Path, shell: Any
):
    code, _, err = shell("explain", with_dropout, *other, *option)
    assert code == 2
    assert ("--worth" if option[0] == "--worth" else "--verbose") in err


def test_fail_if_unused_says_why(with_dropout: Path, tmp_path: Path, shell: Any):
    code, _, err = shell("explain", own_copy(with_dropout, tmp_path), "--worth", "100", "--fail-if-unused", "text")
    assert code == 1
    assert "text is not measurably used (heard: no difference that matters, answer: no difference that matters)" in err


def test_fail_if_unused_follows_what_the_model_does_in_use(
    with_dropout: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    """Previously, an input that helped only behind the true transcript, which the model never has in use, passed."""
    import plait.explain.run as module

    def only_with_the_true_transcript(segment: Any, modalities: Any, *rest: Any, **more: Any) -> Any:
        status: Any = "used" if (segment.segment, segment.context) == ("answer", "true") else "unused"
        return tuple(Verdict(m, status, f"{m}: {status}", None) for m in modalities)

    monkeypatch.setattr(module, "verdicts", only_with_the_true_transcript)
    code, _, err = shell("explain", own_copy(with_dropout, tmp_path), "--fail-if-unused", "image")
    assert code == 1
    assert "image is not measurably used" in err


def test_a_later_segment_of_a_model_without_credit_says_what_it_was_given(without_dropout: Path):
    found = plait.load(without_dropout).explain(write=False)
    assert found.details == ()
    heard, answer = found.primary
    assert all("with the true" not in verdict.sentence for verdict in heard.verdicts)
    assert all("`answer` with the true `heard` given" in verdict.sentence for verdict in answer.verdicts)
    assert answer.worth is not None
    assert answer.worth.of == "the constant answer's loss"
