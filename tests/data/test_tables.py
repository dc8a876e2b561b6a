"""CSV and TSV: which quotes are part of the texts, and that no row is lost without a word.

IANA's registration of text/tab-separated-values knows no quoting; RFC 4180 is CSV's. What pandas writes is written here by Python's
csv module, whose dialect (QUOTE_MINIMAL, QUOTE_ALL) `DataFrame.to_csv` uses.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.config.before import BEFORE
from plait.data.check import check, write_clean
from plait.data.manifest import Dataset, read_manifest
from plait.errors import UserError

SPLITS = ["train"] * 8 + ["tune"] * 2 + ["test"] * 2


def tsv(changes: dict[int, str]) -> str:
    """Twelve rows as Common Voice would write them; `changes`: other targets by row."""
    lines = [f"{row}\t{split}\t{changes.get(row, f'word {row % 3}')}" for row, split in enumerate(SPLITS)]
    return "\n".join(["id\tsplit\ttarget", *lines, ""])


def written(text: str, folder: Path, name: str = "m.tsv") -> Path:
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return folder / name


def by_csv(rows: list[list[str]], *, delimiter: str = "\t", quoting: Any = csv.QUOTE_MINIMAL) -> str:
    """What pandas writes."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows(rows)
    return file.getvalue()


def targets(dataset: Dataset) -> dict[str, str]:
    return {sample.id: sample.references[0]["target"] for sample in dataset.samples}


def test_literal_quotes_swallow_no_rows(tmp_path: Path) -> None:
    """Previously a cell that begins with a quote ran on to the next quote: 12 rows were 9, and nothing was said."""
    dataset = read_manifest(written(tsv({2: '"Come in', 5: 'and sit down"'}), tmp_path))
    assert len(dataset.samples) == 12
    assert (targets(dataset)["2"], targets(dataset)["5"]) == ('"Come in', 'and sit down"')
    (said,) = dataset.reading
    assert (
        "1 cell begins with a quote; quotes are kept as part of the text (data.quoting: csv reads them as in CSV)"
        in said
    )


@pytest.mark.parametrize(
    "text", ['"', '"Come in"', 'she said "no"', '"a" and "b"', "'x'", '"a"b', '""Hello" he said', 'it is 5" long']
)
def test_a_literal_cell_is_its_text(tmp_path: Path, text: str) -> None:
    dataset = read_manifest(written(tsv({3: text, 7: '"open'}), tmp_path))
    assert targets(dataset)["3"] == text
    assert len(dataset.samples) == 12


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines_are_no_part_of_a_literal_cell(tmp_path: Path, end: str) -> None:
    path = written("\ufeff" + tsv({2: '"Come in'}).replace("\n", end), tmp_path)
    assert targets(read_manifest(path))["2"] == '"Come in'
    assert targets(read_manifest(path))["11"] == "word 2"


@pytest.mark.parametrize("cell", ["two\nlines", 'says "yes"', "a\ttab", '"', "a\n\nb", 'x\n"y"\tz'])
def test_what_pandas_quotes_is_read_as_csv(tmp_path: Path, cell: str) -> None:
    rows = [["id", "split", "target"], *([str(n), split, "word"] for n, split in enumerate(SPLITS))]
    rows[4][2] = cell
    dataset = read_manifest(written(by_csv(rows), tmp_path))
    assert targets(dataset)["3"] == cell
    assert len(dataset.samples) == 12
    (said,) = dataset.reading
    assert "quotes are read as in CSV, because " in said
    assert said.endswith("if they are part of the text, set data.quoting: literal")
    assert ("1 row takes several lines, the first from line 5" in said) == ("\n" in cell)


def test_a_quoted_header_is_csv(tmp_path: Path) -> None:
    rows = [["id", "split", "target"], *([str(n), split, f"word {n}"] for n, split in enumerate(SPLITS))]
    dataset = read_manifest(written(by_csv(rows, quoting=csv.QUOTE_ALL), tmp_path))
    assert targets(dataset)["4"] == "word 4"
    assert "because its header is quoted" in dataset.reading[0]


def test_an_empty_quoted_cell_is_empty_where_every_quote_is_closed(tmp_path: Path) -> None:
    text = 'text\tsplit\ttarget\n""\ttrain\ta\n"b"\ttrain\tc\n'
    one, two = read_manifest(written(text, tmp_path)).samples
    assert (one.text, two.text) == (None, "b")
    text = 'text\tsplit\ttarget\n""\ttrain\ta\n"b\ttrain\tc\n'
    one, two = read_manifest(written(text, tmp_path)).samples
    assert (one.text, two.text) == ('""', '"b')


