"""A folder of media with same-named .txt files as a manifest: a.png + a.wav + a.txt is one row, its target the text.

In: the folder.
Out: the same `Row`s as a manifest file gives, in the order of their names; the name is the row's id.
Invariant: every file of the folder is in a row or among the `RowError`s; only hidden files are passed over. A first
folder named like a split (`train/`, `val/`, …) is the split of its rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plait.data.rows import MAX_TEXT, Row, RowError
from plait.data.splits import split_name
from plait.errors import UserError

SUFFIXES = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    "audio": (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff"),
    "video": (".mp4", ".mkv", ".webm", ".avi", ".mov"),
    "target": (".txt",),
}
FIELD_OF = {suffix: field for field, suffixes in SUFFIXES.items() for suffix in suffixes}
MANIFESTS = ("manifest.jsonl", "manifest.csv", "manifest.tsv", "manifest.parquet")

TABLES = tuple(Path(name).suffix for name in MANIFESTS)


def manifest_in(folder: Path) -> Path | None:
    """The manifest file that lies in the folder, if there is one: then the folder means it."""
    return next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)


def read_folder(folder: Path) -> Iterator[Row | RowError]:
    """The rows of a folder of media with same-named .txt files."""
    stems: dict[str, list[str]] = {}
    for name in _files(folder):
        yield from _put(folder, name, stems)
    if not stems:
        known = ", ".join(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
        raise UserError(
            "the folder holds no media and no .txt files",
            where=str(folder),
            right=f"A folder of media holds files such as a.png and a.txt, the target of a.png (suffixes: {known}).",
        )
    only_texts = all(FIELD_OF[Path(name).suffix.lower()] == "target" for names in stems.values() for name in names)
    for number, stem in enumerate(sorted(stems), 1):
        yield _row(folder, stem, stems[stem], number, only_texts=only_texts)


def _files(folder: Path) -> list[str]:
    """The relative paths of all files that are not hidden, sorted. Links to folders are listed, not followed."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [(Path(place) / name).relative_to(folder) for name in [*names, *links] if not name.startswith(".")]
    return sorted(path.as_posix() for path in found)


def _put(folder: Path, name: str, stems: dict[str, list[str]]) -> Iterator[RowError]:
    """Put a file among those of its stem, or say why it is none."""
    where = f"{folder}/{name}"
    if (folder / name).is_dir():
        yield RowError(
            "other-file",
            "a link to a folder is not followed",
            where=where,
            right="Copy the folder, or write a manifest.",
        )
    elif Path(name).suffix.lower() in TABLES:
        right = "Give the file itself, or call it manifest" + Path(name).suffix.lower()
        yield RowError(
            "other-file", "a manifest of another name does not speak for its folder", where=where, right=right
        )
    elif Path(name).suffix.lower() not in FIELD_OF:
        yield RowError("other-file", "neither a known kind of media nor a .txt file", where=where)
    else:
        stems.setdefault(name[: -len(Path(name).suffix)], []).append(name)


def _row(folder: Path, stem: str, names: list[str], number: int, *, only_texts: bool) -> Row | RowError:
    where = f"{folder}/{names[0]}"
    fields: dict[str, Any] = {"id": stem}
    first, _, rest = stem.partition("/")
    if rest and split_name(first):
        fields["split"] = first
    for name in names:
        field = FIELD_OF[Path(name).suffix.lower()]
        if field in fields:
            what = f"{fields[field]} and {name} have the same stem, so it is not clear which is the {field}"
            return RowError("twice", what, where=where, right="Rename one, or write a manifest.", id=stem)
        fields[field] = name
    if "target" in fields:
        if len(names) == 1 and not only_texts:
            right = "Name it like the picture or the recording that it describes."
            return RowError(
                "other-file", "no picture or recording has the name of this text", where=where, right=right, id=stem
            )
        text = _read_text(folder / fields["target"], where)
        if isinstance(text, RowError):
            return text
        fields["target"] = text
    return Row(where, number, fields)


def _read_text(path: Path, where: str) -> str | RowError:
    try:
        if path.stat().st_size >= 4 * MAX_TEXT:
            what = f"{path.name} has {path.stat().st_size:,} bytes"
            return RowError("long-text", what, where=where, right=f"A text has fewer than {MAX_TEXT:,} characters.")
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        return RowError(
            "not-utf8", f"byte {error.start + 1} of {path.name} is not UTF-8", where=where, right="Save it as UTF-8."
        )
    except OSError as error:
        return RowError("media-missing", f"{path.name} cannot be read: {error.strerror}", where=where)
