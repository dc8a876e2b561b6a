"""Plain tables of scores: CSV, TSV, JSON lines and Parquet, one row per arm, seed and sample, as `plait compare` writes them.

In: a table with the columns `id` and `score`, and any of `arm`, `seed`, `metric`, `segment`, `split`, `target`, `role`,
`group.NAME`.
Out: a `Sheet` per arm and segment.
Invariant: columns `group.NAME` are groups; others are read only where `--group-by` names them. Parquet's rows are counted before
any are read, and a repeated text is held once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from plait.compare.others.sheet import (
    MAX_BYTES,
    MAX_ROWS,
    Format,
    Row,
    Sheet,
    check_groups_found,
    encodable,
    flattened,
    groups_of,
    name,
    parsed,
    plain_number,
    shown,
    target_of,
    whole,
)
from plait.compare.result import Role
from plait.data.row import readable
from plait.errors import UserError
from plait.files import open_regular, read_bytes

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
SCORE, SHARE = "score", "share"
"""A table with both is the scores.parquet of a comparison: a sample's own score, and what it adds to that of its arm."""

COLUMNS = ("arm", "seed", "id", SCORE, SHARE, "metric", "segment", "split", "target", "role")
DEFAULT_METRIC, DEFAULT_TASK = "score", "samples"
Record = tuple[Mapping[str, Any], str]


def fits(path: Path, head: bytes) -> bool:
    """Whether a file looks like a table."""
    return path.suffix.lower() in SUFFIXES or head[:4] == b"PAR1"


def read(path: Path, group_by: Sequence[str]) -> list[Sheet]:
    """The table as sheets."""
    with open_regular(path) as file:
        is_parquet = file.read(4) == b"PAR1"
    if is_parquet or path.suffix.lower() == ".parquet":
        columns, records = parquet_rows(path, group_by)
    elif path.suffix.lower() in (".jsonl", ".ndjson"):
        columns, records = json_rows(path)
    else:
        columns, records = csv_rows(path)
    for column in columns:
        if not encodable(column):
            raise UserError(f"the column {shown(column)} is not valid Unicode", where=str(path))
    missing = [key for key in ("id", SCORE) if key not in columns and not (key == SCORE and SHARE in columns)]
    if missing:
        raise UserError(
            f"has no column {' and no column '.join(missing)} (it has {', '.join(columns[:12]) or 'none'})",
            where=str(path),
            right="A table of scores has id and score, and may have arm, seed, metric, target and group.NAME",
        )
    keys = [*(column for column in columns if column.startswith("group.")), *group_by]
    sheets = sheets_of(path, columns, records, list(dict.fromkeys(keys)))
    if group_by:
        rows = [row for sheet in sheets for row in sheet.rows]
        check_groups_found(rows, group_by, columns, str(path))
    return sheets


def sheets_of(path: Path, columns: Sequence[str], records: Iterable[Record], keys: Sequence[str]) -> list[Sheet]:
    """The rows by arm, role, segment and split; a sample's metrics come together."""
    column = SHARE if SHARE in columns else SCORE
    kinds: dict[tuple[str, str, str, str], dict[tuple[int, str], Row]] = {}
    for record, place in records:
        arm, role, segment, split, seed, metric = labels(record, path, place)
        rows = kinds.setdefault((arm, role, segment, split), {})
        id = name(record.get("id"), place, "`id`")
        row = Row(
            id, seed, {metric: record.get(column)}, groups_of([record], keys, place), target_of(record.get("target"))
        )
        there = rows.get((seed, id))
        if there is not None:
            if metric in there.scores:
                raise UserError(f"the sample {id} of {arm} at seed {seed} stands twice", where=place)
            if (there.groups, there.target) != (row.groups, row.target):
                raise UserError(f"the sample {id} has other targets or groups than on another row", where=place)
            row = there._replace(scores={**there.scores, **row.scores})
        rows[seed, id] = row
    return [
        Sheet(
            path,
            arm,
            segment,
            list(rows.values()),
            plain_number,
            own_seeds="seed" in columns,
            role=role,
            split=split,
            ours="role" in columns,
            named="arm" in columns,
        )
        for (arm, role, segment, split), rows in kinds.items()
    ]


def labels(record: Mapping[str, Any], path: Path, place: str) -> tuple[str, str, str, str, int, str]:
    """Arm, role, segment, split, seed and metric of a row; what has no column has its default."""

    def text(key: str, default: str) -> str:
        value = record.get(key)
        return default if value is None or value == "" else name(value, place, f"`{key}`")

    role = text("role", "candidate")
    if role not in get_args(Role):
        raise UserError(f"unknown role {shown(role)}", where=place, right=f"Known: {', '.join(get_args(Role))}")
    seed = 0 if record.get("seed") in (None, "") else whole(record["seed"], place, "`seed`")
    segment, metric = text("segment", DEFAULT_TASK), text("metric", DEFAULT_METRIC)
    return text("arm", path.stem), role, segment, text("split", ""), seed, metric


