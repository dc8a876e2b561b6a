"""The rows of a manifest as they stand in the file: JSONL, CSV or Parquet.

In: the path of the manifest.
Out: one `Row` (where it stands, its number, its fields as the file gives them) or `RowError` per row, in file order.
Invariant: a row that cannot be read is a value, not an exception, so that whoever reads on counts it; only what spoils
the whole file (missing, empty, an unknown column) is raised.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.errors import UserError, did_you_mean, nearest

FIELDS = ("id", "split", "group", "tags", "text", "image", "audio", "video", "target")
"""The fields of a row. `group.NAME`, `tags.NAME`, `target.NAME`: one grouping, tag, segment; `_anything`: a note, not read."""

DOTTED = ("group", "tags", "target")
OTHER_WORDS = {
    "id": "key name uid",
    "split": "subset fold partition",
    "group.speaker": "speaker speaker_id client_id",
    "text": "question prompt input instruction",
    "image": "picture photo img image_path file_name filename",
    "audio": "sound speech wav recording audio_path audio_filepath",
    "target": "caption captions label answer answers transcript transcription sentence output response",
}
"""Names that other tools give to a field: only to say what was probably meant."""
MAX_TEXT = 1_000_000
"""Characters of one text from which on it is refused."""
MAX_LINE = 16 * MAX_TEXT
"""Bytes of one line: beyond it the file is no manifest."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `where` for messages, `number` from 1 for its id, and its fields."""

    where: str
    number: int
    fields: Mapping[str, Any]


class RowError(UserError):
    """A row that cannot be used. `code` tells the kind of the mistake, for counting; `id` is the row's, if known."""

    def __init__(self, code: str, what: str, *, where: str, right: str | None = None, id: str | None = None) -> None:
        super().__init__(what, where=where, right=right)
        self.code, self.id = code, id

    @property
    def reason(self) -> str:
        """The message without the place."""
        return f"{self.what.rstrip('.')}. {self.right}" if self.right else self.what


def short(value: object, limit: int = 60) -> str:
    """A value as a message shows it: quoted, on one line, a long one cut and its length told."""
    if not isinstance(value, str):
        value_text = repr(value)
        return value_text if len(value_text) <= limit else f"{value_text[:limit]}…"
    return repr(value) if len(value) <= limit else f"{value[:limit]!r}… ({len(value):,} characters)"


def missing(value: object) -> bool:
    """Whether a field holds nothing: null, NaN (how data frames write null), an empty text, list or mapping."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, (list, dict)) and not value


def unknown_field(name: object) -> tuple[str, str] | None:
    """What is wrong with a field's name and what would be right, or None if it is a known one."""
    if name in FIELDS or (isinstance(name, str) and name.startswith("_")):
        return None
    head, dot, tail = str(name).partition(".")
    if dot and head in DOTTED and tail:
        return None
    known = [*FIELDS, "group.NAME", "tags.NAME", "target.NAME"]
    meant = [field for field, others in OTHER_WORDS.items() if str(name).lower() in others.split()]
    hint = f"Did you mean {meant[0]!r}? Known: {', '.join(known)}." if meant else did_you_mean(str(name), known)
    return f"unknown field {short(name)}", f"{hint} A field of your own that Plait should not read begins with '_'."


def _refuse_columns(names: list[str], where: str) -> None:
    """Refuse columns that are unknown or doubled: they are wrong in every row."""
    for name, count in Counter(names).items():
        if wrong := unknown_field(name):
            raise UserError(wrong[0], where=where, right=wrong[1])
        if count > 1:
            raise UserError(
                f"column {name!r} stands {count} times in the header", where=where, right="Name each column once."
            )


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError("the manifest is UTF-16", where=str(path), right="Save it as UTF-8.")


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that stands twice is refused, since one of the two values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return found


_JSON = json.JSONDecoder(object_pairs_hook=_strict_object)


def _jsonl_row(line: bytes, where: str, number: int) -> Row | RowError:
    right = 'Each line holds one JSON object, such as {"image": "a.png", "target": "a cat"}.'
    if line.lstrip().startswith(b"["):
        right = "The file seems to be one JSON list: write its objects one a line, without the list."
    if len(line) > MAX_LINE:
        return RowError("not-json", f"the line is longer than {MAX_LINE:,} bytes", where=where, right=right)
    try:
        fields = _JSON.decode(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        what = f"byte {error.start + 1} of the line is not UTF-8"
        return RowError("not-utf8", what, where=where, right="Save the file as UTF-8.")
    except json.JSONDecodeError as error:
        what = f"not JSON ({error.msg}, column {error.colno}): {short(error.doc.strip())}"
        return RowError("not-json", what, where=where, right=right)
    except (ValueError, RecursionError) as error:
        return RowError("not-json", f"not usable as JSON: {error}", where=where, right=right)
    if not isinstance(fields, dict):
        what = f"the line holds {short(fields)}, which is not an object"
        return RowError("not-json", what, where=where, right=right)
    return Row(where, number, fields)


def read_jsonl(path: Path) -> Iterator[Row | RowError]:
    """The objects of a JSONL file; blank lines are passed over."""
    _refuse_utf16(path)
    line_number = number = 0
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE + 1):
            line_number += 1
            rest = line
            while len(rest) > MAX_LINE and not rest.endswith(b"\n"):  # what is left of a line that is too long
                rest = file.readline(MAX_LINE + 1)
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                number += 1
                yield _jsonl_row(line, f"{path}:{line_number}", number)


