"""Good manifests of every format, and each mistake with its message."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from PIL import Image

from plait.data.manifest import Dataset, read_manifest
from plait.data.splits import SplitConfig
from plait.errors import UserError


def jsonl(folder: Path, *rows: Any, name: str = "m.jsonl") -> Path:
    """A manifest of rows; a row that is a string is written as it is."""
    path = folder / name
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def table(folder: Path, text: str, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.fixture
def media(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "b.png")
    soundfile.write(tmp_path / "a.wav", np.zeros(160), 16000)
    return tmp_path


def message(path: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_manifest(path, **options)
    return str(caught.value)


ROWS: list[dict[str, Any]] = [
    {"id": "1", "split": "train", "group": "g", "image": "a.png", "audio": "a.wav", "target": "one"},
    {"id": "2", "split": "val", "text": "why?", "target": "two"},
    {"id": "3", "split": "test", "group": "h", "image": "b.png", "text": "who, «me»?", "target": "drei, ü"},
]


def as_csv(folder: Path) -> Path:
    with (folder / "m.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ["id", "split", "group", "image", "audio", "text", "target"])
        writer.writeheader()
        writer.writerows(ROWS)
    return folder / "m.csv"


def as_parquet(folder: Path) -> Path:
    names = ["id", "split", "group", "image", "audio", "text", "target"]
    pq.write_table(pa.Table.from_pylist([dict.fromkeys(names) | row for row in ROWS]), folder / "m.parquet")
    return folder / "m.parquet"


@pytest.mark.parametrize("write", [lambda folder: jsonl(folder, *ROWS), as_csv, as_parquet])
def test_formats_give_the_same_samples(media: Path, write: Any) -> None:
    dataset = read_manifest(write(media))
    one, two, three = dataset.samples
    assert (one.id, one.split, one.groups, one.references) == ("1", "train", {"group": "g"}, ({"target": "one"},))
    assert one.image == (media / "a.png",)
    assert one.audio == media / "a.wav"
    assert one.present == ("image", "audio")
    assert (two.split, two.text, two.image, two.audio, two.groups) == ("tune", "why?", (), None, {})
    assert (three.text, three.references[0]["target"]) == ("who, «me»?", "drei, ü")
    assert dataset.segments == ("target",)
    assert dataset.modalities == ("text", "image", "audio")
    assert not dataset.left_out
    assert not dataset.drawn
    assert dataset.split("dev") == [two] == dataset.split("tune")
    assert one.where.startswith(str(dataset.path))


def test_segments_and_references(tmp_path: Path) -> None:
    dataset = read_manifest(
        jsonl(
            tmp_path,
            {"split": "train", "target": {"heard": "what?", "answer": "red"}},
            {"split": "train", "target": [{"answer": "blue", "heard": ""}, {"heard": "ha", "answer": "sky blue"}]},
            {"split": "train", "target": {"heard": "how many?", "answer": ["2", "two"]}},
        )
    )
    assert dataset.segments == ("heard", "answer")
    assert [list(sample.references[0]) for sample in dataset.samples] == [["heard", "answer"]] * 3
    assert dataset.samples[1].references == ({"heard": "", "answer": "blue"}, {"heard": "ha", "answer": "sky blue"})
    assert dataset.samples[2].references == (
        {"heard": "how many?", "answer": "2"},
        {"heard": "how many?", "answer": "two"},
    )


def test_columns_for_segments_and_groupings(tmp_path: Path) -> None:
    text = (
        "target.heard;target.answer;group.picture;group.speaker;split;_note\n"
        'what;"[""red"", ""dark red""]";17;ann;train;seen\n'
        ";blue;18;;train;\n"
    )
    one, two = read_manifest(table(tmp_path, text)).samples
    assert one.references == ({"heard": "what", "answer": "red"}, {"heard": "what", "answer": "dark red"})
    assert two.references == ({"heard": "", "answer": "blue"},)
    assert (one.groups, two.groups) == ({"picture": "17", "speaker": "ann"}, {"picture": "18"})
    assert (one.id, two.id) == ("row-1", "row-2")


def test_a_text_in_brackets_stays_a_text(tmp_path: Path) -> None:
    text = 'text,target,split\n[noise],[laughter],train\n"[1, 2]",[3],train\n'
    one, two = read_manifest(table(tmp_path, text)).samples
    assert (one.text, one.references[0]["target"]) == ("[noise]", "[laughter]")
    assert (two.text, two.references[0]["target"]) == ("[1, 2]", "[3]")


def test_parquet_of_a_data_frame(media: Path) -> None:
    """Data frames write gaps as NaN and whole numbers beside gaps as floats."""
    columns = pa.table(
        {
            "id": [7, 8],
            "split": ["train", "train"],
            "group.picture": [17.0, float("nan")],
            "image": pa.array([["a.png", "b.png"], None]),
            "target": pa.array([{"heard": "a", "answer": "b"}, {"heard": "c", "answer": "d"}]),
            "text": pa.array([None, "t"]).dictionary_encode(),
        }
    )
    pq.write_table(columns, media / "m.parquet")
    one, two = read_manifest(media / "m.parquet").samples
    assert (one.id, one.groups, len(one.image)) == ("7", {"picture": "17"}, 2)
    assert (two.groups, two.text) == ({}, "t")
    assert two.where.endswith("m.parquet:row 2")


def test_inputs_and_segments_can_be_chosen(media: Path) -> None:
    path = jsonl(media, {"split": "train", "image": "a.png", "video": "v.mp4", "target": {"heard": "a", "answer": "b"}})
    (sample,) = read_manifest(path, inputs=["image"], segments=["answer"]).samples
    assert sample.present == ("image",)
    assert sample.references == ({"answer": "b"},)
    assert "no row has a segment 'answr'. Did you mean 'answer'?" in message(path, inputs=["image"], segments=["answr"])


def test_rows_to_be_answered_need_neither_target_nor_split(media: Path) -> None:
    path = jsonl(media, {"image": "a.png"}, {"text": "why?"})
    dataset = read_manifest(path, require_targets=False)
    assert [sample.split for sample in dataset.samples] == ["test", "test"]
    assert dataset.segments == ()
    assert ":1: the row has no target" in message(path)


def test_next_word_rows_have_a_target_only(tmp_path: Path) -> None:
    (sample,) = read_manifest(jsonl(tmp_path, {"target": "to be or not", "split": "train"})).samples
    assert sample.present == ()


def test_a_csv_cell_may_hold_line_breaks(tmp_path: Path) -> None:
    path = table(tmp_path, 'target,split\n"a\nb",train\nc,train\n')
    assert [sample.where.rsplit(":")[-1] for sample in read_manifest(path).samples] == ["2", "4"]


def test_folder_of_media(media: Path) -> None:
    folder = media / "set"
    for split in ("train", "val", "test"):
        (folder / split).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(folder / split / "one.v2.png")
        (folder / split / "one.v2.txt").write_text(f"a {split} picture\n", encoding="utf-8")
    soundfile.write(folder / "train" / "one.v2.wav", np.zeros(16), 16000)
    (folder / ".hidden").write_text("x", encoding="utf-8")
    (folder / "README.md").write_text("x", encoding="utf-8")
    dataset = read_manifest(folder)
    assert [(sample.id, sample.split) for sample in dataset.samples] == [
        ("test/one.v2", "test"),
        ("train/one.v2", "train"),
        ("val/one.v2", "tune"),
    ]
    assert dataset.samples[1].audio == folder / "train" / "one.v2.wav"
    assert dataset.samples[1].references == ({"target": "a train picture"},)
    assert [(one.where, one.code) for one in dataset.left_out] == [(f"{folder}/README.md", "other-file")]


def test_folder_of_texts_alone_is_next_word_data(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"text {name}", encoding="utf-8")
    dataset = read_manifest(tmp_path)
    assert dataset.drawn
    assert sorted(sample.split for sample in dataset.samples) == ["test", "train", "tune"]


def test_folder_with_a_manifest_means_it(media: Path) -> None:
    jsonl(media, {"image": "a.png", "target": "x", "split": "train"}, name="manifest.jsonl")
    assert read_manifest(media).path == media / "manifest.jsonl"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png"], "a.png: the row has no target"),
        (["a.png", "a.jpg", "a.txt"], "a.jpg and a.png have the same stem"),
        (["a.mp4", "a.txt"], "a.mp4: video is not read yet: 'a.mp4'"),
        (["README.md"], "the folder holds no media and no .txt files"),
        ([], "the folder holds no media and no .txt files"),
    ],
)
def test_folder_mistakes(tmp_path: Path, names: list[str], expected: str) -> None:
    for name in names:
        (tmp_path / name).write_text("something", encoding="utf-8")
    assert expected in message(tmp_path)


def test_folder_lists_a_text_without_media(media: Path) -> None:
    (media / "a.txt").write_text("a", encoding="utf-8")
    (media / "b.txt").write_text("b", encoding="utf-8")
    (media / "notes.txt").write_text("buy milk", encoding="utf-8")
    dataset = read_manifest(media, split=SplitConfig(fractions={"train": 1.0}))
    assert [sample.id for sample in dataset.samples] == ["a", "b"]
    assert [one.id for one in dataset.left_out] == ["notes"]


BAD_ROWS = [
    ({"target": "x", "imgae": "a.png"}, "m.jsonl:2: unknown field 'imgae'. Did you mean 'image'? Known: audio, "),
    ({"target": "x", "Caption": "a"}, "m.jsonl:2: unknown field 'Caption'. Did you mean 'target'? Known: id, "),
    ({"target": "x", "groupp.a": "a.png"}, "m.jsonl:2: unknown field 'groupp.a'. Did you mean 'group"),
    ({"target": "x", "target.": "a"}, "m.jsonl:2: unknown field 'target.'"),
    ({"text": "x"}, "m.jsonl:2: the row has no target. A target is a text, named segments"),
    ({"target": "  "}, "m.jsonl:2: the row has no target"),
    ({"target": {"a": "", "b": " "}}, "m.jsonl:2: the target is empty"),
    ({"target": None}, "m.jsonl:2: the row has no target"),
    ({"target": 1.5}, "m.jsonl:2: target is 1.5, not a text. Write it between quotes"),
    ({"target": True}, "m.jsonl:2: target is True, not a text"),
    ({"target": {"target": None}}, 'm.jsonl:2: target.target is null. Write ""'),
    ({"target": {"answer": "x"}}, "m.jsonl:2: the target has the segments answer; 1 other row has target"),
    ({"target": ["x", {"answer": "x"}]}, "m.jsonl:2: one reference has the segments target, another answer"),
    ({"target": {"a b": "x"}}, "m.jsonl:2: 'a b' cannot name a segment"),
    ({"target": {"end": "x"}}, "m.jsonl:2: 'end' cannot name a segment"),
    ({"target": {"a": ["x", "y"], "b": ["1", "2", "3"]}}, "different numbers of texts (a: 2, b: 3)"),
    ({"target": "x", "target.a": "y"}, "m.jsonl:2: target and target.a are both given"),
    ({"target": "x", "id": "first"}, "m.jsonl:2: id 'first' is already at"),
    ({"target": "x", "id": "NaN"}, "m.jsonl:2: id is NaN. Give every row a name"),
    ('{"target": "x", "id": NaN}', "m.jsonl:2: id is NaN"),
    ({"target": "x", "id": ["a"]}, "m.jsonl:2: id is ['a']. Give id as a text or a whole number"),
    ({"target": "x", "group": "nan"}, "m.jsonl:2: group is 'nan'. It would tie all such rows together"),
    ({"target": "x", "group": {"p": [1]}}, "m.jsonl:2: group.p is [1]"),
    ({"target": "x", "split": "trian"}, "m.jsonl:2: split 'trian' is unknown. Did you mean 'train'?"),
    ({"target": "x", "split": 3}, "m.jsonl:2: split 3 is unknown"),
    ({"target": "x", "split": ""}, "m.jsonl:2: the row has no split, 1 other has. Give every row a split"),
    ({"target": "x", "image": "A.PNG"}, "m.jsonl:2: image 'A.PNG' is missing (looked for"),
    ({"target": "x", "image": "A.PNG"}, "Did you mean 'a.png'? Paths are relative to the manifest's folder"),
    ({"target": "x", "image": "a.jpg"}, "Did you mean 'a.png'?"),
    ({"target": "x", "image": "no/a.png"}, "m.jsonl:2: image 'no/a.png' is missing"),
    ({"target": "x", "image": "a.png/b"}, "m.jsonl:2: image 'a.png/b' is missing"),
    ({"target": "x", "image": "pictures\\a.png"}, "Write paths with '/'"),
    ({"target": "x", "image": 5}, "m.jsonl:2: image 5 is not a path"),
    ({"target": "x", "image": ["a.png", None]}, "m.jsonl:2: image ['a.png', None] is not a path"),
    ({"target": "x", "image": {"bytes": "…"}}, "is not a path. Give the path of one picture, or a list"),
    ({"target": "x", "image": "a\0.png"}, "m.jsonl:2: image 'a\\x00.png' holds a NUL character"),
    ({"target": "x", "image": "x" * 5000}, "m.jsonl:2: image "),
    ({"target": "x", "image": "https://example.org/a.png"}, "is an address, not a file. Download it"),
    ({"target": "x", "image": "/etc/passwd"}, "m.jsonl:2: image '/etc/passwd' is outside the manifest's folder"),
    ({"target": "x", "image": "../other.png"}, "m.jsonl:2: image '../other.png' is outside"),
    ({"target": "x", "image": "link.png"}, "m.jsonl:2: image 'link.png' is outside"),
    ({"target": "x", "image": "linked/passwd"}, "m.jsonl:2: image 'linked/passwd' is outside"),
    ({"target": "x", "image": "loop.png"}, "m.jsonl:2: image 'loop.png' cannot be opened"),
    ({"target": "x", "image": "."}, "is outside the manifest's folder"),
    ({"target": "x", "image": "folder"}, "m.jsonl:2: image 'folder' is a folder"),
    ({"target": "x", "audio": "empty.wav"}, "m.jsonl:2: audio 'empty.wav' is empty (0 bytes)"),
    ({"target": "x", "audio": ["a.wav"]}, "m.jsonl:2: audio ['a.wav'] is not a path"),
    ({"target": "x", "video": "v.mp4"}, "m.jsonl:2: video is not read yet: 'v.mp4'. Leave the field out"),
    ({"target": "x", "text": "a\0b"}, "m.jsonl:2: text holds a NUL character (character 2)"),
    ({"target": "x" * 1_000_000}, "m.jsonl:2: target is a text of 1,000,000 characters. A text has fewer than"),
    ({"target": "x", "text": ["a"]}, "m.jsonl:2: text is ['a'], not a text"),
    (r'{"target": "\ud800"}', "m.jsonl:2: target is not UTF-8 (character 1)"),
    ("{'target': 'x'}", "m.jsonl:2: not JSON (Expecting property name enclosed in double quotes, column 2)"),
    ("[", "m.jsonl:2: not JSON"),
    ("5", "m.jsonl:2: the line holds 5, which is not an object"),
    ('{"target": "x", "target": "y"}', "m.jsonl:2: not usable as JSON: the key 'target' stands twice"),
    ("[" * 100_000, "m.jsonl:2: not "),
    ('{"target": ' + "9" * 5000 + "}", "m.jsonl:2: not usable as JSON: Exceeds the limit"),
]


@pytest.mark.parametrize(("row", "expected"), BAD_ROWS)
def test_a_bad_row_is_named_or_left_out(media: Path, row: Any, expected: str) -> None:
    (media / "folder").mkdir()
    (media / "empty.wav").touch()
    (media / "link.png").symlink_to("/etc/passwd")
    (media / "linked").symlink_to("/etc")
    (media / "loop.png").symlink_to("loop.png")
    good = {"id": "first", "split": "train", "target": "x"}
    if isinstance(row, dict):
        row = {"split": "train"} | row
    path = jsonl(media, good, row, {"id": "last", "split": "train", "target": "x"})
    if "1 other" in expected:
        path = jsonl(media, good, row)
    assert expected in message(path)
    dataset = read_manifest(path, on_error="skip")
    assert [sample.id for sample in dataset.samples] == (["first"] if "1 other" in expected else ["first", "last"])
    (left,) = dataset.left_out
    assert expected in f"{left.where}: {left.reason}"
    if isinstance(row, dict) and isinstance(row.get("id"), str) and row["id"] != "NaN":
        assert left.id == row["id"]


def test_media_outside_can_be_allowed(media: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    path = jsonl(other, {"split": "train", "image": str(media / "a.png"), "target": "x"})
    assert "outside" in message(path)
    assert read_manifest(path, allow_outside=True).samples[0].image == (media / "a.png",)


def test_a_manifest_in_a_linked_folder_reads_what_lies_beside_it(media: Path) -> None:
    jsonl(media, {"split": "train", "image": "a.png", "target": "x"})
    link = media.parent / f"{media.name}-link"
    link.symlink_to(media)
    assert read_manifest(link / "m.jsonl").samples[0].image == (link / "a.png",)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("m.jsonl", b"", "m.jsonl: the manifest is empty (0 bytes)"),
        ("m.jsonl", b"\n\n", "m.jsonl: the manifest holds no row"),
        ("m.csv", b"target,split\n", "m.csv: the manifest holds no row"),
        ("m.jsonl", b'[{"target": "x"}]\n', "The file seems to be one JSON list"),
        ("m.jsonl", b"[\n", "The file seems to be one JSON list"),
        ("m.jsonl", '{"target": "ä"}'.encode("latin-1"), "m.jsonl:1: byte 13 of the line is not UTF-8"),
        ("m.jsonl", '{"target": "x"}'.encode("utf-16"), "m.jsonl: the manifest is UTF-16"),
        ("m.csv", "target\nä\n".encode("latin-1"), "m.csv:2: target is not UTF-8 (character 1)"),
        ("m.csv", "target\nx\n".encode("utf-16"), "m.csv: the manifest is UTF-16"),
        ("m.csv", b"taget,split\nx,train\n", "m.csv:1: unknown field 'taget'. Did you mean 'target'?"),
        ("m.csv", b"target,,split\nx,,train\n", "m.csv:1: unknown field ''"),
        ("m.csv", b"target,target\nx,y\n", "m.csv:1: column 'target' stands 2 times"),
        ("m.csv", b"target,text\nx,a,b\n", "m.csv:2: 3 cells for the 2 columns of the header"),
        ("m.csv", b'target\n"x\nand so on\n', "m.csv:2: not CSV (lines to 3): unexpected end of data"),
        ("m.parquet", b"PAR1 not", "m.parquet: not readable as Parquet"),
        ("m.xlsx", b"x", "m.xlsx: a file with the suffix '.xlsx' is not a manifest. A manifest is a .jsonl, .csv"),
        ("other.jsonl", b"x", "m.jsonl: the manifest is missing. Did you mean"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert expected in message(tmp_path / ("m.jsonl" if name == "other.jsonl" else name))


def test_no_usable_row_is_told_with_the_first_reason(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"text": "a"}, {"text": "b"})
    assert "no row can be used: 2 left out, the first at" in message(path, on_error="skip")


def test_a_broken_csv_row_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = table(tmp_path, 'target,split\n"x"y,train\nz,train\n')
    dataset = read_manifest(path, on_error="skip")
    assert [sample.references[0]["target"] for sample in dataset.samples] == ["z"]
    assert [one.where.rsplit(":")[-1] for one in dataset.left_out] == ["2"]


def test_an_endless_line_is_refused_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.data.rows.MAX_LINE", 100)
    path = jsonl(tmp_path, {"target": "x" * 350, "split": "train"}, {"target": "y", "split": "train"})
    dataset = read_manifest(path, on_error="skip")
    assert [sample.where for sample in dataset.samples] == [f"{path}:2"]
    assert "longer than 100 bytes" in dataset.left_out[0].reason


def test_the_row_that_differs_is_named_even_if_it_is_the_first(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"target": "x"}, {"target": {"answer": "x"}}, {"target": {"answer": "y"}})
    assert ":1: the target has the segments target; 2 other rows have answer" in message(path)


def test_a_split_without_rows(tmp_path: Path) -> None:
    dataset: Dataset = read_manifest(jsonl(tmp_path, {"target": "x", "split": "train"}))
    assert dataset.split("test") == []
    with pytest.raises(UserError, match=r"no row is in the split 'tune'. There are train: 1 rows"):
        dataset.split("val", needed=True)
    with pytest.raises(UserError, match=r"split 'tran' is unknown. Did you mean 'train'"):
        dataset.split("tran")


def test_ids_of_rows_do_not_depend_on_what_is_left_out(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"target": "x"}, "", "broken", {"target": "y"}, {"target": "z"}, {"target": "w"})
    ids = [sample.id for sample in read_manifest(path, on_error="skip").samples]
    assert ids == ["row-1", "row-3", "row-4", "row-5"]


def test_fields_of_ones_own_that_a_run_passes_over(tmp_path: Path):
    """Such as those of inputs that an arm of a comparison does not read; others are a mistake as before."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "a", "split": "test", "before": "x", "after": "y", "target": "t"}\n', encoding="utf-8")
    (sample,) = read_manifest(path, inputs={"after": "text"}, unread=["before"]).samples
    assert dict(sample.inputs) == {"after": ("y",)}
    with pytest.raises(UserError, match="unknown field 'before'"):
        read_manifest(path, inputs={"after": "text"})
    table = tmp_path / "rows.csv"
    table.write_text("id,split,before,after,target\na,test,x,y,t\n", encoding="utf-8")
    (sample,) = read_manifest(table, inputs={"after": "text"}, unread=["before"]).samples
    assert dict(sample.inputs) == {"after": ("y",)}
