"""What a row may hold, in JSONL above all: a row's mistake or one message, and never a traceback."""

from __future__ import annotations

import json
import os
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from plait.data.config import DataConfig
from plait.data.manifest import Dataset, read_manifest
from plait.data.splits import SplitConfig
from plait.errors import UserError, did_you_mean, nearest
from plait.train.fingerprint import fingerprint


def read(folder: Path, *lines: str | dict[str, Any] | bytes, **options: Any) -> Dataset:
    """The data set of a JSONL file with these lines, what cannot be used left out."""
    shown = [json.dumps({"split": "train", **line}) if isinstance(line, dict) else line for line in lines]
    (folder / "m.jsonl").write_bytes(b"\n".join(one.encode() if isinstance(one, str) else one for one in shown) + b"\n")
    only = SplitConfig(fractions={"train": 1.0})
    return read_manifest(folder / "m.jsonl", on_error="skip", may_be_empty=True, split=only, **options)


LONE = "\ud800"


@pytest.mark.parametrize(
    "row",
    [
        {"group": {LONE: "a"}},
        {"group": {"a": LONE}},
        {"group": LONE},
        {"tags": {LONE: "a"}},
        {"tags": {"a": LONE}},
        {f"group.{LONE}": "a"},
        {f"tags.{LONE}": "a"},
        {"id": LONE},
        {"text": LONE},
        {"target": {LONE: "a"}},
        {"target": {"a": LONE}},
        {"image": f"{LONE}.png"},
        {"audio": LONE},
        {"split": LONE},
        {LONE: "a"},
    ],
)
def test_half_a_character_is_the_mistake_of_its_row(tmp_path: Path, row: dict[str, Any]) -> None:
    """Previously a lone surrogate as the name of a group passed, and training ended with a traceback."""
    dataset = read(tmp_path, {"target": "x"}, {"target": "x"} | row)
    assert len(dataset.samples) == 1
    (left,) = dataset.left_out
    assert left.where.endswith(":2")
    json.dumps(asdict(left), ensure_ascii=False).encode()
    fingerprint(dataset.samples, tmp_path, DataConfig(manifest="m"))


def test_nul_in_the_name_of_a_group(tmp_path: Path) -> None:
    assert read(tmp_path, {"target": "x", "group": {"a\0b": "c"}}).left_out[0].code == "nul"


@pytest.mark.parametrize("field", ["id", "text", "target", "image", "audio", "split", "group", "tags"])
@pytest.mark.parametrize(
    "value",
    [
        *("NaN", "Infinity", "-Infinity", "1e999", "1e300", "9" * 4000, "9" * 5000, "true", "null", "[]", "{}", '""'),
        "[" * 400 + "]" * 400,
        "[" * 990 + "]" * 990,
        "[" * 100_000,
        '{"a":' * 400 + "1" + "}" * 400,
        '{"a": 1, "a": 2}',
        '{"a": null}',
        "[null]",
        r'"\ud83d"',
        r'"\u0000"',
    ],
    ids=lambda value: value[:12],
)
def test_any_json_value_in_any_field(tmp_path: Path, field: str, value: str) -> None:
    target = "" if field == "target" else ', "target": "x"'
    dataset = read(
        tmp_path,
        f'{{"split": "train", "{field}": {value}{target}}}' if field != "split" else f'{{"split": {value}{target}}}',
    )
    assert len(dataset.samples) + len(dataset.left_out) == 1
    json.dumps([asdict(left) for left in dataset.left_out], ensure_ascii=False).encode()
    assert all(len(left.reason) < 700 for left in dataset.left_out)


def test_a_number_that_is_none_is_no_id(tmp_path: Path) -> None:
    dataset = read(tmp_path, '{"id": NaN, "target": "x"}', {"id": "Nan", "target": "y"}, {"id": "nan", "target": "z"})
    assert [left.reason.partition(".")[0] for left in dataset.left_out] == ["id is NaN"] * 2
    assert [sample.id for sample in dataset.samples] == ["Nan"]


def test_only_byte_10_ends_a_line(tmp_path: Path) -> None:
    texts = ["a\u2028b", "a\u2029b", "a\u0085b", "a\u000bb", "a\u000cb"]
    dataset = read(tmp_path, *(json.dumps({"target": text, "split": "train"}, ensure_ascii=False) for text in texts))
    assert [sample.references[0]["target"] for sample in dataset.samples] == texts


