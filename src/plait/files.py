"""Files that data name are opened in one place: ordinary files only, read to a bound; and what tells that a file was changed.

In: a path, and the most bytes that a file of its kind may have.
Out: its bytes; or its `FileState`.
Invariant: nothing is read from a pipe, a device or a socket, and opening one never waits; no more than the bound is read, whatever
the file's size was said to be.
"""

from __future__ import annotations

import os
import re
import stat
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

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


ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)
"""How an address begins: `https://…`, `FILE:///…`."""


def is_address(path: Path | str) -> bool:
    """Whether this is an address and no path, also as a path object has it: one stroke less, and made absolute perhaps."""
    scheme = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
    return ADDRESS.match(str(path)) is not None or any(scheme.fullmatch(part) for part in Path(path).parts)


def hint_of(path: Path | str) -> str | None:
    """What a path that leads nowhere was probably meant to be: an address, or the home folder; None where it tells nothing."""
    if is_address(path):
        return "This is an address, not a file: download it, and give the path of the file."
    parts = Path(path).parts
    place = next((number for number, part in enumerate(parts) if part[:1] == "~"), None)
    if place is None:
        return None
    try:
        meant = Path(*parts[place:]).expanduser()
    except RuntimeError:  # no user of that name
        return None
    return f"'~' is not expanded here: write the home folder in full, {meant}"


def open_regular(path: Path | str, *, where: str | None = None) -> BufferedReader:
    """An ordinary file opened to be read; a folder, a pipe, a device is refused without waiting for it.

    `UserError` for what cannot be opened; `where` (default: the path) is the place that the message names.
    """
    where = str(path) if where is None else where
    try:
        # a pipe without a writer would block; what opens is asked what it is, so nothing can be exchanged in between
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=where, right=hint_of(path)) from None
    except ValueError as error:  # a NUL character
        raise UserError(f"cannot be read: {error}", where=where) from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
        raise UserError(f"is {kind}", where=where, right="Give the path of one file.")
    return os.fdopen(descriptor, "rb")


def refuse_devices(folder: Path) -> None:
    """One message for a pipe or a device anywhere in a folder: a library that opens one by its name would wait for ever."""
    for inner, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inner, name)  # noqa: PTH118
            try:
                mode = os.stat(path).st_mode  # noqa: PTH116
            except OSError:  # a link that leads nowhere
                continue
            if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                raise UserError("is not an ordinary file", where=path, right="Remove it, or copy the folder again.")


def read_bytes(path: Path | str, *, max_bytes: int, where: str | None = None) -> bytes:
    """The content of an ordinary file of at most `max_bytes`; see `open_regular`."""
    where = str(path) if where is None else where
    with open_regular(path, where=where) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            data = file.read(
                min(size, max_bytes) + 1
            )  # what is asked for is set aside at once, so no more than there is
            if size < len(data) <= max_bytes:  # it has grown, or its size says nothing
                data += file.read(max_bytes + 1 - len(data))
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
