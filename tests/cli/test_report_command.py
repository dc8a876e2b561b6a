"""`plait report`: the folder of a run or a comparison; mistakes in one message, and nothing written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_helpers import Shell

from plait.compare.result import ComparisonResult, Decision, Metric


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def compared(folder: Path) -> Path:
    """The smallest comparison."""
    from plait.compare.result import ArmResult

    metric = Metric("answer", "accuracy", True, True, "test", 9, {}, 0.95)
    arm = ArmResult("a", "candidate", (), "done", score=0.5)
    decision = Decision("winner", "take a", "a", ("a",), 0.1)
    folder.mkdir()
    ComparisonResult(metric, decision, (arm,), (0,), (), {}, (), "plait compare", {}, {}, 1.0).write(folder)
    return folder


def test_a_run_gets_a_page_that_says_what_is_missing(run: Path, shell: Shell):
    outcome = shell("report", run, "--json")
    assert outcome.code == 0
    found = outcome.json
    assert found["kind"] == "run"
    assert Path(found["report"]) == run / "report.html"
    assert found["bytes"] == (run / "report.html").stat().st_size
    assert f"plait evaluate {run}" in [missing["command"] for missing in found["missing"]]
    assert f"plait evaluate {run}" in outcome.err


def test_a_comparison_gets_a_page_where_it_is_asked_for(tmp_path: Path, shell: Shell):
    folder = compared(tmp_path / "compared")
    outcome = shell("report", folder, "--out", tmp_path / "pages" / "first.html")
    assert outcome.code == 0
    assert str(tmp_path / "pages" / "first.html") in outcome.out
    assert "Take a." in (tmp_path / "pages" / "first.html").read_text(encoding="utf-8")
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone"], "there is no folder gone. Give the folder that plait train or plait compare wrote"),
        (["empty"], "neither a run"),
        (["half"], "is not JSON"),
        (["run", "--out", "page.txt"], "a page's name ends in .html"),
        (["run", "--out", "empty"], "is a folder"),
        (["torn"], "is not a complete run"),
    ],
)
def test_mistakes_are_one_message(
    words: list[str], message: str, run: Path, tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "half", "torn"):
        Path(name).mkdir()
    Path("half/result.json").write_text("{", encoding="utf-8")
    shutil.copy("run/config.yaml", "torn")
    before = sorted(tmp_path.rglob("*"))
    outcome = shell("report", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("plait: ") == 1
    assert "Traceback" not in outcome.err
    assert sorted(tmp_path.rglob("*")) == before
