"""Files that data name are opened in one place: ordinary files only, read to a bound; and what tells that a file was changed.

In: a path, and the most bytes that a file of its kind may have.
Out: its bytes; or its `FileState`.
Invariant: nothing is read from a pipe, a device or a socket, and opening one never waits; no more than the bound is read, whatever
the file's size was said to be.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

from plait.errors import UserError

READ_BYTES = 2**20


class FileState(NamedTuple):
    """What tells that a file was changed: times and size; the last two tell of an exchange that kept all three (tar, rsync -t)."""

    changed_ns: int
    status_changed_ns: int
    num_bytes: int


def state_of(path: Path | str) -> FileState | None:
    """The file's state, None where there is none to look at."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return FileState(found.st_mtime_ns, found.st_ctime_ns, found.st_size)


def open_regular(path: Path | str, *, where: str | None = None) -> BinaryIO:
    """An ordinary file opened to be read; a folder, a pipe, a device is refused without waiting for it.

    `UserError` for what cannot be opened; `where` (default: the path) is the place that the message names.
    """
    where = str(path) if where is None else where
    try:
        # a pipe without a writer would block; what opens is asked what it is, so nothing can be exchanged in between
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=where) from None
    except ValueError as error:  # a NUL character
        raise UserError(f"cannot be read: {error}", where=where) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise UserError(f"is {kind}", where=where, right="Give the path of one file.")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path | str, *, max_bytes: int, where: str | None = None) -> bytes:
    """The content of an ordinary file of at most `max_bytes`; see `open_regular`."""
    where = str(path) if where is None else where
    with open_regular(path, where=where) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", where=where) from None
    if len(data) > max_bytes:
        raise UserError(
            f"has more than {max_bytes:,} bytes", where=where, right="It is too large for what it is read as."
        )
    return data


def split_lines(text: str) -> list[str]:
    """The lines of a file of ours: `\\n` alone ends one, because U+2028, U+0085 and their like may stand in a JSON string."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines
