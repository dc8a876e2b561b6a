"""Damaged and hostile files: one message each, never a traceback, and none of them is read for long."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from others_helpers import FIXTURES, SMALL, WRITERS, drawn, inspect_log

from plait.compare.others import arms, read_source, table
from plait.compare.others.sheet import Sheet
from plait.errors import UserError

SCORES = drawn(num_seeds=2, num=6)
ODD: list[Any] = [
    *(
        None,
        True,
        [],
        {},
        [1],
        {"a": 1},
        "",
        "x",
        "\ud800",
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        10**400,
        -(10**30),
    ),
    *("C", "nan", "1_0", " ", [[]], {"a": {"b": {"c": {"d": {"e": {}}}}}}, "a" * 3000, 2**63, "\0", "a\nb", 1.5),
]


def followed(path: Path, group_by: tuple[str, ...] = ()) -> None:
    """The whole way to a table of scores; a single arm is compared with itself."""
    sheets, _ = arms.of_task(read_source(path, group_by), None)
    if len({sheet.arm for sheet in sheets}) < 2:
        sheets += [replace(sheet, arm=f"{sheet.arm} too", evaluation="") for sheet in sheets]
    metric, _ = table.chosen_metric(sheets, None)
    table.score_table_of(arms.arms_of(sheets), task=sheets[0].task, metric=metric)


def is_refused(path: Path, group_by: tuple[str, ...] = ()) -> bool:
    """Whether it ends with a message, which must be short and printable; anything but a message or a table is a fault."""
    message = ""
    try:
        followed(path, group_by)
    except UserError as error:
        message = str(error)
    assert message.encode() == message.encode("utf-8", "replace")
    assert len(message) < 700
    return bool(message)


def damaged(data: bytes, draw: random.Random) -> bytes:
    """Cut off, bits turned, parts taken out, doubled or overwritten."""
    changed = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 3, 10])):
        size = len(changed)
        if not size:
            break
        a = draw.randrange(size)
        b = min(size, a + draw.randrange(1, 60))
        match draw.randrange(5):
            case 0:
                del changed[a:]
            case 1:
                changed[a] ^= 1 << draw.randrange(8)
            case 2:
                del changed[a:b]
            case 3:
                changed[a:a] = changed[a:b]
            case 4:
                changed[a:b] = draw.randbytes(b - a)
    return bytes(changed)


@pytest.mark.parametrize("kind", [*WRITERS, "inspect itself"])
def test_damaged_bytes(kind: str, tmp_path: Path):
    path = SMALL if kind == "inspect itself" else Path(WRITERS[kind](tmp_path, SCORES)[0])
    data, draw, refused = path.read_bytes(), random.Random(kind), 0
    for number in range(60):
        changed = tmp_path / f"{number}{path.suffix}"
        changed.write_bytes(damaged(data, draw))
        refused += is_refused(changed)
    assert refused > 5


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value inside."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*at, key))


def with_odd(value: Any, draw: random.Random) -> Any:
    """One value inside exchanged for an odd one."""
    changed = copy.deepcopy(value)
    *way, last = draw.choice(list(places(value)))
    part = changed
    for key in way:
        part = part[key]
    part[last] = draw.choice(ODD)
    return changed


def real(folder: str, pattern: str) -> Path:
    return sorted((FIXTURES / folder).glob(pattern))[0]


@pytest.mark.parametrize("kind", ["inspect", "real inspect", "samples", "results", "table"])
def test_odd_values(kind: str, tmp_path: Path):
    """Whatever stands where a value is looked for: a score, a refusal, or nothing that is read."""
    draw, group_by = random.Random(kind), ()
    samples = [json.loads(line) for line in real("lm_eval", "*small/samples*").read_text("utf-8").splitlines()]
    results = json.loads(real("lm_eval", "*small/results*").read_text("utf-8"))
    log = (
        inspect_log("a", SCORES["acme/weak"])
        if kind == "inspect"
        else json.loads(SMALL.with_suffix(".json").read_bytes())
    )
    rows = [{"arm": "ab"[i % 2], "id": str(i // 2), "seed": 0, "score": i / 9, "group": {"x": "y"}} for i in range(8)]
    for _ in range(150):
        if kind in ("inspect", "real inspect"):
            path, texts, group_by = tmp_path / "log.json", [with_odd(log, draw)], ("speaker",)
        elif kind == "table":
            path, texts = tmp_path / "rows.jsonl", with_odd(rows, draw)
        else:
            path = tmp_path / "samples_signs_2026-11-28T18-49-43.019345.jsonl"
            other = with_odd(results, draw) if kind == "results" else results
            (tmp_path / "results_2026-11-28T18-49-43.019345.json").write_text(json.dumps(other), "utf-8")
            texts = samples if kind == "results" else with_odd(samples, draw)
        path.write_text("".join(json.dumps(text) + "\n" for text in texts), "utf-8")
        is_refused(path, group_by)


def test_deep_nesting_is_refused(tmp_path: Path):
    for name, text in (("a.jsonl", "[" * 100_000), ("a.json", '{"version": ' + "[" * 100_000)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="is not JSON"):
            read_source(tmp_path / name)


@pytest.mark.skipif(os.name == "nt", reason="pipes are files on POSIX only")
@pytest.mark.parametrize("name", ["pipe.eval", "pipe.csv", "results"])
def test_a_pipe_is_refused_without_waiting(name: str, tmp_path: Path):
    """Also where it takes the place of the results beside the samples."""
    if name == "results":
        path = tmp_path / "samples_x_2026-11-28T18-49-43.jsonl"
        path.write_text('{"doc_id": 1, "acc": 1}\n', encoding="utf-8")
        os.mkfifo(tmp_path / "results_2026-11-28T18-49-43.json")
        assert "were not found" in read_source(path)[0].notes[0]
        return
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="is not an ordinary file"):
        read_source(tmp_path / name)


def test_a_small_table_of_very_many_rows_is_refused_before_they_are_read(tmp_path: Path):
    """Run lengths: 20 million rows in a few KB."""
    rows = 20_000_000
    column = pa.DictionaryArray.from_arrays(pa.array(bytearray(rows), pa.int8()), pa.array(["x"]))
    parquet.write_table(pa.table({"id": column, "score": pa.array(bytearray(rows), pa.int8())}), tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 1_000_000
    with pytest.raises(UserError, match="has 20,000,000 rows; 10,000,000 are read at most"):
        read_source(tmp_path / "t.parquet")


def test_a_sheet_is_plain_data():
    """What a file says of itself is never looked up as a name of Python's."""
    (sheet,) = read_source(SMALL)
    assert isinstance(sheet, Sheet)
    assert all(isinstance(value, str) for value in sheet.settings.values())
