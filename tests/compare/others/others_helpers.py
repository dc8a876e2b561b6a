"""The same scores as files of every format, and the fixtures that the tools themselves wrote."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

FIXTURES = Path(__file__).parents[2] / "fixtures" / "others"
SMALL, LARGE = FIXTURES / "inspect_small.eval", FIXTURES / "inspect_large.eval"

Scores = Mapping[str, np.ndarray]
"""Arm → seed × sample."""


def drawn(*, num_seeds: int = 3, num: int = 40, arms: Mapping[str, float] | None = None, seed: int = 7) -> Scores:
    """Zeros and ones; the arms answer the same samples, of which some are harder."""
    random = np.random.default_rng(seed)
    hard = random.normal(size=num)
    found = {}
    for arm, skill in (arms or {"acme/weak": -0.5, "acme/strong": 1.5, "acme/other": 0.0}).items():
        found[arm] = (random.normal(size=(num_seeds, num)) + skill > hard).astype(float)
    return found


def speaker(i: int) -> str:
    """Every fifth sample has the same one."""
    return f"s{i % 8}"


def inspect_log(arm: str, values: np.ndarray) -> dict[str, Any]:
    """A log of inspect_ai with what is read of one."""
    samples = [
        {
            "id": f"q{i}",
            "epoch": epoch + 1,
            "input": "?",
            "target": f"t{i}",
            "metadata": {"speaker": speaker(i)},
            "scores": {"right": {"value": "C" if value == 1 else "I" if value == 0 else value}},
        }
        for epoch, row in enumerate(values)
        for i, value in enumerate(row.tolist())
    ]
    spec = {"task": "quiz", "model": arm, "eval_id": arm, "task_version": 0}
    return {"version": 2, "status": "success", "eval": spec, "plan": {}, "samples": samples}


def write_inspect_json(folder: Path, scores: Scores) -> list[str]:
    """A log per arm."""
    paths = [folder / f"log{i}.json" for i in range(len(scores))]
    for path, (arm, values) in zip(paths, scores.items(), strict=True):
        path.write_text(json.dumps(inspect_log(arm, values)), encoding="utf-8")
    return [str(path) for path in paths]


def write_inspect_eval(folder: Path, scores: Scores, method: int = zipfile.ZIP_DEFLATED) -> list[str]:
    """An archive per arm."""
    paths = [folder / f"log{i}.eval" for i in range(len(scores))]
    for path, (arm, values) in zip(paths, scores.items(), strict=True):
        log = inspect_log(arm, values)
        samples = log.pop("samples")
        with zipfile.ZipFile(path, "w", method) as file:
            file.writestr("header.json", json.dumps(log))
            file.writestr("summaries.json", json.dumps(samples))
    return [str(path) for path in paths]


def write_lm_eval(folder: Path, scores: Scores) -> list[str]:
    """Samples of lm-evaluation-harness, a file per arm and run, with the results beside it."""
    return write_harness(folder, scores, lambda date: (f"samples_quiz_{date}.jsonl", f"results_{date}.json"))


def write_lmms_eval(folder: Path, scores: Scores) -> list[str]:
    """Those of lmms-eval, whose names are the other way round."""
    return write_harness(folder, scores, lambda date: (f"{date}_samples_quiz.jsonl", f"{date}_results.json"))


def write_harness(folder: Path, scores: Scores, names: Callable[[str], tuple[str, str]]) -> list[str]:
    """Lines as both write them."""
    paths = []
    for a, (arm, values) in enumerate(scores.items()):
        for run, row in enumerate(values.tolist()):
            samples, results = (folder / f"arm{a}" / name for name in names(f"2026-11-28T18-0{run}-43.019345"))
            samples.parent.mkdir(exist_ok=True)
            lines = [
                {
                    "doc_id": i,
                    "doc": {"speaker": speaker(i)},
                    "target": f"t{i}",
                    "filtered_resps": ["x"],
                    "right": value,
                }
                for i, value in enumerate(row)
            ]
            samples.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            made = {"model_name": arm, "higher_is_better": {"quiz": {"right": True}}}
            results.write_text(json.dumps(made), encoding="utf-8")
            paths.append(str(samples))
    return paths


def table_rows(scores: Scores) -> list[dict[str, Any]]:
    """The plain table's rows."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "id": f"q{i}",
            "speaker": speaker(i),
            "target": f"t{i}",
            "metric": "right",
            "score": value,
        }
        for arm, values in scores.items()
        for seed, row in enumerate(values.tolist())
        for i, value in enumerate(row)
    ]


def write_csv(folder: Path, scores: Scores, name: str = "scores.csv", separator: str = ",") -> list[str]:
    """One table of all arms."""
    rows = table_rows(scores)
    with (folder / name).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=separator)
        writer.writeheader()
        writer.writerows(rows)
    return [str(folder / name)]


def write_tsv(folder: Path, scores: Scores) -> list[str]:
    """With tabs."""
    return write_csv(folder, scores, "scores.tsv", "\t")


def write_json_lines(folder: Path, scores: Scores) -> list[str]:
    """One mapping a line."""
    text = "".join(json.dumps(row) + "\n" for row in table_rows(scores))
    (folder / "scores.jsonl").write_text(text, encoding="utf-8")
    return [str(folder / "scores.jsonl")]


def write_parquet(folder: Path, scores: Scores) -> list[str]:
    """Columns."""
    parquet.write_table(pa.Table.from_pylist(table_rows(scores)), folder / "scores.parquet")
    return [str(folder / "scores.parquet")]


WRITERS: Mapping[str, Callable[[Path, Scores], list[str]]] = {
    "inspect .json": write_inspect_json,
    "inspect .eval": write_inspect_eval,
    "lm_eval": write_lm_eval,
    "lmms_eval": write_lmms_eval,
    "csv": write_csv,
    "tsv": write_tsv,
    "json lines": write_json_lines,
    "parquet": write_parquet,
}
