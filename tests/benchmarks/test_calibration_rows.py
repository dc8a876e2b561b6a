"""The calibration's grid: every cell once, and a row with all that its table shows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from benchmarks.calibration import Cell, cells, demo_shaped, measure_cell, population_of
from benchmarks.table import calibration_lines

from plait.compare.statistics.simulate import Effects
from plait.evaluate import EvaluateConfig, evaluate_outputs, write_record
from plait.types import Sample


def test_the_grid_has_every_cell_once() -> None:
    found = list(cells())
    assert len(found) == len(set(found)) == 96 + 4 + 84 + 216


def test_a_row_is_plain_and_shown() -> None:
    row = measure_cell(demo_shaped(), Cell(3, 3, 2, Effects(seed_sd=1.0)), 20)
    assert json.loads(json.dumps(row)) == row
    lines = list(calibration_lines({"rows": [row], "samples": 1500, "right": 0.88}))
    assert len(lines) == 4
    assert "20 tables a row, 1500 samples, 88.0% right" in lines[0]
    assert lines[2].split()[:4] == ["3", "3", "2", "1"]


def test_a_record_is_a_population(tmp_path: Path) -> None:
    class Said:
        def __init__(self, text: str) -> None:
            self.segments, self.log_probability = {"answer": text}, {}

    samples = [Sample(f"q{i}", "test", references=({"answer": "red"},), groups={"p": str(i // 2)}) for i in range(8)]
    outputs = [Said("red" if i % 4 else "blue") for i in range(8)]
    config = EvaluateConfig(metrics={"answer": ("accuracy",)}, num_resamples=100)
    write_record(evaluate_outputs(samples, outputs, config=config), tmp_path / "test.parquet")
    found = population_of(tmp_path / "test.parquet")
    np.testing.assert_array_equal(found.right, [float(i % 4 > 0) for i in range(8)])
    np.testing.assert_array_equal(found.groupings["p"], np.arange(8) // 2)
