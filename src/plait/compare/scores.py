"""The scores of a comparison as tables that other tools read: `scores.csv` and `scores.parquet`.

In: a `ScoreTable`, the groups of its samples by name, the arms' roles.
Out: both files in the comparison's folder, one row per arm, seed and sample.
Invariant: the mean of the shares over an arm's samples is that arm's score, and `plait compare --from` reads both back to the
same values, seeds, groups and roles. CSV is that of RFC 4180 in UTF-8; numbers have all their digits.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plait.compare.statistics import ScoreTable
from plait.run import replacing

SCORES, TABLE = "scores.parquet", "scores.csv"


class Said(NamedTuple):
    """What a record has of a sample: the model's words, their own score, their bits."""

    output: str | None = None
    score: float | None = None
    bits: float | None = None


Details = Callable[[str, int, str], Said]
"""Arm, seed, id → what the record has."""


def write_scores(
    folder: Path,
    table: ScoreTable,
    *,
    groups: Sequence[Mapping[str, str]],
    roles: Mapping[str, str],
    details: Details | None = None,
) -> None:
    """Both tables. Without `details` a sample's own score is its share."""
    names = list(dict.fromkeys(name for of in groups for name in of))
    write_parquet(folder / SCORES, table, names, groups, roles, details)
    write_csv(folder / TABLE, table, names, groups, roles)


def cells(table: ScoreTable) -> Iterator[tuple[str, int, int, str, float]]:
    """Arm, seed, the sample's place, its id and its share, row by row."""
    for a, arm in enumerate(table.arms):
        for s, seed in enumerate(table.seeds):
            for i, id in enumerate(table.ids):
                yield arm, seed, i, id, float(table.values[a, s, i])


def write_csv(
    path: Path,
    table: ScoreTable,
    names: Sequence[str],
    groups: Sequence[Mapping[str, str]],
    roles: Mapping[str, str],
) -> None:
    """The long format that R and pandas take: `score` is what the sample adds, so that its mean is the arm's score."""
    fixed = ("role", "split", "segment", "metric")
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(["arm", "seed", "id", *(f"group.{name}" for name in names), *fixed, "score"])
        for arm, seed, i, id, share in cells(table):
            of = [groups[i].get(name, "") for name in names]
            writer.writerow([arm, seed, id, *of, roles[arm], table.split, table.segment, table.metric, repr(share)])


def write_parquet(
    path: Path,
    table: ScoreTable,
    names: Sequence[str],
    groups: Sequence[Mapping[str, str]],
    roles: Mapping[str, str],
    details: Details | None,
) -> None:
    """Beside the share also what was said, its own score and its bits."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    columns: dict[str, list[Any]] = {
        name: [] for name in ("arm", "seed", "id", "output", "score", "share", "bits", "role")
    }
    columns |= {f"group.{name}": [] for name in names}
    for arm, seed, i, id, share in cells(table):
        said = details(arm, seed, id) if details is not None else Said(score=share)
        values = (arm, seed, id, said.output, said.score, share, said.bits, roles[arm])
        for column, value in zip(columns.values(), (*values, *(groups[i].get(name) for name in names)), strict=True):
            column.append(value)
    types = {"output": pa.string(), "score": pa.float64(), "bits": pa.float64()}
    made = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    metadata = {"segment": table.segment, "metric": table.metric, "split": table.split}
    with replacing(path) as part:
        parquet.write_table(pa.table(made).replace_schema_metadata(metadata), part, compression="zstd")
