"""A record is read back as it was written, survives a crash, and refuses what is none."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from test_evaluate_score import CONFIG, TRAIN, evaluated, make

from plait.errors import UserError
from plait.evaluate import evaluate_outputs, read_record, record_path, write_record


def test_written_is_read(tmp_path: Path) -> None:
    record = evaluated(inputs=("text",))
    path = record_path(tmp_path, "test")
    write_record(record, path)
    assert read_record(path) == record
    assert sorted(p.name for p in path.parent.iterdir()) == ["test.json", "test.parquet"]


def test_nulls_are_read_back_as_none(tmp_path: Path) -> None:
    samples, outputs, _ = make(5)
    record = evaluate_outputs(samples, [None, *outputs[1:]], config=CONFIG, train_targets=TRAIN)
    write_record(record, tmp_path / "r.parquet")
    back = read_record(tmp_path / "r.parquet")
    assert back == record
    assert back.rows[0].segments["heard"].output is None
    assert back.rows[0].seconds is None


def test_the_json_beside_it_has_the_stated_shape(tmp_path: Path) -> None:
    write_record(evaluated(), tmp_path / "test.parquet")
    summary = json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))
    found = summary["metrics"]["answer"]["accuracy"]
    assert {"value", "low", "high", "n"} <= set(found)
    assert set(summary["by"]["pattern=spoken"]["answer"]["accuracy"]) == set(found)
    assert summary["seed"] == 3
    assert summary["n"] == 60
    assert summary["split"] == "test"
    assert summary["config"]["num_resamples"] == 200
    assert {"plait", "torch", "jiwer", "sacrebleu", "python"} <= set(summary["versions"])
    assert "jiwer" in summary["definitions"]["heard"]["wer"]


def test_the_columns_are_plain(tmp_path: Path) -> None:
    write_record(evaluated(), tmp_path / "test.parquet")
    table = parquet.read_table(tmp_path / "test.parquet")
    assert table.num_rows == 60
    assert {"id", "inputs", "tags", "groups", "seconds", "heard.output", "heard.wer", "answer.accuracy"} <= set(
        table.column_names
    )
    assert {"answer.references", "answer.bits", "answer.num_tokens", "answer.log_probability"} <= set(
        table.column_names
    )
    assert table.schema.field("heard.references").type == pa.list_(pa.string())


def test_a_crash_while_writing_leaves_the_previous_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test.parquet"
    record = evaluated()
    write_record(record, path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(UserError, match=r"cannot write test\.parquet: No space left"):
        write_record(evaluated(by=()), path)
    monkeypatch.undo()
    assert read_record(path) == record
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test.json", "test.parquet"]


def test_names_of_records(tmp_path: Path) -> None:
    inputs = ("audio", "image")
    assert record_path(tmp_path, "test").name == "test.parquet"
    assert record_path(tmp_path, "tune", inputs).name == "tune-image+audio.parquet"
    assert record_path(tmp_path, "test", ()).name == "test-no_input.parquet"


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such record"):
        read_record(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not parquet", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_record(tmp_path / "text.parquet")
    parquet.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="is no record of an evaluation"):
        read_record(tmp_path / "other.parquet")
    later = pa.table({"id": ["a"]}).replace_schema_metadata({b"plait": b'{"format": 99}'})
    parquet.write_table(later, tmp_path / "later.parquet")
    with pytest.raises(UserError, match="is a record of format 99, this version reads 1"):
        read_record(tmp_path / "later.parquet")
    write_record(evaluated(), tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_record(tmp_path / "cut.parquet")
    for half in (b'{"format": 1}', b'{"form', b"[]", b'{"format": 1, "metrics": 3, "by": {}}'):
        table = pa.table({"id": ["a"]}).replace_schema_metadata({b"plait": half})
        parquet.write_table(table, tmp_path / "half.parquet")
        with pytest.raises(UserError, match=r"is a damaged record.*Evaluate the run again"):
            read_record(tmp_path / "half.parquet")


def test_the_path_follows_the_order_of_the_run(tmp_path: Path):
    """Previously inputs with names of their own stood in the order of a set, another one in every process."""
    order = ("voice", "before", "after")
    path = record_path(tmp_path, "test", {"after", "voice"}, order=order)
    assert path.name == "test-voice+after.parquet"
    assert record_path(tmp_path, "test", ["text", "image"]).name == "test-text+image.parquet"
    assert record_path(tmp_path, "test", ["image", "text"]).name == "test-text+image.parquet"


def test_no_two_sets_of_inputs_have_one_path(tmp_path: Path):
    names = [f"a_rather_long_name_of_camera_{k}" for k in range(9)]
    paths = {record_path(tmp_path, "test", names[:n] if n else (), order=names).name for n in range(10)}
    paths |= {record_path(tmp_path, "test", ["no_input"]).name, record_path(tmp_path, "test").name}
    assert len(paths) == 12
    assert max(map(len, paths)) < 200
