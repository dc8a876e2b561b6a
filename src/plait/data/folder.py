"""A folder of media with same-named .txt files as a manifest: a.png + a.wav + a.txt is one row, its target the text.

In: the folder, and the rules by which its files are read.
Out: the same `Row`s as a manifest file gives, in the order of their names; the name is the row's id.
Invariant: every file of the folder is in a row or among the `RowError`s; only hidden files are passed over. A text is read under
the same conditions as media. A first folder named like a split (`train/`, `val/`, …) is the split of its rows.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from plait.data.media import MediaFolder
from plait.data.row import MAX_TEXT, Row, RowError, readable
from plait.data.splits import split_name
from plait.data.suffixes import (
    FIRST_SUFFIXES,
    UNREAD_KIND,
    Rules,
    fields_of_suffixes,
    media_kind,
    suffix_of,
)
from plait.errors import UserError
from plait.files import open_regular
from plait.modalities import MODALITIES, Modality

MANIFESTS = ("manifest.jsonl", "manifest.csv", "manifest.tsv", "manifest.parquet")

TABLES = tuple(Path(name).suffix for name in MANIFESTS)


def manifest_in(folder: Path) -> Path | None:
    """The manifest file that lies in the folder, if there is one: then the folder means it."""
    return next(iter(manifests_in(folder)), None)


def manifests_in(folder: Path) -> list[Path]:
    """All files of the folder that are named as its manifest; the first one is it."""
    return [path for path in (folder / name for name in MANIFESTS) if os.path.exists(path) and not os.path.isdir(path)]  # noqa: PTH110, PTH112


def read_folder(
    media: MediaFolder, folder: Path, *, rules: Rules = 2, say: Callable[[str], None] = lambda _: None
) -> Iterator[Row | RowError]:
    """The rows of a folder of media with same-named .txt files; `say` is told what was decided for files of several meanings."""
    reader = _Folder(media, folder, rules)
    names: list[str] = []
    for one in _files(folder):
        if isinstance(one, RowError):
            yield one
        else:
            names.append(one)
    yield from reader.put(names)
    if not reader.stems:
        known = ", ".join(reader.field_of)
        raise UserError(
            "the folder holds no media and no .txt files",
            where=readable(str(folder)),
            right=f"A folder of media holds files such as a.png and a.txt, the target of a.png (suffixes: {known}).",
        )
    yield from reader.rows()
    for name, doubtful in reader.doubtful.items():
        listed = ", ".join(f"{number} {suffix}" for suffix, number in sorted(doubtful.items()))
        say(f"{readable(str(folder))}: {listed} {MODALITIES[name].doubt}")


def _files(folder: Path) -> list[str | RowError]:
    """The relative paths of all files that are not hidden, sorted. Links to folders are listed, not followed."""
    found: list[str] = []
    closed: list[str | RowError] = []
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            entries = list(os.scandir(os.path.join(folder, place)))  # noqa: PTH118
        except OSError as error:
            what = f"the folder cannot be looked into: {error.strerror}"
            right = "Allow it to be read, or move it away."
            closed.append(RowError("media-missing", what, where=readable(f"{folder}/{place}"), right=right))
            continue
        for entry in entries:
            if not entry.name.startswith("."):
                into = waiting if entry.is_dir(follow_symlinks=False) else found
                into.append(f"{place}/{entry.name}" if place else entry.name)
    return [*closed, *sorted(found)]


class _Folder:
    """The files of a folder by stem, and the rows that they are."""

    def __init__(self, media: MediaFolder, folder: Path, rules: Rules) -> None:
        self.media, self.folder, self.rules = media, folder, rules
        self.field_of = fields_of_suffixes(rules)
        self.stems: dict[str, list[str]] = {}
        self._fields: dict[str, str] = {}
        self.beside: dict[str, list[str]] = {}
        """By stem the files of unknown suffixes, of which some may be media."""
        self.doubtful: dict[str, Counter[str]] = {}
        """By modality the suffixes of files in rows that might have been something else."""

    def where(self, name: str) -> str:
        """A file's place for messages."""
        return readable(f"{self.folder}/{name}")

    def put(self, names: list[str]) -> Iterator[RowError]:
        """Put the files among those of their stems, or say why one is none."""
        others: list[str] = []
        texts = {_stem(name) for name in names if self.field_of.get(suffix_of(name)) == "target"}
        for name in names:
            suffix = suffix_of(name)
            if os.path.isdir(self.folder / name):  # noqa: PTH112
                right = "Copy the folder, or write a manifest."
                yield RowError("other-file", "a link to a folder is not followed", where=self.where(name), right=right)
            elif suffix in TABLES and not (suffix in self.field_of and _stem(name) in texts):
                right = "Give the file itself, or call it manifest" + suffix
                what = "a manifest of another name does not speak for its folder"
                yield RowError("other-file", what, where=self.where(name), right=right)
            elif suffix in self.field_of and readable(name) != name:
                what = "the file's name is not UTF-8"
                yield RowError("not-utf8", what, where=self.where(name), right="Rename the file.")
            elif suffix in self.field_of:
                self.stems.setdefault(_stem(name), []).append(name)
            else:
                others.append(name)
        for name in others:
            kind = self.unread_kind(name) if self.rules == 2 else None
            if kind is not None and self.needs(_stem(name)):
                self.beside.setdefault(_stem(name), []).append(f"{Path(name).name} is {kind}")
            else:
                what = "neither a known kind of media nor a .txt file"
                what = f"{kind} of a kind that is not read" if kind else what
                yield RowError("other-file", what, where=self.where(name))

    def needs(self, stem: str) -> bool:
        """Whether there is a text of this stem and nothing that it describes."""
        names = self.stems.get(stem, [])
        return bool(names) and all(self.field(name) == "target" for name in names)

    def field(self, name: str) -> str:
        """The field that a file fills: by its suffix, or where this means pictures or sound, by what it holds."""
        if name not in self._fields:
            suffix, path = suffix_of(name), self.folder / name
            told = (doubter.field_of(path) for doubter in self.doubters(suffix))
            self._fields[name] = next(filter(None, told), None) or self.field_of[suffix]
        return self._fields[name]

    def doubters(self, suffix: str) -> list[Modality]:
        """The modalities that look into a file of this suffix, for what it holds."""
        return [one for one in MODALITIES.values() if suffix in one.doubtful] if self.rules == 2 else []

    def unread_kind(self, name: str) -> str | None:
        """What a file of an unknown suffix is, if it is media; its first bytes tell only beside a text."""
        if kind := UNREAD_KIND.get(suffix_of(name)):
            return kind
        if not self.needs(_stem(name)):
            return None
        try:
            with open_regular(self.folder / name) as file:
                return media_kind(file.read(16))
        except (UserError, OSError):
            return None

    def rows(self) -> Iterator[Row | RowError]:
        """The rows, in the order of their stems."""
        only_texts = not self.beside and all(map(self.needs, self.stems))
        for number, stem in enumerate(sorted(self.stems), 1):
            yield from self.row(stem, number, only_texts=only_texts)

    def row(self, stem: str, number: int, *, only_texts: bool) -> Iterator[Row | RowError]:
        """The row of one stem, and its files that are not in it."""
        names = self.stems[stem]
        where = self.where(names[0])
        fields: dict[str, Any] = {"id": stem}
        first, _, rest = stem.partition("/")
        if rest and split_name(first):
            fields["split"] = first
        for field, of_field in self.by_field(names).items():
            if len(of_field) > 1 and self.rules == 2:  # photo.jpg beside photo.heic, as phones write both
                of_first = [name for name in of_field if suffix_of(name) in FIRST_SUFFIXES.get(field, ())]
                for name in of_field if len(of_first) == 1 else ():
                    if name not in of_first:
                        what = f"{Path(of_first[0]).name} of the same stem is read in its place"
                        yield RowError("other-file", what, where=self.where(name))
                of_field = of_first if len(of_first) == 1 else of_field
            if len(of_field) > 1:
                what = f"{of_field[0]} and {of_field[1]} have the same stem, so it is not clear which is the {field}"
                yield RowError("twice", readable(what), where=where, right="Rename one, or write a manifest.", id=stem)
                return
            fields[field] = of_field[0]
        if "target" in fields:
            problem = self.alone(stem, where, only_texts=only_texts) if len(names) == 1 else None
            text = problem or self.text(fields["target"], where)
            if isinstance(text, RowError):
                text.id = stem
                yield text
                return
            fields["target"] = text
        for one in MODALITIES.values():
            if (suffix := suffix_of(fields.get(one.name, ""))) in one.doubtful:
                self.doubtful.setdefault(one.name, Counter())[suffix] += 1
        yield Row(where, number, fields)

    def by_field(self, names: list[str]) -> dict[str, list[str]]:
        """The files of a stem by the field that they fill."""
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(self.field(name), []).append(name)
        return found

    def alone(self, stem: str, where: str, *, only_texts: bool) -> RowError | None:
        """Why a text without media is no row, where it is none."""
        if stem in self.beside:
            what = f"{'; '.join(self.beside[stem])} of a kind that is not read, so this text has nothing to describe"
            right = "Convert it (jpg, png; wav, flac, mp3), give it the suffix of what it is, or move both away."
            return RowError("unread-media", readable(what), where=where, right=right)
        if only_texts:
            return None
        things = [one.one for one in MODALITIES.values() if one.suffixes]
        right = f"Name it like {' or '.join(f'the {one}' for one in things)} that it describes."
        what = f"no {' or '.join(things)} has the name of this text"
        return RowError("other-file", what, where=where, right=right)

    def text(self, name: str, where: str) -> str | RowError:
        """What a text says."""
        try:
            data = self.media.read(name, max_bytes=4 * MAX_TEXT, where=where)
            return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").strip()
        except RowError as error:
            return error
        except UnicodeDecodeError as error:
            what = f"byte {error.start + 1} of {Path(name).name} is not UTF-8"
            return RowError("not-utf8", readable(what), where=where, right="Save it as UTF-8.")


def _stem(name: str) -> str:
    return name.removesuffix(Path(name).suffix) if Path(name).suffix else name


__all__ = ["manifest_in", "manifests_in", "read_folder"]
