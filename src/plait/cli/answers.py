"""The answers file of `plait generate`: one JSON object per line, to which the rows that are not answered yet are added.

In: what was generated; the path of a file that may hold answers already.
Out: rows of format 2 (names of segments under `segments`, apart from Plait's own keys), or of format 1 in a file that has them.
Invariant: a file holds one format; only byte 10 ends a line, whatever stands in a text; a file that is no answers file is not
touched.

Format 1, as Plait wrote it before: `{"id": …, SEGMENT: text, …, "log_probability": …, "confidence": …, "scores"?: …, "inputs": …}`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plait.errors import UserError
from plait.files import split_lines

if TYPE_CHECKING:
    from plait.generate import Generated

FORMAT = 2
OWN_KEYS = ("id", "log_probability", "confidence", "scores", "inputs")
"""Plait's own keys beside those of the segments in format 1."""
ANOTHER = "Name another file for the answers"


class Answered(NamedTuple):
    """What a file holds: the format to go on in, the ids that have an answer, and the bytes of its whole lines."""

    format: int
    ids: set[str]
    num_bytes: int


def as_row(generated: Generated, inputs: Sequence[str], *, format: int = FORMAT) -> dict[str, Any]:
    """A row of an answers file, and what `--json` prints."""
    row: dict[str, Any] = {"format": format, "id": generated.id, "segments": dict(generated.segments)}
    if format == 1:
        row = {"id": generated.id, **generated.segments}
    row |= {
        "log_probability": {s: round(v, 6) for s, v in generated.log_probability.items()},
        "confidence": {s: round(v, 6) for s, v in confidence(generated).items()},
    }
    if generated.scores:
        row["scores"] = {s: dict(v) for s, v in generated.scores.items()}
    if format > 1:
        for name in ("tied", "unknown"):
            if said := getattr(generated, name):
                row[name] = {segment: list(answers) for segment, answers in said.items()}
        if generated.limited:
            row["limited"] = list(generated.limited)
    return {**row, "inputs": list(inputs)}


def confidence(generated: Generated) -> dict[str, float]:
    """The geometric mean of the tokens' probabilities, by segment."""
    return {segment: exp(value) for segment, value in generated.log_probability.items()}


def answered(out: Path, segments: Sequence[str]) -> Answered:
    """What the file holds; `segments` are those of the answers that are to come."""
    if out.is_dir():
        raise UserError("cannot write answers into a folder", where=str(out), right="Name a file: answers.jsonl")
    if not out.exists():
        return Answered(FORMAT, set(), 0)
    data = out.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    found: set[str] = set()
    formats: dict[int, int] = {}
    for number, line in enumerate(split_lines(decoded(whole, out)), 1):
        id, format = read_line(line, f"{out}:{number}")
        found.add(id)
        formats.setdefault(format, number)
        if len(formats) > 1:
            what = f"an answer of format {format} below those of format {next(iter(formats))}"
            raise UserError(what, where=f"{out}:{number}", right=f"{ANOTHER}: one file holds one format")
    rest = data[len(whole) :]
    if not rest.startswith(b'{"'[: len(rest)]):
        raise UserError("the last line is not an answer that plait wrote", where=str(out), right=ANOTHER)
    format = next(iter(formats), FORMAT)
    if format == 1 and (lost := [segment for segment in segments if segment in OWN_KEYS]):
        what = f"has answers of format 1, which cannot hold a segment called {lost[0]!r}"
        raise UserError(what, where=str(out), right=f"{ANOTHER}: a new one is of format {FORMAT}")
    return Answered(format, found, len(whole))


def check_segments(out: Path, segments: Sequence[str]) -> None:
    """Refuse a file whose answers have other segments than the model: its rows would count as answered."""
    first = out.read_bytes().partition(b"\n")[0] if out.exists() else b""
    row = json.loads(first) if first else {}
    if row.get("format") == FORMAT and set(row["segments"]) != set(segments):
        what = f"holds answers of another model, with the segments {', '.join(row['segments'])} and not {', '.join(segments)}"
        raise UserError(what, where=str(out), right=ANOTHER)


def decoded(data: bytes, out: Path) -> str:
    """The lines as text."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise UserError("not an answer that plait wrote", where=f"{out}:{number}", right=ANOTHER) from None


def read_line(line: str, where: str) -> tuple[str, int]:
    """The id and the format of an answer."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    id = row.get("id") if isinstance(row, dict) else None
    if not isinstance(row, dict) or not isinstance(id, str):
        raise UserError("not an answer that plait wrote", where=where, right=ANOTHER)
    format = row.get("format")
    if not isinstance(format, int) or not isinstance(row.get("segments"), dict):
        return id, 1  # in format 1 both can only be the text of a segment of that name
    if format > FORMAT:
        right = f"Use the plait that wrote it, or name another file: this one writes format {FORMAT}"
        raise UserError(f"an answer of format {format}", where=where, right=right)
    return id, format


def cut_to(out: Path, num_bytes: int) -> None:
    """Take away a last line that was cut off in the middle: it is written again."""
    if out.exists() and out.stat().st_size > num_bytes:
        with out.open("r+b") as file:
            file.truncate(num_bytes)


def append(out: Path, line: str) -> None:
    """One more line; the file is made with the first one, so that a mistake before it leaves none behind."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8", newline="\n") as file:
            file.write(line)
    except OSError as error:
        right = "The answers written so far are kept: the same command goes on with the rest"
        raise UserError(f"cannot write: {error.strerror or error}", where=str(out), right=right) from error
