"""scores.csv and scores.parquet: other tools read them, and `plait compare --from` finds the same in them."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
from others_helpers import LARGE, SMALL, drawn, write_csv

from plait.compare.compared import Settings
from plait.compare.others import compare_others, read_source
from plait.compare.result import ComparisonResult, read_result
from plait.compare.scores import write_scores
from plait.compare.statistics import ScoreTable

TABLES = ("scores.csv", "scores.parquet")


def same_statistics(one: ComparisonResult, other: ComparisonResult) -> None:
    """All that the scores decide."""
    assert [(arm.name, arm.role, arm.score, arm.against) for arm in one.arms] == [
        (arm.name, arm.role, arm.score, arm.against) for arm in other.arms
    ]
    assert [[(s.seed, s.score) for s in arm.seeds] for arm in one.arms] == [
        [(s.seed, s.score) for s in arm.seeds] for arm in other.arms
    ]
    assert (one.metric, one.seeds) == (other.metric, other.seeds)
    assert (one.decision.kind, one.decision.level, one.decision.detectable) == (
        other.decision.kind,
        other.decision.level,
        other.decision.detectable,
    )


@pytest.mark.parametrize("name", TABLES)
def test_a_comparison_of_logs_is_found_again_in_its_own_tables(name: str, tmp_path: Path):
    wanted = Settings(tmp_path / "one", (0,), metric="overlap")
    first = compare_others([SMALL, LARGE], wanted, group_by=["speaker"])
    again = compare_others([tmp_path / "one" / name], Settings(tmp_path / "two", (0,)))
    same_statistics(first, again)
    assert first.decision.sentence == again.decision.sentence
    assert dict(again.metric.num_groups) == {"speaker": 6}


@pytest.mark.parametrize("name", TABLES)
def test_a_comparison_of_trained_arms_is_found_again(name: str, compared: Path, tmp_path: Path):
    """With baselines, whose roles decide the verdict, and groups."""
    again = compare_others([compared / name], Settings(tmp_path / "two", (0,)))
    same_statistics(read_result(compared), again)


def test_a_ratio_metric_keeps_its_exact_value(tmp_path: Path):
    """Bits per token are no mean of the samples' own figures: the table holds what each adds."""
    random = np.random.default_rng(0)
    values = random.normal(3, 1, size=(2, 2, 30))
    groups = [{"picture": f"p{i % 7}", **({"voice": "x"} if i % 2 else {})} for i in range(30)]
    table = ScoreTable(
        ("a", "b"), (0, 5), tuple(f"id {i}" for i in range(30)), values, {"none": np.arange(30)},
        split="test", segment="answer", metric="bits_per_token", higher_is_better=False, percent=False,
    )  # fmt: skip
    write_scores(tmp_path, table, groups=groups, roles={"a": "candidate", "b": "text only"})
    for name in TABLES:
        sheets = {sheet.arm: sheet for sheet in read_source(tmp_path / name)}
        assert {arm: sheet.role for arm, sheet in sheets.items()} == {"a": "candidate", "b": "text only"}
        for a, sheet in enumerate(sheets.values()):
            assert [sheet.number(row.scores["bits_per_token"]) for row in sheet.rows] == values[a].ravel().tolist()
            assert [row.seed for row in sheet.rows] == [0] * 30 + [5] * 30
            assert [row.groups for row in sheet.rows[:30]] == groups
        result = compare_others([tmp_path / name], Settings(tmp_path / "out", (0,)))
        assert (result.metric.higher_is_better, result.metric.percent, result.metric.split) == (False, False, "test")


def test_strange_ids_and_names_survive(tmp_path: Path):
    """RFC 4180: commas, quotes and line breaks stand in quotes."""
    ids = (
        "a,b",
        'say "yes"',
        "line\nbreak",
        "carriage\rreturn",
        "tab\tbed",
        "späße 😀",
        "a\u2028b",
        " lead",
        "=1+1",
        "'",
    )
    table = ScoreTable(
        ("model, large", "model"), (0,), ids, np.ones((2, 1, len(ids))) / 3, {"none": np.arange(len(ids))},
        split="", segment="t", metric="m", higher_is_better=True, percent=True,
    )  # fmt: skip
    write_scores(tmp_path, table, groups=[{"g,h": id} for id in ids], roles=dict.fromkeys(table.arms, "candidate"))
    for name in TABLES:
        sheets = read_source(tmp_path / name)
        assert [sheet.arm for sheet in sheets] == ["model, large", "model"]
        assert [row.id for row in sheets[0].rows] == list(ids)
        assert [row.groups for row in sheets[1].rows] == [{"g,h": id} for id in ids]
        assert sheets[0].number(sheets[0].rows[0].scores["m"]) == 1 / 3


def test_the_table_is_csv_as_others_read_it(compared: Path):
    """By Python's csv and by Arrow's reader, which is not the one that wrote it."""
    raw = (compared / "scores.csv").read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == len(raw.decode("utf-8").splitlines())
    result = read_result(compared)
    with (compared / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    table = pyarrow.csv.read_csv(compared / "scores.csv")
    assert table.column_names == list(rows[0])
    assert table.column_names[:3] == ["arm", "seed", "id"]
    assert table.column_names[-1] == "score"
    assert len(rows) == table.num_rows == sum(len(arm.seeds) for arm in result.arms) * result.metric.num_samples
    for arm in result.arms:
        mine = [float(row["score"]) for row in rows if row["arm"] == arm.name]
        assert math.fsum(mine) / len(mine) == pytest.approx(arm.score, abs=1e-12)


def test_the_table_is_read_by_pandas_where_it_is_installed(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    (path,) = write_csv(tmp_path, drawn())
    result = compare_others([Path(path)], Settings(tmp_path / "out", (0,)), group_by=["speaker"])
    for frame in (
        pandas.read_csv(tmp_path / "out" / "scores.csv"),
        pandas.read_parquet(tmp_path / "out" / "scores.parquet"),
    ):
        means = frame.groupby("arm")["score"].mean()
        assert {arm.name: arm.score for arm in result.arms} == pytest.approx(means.to_dict())
        assert frame["group.speaker"].nunique() == 8