def test_a_table_of_one_column(tmp_path: Path) -> None:
    """Previously a single column named no delimiter, and a comma in its texts parted them."""
    dataset = read_manifest(written('target\n"Come in, please\nand, well, sit down"\nthanks\n', tmp_path))
    assert [s.references[0]["target"] for s in dataset.samples] == [
        '"Come in, please',
        'and, well, sit down"',
        "thanks",
    ]
    text = by_csv([["target"], ['says "yes"\nand goes'], ["a"], ["b"]])
    dataset = read_manifest(written(text, tmp_path))
    assert [s.references[0]["target"] for s in dataset.samples] == ['says "yes"\nand goes', "a", "b"]


def test_nothing_is_said_where_both_readings_are_one(tmp_path: Path) -> None:
    assert read_manifest(written(tsv({2: 'she said "no"'}), tmp_path)).reading == ()
    assert read_manifest(written('id,target\n1,"a, b"\n2,c\n3,d\n', tmp_path, "m.csv")).reading == ()


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_csv_that_would_swallow_rows_is_a_mistake_of_each(tmp_path: Path, on_error: Any) -> None:
    """A line with a tab too many makes the file CSV; its literal quotes then swallow rows, which are named."""
    path = written(tsv({2: '"Come in', 5: 'and sit down"', 8: "a\tb"}), tmp_path)
    if on_error == "stop":
        with pytest.raises(UserError, match=r"m\.tsv:4: .*the quote that opens here is closed in line 7 only, over 3"):
            read_manifest(path)
        return
    dataset = read_manifest(path, on_error="skip")
    assert len(dataset.samples) + len(dataset.left_out) == 12
    assert [left.where.rsplit(":")[-1] for left in dataset.left_out] == ["4", "5", "6", "7", "10"]
    assert "swallowed by the quote that opens in line 4" in dataset.left_out[1].reason
    assert targets(read_manifest(path, on_error="skip", quoting="literal"))["2"] == '"Come in'


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_an_unclosed_quote_is_named_where_it_opens_with_every_row_behind_it(tmp_path: Path, delimiter: str) -> None:
    """Previously all rows behind it were one row of the list of those left out."""
    text = tsv({5: '"never closed', 8: "a\tb"} if delimiter == "\t" else {5: '"never closed'}).replace("\t", delimiter)
    path = written(text, tmp_path, "m.csv")
    with pytest.raises(
        UserError, match=r"m\.csv:7: .*unexpected end of data: the quote that opens here is never closed"
    ):
        read_manifest(path)
    dataset = read_manifest(path, on_error="skip")
    assert [sample.id for sample in dataset.samples] == ["0", "1", "2", "3", "4"]
    wrong = delimiter == "\t"  # the line that is no row in any reading
    assert len(dataset.left_out) == 7 - wrong


def test_a_comma_in_a_quoted_text_of_several_lines_is_no_row(tmp_path: Path) -> None:
    text = 'id,target,split\n1,"Dear Sir,\nI came, I saw,\n2, or three, times",train\n2,b,train\n'
    assert [s.id for s in read_manifest(written(text, tmp_path, "m.csv")).samples] == ["1", "2"]
    text = 'id,text,target\n7,"a, b\n8, c, d\n9, e",x\n8,b,y\n9,c,z\n'
    dataset = read_manifest(written(text, tmp_path, "m.csv"))
    assert dataset.samples[0].text == "a, b\n8, c, d\n9, e"


def test_runs_of_the_first_format_read_as_they_did(tmp_path: Path) -> None:
    """By `BEFORE`, a run that does not state it reads TSV as CSV, whatever it swallows; what it swallows is said."""
    assert BEFORE[1]["data.quoting"] == "csv"
    path = written(tsv({2: '"Come in', 5: 'and sit down"'}), tmp_path)
    dataset = read_manifest(path, quoting="csv")
    assert [sample.id for sample in dataset.samples] == ["0", "1", "2", "6", "7", "8", "9", "10", "11"]
    assert "1 row takes several lines, the first from line 4" in dataset.reading[0]


