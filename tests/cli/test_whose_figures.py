"""Whose rows and which weights a measurement is of: said on the screen, in the files and in the report, and nothing is mixed up."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from cli_helpers import Shell
from test_failures import linked as linked
from test_failures import work as work

import plait
from plait.config import read_config
from plait.evaluate import read_record
from plait.evaluate.measured import Weights, mark, weights_in
from plait.report.found import find
from plait.train import Interrupted, fit
from plait.train.progress import Quiet

OTHER = "data/other.jsonl"


@pytest.fixture
def other(work: Path) -> Path:
    """A second manifest, with other answers."""
    rows = [json.loads(line) for line in (work / "data" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["target"]["answer"] = "purple"
    (work / OTHER).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return work / OTHER


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_records_of_another_manifest_do_not_take_the_place_of_the_runs_own(other: Path, shell: Shell):
    """Previously, `evaluate --manifest OTHER` wrote records/test.json, and the report showed it as the run's test."""
    assert shell("evaluate", "run").code == 0
    own = Path("run/records/test.json").read_bytes()
    outcome = shell("evaluate", "run", "--manifest", OTHER)
    assert "test of other.jsonl: 8 samples" in " ".join(outcome.out.split())
    assert Path("run/records/test.json").read_bytes() == own
    name = f"test{mark(str(other))}"
    assert names(Path("run/records")) == {"test.json", "test.parquet", f"{name}.json", f"{name}.parquet"}
    record = read_record(Path(f"run/records/{name}.parquet"))
    assert record.summary.manifest == str(other)
    assert record.rows[0].segments["answer"].references == ("purple",)
    found = find(Path("run"))
    assert found.record is not None
    assert found.record.summary.manifest is None
    assert shell("report", "run").code == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert f"test of {other}, not the run" in page


def test_a_run_that_was_only_measured_elsewhere_has_no_figure_of_its_own(other: Path, shell: Shell):
    shell("evaluate", "run", "--manifest", OTHER)
    outcome = shell("report", "run")
    assert "scores: the run was not evaluated" in outcome.out


def test_the_runs_own_manifest_is_known_by_any_path(linked: Path, work: Path, shell: Shell):
    """Its own path, relative, through a link, or the folder that holds it."""
    own = linked / "data" / "manifest.jsonl"
    Path("link").symlink_to(linked / "data")
    for path in (own, os.path.relpath(own), "link/manifest.jsonl", linked / "data"):
        assert shell("evaluate", "run", "--manifest", path).code == 0
        assert names(Path("run/records")) == {"test.json", "test.parquet"}


def test_explanations_of_another_manifest_have_names_of_their_own(other: Path, shell: Shell):
    assert shell("explain", "run", "--manifest", OTHER).code == 0
    assert shell("explain", "run", "--sample", "row1", "--manifest", OTHER).code == 0
    assert shell("explain", "run", "--curves", "--limit", "1", "--manifest", OTHER).code == 0
    made = names(Path("run/explain"))
    assert made
    assert all(mark(str(other)) in name for name in made), made
    found = find(Path("run"))
    assert {one.manifest for one in (*found.explanations.values(), *found.curves.values())} == {str(other)}


def test_equal_names_in_other_folders_are_told_apart():
    assert mark(None) == ""
    assert mark("/a/rows.jsonl") != mark("/b/rows.jsonl")
    assert mark("/a/rows.jsonl").startswith("@rows-")
    assert mark("/a/ä\x1b/../ö\udcff.jsonl").isascii()


NOTE = "the training has not finished (step 2 of 9): these are the weights that were best so far, those of step "


class StopAtTwo(Quiet):
    """Ctrl-C after the second step."""

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def interrupted(work: Path) -> Path:
    """A run whose training was stopped in the middle."""
    with pytest.raises(Interrupted):
        fit(read_config(Path("run.yaml"), ["train.steps=9"]), "half", progress=StopAtTwo())
    return Path("half")


def test_weights_of_an_unfinished_training_say_so(interrupted: Path, shell: Shell):
    """Previously, `evaluate` of an interrupted run said nothing of it, nor which step's weights it measured."""
    outcome = shell("evaluate", interrupted)
    assert NOTE in " ".join(outcome.out.split())
    record = read_record(interrupted / "records" / "test.parquet")
    assert record.summary.step in (1, 2)
    assert any(note.startswith(NOTE) for note in record.summary.notes)
    assert NOTE in shell("generate", interrupted, "--text", "red").err
    assert NOTE in " ".join(shell("explain", interrupted, "--sample", "row1").out.split())
    assert NOTE in shell("report", interrupted).out
    assert "has not finished" in (interrupted / "report.html").read_text(encoding="utf-8")
    assert plait.load(interrupted).unfinished == NOTE + str(record.summary.step)


def test_a_record_of_earlier_weights_is_named_in_the_report(work: Path, shell: Shell):
    """A run that was measured and then trained on shows whose figures they are."""
    shell("evaluate", "run")
    assert "current weights" not in shell("report", "run").out
    summary = json.loads(Path("run/records/test.json").read_text(encoding="utf-8"))
    assert summary["step"] == weights_in(Path("run"), 2).step
    record = read_record(Path("run/records/test.parquet"))
    from dataclasses import replace

    from plait.evaluate import write_record

    write_record(replace(record, summary=replace(record.summary, step=77)), Path("run/records/test.parquet"))
    assert (
        "on split test: the ones here are of step 77  (plait evaluate run --split test)" in shell("report", "run").out
    )


def test_a_finished_training_says_nothing(work: Path, shell: Shell):
    assert plait.load("run").unfinished is None
    assert "not finished" not in shell("evaluate", "run").out
    shutil.rmtree("run/training")
    assert plait.load("run").unfinished is None, "without checkpoints nothing tells how far the training came"
    assert Weights(3).note is None