def _delimiter(header: str) -> str:
    """The one of , ; and tab with which the header has the most fields (spreadsheets write what the country uses)."""
    return max(",;\t", key=header.count)


def _cell(name: str, cell: str) -> Any:
    """A cell's value: in `target`, `target.NAME`, `image`, `group` and `tags` a JSON list or object counts as such."""
    stripped = cell.strip()
    if stripped[:1] + stripped[-1:] not in ("[]", "{}") or name.partition(".")[0] not in (
        "target",
        "image",
        "group",
        "tags",
    ):
        return cell
    try:
        value = _JSON.decode(stripped)
    except (ValueError, RecursionError):
        return cell  # a text in brackets, such as [laughter]
    items = value if isinstance(value, list) else value.values()
    return value if all(isinstance(item, (str, dict, list)) for item in items) else cell


def _csv_row(cells: list[str], header: list[str], where: str, number: int) -> Row | RowError:
    if len(cells) != len(header):
        right = "Put a cell that holds the delimiter or a line break between double quotes."
        return RowError(
            "cells", f"{len(cells)} cells for the {len(header)} columns of the header", where=where, right=right
        )
    fields = {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True)}
    return Row(where, number, fields)


def read_csv(path: Path) -> Iterator[Row | RowError]:
    """The rows of a CSV file with a header, parted by comma, semicolon or tab; a row is placed at its first line."""
    _refuse_utf16(path)
    # Bytes that are not UTF-8 become lone surrogates here, and are refused where the text is used: with line and field.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline(MAX_LINE)
        file.seek(0)
        before = csv.field_size_limit(MAX_LINE)
        try:
            reader = csv.reader(file, delimiter=_delimiter(first), strict=True)
            header: list[str] | None = None
            number, end = 0, False
            while not end:
                where = f"{path}:{reader.line_num + 1}"
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    number += 1
                    lines = f" (lines to {reader.line_num})" if f"{path}:{reader.line_num}" != where else ""
                    yield RowError(
                        "cells",
                        f"not CSV{lines}: {error}",
                        where=where,
                        right='Write a double quote within a quoted cell twice: "".',
                    )
                    continue
                if cells is None:
                    end = True
                elif header is None:
                    header = [name.strip() for name in cells]
                    _refuse_columns(header, where)
                elif cells:
                    number += 1
                    yield _csv_row(cells, header, where, number)
        finally:
            csv.field_size_limit(before)


def read_parquet(path: Path) -> Iterator[Row | RowError]:
    """The rows of a Parquet file; their places are row numbers from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _refuse_columns(list(file.schema_arrow.names), str(path))
            number = 0
            for batch in file.iter_batches(batch_size=8192):
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(f"{path}:row {number}", number, fields)
    except (pa.ArrowException, OSError) as error:
        message = str(error).partition("\n")[0]
        raise UserError(
            f"not readable as Parquet: {message}",
            where=str(path),
            right="Write it again, or give a .jsonl or .csv file.",
        ) from error


READERS: Mapping[str, Callable[[Path], Iterator[Row | RowError]]] = {
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".json": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
}


def read_rows(path: Path) -> Iterator[Row | RowError]:
    """The rows of a manifest file, by the suffix of its name."""
    formats = "A manifest is a .jsonl, .csv, .tsv or .parquet file, or a folder of media with same-named .txt files."
    if not path.exists():
        near = nearest(path.name, (entry.name for entry in path.parent.iterdir())) if path.parent.is_dir() else None
        beside = f"Did you mean {path.parent / near}? " if near else ""
        raise UserError("the manifest is missing", where=str(path), right=f"{beside}{formats}")
    if path.suffix.lower() not in READERS:
        raise UserError(f"a file with the suffix {path.suffix!r} is not a manifest", where=str(path), right=formats)
    if not path.is_file():
        raise UserError("the manifest is not an ordinary file", where=str(path), right=formats)
    if path.stat().st_size == 0:
        raise UserError("the manifest is empty (0 bytes)", where=str(path), right=formats)
    return READERS[path.suffix.lower()](path)