def test_common_voice(tmp_path: Path) -> None:
    """The columns of Common Voice's validated.tsv, renamed as the message asks for, with notes for the rest."""
    names = [
        "client_id",
        "path",
        "sentence_id",
        "sentence",
        "up_votes",
        "down_votes",
        "age",
        "gender",
        "accents",
        "variant",
        "locale",
        "segment",
    ]
    with pytest.raises(UserError, match=r"unknown field 'client_id'. Did you mean 'group.speaker'"):
        read_manifest(written("\t".join(names) + "\n" + "\t".join("x" for _ in names) + "\n", tmp_path))
    ours = {"client_id": "group.speaker", "path": "_path", "sentence": "target", "age": "tags.age"}
    header = [ours.get(name, f"_{name}") for name in names]
    rows = [["a3f", "1.mp3", "s1", text, "2", "0", "", "", "", "", "en", ""] for text in ('"Who"', '"Why', "I", 'so"')]
    text = "\r\n".join(["\t".join(header), *("\t".join([f"v{n}", *row[1:]]) for n, row in enumerate(rows)), ""])
    found = [sample.references[0]["target"] for sample in read_manifest(written(text, tmp_path)).samples]
    assert found == ['"Who"', '"Why', "I", 'so"']


@pytest.mark.parametrize("quoting", ["auto", "csv"])
def test_a_line_without_an_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quoting: Any) -> None:
    """Previously a file without line breaks was read into memory as one line."""
    monkeypatch.setattr("plait.data.tables.MAX_LINE", 200)
    path = written(tsv({2: "x" * 700}), tmp_path)
    dataset = read_manifest(path, on_error="skip", quoting=quoting)
    assert len(dataset.samples) == 11
    assert [left.where.rsplit(":")[-1] for left in dataset.left_out] == ["4"]
    assert "longer than 200 characters" in dataset.left_out[0].reason


cells = st.text(st.sampled_from('ab "\n\t,é'), max_size=6)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=6), st.sampled_from(["\t", ","]))
def test_what_pandas_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: Any, delimiter: str) -> None:
    """Whatever the texts, as long as the file is CSV by its own marks: here one cell has a doubled quote for sure."""
    table = [["id", "text", "target"], ["first", 'a "b"', "t"], *([f"r{n}", *row] for n, row in enumerate(rows))]
    path = written(by_csv(table, delimiter=delimiter), tmp_path_factory.getbasetemp(), "pandas.tsv")
    dataset = read_manifest(path, on_error="skip", require_targets=False)
    assert dataset.left_out == []
    found = [(sample.text or "", next(iter(sample.references), {}).get("target", "")) for sample in dataset.samples[1:]]
    assert found == [tuple("" if cell.isspace() else cell for cell in row) for row in rows]


@given(st.lists(st.text(st.sampled_from('ab "é'), min_size=1, max_size=6), min_size=1, max_size=6))
def test_no_line_of_a_literal_table_is_lost(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    lines = [f"{number}\ttrain\t{text}" for number, text in enumerate(texts)]
    path = written("\n".join(["id\tsplit\ttarget", *lines, ""]), tmp_path_factory.getbasetemp(), "literal.tsv")
    for quoting in ("auto", "literal"):
        dataset = read_manifest(path, on_error="skip", may_be_empty=True, quoting=quoting)
        assert len(dataset.samples) + len(dataset.left_out) == len(texts)
    assert targets(dataset) == {str(n): text for n, text in enumerate(texts) if not text.isspace()}


@pytest.mark.parametrize("name", ["Nan", "NaN", "nan", "None", "null", "NA", "N/A"])
def test_a_name_in_csv_is_a_name(tmp_path: Path, name: str) -> None:
    """Previously a speaker called Nan was refused as a number that is none: CSV has texts only."""
    path = f"id,group.speaker,tags.mood,target\n{name},{name},{name},a\n2,Bob,x,b\n3,Eve,y,c\n4,Ann,z,d\n"
    path = written(path, tmp_path, "m.csv")
    (sample,) = (sample for sample in read_manifest(path).samples if sample.id == name)
    assert (sample.groups, sample.tags) == ({"speaker": name}, {"tags.mood".partition(".")[2]: name})
    if name.lower() == "nan":  # what a run of the first format leaves out, it goes on leaving out
        assert len(read_manifest(path, on_error="skip", rules=1, may_be_empty=True).left_out) == 1


def test_a_clean_manifest_has_the_notes_and_tags_of_its_table(tmp_path: Path) -> None:
    """Previously tags were lost in it; notes are found again by the same reading of quotes."""
    path = written('id\tsplit\ttags.mood\t_note\ttarget\n1\ttrain\tgood\t"n1\t"a\n2\ttrain\tbad\tn2\tb"\n', tmp_path)
    dataset = read_manifest(path)
    cleaned = write_clean(check(dataset), dataset, tmp_path / "clean.jsonl")
    one, two = map(json.loads, cleaned.path.read_text(encoding="utf-8").splitlines())
    assert (one["tags"], one["_note"], one["target"]) == ({"mood": "good"}, '"n1', '"a')
    assert (two["tags"], two["_note"], two["target"]) == ({"mood": "bad"}, "n2", 'b"')
