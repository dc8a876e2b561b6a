"""Which reader a file belongs to.

In: what stands behind `--from`: a path, or `NAME=PATH`.
Out: its sheets.
Invariant: the first format that a file looks like reads it; what looks like none is refused with the list of those that are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plait.compare.others import inspect_ai, lm_eval, plain
from plait.compare.others.sheet import Format, Sheet, name
from plait.errors import UserError
from plait.files import open_regular
from plait.run import CONFIG

FORMATS: tuple[Format, ...] = (inspect_ai.FORMAT, lm_eval.FORMAT, plain.FORMAT)

HEAD_BYTES = 4096
SUFFIXES = (".eval", ".json", *plain.SUFFIXES)


def split_name(source: Path) -> tuple[str | None, Path]:
    """`NAME=PATH` as its parts; a path that exists as it is has no name. Of several `=` the first that leaves a file is meant."""
    word = str(source)
    if source.exists() or "=" not in word:
        return None, source
    places = [place for place, sign in enumerate(word) if sign == "="]
    place = next((place for place in places if Path(word[place + 1 :]).is_file()), places[0])
    return word[:place], Path(word[place + 1 :])


def is_other(source: Path) -> bool:
    """Whether this is a file of scores, not the folder of a run."""
    given, path = split_name(source)
    if path.is_dir():
        return False
    return given is not None or path.exists() or path.suffix.lower() in SUFFIXES


def read_source(source: Path, group_by: Sequence[str] = ()) -> list[Sheet]:
    """The sheets of a file, under the name that was given."""
    given, path = split_name(source)
    if path.is_dir():
        raise UserError("is a folder", where=str(path), right=folder_right(path))
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise UserError("is empty", where=str(path), right="Give a file of scores")
    kind = next((kind for kind in FORMATS if kind.fits(path, head)), None)
    if kind is None:
        right = "Read are " + "; ".join(one.name for one in FORMATS)
        raise UserError("holds no scores of a kind that is read here", where=str(path), right=right)
    sheets = kind.read(path, group_by)
    if not any(sheet.rows for sheet in sheets):
        raise UserError("holds no samples", where=str(path))
    if given is None:
        return sheets
    given = name(given, "--from", "the arm's name")
    arms = list(dict.fromkeys(sheet.arm for sheet in sheets))
    if len(arms) > 1:
        right = "Leave the name out: the table names its arms"
        raise UserError(f"holds {len(arms)} arms: {', '.join(arms[:5])}", where=f"--from {source}", right=right)
    return [replace(sheet, arm=given, named=True) for sheet in sheets]


def folder_right(path: Path) -> str:
    """What may have been meant by a folder beside files of scores."""
    if (path / "scores.csv").is_file():
        return f"A comparison's arms are in {path / 'scores.csv'}: give that file"
    if (path / CONFIG).is_file():
        return (
            "Runs and files of scores cannot be compared directly: compare the runs first, then give the scores.csv of "
            "that comparison"
        )
    return "Give the files in it"
