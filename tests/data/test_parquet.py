"""Parquet: a value that cannot be read is its row's mistake; columns that are not read cannot be wrong."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.data.check import check, write_clean
from plait.data.manifest import Dataset, read_manifest
from plait.errors import UserError

NUM_ROWS = 6
SPLITS = ["train"] * NUM_ROWS


def spoilt(kind: Any = None) -> pa.Array:
    """Texts of which the second is not UTF-8, as a writer that does not look leaves them."""
    texts = pa.array([b"ok", b"\xff\xfe bad", b"fine", "ü".encode(), None, b"last"], pa.binary())
    return pa.Array.from_buffers(kind or pa.string(), len(texts), texts.buffers())


def read(folder: Path, columns: dict[str, Any], **options: Any) -> Dataset:
    pq.write_table(pa.table(columns), folder / "m.parquet")
    return read_manifest(folder / "m.parquet", on_error="skip", **options)


@pytest.mark.parametrize("column", ["target", "text", "id", "group.speaker", "tags.mood", "target.answer", "image"])
def test_a_text_that_is_not_utf8_is_the_mistake_of_its_row(tmp_path: Path, column: str) -> None:
    """Previously one such value was a traceback, whatever `on_error` said."""
    columns = {"split": SPLITS, "_row": list(range(NUM_ROWS)), column: spoilt()}
    if not column.startswith("target"):
        columns["target"] = ["x"] * NUM_ROWS
    dataset = read(tmp_path, columns)
    wrong = next(left for left in dataset.left_out if left.where.endswith("row 2"))
    assert wrong.code == "not-utf8"
    assert wrong.reason.startswith(f"{column} is not UTF-8 (byte 1)")
    if column != "image":
        assert {left.where.rpartition(" ")[2] for left in dataset.left_out} <= {"2", "5"}


def test_a_list_of_texts_that_are_not_utf8(tmp_path: Path) -> None:
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4, 4, 6], pa.int32()), spoilt())
    dataset = read(tmp_path, {"split": SPLITS, "target": lists})
    assert [left.where.rpartition(" ")[2] for left in dataset.left_out if left.code == "not-utf8"] == ["2"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1700000000123456789 + n for n in range(NUM_ROWS)], pa.timestamp("ns")),
        pa.array([2**62] * NUM_ROWS, pa.timestamp("us")),
        spoilt(),
    ],
)
def test_a_note_that_python_has_no_value_for_is_not_read(tmp_path: Path, column: pa.Array) -> None:
    """Previously `timestamp[ns]` was a traceback even in a column that is not read; in a clean manifest it is a text."""
    dataset = read(tmp_path, {"split": SPLITS, "target": [f"x{n}" for n in range(NUM_ROWS)], "_created": column})
    assert (len(dataset.samples), dataset.left_out) == (NUM_ROWS, [])
    cleaned = write_clean(check(dataset), dataset, tmp_path / "clean.jsonl")
    notes = [json.loads(line)["_created"] for line in cleaned.path.read_text(encoding="utf-8").splitlines()]
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        assert notes[0] == "2023-11-14 22:13:20.123456789"
    assert len(notes) == NUM_ROWS


def test_a_time_as_an_id_is_the_mistake_of_its_row(tmp_path: Path) -> None:
    times = pa.array([1700000000123456789, *[None] * 5], pa.timestamp("ns"))
    dataset = read(tmp_path, {"id": times, "split": SPLITS, "target": ["x"] * NUM_ROWS})
    assert [(left.code, left.where.rpartition(" ")[2]) for left in dataset.left_out] == [("type", "1")]
    assert "id is a value of the type timestamp[ns], which is not read" in dataset.left_out[0].reason


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
)
def test_types_of_text(tmp_path: Path, kind: Any) -> None:
    texts = pa.array(["a", "ü", "a", None, "", "b"]).cast(kind)
    samples = read(tmp_path, {"split": SPLITS, "text": texts, "target": ["x"] * NUM_ROWS}).samples
    assert [sample.text for sample in samples] == ["a", "ü", "a", None, None, "b"]


@pytest.mark.parametrize(
    "values",
    [
        [b"x"] * NUM_ROWS,
        [[["x"]]] * NUM_ROWS,
        [{"a": {"b": {"c": "x"}}}] * NUM_ROWS,
        [1.5] * NUM_ROWS,
        [True] * NUM_ROWS,
        pa.array([[("a", "x")]] * NUM_ROWS, pa.map_(pa.string(), pa.string())),
        pa.array(["1.5"] * NUM_ROWS).cast(pa.decimal128(5, 2)),
        pa.nulls(NUM_ROWS),
    ],
)
@pytest.mark.parametrize("column", ["target", "id", "text", "image", "group", "tags.mood", "split"])
def test_values_of_other_types_are_mistakes_of_their_rows(tmp_path: Path, values: Any, column: str) -> None:
    columns = {"split": SPLITS, "target": ["x"] * NUM_ROWS, column: values}
    dataset = read(tmp_path, columns, may_be_empty=True)
    assert len(dataset.samples) + len(dataset.left_out) == NUM_ROWS
    assert all(left.reason for left in dataset.left_out)


def test_only_the_columns_of_a_row_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = pq.ParquetFile.iter_batches

    def iter_batches(self: Any, *args: Any, **options: Any) -> Any:
        asked.append(options["columns"])
        return original(self, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)
    read(tmp_path, {"split": SPLITS, "target": ["x"] * NUM_ROWS, "_large": ["y" * 1000] * NUM_ROWS})
    assert asked == [["split", "target"]]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_one_message(tmp_path: Path, share: float) -> None:
    pq.write_table(pa.table({"split": SPLITS, "target": ["x"] * NUM_ROWS}), tmp_path / "m.parquet")
    data = (tmp_path / "m.parquet").read_bytes()
    (tmp_path / "m.parquet").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"m\.parquet: not readable as Parquet"):
        read_manifest(tmp_path / "m.parquet")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_a_message_or_a_row(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    path = tmp_path / "m.parquet"
    columns = {"split": SPLITS, "target": ["x"] * NUM_ROWS, "text": ["é"] * NUM_ROWS, "group.a": [17.0] * NUM_ROWS}
    pq.write_table(pa.table(columns), path, compression="none")
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(data)
    with contextlib.suppress(UserError):
        dataset = read_manifest(path, on_error="skip", may_be_empty=True)
        json.dumps([left.reason for left in dataset.left_out], ensure_ascii=False).encode()
