"""Files that cannot be read, with `data.on_error: skip`: every command goes on with the rest, counts them and says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from cli_helpers import Shell

import plait
from plait.errors import UserError
from plait.evaluate import read_record
from tiny_data import draw, make_manifest, sing, tiny_tree

NUM_TEST = 8
BROKEN = {"row1": "audio", "row2": "image"}
"""Of the test split the row and the input that cannot be read."""


@pytest.fixture(scope="session")
def trained_to_skip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with links and modality dropout that passes over what cannot be read, and its data beside it, still whole."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("skips")
    path = make_manifest(folder / "data")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["split"] = ("test", "train", "tune")[number // 8 % 3]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(path)
    tree["data"]["on_error"] = "skip"
    tree["train"] |= {"alignment": {"weight": 0.5}, "modality_dropout": 0.2}
    fit(make_config(tree), folder / "run")
    return folder


@pytest.fixture
def run(trained_to_skip: Path, tmp_path: Path) -> Path:
    """The run over data of its own, in which a recording and a picture are no longer what they were."""
    shutil.copytree(trained_to_skip, tmp_path / "own")
    folder = tmp_path / "own"
    config = yaml.safe_load((folder / "run" / "config.yaml").read_text(encoding="utf-8"))
    config["data"]["manifest"] = str(folder / "data" / "manifest.jsonl")
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    (folder / "data" / "1.wav").write_bytes(b"this is no sound")
    (folder / "data" / "2.png").write_bytes(b"this is no picture")
    return folder / "run"


def data_of(run: Path) -> Path:
    return run.parent / "data"


def mend(run: Path) -> None:
    sing(data_of(run) / "1.wav", "high")
    draw(data_of(run) / "2.png", "blue")


def only_losses(run: Path) -> None:
    """Nothing is written by the model, which takes most of the time of a curve."""
    config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    config["evaluate"]["metrics"] = {"heard": [], "answer": []}
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def test_evaluate_counts_them_and_says_why(run: Path, shell: Shell):
    outcome = shell("evaluate", run)
    assert outcome.code == 0, outcome.err
    assert "2 samples could not be read (row1, row2): left out; the first:" in " ".join(outcome.out.split())
    record = read_record(run / "records" / "test.parquet")
    assert [row.id for row in record.rows] == [f"row{n}" for n in range(NUM_TEST)]
    accuracy = record.summary.metrics["answer"]["accuracy"]
    assert accuracy.n == NUM_TEST - 2
    assert record.summary.unscored["answer"]["accuracy: the sample could not be read"] == 2
    for row in record.rows:
        answer = row.segments["answer"]
        assert (answer.output is None, answer.bits is None) == (row.id in BROKEN,) * 2
        if row.id in BROKEN:
            for metric in ("accuracy", "bits_per_token"):
                assert answer.unscored[metric].startswith("the sample could not be read: ")
                assert f"manifest.jsonl:{int(row.id[3:]) + 1}: {BROKEN[row.id]}" in answer.unscored[metric]
    mend(run)
    whole = plait.load(run).evaluate("test", write=False)
    for row, other in zip(record.rows, whole.rows, strict=True):
        if row.id not in BROKEN:
            assert row.segments["answer"].output == other.segments["answer"].output
            assert row.segments["answer"].bits == pytest.approx(other.segments["answer"].bits, abs=1e-4)


def test_rows_that_are_none_are_noted_beside_them(run: Path, shell: Shell):
    (data_of(run) / "6.png").unlink()
    outcome = shell("evaluate", run, "--json")
    assert outcome.code == 0, outcome.err
    notes_a_row(outcome.json["notes"])


def notes_a_row(notes: list[str]) -> None:
    """That row 7, the one whose picture is gone, is left out."""
    (noted,) = [note for note in notes if "cannot be used" in note]
    assert noted.startswith("1 row of manifest.jsonl cannot be used: left out; ")
    assert "manifest.jsonl:7" in noted


def test_explain_says_which(run: Path, shell: Shell):
    (data_of(run) / "6.png").unlink()
    outcome = shell("explain", run, "--json")
    assert outcome.code == 0, outcome.err
    notes_a_row(outcome.json["notes"])
    (noted,) = [note for note in outcome.json["notes"] if "could not be read" in note]
    assert noted.startswith("2 samples could not be read (row1, row2): left out; the first: ")
    assert {segment["num_samples"] for segment in outcome.json["segments"]} == {NUM_TEST - 3}


def test_a_sample_that_cannot_be_read_is_not_explained(run: Path, shell: Shell):
    outcome = shell("explain", run, "--sample", "row2")
    assert outcome.code == 2
    assert outcome.err.startswith("plait: ")
    assert "manifest.jsonl:3: image" in outcome.err
    assert not (run / "explain").exists()


def test_curves_are_of_the_others_at_every_point(run: Path, shell: Shell):
    only_losses(run)
    (data_of(run) / "6.png").unlink()
    outcome = shell("explain", run, "--curves", "--limit", 0, "--batch-size", 4, "--json")
    assert outcome.code == 0, outcome.err
    notes_a_row(outcome.json["notes"])
    (noted,) = [note for note in outcome.json["notes"] if "could not be read" in note]
    assert noted.startswith("2 samples could not be read (row1, row2): left out; ")
    assert outcome.json["n"] == NUM_TEST - 3
    for curve in outcome.json["curves"]:
        for lines in curve["segments"].values():
            for line in lines.values():
                assert {figure["n"] for figure in line["values"]} == {line["clean"]["n"]}
                assert line["clean"]["n"] <= curve["n"] <= NUM_TEST - 3


def test_generate_answers_the_others_and_comes_back_for_them(run: Path, tmp_path: Path, shell: Shell):
    asked = ("generate", run, "--manifest", data_of(run) / "manifest.jsonl", "--out", tmp_path / "answers.jsonl")
    outcome = shell(*asked, "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["rows"], found["answered"]) == (24, 22)
    assert [left["id"] for left in found["left_out"]] == ["row1", "row2"]
    assert [line.split(": ")[:2] for line in outcome.err.splitlines() if "left out" in line] == [
        ["plait", "left out"]
    ] * 2
    mend(run)
    again = shell(*asked, "--json").json
    assert (again["answered"], again["answered_before"], again["left_out"]) == (2, 22, [])
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(f"row{n}" for n in range(24))


def test_whoever_asks_for_answers_in_python_hears_of_them(run: Path):
    model = plait.load(run)
    samples = model.unlabelled(data_of(run) / "manifest.jsonl").samples
    with pytest.raises(UserError, match=r"manifest\.jsonl:2: audio"):
        list(model.answer(samples, batch_size=2))
    gone = []
    found = list(model.answer(samples, batch_size=2, left_out=gone.append))
    assert [one.id for one in found] == [sample.id for sample in samples if sample.id not in BROKEN]
    assert [left.id for left in gone] == list(BROKEN)


def test_search_counts_them_and_looks_again_when_they_are_mended(run: Path, shell: Shell):
    (data_of(run) / "6.png").unlink()
    asked = ("search", run, "red", "--in", data_of(run) / "manifest.jsonl")
    outcome = shell(*asked)
    assert outcome.code == 0, outcome.err
    assert "image: the best 10 of 10 (12 rows have none, 1 could not be read)" in outcome.out
    assert "audio: the best 10 of 11 (11 rows have none, 1 could not be read)" in outcome.out
    assert "1 row of manifest.jsonl cannot be used" in outcome.out
    assert "1 row of manifest.jsonl cannot be used" in shell(*asked).out
    mend(run)
    again = shell(*asked, "--json").json
    assert again["index"]["state"] == "rebuilt"
    assert (again["sides"]["image"]["entries"], again["sides"]["image"]["unreadable"]) == (11, 0)
    draw(data_of(run) / "6.png", "red")
    last = shell(*asked, "--json").json
    assert (last["index"]["state"], last["index"]["notes"], last["sides"]["image"]["entries"]) == ("rebuilt", [], 12)
    assert shell(*asked, "--json").json["index"]["state"] == "reused"


def test_a_split_of_which_nothing_can_be_read_is_refused(run: Path, shell: Shell):
    for path in (*data_of(run).glob("*.png"), *data_of(run).glob("*.wav")):
        path.write_bytes(b"this is nothing")
    manifest = data_of(run) / "media.jsonl"
    rows = [json.loads(line) for line in (data_of(run) / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    manifest.write_text(
        "".join(json.dumps(row) + "\n" for row in rows if "image" in row or "audio" in row), encoding="utf-8"
    )
    for command in (["evaluate", run], ["explain", run, "--curves"]):
        outcome = shell(*command, "--manifest", manifest)
        assert outcome.code == 2
        assert "none of the 6 samples can be read; the first: " in outcome.err
    assert not (run / "records" / "test.parquet").exists()
    outcome = shell("explain", run, "--manifest", manifest)
    assert (outcome.code, outcome.err.count("Traceback")) == (2, 0)
