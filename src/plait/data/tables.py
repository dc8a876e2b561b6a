"""The rows of a CSV or TSV file.

In: the path of the file; for TSV, how quotes are to be read.
Out: one `Row` or `RowError` per row, placed at its first line.
Invariant: no line is lost without a word: what an unclosed or misplaced quote would swallow is named line by line.

TSV is written in two ways. By IANA's definition (Common Voice) a quote is a character like any other; pandas and spreadsheets put
a cell that holds a tab, a line break or a quote between quotes, as in CSV. `auto` takes quotes literally where that leaves every
line with the header's number of cells and no cell looks quoted by CSV's rules (a doubled quote inside), and as CSV otherwise.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plait.data.row import MAX_TEXT, STRICT_JSON, Row, RowError, readable, refuse_columns
from plait.data.splits import split_name
from plait.data.suffixes import fields_of_suffixes, suffix_of
from plait.files import open_regular
from plait.modalities import MODALITIES

Quoting = Literal["auto", "literal", "csv"]
MAX_LINE = 16 * MAX_TEXT
"""Characters of one line (bytes in JSONL): beyond it the file is no manifest."""


def read_csv(
    path: Path,
    *,
    quoting: Quoting = "auto",
    say: Callable[[str], None] = lambda _: None,
    fields: Sequence[str] | None = None,
) -> Iterator[Row | RowError]:
    """The rows of a file with a header, parted by comma, semicolon or tab."""
    where = readable(str(path))
    with _opened(path, where, newline="") as file:
        first = "\n"
        while first in ("\n", "\r\n", "\r"):  # blank lines before the header
            first = file.readline(MAX_LINE)
    tsv = path.suffix.lower() == ".tsv"
    delimiter = _delimiter(first, tsv=tsv and quoting != "csv")
    chosen = _Chosen("csv" if quoting == "auto" else quoting, None)
    if quoting == "auto" and (tsv or delimiter == "\t"):
        chosen = _choose(path, where, first, delimiter)
    reader = _Table(path, where, delimiter, strict=quoting == "auto", fields=fields)
    yield from reader.literal(first) if chosen.quoting == "literal" else reader.csv()
    if chosen.why and chosen.quoting == "literal":
        say(f"{where}: {chosen.why}; quotes are kept as part of the text (data.quoting: csv reads them as in CSV)")
    elif chosen.why or (quoting == "csv" and reader.swallowed):
        why = f", because {chosen.why}" if chosen.why else ""
        lines = f"; {reader.several}" if reader.num_several or reader.swallowed else ""
        say(f"{where}: quotes are read as in CSV{why}{lines}; if they are part of the text, set data.quoting: literal")


def decode_cells(name: str, cell: str) -> Any:
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
        value = STRICT_JSON.decode(stripped)
    except (ValueError, RecursionError):
        return cell  # a text in brackets, such as [laughter]
    items = value if isinstance(value, list) else value.values()
    return value if all(isinstance(item, (str, dict, list)) for item in items) else cell


@contextmanager
def _opened(path: Path, where: str, *, newline: str) -> Iterator[io.TextIOWrapper]:
    # Bytes that are not UTF-8 become lone surrogates here, and are refused where the text is used: with line and field.
    with (
        open_regular(path, where=where) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline) as text,
    ):
        yield text


def _delimiter(header: str, *, tsv: bool) -> str:
    """The one of , ; and tab with which the header has the most fields (spreadsheets write what the country uses)."""
    return max("\t,;" if tsv else ",;\t", key=header.count)


def _without_end(line: str) -> str:
    return line.removesuffix("\n").removesuffix("\r")


# -- literal, or as CSV --


class _Chosen(NamedTuple):
    """How quotes are read, and why; no reason where no cell begins with one, so that both are the same."""

    quoting: Literal["literal", "csv"]
    why: str | None


def _choose(path: Path, where: str, first: str, delimiter: str) -> _Chosen:
    """How a TSV file uses quotes."""
    header = _without_end(first).split(delimiter)
    if any(name[:1] == '"' == name[-1:] and len(name) > 1 for name in map(str.strip, header)):
        return _Chosen("csv", "its header is quoted")
    seen = _Quotes(delimiter, len(header))
    with _opened(path, where, newline=_newline(first)) as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), 1):
            seen.look(_without_end(line), number)
    return seen.chosen


def _newline(first: str) -> str:
    """What ends the lines, by the first one."""
    return "\r" if first.endswith("\r") else "\n"


@dataclass
class _Quotes:
    """What is seen of quotes, line by line. Only a quote that a cell begins with is read in two ways."""

    delimiter: str
    num_cells: int
    begin: int = 0
    open: int = 0
    empty: int = 0
    against: str = ""

    def look(self, line: str, number: int) -> None:
        """One line of the file, without its end."""
        cells = line.count(self.delimiter) + 1
        if line and cells != self.num_cells and not self.against:
            self.against = f"line {number} has {cells} cell{'s' * (cells != 1)} and the header {self.num_cells}"
        if '"' not in line:
            return
        for cell in line.split(self.delimiter):
            if cell[:1] != '"':
                doubled = self.num_cells == 1 and '""' in cell
            else:
                closed = cell[-1] == '"' and len(cell) > 1
                self.begin += 1
                self.open += not closed
                self.empty += cell == '""'
                doubled = '""' in (cell[1:-1] if closed else cell[1:])
            if doubled and not self.against:
                self.against = f"line {number} has a doubled quote in a quoted cell"

    @property
    def chosen(self) -> _Chosen:
        """What follows from it."""
        if not self.begin:
            return _Chosen("csv", None)
        if self.against:
            return _Chosen("csv", self.against)
        if self.empty and not self.open:
            return _Chosen("csv", 'some cells are "" and every quote that is opened is closed')
        return _Chosen("literal", f"{self.begin:,} cell{'s begin' if self.begin > 1 else ' begins'} with a quote")


# -- the rows --


class _Lines:
    """The lines of a file, and which of them the current row took."""

    def __init__(self, file: io.TextIOWrapper) -> None:
        self.file = file
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MAX_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) == MAX_LINE and line[-1] not in "\r\n":
            while (rest := self.file.readline(MAX_LINE)) and rest[-1] not in "\r\n":
                pass
            self.taken.append("")
            raise csv.Error(f"line {self.number} is longer than {MAX_LINE:,} characters")
        self.taken.append(line)
        return line


class _Table:
    """Reads a file row by row. `strict`: a quoted cell that runs over lines which look like rows is a mistake."""

    def __init__(
        self, path: Path, where: str, delimiter: str, *, strict: bool, fields: Sequence[str] | None = None
    ) -> None:
        self.fields = fields
        self.path, self.where, self.delimiter, self.strict = path, where, delimiter, strict
        self.header: list[str] = []
        self.number = 0
        self.num_several = self.first_several = self.swallowed = 0

    @property
    def several(self) -> str:
        """How many rows take several lines."""
        rows = f"{self.num_several:,} row{'s take' if self.num_several > 1 else ' takes'} several lines"
        return f"{rows}, the first from line {self.first_several}"

    def literal(self, first: str) -> Iterator[Row | RowError]:
        """Every line a row, every quote a character."""
        with _opened(self.path, self.where, newline=_newline(first)) as file:
            lines = _Lines(file)
            while True:
                try:
                    line = next(lines, None)
                except csv.Error as error:
                    yield self.mistake(str(error), lines.number)
                    continue
                if line is None:
                    return
                if line := _without_end(line):
                    yield from self.row(line.split(self.delimiter), lines.number)

    def csv(self) -> Iterator[Row | RowError]:
        """Rows by the rules of CSV: a cell between quotes may hold delimiters, line breaks and doubled quotes."""
        with _opened(self.path, self.where, newline="") as file, _field_limit():
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            while True:
                lines.taken, start = [], lines.number + 1
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    yield from self.broken(error, lines, start)
                    continue
                if cells is None:
                    return
                if len(lines.taken) > 1 and self.header:
                    self.num_several, self.first_several = self.num_several + 1, self.first_several or start
                    if self.swallows(lines.taken):
                        self.swallowed += 1
                        if self.strict:
                            why = f"the quote that opens here is closed in line {lines.number} only"
                            yield from self.swallowing(lines, start, why)
                            continue
                if cells:
                    yield from self.row(cells, start)

    def row(self, cells: list[str], line: int) -> Iterator[Row | RowError]:
        """The row of these cells; the first ones are the header."""
        where = f"{self.where}:{line}"
        if not self.header:
            self.header = [name.strip() for name in cells]
            refuse_columns(self.header, where, self.fields)
            return
        self.number += 1
        if len(cells) == len(self.header):
            fields = {name: decode_cells(name, cell) for name, cell in zip(self.header, cells, strict=True)}
            yield Row(where, self.number, fields, typed=False)
        else:
            right = "Put a cell that holds the delimiter or a line break between double quotes."
            what = f"{len(cells)} cells for the {len(self.header)} columns of the header"
            yield RowError("cells", what, where=where, right=right)

    def mistake(self, what: str, line: int) -> RowError:
        """A line that is no row."""
        self.number += 1
        right = 'Write a double quote within a quoted cell twice (""), or set data.quoting: literal if quotes are part of the text.'
        return RowError("cells", what, where=f"{self.where}:{line}", right=right)

    def broken(self, error: csv.Error, lines: _Lines, start: int) -> Iterator[RowError]:
        """Lines that are no row by the rules of CSV."""
        why = str(error).replace("\t", "\\t")
        if "unexpected end" in why:
            why += ": the quote that opens here is never closed"
        swallows = bool(self.header) and any(map(self.has_cells, lines.taken[1:]))
        self.swallowed += swallows
        if self.strict and swallows:
            yield from self.swallowing(lines, start, why)
        else:
            yield self.mistake(f"not CSV{self.to(lines, start)}: {why}", start)

    def swallowing(self, lines: _Lines, start: int, what: str) -> Iterator[RowError]:
        """The row whose quote swallows others, and each of these."""
        right = "Close the quote or double it; or set data.quoting: literal (quotes are part of the text) or csv."
        others = [number for number, line in enumerate(lines.taken[1:], start + 1) if self.has_cells(line)]
        rows = f"{len(others)} line{'s that look like rows' if len(others) > 1 else ' that looks like a row'}"
        what = f"not CSV{self.to(lines, start)}: {what}, over {rows}"
        for line in (start, *others):
            self.number += 1
            text = what if line == start else f"swallowed by the quote that opens in line {start}"
            yield RowError("cells", text, where=f"{self.where}:{line}", right=right)

    def to(self, lines: _Lines, start: int) -> str:
        """Up to which line a row goes."""
        return f" (lines to {lines.number})" if lines.number != start else ""

    def has_cells(self, line: str) -> bool:
        """Whether a line by itself has the header's number of cells."""
        return line.count(self.delimiter) + 1 == len(self.header) and bool(line.strip())

    def swallows(self, lines: list[str]) -> bool:
        """Whether the lines of one row would be rows by themselves.

        One whose split or files fit their columns tells; in TSV, whose texts seldom hold tabs, also ids of one shape in all.
        """
        if len(self.header) < 2:
            return False
        if any(self.has_cells(line) and self.fits(line) for line in lines[1:]):
            return True
        shapes = {_shape(self.cells(line).get("id", "")) for line in lines}
        return self.delimiter == "\t" and len(shapes) == 1 and "" not in shapes and all(map(self.has_cells, lines))

    def cells(self, line: str) -> dict[str, str]:
        """The cells of a line by itself, before a quote opens or closes one: what stands behind it is the row's own."""
        parts = takewhile(lambda cell: '"' not in cell, line.split(self.delimiter))
        return dict(zip(self.header, map(str.strip, parts), strict=False))

    def fits(self, line: str) -> bool:
        """Whether a line's split is one and its files have known suffixes, as far as it has any."""
        cells = self.cells(line)
        told = [split_name(cells["split"]) is not None] if cells.get("split") else []
        of_files = [name for name, modality in MODALITIES.items() if modality.suffixes and cells.get(name)]
        told += [suffix_of(cells[name]) in fields_of_suffixes() for name in of_files]
        return bool(told) and all(told)


def _shape(text: str) -> str:
    """What ids of one kind have in common: `a7f` and `b12x` are letters and digits."""
    return "".join(sorted({"0" if one.isdigit() else "a" if one.isalpha() else one for one in text}))


@contextmanager
def _field_limit() -> Iterator[None]:
    before = csv.field_size_limit(MAX_LINE)
    try:
        yield
    finally:
        csv.field_size_limit(before)


__all__ = ["MAX_LINE", "Quoting", "decode_cells", "read_csv"]
