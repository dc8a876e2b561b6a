"""`plait compare --from FILE` at the command line, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from others_helpers import LARGE, SMALL, drawn, write_csv

from plait.compare.result import read_result


def test_logs_are_compared_and_written_as_page_and_tables(tmp_path: Path, shell: Any):
    out = tmp_path / "out"
    code, text, _ = shell("compare", "--from", SMALL, "--from", LARGE, "--group-by", "speaker", "--folder", out)
    assert code == 0
    assert "take mockllm/large: its match of `spoken` of 97.0 %" in text
    assert "match of `spoken` (higher is better), n = 11 (6 by speaker), 1 seed" in text
    header = next(line for line in text.splitlines() if line.startswith("arm "))
    assert header.split() == ["arm", "score", "seeds", "difference", "p"], "prices are not known"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the mean of its samples" in page
    assert "This command reads the same files again" in page
    for absent in ("Configuration that all arms share", "All trainings", 'id="price"', "of the split"):
        assert absent not in page
    assert {path.name for path in out.iterdir() if path.name[0] != "."} == {
        *("report.html", "result.json", "scores.csv", "scores.parquet"),
    }
    assert read_result(out).files == (str(SMALL), str(LARGE))


def test_the_same_words_go_on_in_the_same_folder(tmp_path: Path, shell: Any):
    """scores.csv is one of a comparison's own files, and may be read and written in one go."""
    words = ("compare", "--from", SMALL, "--from", LARGE, "--folder", tmp_path / "out")
    assert shell(*words)[0] == 0
    assert shell(*words)[0] == 0
    code, text, _ = shell("compare", "--from", tmp_path / "out" / "scores.csv", "--folder", tmp_path / "out")
    assert (code, "take mockllm/large" in text) == (0, True)
    assert shell("report", tmp_path / "out")[0] == 0


def test_a_shells_star_gives_the_rest_as_words(tmp_path: Path, shell: Any):
    code, text, _ = shell("compare", "--from", SMALL, f"big={LARGE}", "--folder", tmp_path / "out", "--json")
    assert code == 0
    assert {arm["name"] for arm in json.loads(text)["arms"]} == {"mockllm/small", "big"}


def test_the_sense_of_a_metric_can_be_turned(tmp_path: Path, shell: Any):
    code, text, _ = shell(
        *("compare", "--from", SMALL, "--from", LARGE, "--lower-is-better", "--folder", tmp_path / "out", "--json")
    )
    assert code == 0
    assert json.loads(text)["decision"]["take"] == "mockllm/small"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "missing.eval"], "missing.eval: cannot be read: No such file"),
        (["--from", "a=missing"], "missing: cannot be read"),
        (["--from", SMALL], "one arm alone (mockllm/small): nothing to compare"),
        (
            ["--from", SMALL, "--from", LARGE, "--metric", "mach"],
            "not all files have a metric 'mach'. Did you mean 'match'",
        ),
        (
            ["--from", SMALL, "--from", LARGE, "--segment", "spokn"],
            "no file holds the task 'spokn'. Did you mean 'spoken'",
        ),
        (["--from", SMALL, "--from", LARGE, "--group-by", "speakers"], "no sample has 'speakers', of --group-by"),
        (["--from", SMALL, "--from", LARGE, "--arms", "fusion.kind=concat"], "--from beside --arms"),
        (["run.yaml", "--group-by", "speaker"], "--group-by: is for the records of other tools"),
        (["run.yaml", "--lower-is-better"], "--higher-is-better: is for the records of other tools"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[Any], message: str, tmp_path: Path, shell: Any, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    code, _, error = shell("compare", *words)
    assert (code, message in " ".join(error.split())) == (2, True), error


def test_runs_and_files_are_not_mixed(compared: Path, tmp_path: Path, shell: Any):
    (path,) = write_csv(tmp_path, drawn())
    run = compared / "runs" / "concat" / "seed-0"
    code, _, error = shell("compare", "--from", run, "--from", path, "--folder", tmp_path / "out")
    assert (code, "compare the runs first, then give the scores.csv" in " ".join(error.split())) == (2, True), error
    code, _, error = shell("compare", "--from", compared, "--from", path, "--folder", tmp_path / "out")
    assert (code, f"{compared / 'scores.csv'}" in error.replace("\n", "")) == (2, True), error