def test_marks_and_ends_of_lines(tmp_path: Path) -> None:
    row = b'{"target": "x", "split": "train"}'
    dataset = read(tmp_path, b"\xef\xbb\xbf" + row + b"\r", b"", b"\r", row, b"\xef\xbb\xbf", b"  " + row + b" \r")
    assert (len(dataset.samples), dataset.left_out) == (3, [])


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv", "m.tsv"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_named(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_bytes('{"target": "x"}\n'.encode(encoding))
    with pytest.raises(UserError, match="UTF-16"):
        read_manifest(tmp_path / name)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet", ".json", ".ndjson"])
def test_a_manifest_is_an_ordinary_file(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"zero{suffix}").symlink_to("/dev/zero")
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    for name in ("pipe", "zero"):
        with pytest.raises(UserError, match="the manifest is not an ordinary file"):
            read_manifest(tmp_path / f"{name}{suffix}")
    for path in (tmp_path / f"loop{suffix}", tmp_path / ("x" * 300 + suffix), f"{tmp_path}/\0{suffix}"):
        with pytest.raises(UserError, match="the manifest cannot be read"):
            read_manifest(path)


# -- what was probably meant --

NFC = unicodedata.normalize("NFC", "café.png")
NFD = unicodedata.normalize("NFD", "café.png")


@pytest.mark.parametrize(("there", "said"), [(NFC, NFD), (NFD, NFC), (NFD.upper(), NFC)])
def test_a_file_in_the_other_unicode_form_is_pointed_at(tmp_path: Path, there: str, said: str) -> None:
    """Previously é as one character and as two were nothing alike, and looked the same in the message."""
    (tmp_path / there).write_bytes(b"x")
    reason = read(tmp_path, {"image": said, "target": "x"}).left_out[0].reason
    assert f"Did you mean {there!r}" in reason
    if there.lower() == there:
        form = "NFC" if there == NFC else "NFD"
        assert f"(the same letters in the other Unicode form, {form}: copy the name from there)" in reason


def test_names_of_segments_and_manifests_in_the_other_unicode_form(tmp_path: Path) -> None:
    assert nearest("é", ["z", "e\u0301"]) == "e\u0301"
    assert "other Unicode form, NFC" in did_you_mean("antwo\u0308rt", ["antwört", "frage"])
    assert "form" not in did_you_mean("antwort", ["antwört"])
    read(tmp_path, {"target": {"antwört": "x"}})
    with pytest.raises(UserError, match=r"Did you mean 'antwört' \(the same letters in the other Unicode form"):
        read_manifest(tmp_path / "m.jsonl", segments=["antwo\u0308rt"])
    (tmp_path / f"{NFD}.jsonl").write_bytes(b"x")
    with pytest.raises(UserError, match=rf"the manifest is missing. Did you mean .*{NFD}.jsonl"):
        read_manifest(tmp_path / f"{NFC}.jsonl")


@pytest.mark.parametrize(
    "address",
    [
        "http://x/a.png",
        "HTTP://x/a.png",
        "file:///a.png",
        "FILE:///a.png",
        "s3://b/a.png",
        "Ftp://x/a",
        "data:image/png",
        "x-y.z+1://a",
    ],
)
def test_an_address_is_called_one(tmp_path: Path, address: str) -> None:
    """Previously only some schemes in lower case were; the others were missing files."""
    for row in ({"image": address, "target": "x"}, {"audio": address, "target": "x"}):
        (left,) = read(tmp_path, row).left_out
        assert "is an address, not a file. Download it" in left.reason
    absolute = [tmp_path / address] if "://" in address else []  # as a configuration makes it
    for path in (address, *absolute):
        with pytest.raises(UserError, match=r"the manifest is missing\. This is an address, not a file"):
            read_manifest(path)


def test_the_home_folder_is_not_expanded_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    (left,) = read(tmp_path, {"image": "~/a.png", "target": "x"}).left_out
    said = "'~' is not expanded here: write the home folder in full, /home/anna/"
    assert said + "a.png" in left.reason
    for path in ("~/m.jsonl", tmp_path / "~" / "m.jsonl"):
        with pytest.raises(UserError, match=said + r"m\.jsonl"):
            read_manifest(path)
    (tmp_path / "~").mkdir()  # a folder that is called so is one
    (tmp_path / "~" / "a.png").write_bytes(b"x")
    assert read(tmp_path, {"image": "~/a.png", "target": "x"}).samples


def test_a_long_name_of_a_field_is_compared_in_no_time(tmp_path: Path) -> None:
    (left,) = read(tmp_path, {"target" * 500_000: "x"}).left_out
    assert left.code == "unknown-field"
    assert len(left.reason) < 500
