"""The rows of a manifest as they stand in the file: JSONL, CSV, TSV or Parquet.

In: the path of the manifest.
Out: one `Row` (where it stands, its number, its fields as the file gives them) or `RowError` per row, in file order.
Invariant: a row that cannot be read is a value, not an exception, so that whoever reads on counts it; only what spoils
the whole file (missing, empty, an unknown column) is raised. The file is an ordinary one, and never held as a whole.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from plait.data.parquet import read_parquet
from plait.data.row import STRICT_JSON, Row, RowError, readable, short
from plait.data.tables import MAX_LINE, Quoting, read_csv
from plait.errors import UserError, nearest
from plait.files import hint_of, open_regular

FORMATS = "A manifest is a .jsonl, .csv, .tsv or .parquet file, or a folder of media with same-named .txt files."
TEXTS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")
SUFFIXES = (*TEXTS, ".parquet")


def _jsonl_row(line: bytes, where: str, number: int) -> Row | RowError:
    right = 'Each line holds one JSON object, such as {"image": "a.png", "target": "a cat"}.'
    if line.lstrip().startswith(b"["):
        right = "The file seems to be one JSON list: write its objects one a line, without the list."
    if len(line) > MAX_LINE:
        return RowError("not-json", f"the line is longer than {MAX_LINE:,} bytes", where=where, right=right)
    try:
        fields = STRICT_JSON.decode(line.decode("utf-8-sig"))
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
    """The objects of a JSONL file; blank lines are passed over. Byte 10 ends a line and nothing else does."""
    line_number = number = 0
    place = readable(str(path))
    with open_regular(path, where=place) as file:
        while line := file.readline(MAX_LINE + 1):
            line_number += 1
            rest = line
            while len(rest) > MAX_LINE and not rest.endswith(b"\n"):  # what is left of a line that is too long
                rest = file.readline(MAX_LINE + 1)
            if line.strip(b" \t\r\n\xef\xbb\xbf"):
                number += 1
                yield _jsonl_row(line, f"{place}:{line_number}", number)


def read_rows(
    path: Path,
    *,
    quoting: Quoting = "auto",
    notes: bool = False,
    say: Callable[[str], None] = lambda _: None,
    fields: Sequence[str] | None = None,
) -> Iterator[Row | RowError]:
    """The rows of a manifest file, by the suffix of its name.

    `quoting`: how quotes in TSV are read (`tables.py`); `notes`: whether a Parquet file's columns that begin with '_' are read;
    `fields` are those that a row may have; `say` is told once the rows are read how quotes were read, where that made a difference.
    """
    where = readable(str(path))
    try:
        status = os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        raise _missing(path, where) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"the manifest cannot be read: {why}", where=where, right=hint_of(path)) from None
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"a file with the suffix {path.suffix!r} is not a manifest", where=where, right=FORMATS)
    if not stat.S_ISREG(status.st_mode):
        raise UserError("the manifest is not an ordinary file", where=where, right=FORMATS)
    if status.st_size == 0:
        raise UserError("the manifest is empty (0 bytes)", where=where, right=FORMATS)
    if suffix not in TEXTS:
        return read_parquet(path, notes=notes, fields=fields)
    _refuse_utf16(path, where)
    return read_csv(path, quoting=quoting, say=say, fields=fields) if suffix in (".csv", ".tsv") else read_jsonl(path)


def _missing(path: Path, where: str) -> UserError:
    """What to say of a manifest that is not there."""
    hint = hint_of(path)
    if hint is None:
        try:
            near = nearest(path.name, os.listdir(path.parent))  # noqa: PTH208
        except OSError:
            near = None
        hint = f"{f'Did you mean {path.parent / near}? ' if near else ''}{FORMATS}"
    return UserError("the manifest is missing", where=where, right=hint)


def _refuse_utf16(path: Path, where: str) -> None:
    with open_regular(path, where=where) as file:
        head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError("the manifest is UTF-16", where=where, right="Save it as UTF-8.")
    if len(head) == 4 and [byte == 0 for byte in head] in ([True, False] * 2, [False, True] * 2):
        raise UserError("the manifest seems to be UTF-16", where=where, right="Save it as UTF-8.")


__all__ = ["Row", "RowError", "read_jsonl", "read_rows"]
