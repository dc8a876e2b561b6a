"""The media files that a manifest names: found inside its folder, there, and not empty.

In: the folder of the manifest and the path that a row gives.
Out: the `Path` to open and the real path that tells whether two rows name the same file.
Invariant: a path outside the folder, links followed, is refused before the file is touched, unless allowed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

from plait.data.row import RowError, readable, short
from plait.data.suffixes import fields_of_suffixes
from plait.errors import UserError, other_form
from plait.files import ADDRESS, hint_of, read_bytes


class MediaFile(NamedTuple):
    """`path` is what to open; `real`, with every link followed, is the same for two names of one file."""

    path: Path
    real: str
    num_bytes: int


class _Problem(NamedTuple):
    code: str
    what: str
    right: str


class MediaFolder:
    """Finds media relative to the manifest's folder. Every name and every folder is looked up once."""

    def __init__(self, folder: Path, *, allow_outside: bool = False) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.absolute keeps '..'
        self._inside = os.path.realpath(folder).rstrip(os.sep) + os.sep
        self.allow_outside = allow_outside
        self._found: dict[str, MediaFile | _Problem] = {}
        self._real_folders: dict[str, str] = {}
        self._names: dict[str, dict[str | tuple[str | None, str], str]] = {}

    def find(self, name: str, *, field: str, where: str) -> MediaFile:
        """The file that a row's field names, or a `RowError`."""
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look(name)
        if isinstance(found, MediaFile) and not found.num_bytes:
            found = _Problem("media-empty", "is empty (0 bytes)", "Copy the file again, or leave the row out.")
        if isinstance(found, _Problem):
            raise RowError(found.code, f"{field} {short(name, 200)} {found.what}", where=where, right=found.right)
        return found

    def read(self, name: str, *, max_bytes: int, where: str) -> bytes:
        """The content of a file that is named as media are, under the same conditions; it may be empty."""
        found = self._look(name)
        if isinstance(found, _Problem):
            raise RowError(found.code, f"{short(name, 200)} {found.what}", where=where, right=found.right)
        if found.num_bytes > max_bytes:
            what = f"{short(name, 200)} has {found.num_bytes:,} bytes"
            raise RowError("long-text", what, where=where, right=f"At most {max_bytes:,} are read.")
        try:
            return read_bytes(found.real, max_bytes=max_bytes)
        except UserError as error:
            raise RowError("media-missing", f"{short(name, 200)} {error.what}", where=where) from None

    def _look(self, name: str) -> MediaFile | _Problem:
        if "\0" in name:
            return _Problem("path", "holds a NUL character", "A path is plain text.")
        if readable(name) != name:
            return _Problem("not-utf8", "is not UTF-8", "Rename the file, so that its name is.")
        if ADDRESS.match(name):
            return _Problem(
                "path", "is an address, not a file", "Download it into the manifest's folder and give its path there."
            )
        path = f"{self.folder}{os.sep}{name}" if not os.path.isabs(name) else name  # noqa: PTH117
        try:
            real, status = self._real_path(path)
            if not self.allow_outside and not real.startswith(self._inside):
                return _Problem(
                    "path-outside",
                    f"is outside the manifest's folder (it is {readable(real)})",
                    "Move it into the folder, or allow it: data.allow_outside=true.",
                )
            status = status or os.stat(real)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return _Problem("media-missing", f"is missing (looked for {path})", self._hint(name, path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return _Problem("media-missing", f"cannot be opened: {reason}", "Give the path of a file that can be read.")
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not an ordinary file"
            return _Problem("media-missing", f"is {kind}", "Give the path of one file.")
        return MediaFile(Path(path), real, status.st_size)

    def _real_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """`os.path.realpath`, looking up each folder once; with the status of a file that is inside and no link."""
        head, tail = os.path.split(path)
        if tail in ("", ".", ".."):
            return os.path.realpath(path), None
        folder = self._real_folders.get(head)
        if folder is None:
            folder = self._real_folders[head] = os.path.realpath(head).rstrip(os.sep)
        real = f"{folder}{os.sep}{tail}"
        if not self.allow_outside and not real.startswith(self._inside):
            return os.path.realpath(real), None
        status = os.lstat(real)
        return (os.path.realpath(real), None) if stat.S_ISLNK(status.st_mode) else (real, status)

    def _hint(self, name: str, path: str) -> str:
        """What a file that is not there may have been meant to be: the same name written in another way."""
        if "\\" in name:
            return "Write paths with '/'."
        if name[:1] == "~" and (hint := hint_of(name)):
            return hint
        head, tail = os.path.split(path)
        if head not in self._names:
            names = list(map(readable, os.listdir(head))) if os.path.isdir(head) else []  # noqa: PTH208, PTH112
            kinds = {_kind_and_stem(entry): entry for entry in names}
            self._names[head] = kinds | {_folded(entry): entry for entry in names}
        near = self._names[head].get(_folded(tail)) or self._names[head].get(_kind_and_stem(tail))
        beside = f"Did you mean {near!r}{other_form(tail, near)}? " if near else ""
        return f"{beside}Paths are relative to the manifest's folder, {self.folder}."


def _folded(name: str) -> str:
    """What names have in common that differ in upper and lower case, or in Unicode's form."""
    return normalize("NFC", name).lower()


def _kind_and_stem(name: str) -> tuple[str | None, str]:
    """What a.JPG and a.png have in common."""
    stem, suffix = os.path.splitext(_folded(name))  # noqa: PTH122
    return fields_of_suffixes().get(suffix), stem