def csv_rows(path: Path) -> tuple[list[str], Iterator[Record]]:
    """Header and rows of a text; the sign between columns is the one that the header has."""
    with open_regular(path) as file:
        head = file.readline(MAX_BYTES)
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=lambda sign: head.count(sign.encode()))
    rows = raw_rows(path, separator)
    columns, _ = next(rows, ([], ""))
    if len(set(columns)) < len(columns):
        raise UserError("two columns have the same name", where=str(path))

    def records() -> Iterator[Record]:
        for values, place in rows:
            if len(values) != len(columns):
                right = f"A row has {len(columns)} columns; a value with {separator!r} in it stands in quotes"
                raise UserError(f"has {len(values)} columns", where=place, right=right)
            yield dict(zip(columns, values, strict=True)), place

    return columns, records()


def raw_rows(path: Path, separator: str) -> Iterator[tuple[list[str], str]]:
    """The rows that are not empty, with their places."""
    with open_regular(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            for number, values in enumerate(reader):
                if number > MAX_ROWS:
                    raise UserError(f"has more than {MAX_ROWS:,} rows", where=str(path))
                if values:
                    yield values, f"{path}:{reader.line_num}"
        except UnicodeDecodeError as error:
            raise UserError(f"is not UTF-8: {error.reason}", where=f"{path}:{reader.line_num + 1}") from None
        except csv.Error as error:
            raise UserError(f"is no table: {error}", where=f"{path}:{reader.line_num}") from None


def json_rows(path: Path) -> tuple[list[str], Iterator[Record]]:
    """Columns and rows of a file with one mapping a line; a mapping inside gives columns with a dot."""

    def records() -> Iterator[Record]:
        with open_regular(path) as file:
            for number in range(1, MAX_ROWS + 2):
                line = file.readline(MAX_BYTES + 1)
                place = f"{path}:{number}"
                if not line:
                    return
                if len(line) > MAX_BYTES or number > MAX_ROWS:
                    raise UserError("is too large for a table of scores", where=place)
                if line.strip():
                    value = parsed(line, place)
                    if not isinstance(value, dict):
                        raise UserError(f"must be a mapping of columns, not {shown(value)}", where=place)
                    yield dict(flattened(value)), place

    rows = list(records())
    return list(dict.fromkeys(key for record, _ in rows for key in record)), iter(rows)


def parquet_rows(path: Path, group_by: Sequence[str]) -> tuple[list[str], Iterator[Record]]:
    """Columns and rows of a Parquet file, only those that are used; segment, metric and split may stand in its metadata."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    right = "It may be cut off or damaged: write it again"
    try:
        # out of memory, without threads: one that still read a file of Python's when the program ended would abort it
        source = pa.BufferReader(read_bytes(path, max_bytes=4 * MAX_BYTES))
        schema, rows = parquet.read_schema(source), parquet.read_metadata(source).num_rows
        if rows > MAX_ROWS:
            raise UserError(f"has {rows:,} rows; {MAX_ROWS:,} are read at most", where=str(path))
        used = {*COLUMNS, *group_by}
        wanted = [f.name for f in schema if f.name in used or f.name.startswith("group.")]
        if len(set(wanted)) < len(wanted):
            raise UserError("two columns have the same name", where=str(path))
        texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
        source.seek(0)
        table = parquet.ParquetFile(source, read_dictionary=texts).read(columns=wanted, use_threads=False)
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError, NotImplementedError) as error:
        if isinstance(error, UserError):
            raise
        message = next(iter(readable(str(error)).splitlines()), "") or type(error).__name__
        raise UserError(f"is not readable as Parquet: {message}", where=str(path), right=right) from None
    known = {key: value for key, value in (schema.metadata or {}).items() if key in (b"segment", b"metric", b"split")}
    fixed = {key.decode(): value.decode("utf-8", "replace") for key, value in known.items()}

    def records() -> Iterator[Record]:
        number = 0
        for batch in table.to_batches():
            lists = [values_of(batch.column(i), name, path) for i, name in enumerate(wanted)]
            for values in zip(*lists, strict=True):
                number += 1
                yield {**fixed, **dict(zip(wanted, values, strict=True))}, f"{path}, row {number}"

    return [*schema.names, *fixed], records()


def values_of(column: Any, name: str, path: Path) -> list[Any]:
    """A column as values of Python; those of a dictionary are one object each, however often they stand there."""
    import pyarrow as pa

    try:
        if not pa.types.is_dictionary(column.type):
            return column.to_pylist()
        texts = column.dictionary.to_pylist()
        return [None if place is None else texts[place] for place in column.indices.to_pylist()]
    except Exception as error:  # pyarrow raises what it likes: of Unicode, of times that Python has not
        message = next(iter(readable(str(error)).splitlines()), "") or type(error).__name__
        raise UserError(f"the column {shown(name)} is not readable: {message}", where=str(path)) from None


FORMAT = Format("tables of scores (.csv, .tsv, .jsonl, .parquet) with the columns id and score", fits, read)
