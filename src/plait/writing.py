"""Files and folders get their name when they are whole.

In: a path to be written.
Out: a temporary name to write under; one message where the disk does not take it.
Invariant: what is written bears a temporary name of its own until it is synced, then it is renamed: whatever happens at whatever
instant, and however many write at once, what stands under the right name is whole.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from plait.errors import UserError
from plait.files import open_regular
from plait.locks import NAME, PART, is_abandoned, temporary

SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)
"""A place where nothing can be written: EEXIST where the folder to be made is a file, ENOENT in /proc."""


def write_json(path: Path, value: object) -> None:
    """Readable JSON (not atomic by itself: see `replacing`)."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path, *, right: str) -> dict[str, Any]:
    """A file of keys that Plait wrote, or one message for one that is cut off or something else."""
    try:
        with open_regular(path) as file:
            value = json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"is not JSON: {reason(error)}", where=str(path), right=right) from error
    if not isinstance(value, dict):
        raise UserError("is damaged: it holds no mapping of keys", where=str(path), right=right)
    return value


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write a file or a folder to; when the block ends, it is synced and renamed to `path`.

    On any failure the temporary is removed and what stood at `path` stays whole; failures of the disk become one message.
    A new folder may only take the place of an empty one. No two writers share a temporary, so the last one's whole file stays.
    """
    part = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent, path.name)
        yield part
        sync(part)
        os.replace(part, path)  # noqa: PTH105 - tests fail this very call
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            remove(part)
        raise unwritable(path, error) from error
    except BaseException:
        remove(part)
        raise


def unwritable(path: Path, error: BaseException) -> UserError:
    """One message for a write that failed."""
    right = "What was saved before is whole. " + remedy(error, path.parent)
    return UserError(f"cannot write {path.name}: {reason(error)}", where=str(path.parent), right=right)


def reason(error: BaseException) -> str:
    """The failure in a few words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def remedy(error: BaseException, folder: Path) -> str:
    """What the user can do about a failed write."""
    numbers = [error.errno] if isinstance(error, OSError) else [n for n in SPACE if f"(os error {n})" in str(error)]
    if set(numbers) & set(CLOSED):
        return "Give a place that may be written."
    if not set(numbers) & set(SPACE):
        return "Mend that and give the command again; a training that had begun goes on with --resume."
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB are free)"
    except OSError:
        free = ""
    return f"Make room on the disk{free} and give the command again; a training that had begun goes on with --resume."


def remove(path: Path) -> None:
    """A file or folder gone, if it was there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """What an earlier crash left unfinished of a file, or of anything in a run's folder; what another process writes now stays."""
    if name is not None:
        parts = [p for p in folder.glob(f".{escape(name)}.*{PART}") if NAME.search(p.name)]
        parts += folder.glob(f".{escape(name)}{PART}")  # as Plait called them before
    else:
        parts = [*folder.glob(f".*{PART}"), *folder.glob(f"training/.*{PART}")]
    for part in parts:
        if is_abandoned(part):
            remove(part)


def sync(path: Path) -> None:
    """Everything under `path` on the disk."""
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            sync(inner)
        sync_folder(path)
    else:
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A folder's list of names on the disk (Windows cannot open a folder and needs no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
