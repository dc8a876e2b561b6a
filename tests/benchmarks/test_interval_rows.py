"""The coverage of intervals and the truth of verdicts: every cell once, and rows with all that their tables show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.intervals import SCORES, Cell, below_target, cells, draw, measure_cell, measure_seconds, ratio
from benchmarks.table import interval_lines, verdict_lines
from benchmarks.verdicts import contradicts, measure_model, write_pictures

from plait.evaluate.statistics import Figure
from plait.explain.result import ModalityCredit, SegmentResult, Verdict, Worth


def test_the_cells_are_those_that_were_fixed_each_once() -> None:
    found = list(cells())
    assert len(found) == len(set(found)) == 470
    for score in ("accuracy .5", "accuracy .9", "accuracy .97", "accuracy .99"):
        for num in (5, 10, 20, 30, 100):
            for sizes in ("even", "skewed", "very skewed"):
                assert {Cell(score, spread, sizes, num) for spread in (0.0, 1.0)} <= set(found)


@pytest.mark.parametrize("score", SCORES)
def test_data_of_a_cell_have_the_truth_that_it_states(score: str) -> None:
    """Over 400 trials of 100 groups: within 3 % of the truth, or .02 of 0."""
    cell = next(
        one for one in cells() if (one.score, one.sizes, one.num_groups) == (score, "even", 100) and one.spread < 2
    )
    found = draw(cell, 400, 0)
    mean = float(ratio(found.statistics.sum(axis=0, keepdims=True))[0])
    assert mean == pytest.approx(found.truth, rel=0.03, abs=0.02 if found.truth == 0 else 0.0)


def test_rows_of_intervals_are_plain_and_shown() -> None:
    rows = [measure_cell(Cell("accuracy .9", 1.0, sizes, 10), 120) for sizes in ("even", "very skewed")]
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0]["over_groups"] == 1.0
    assert rows[1]["over_groups"] < 0.5
    assert 0.85 < rows[0]["coverage"] <= 1
    assert rows[0]["before"] < rows[0]["coverage"]
    rows[0]["below_target"] = below_target(rows[0], 2)
    assert below_target({"covered": 340, "counted": 400}, 400)
    assert not below_target({"covered": 372, "counted": 400}, 400)
    seconds = measure_seconds(0.01)
    first, _, one, two, *timed, last = interval_lines({"trials": 120, "rows": rows, "seconds": seconds})
    assert [line.partition(": ")[0] for line in timed] == [f"  one figure over {name}" for name in seconds]
    assert "120 trials a cell" in first
    assert f"→ {100 * rows[0]['coverage']:5.1f}" in one
    assert "—" in two
    assert last.startswith("  1 of 1 claimed cells hold 93.5 %")


def test_a_model_is_judged_beside_its_own_truth(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    row = measure_model(tmp_path, 0, draws=6, fresh_groups=60)
    assert json.loads(json.dumps(row)) == row
    assert set(row["truth"]) == {"image", "text"}
    assert sum(row["said"]["text"].values()) == sum(row["said"]["image"].values()) == 6
    found = {
        "models": 1,
        "draws": 6,
        "rows": [row],
        "contradictions": {"text": {"wrong": 1, "draws": 6, "low": 0.0, "high": 0.6}},
    }
    assert any("text: 1 of 6 verdicts" in line for line in verdict_lines(found))


@pytest.mark.parametrize(
    ("status", "truth", "wrong"),
    [
        ("used", 0.1, False), ("used", -0.1, True), ("redundant", -0.1, True), ("present", -0.1, True), ("harmful", 0.1, True),
        ("harmful", -0.1, False), ("negligible", 0.1, True), ("negligible", 0.01, False), ("unused", 0.1, False),
    ],
)  # fmt: skip
def test_what_contradicts_a_truth(status: str, truth: float, wrong: bool) -> None:
    """A claim the sign of the effect, a claim of absence its size; what claims nothing contradicts nothing."""
    one = Figure(truth, truth, truth, 1)
    of = SegmentResult("answer", "true", 1, 1.0, {}, credits={"text": ModalityCredit(one, one, one, one, one, one)})
    of = replace(of, worth=Worth(1.0, 0.05, ""))
    assert contradicts(Verdict("text", status, "", None), of) == wrong  # pyright: ignore[reportArgumentType]
