"""The result of a comparison is read back as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.compare.result import (
    Against,
    ArmResult,
    ComparisonResult,
    Credit,
    Decision,
    Example,
    Metric,
    Point,
    Price,
    SeedResult,
    Term,
    read_result,
)
from plait.errors import UserError


def result() -> ComparisonResult:
    """Two arms, one that failed, and the constant answer."""
    arms = (
        ArmResult(
            "concat",
            "candidate",
            ("fusion.kind=concat",),
            "done",
            score=0.9,
            seeds=(SeedResult(0, 0.9, "runs/concat/seed-0", 1.25, (Point(10, 2.0), Point(20, 1.25)), 12.5),),
            others={"heard.wer": 0.1},
            price=Price(parameters=1000, flops=2e6, latency_p50_ms=3.5),
            credits=(Credit("image", 0.5, 0.4, 0.6, True), Credit("audio", None, None, None, None, "never dropped")),
        ),
        ArmResult("sum", "candidate", (), "done", score=0.8, against=Against(-0.1, -0.2, -0.01, 0.03, True)),
        ArmResult("tensor", "candidate", (), "failed", reason="too large"),
        ArmResult("constant answer", "constant", (), "done", score=0.2, seeds=(SeedResult(0, 0.2),)),
    )
    return ComparisonResult(
        metric=Metric("answer", "accuracy", True, True, "test", 48, {"picture": 16}, 0.95),
        decision=Decision("winner", "take concat", "concat", ("concat",), 0.05, 3, None, ("one seed",)),
        arms=arms,
        seeds=(0,),
        terms=(Term("steps", True, "200"),),
        frontier={"parameters": ("concat", "sum")},
        examples=(Example("q1", None, ("/a.png",), None, ("red",), {"sum": "blue"}, {"sum": 0.0}, 1.0),),
        command="plait compare run.yaml",
        environment={"torch": "2.13.0"},
        config={"width": 128},
        seconds=3.0,
    )


def test_what_is_written_reads_back_equal(tmp_path: Path):
    result().write(tmp_path)
    assert read_result(tmp_path) == result()


def test_a_result_of_before_is_read(tmp_path: Path):
    """It says nothing of the lead that matters, nor how steady a step was."""
    result().write(tmp_path)
    path = tmp_path / "result.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    for name in ("worth", "worth_seeds", "worth_samples"):
        assert data["decision"].pop(name) is None
    for arm in data["arms"]:
        del arm["price"]["step_spread"]
    path.write_text(json.dumps(data), encoding="utf-8")
    assert read_result(tmp_path) == result()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no finished comparison"),
        ("{", "is not JSON"),
        ("[]", "is damaged"),
        ('{"format": 0}', "of format 0"),
        ('{"format": 1, "arms": 3}', "damaged: "),
    ],
)
def test_what_is_no_result_is_said(text: str | None, message: str, tmp_path: Path):
    if text is not None:
        (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_result(tmp_path)
