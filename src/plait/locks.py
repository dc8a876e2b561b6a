"""Which process holds or writes something: locks that go with their process, and temporary names that tell whose they are.

In: a path.
Out: a lock for a block, or one message; a name to write under until the file is whole.
Invariant: a lock is its own process's alone: a process that was forked from it (a loader's worker) does not hold it, so it ends
when the holder does. No two writers have the same temporary name, and what a dead one left can be told from what is alive.
"""

from __future__ import annotations

import os
import platform
import re
import time
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

PART = ".part"
"""The ending of a temporary name: what bears it is not finished."""

NAME = re.compile(r"\.(?P<host>[0-9a-f]{6})-(?P<process>\d+)-[0-9a-f]{8}\.part$")
ABANDONED_SECONDS = 86_400.0
"""A write takes seconds: what is older than a day is nobody's, whatever its process is called."""

_HELD: weakref.WeakSet[IO[Any]] = weakref.WeakSet()


def not_inherited(file: IO[Any]) -> None:
    """Close this file in every process that is forked from this one: a lock on it would live as long as the child."""
    _HELD.add(file)


def _close_in_child() -> None:
    for file in list(_HELD):
        with suppress(OSError):
            file.close()
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


def lock(file: IO[Any]) -> bool | None:
    """Lock an open file: True, or False where another has; None where the system, or the network's disk, knows no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    not_inherited(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def held_name(path: Path) -> Iterator[bool]:
    """Hold a lock file that is there for this block only; whether it could be had (`OSError` where it cannot be made)."""
    while True:
        file = path.open("a", encoding="utf-8", newline="\n")
        if lock(file) is False:
            file.close()
            yield False
            return
        if is_still(path, file):
            break
        file.close()  # its holder removed it between our opening and our locking: another may have made a new one
    try:
        yield True
    finally:
        with suppress(OSError):
            path.unlink()
        file.close()


def is_still(path: Path, file: IO[Any]) -> bool:
    """Whether the open file is the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:
        return False


def host() -> str:
    """Six digits for this machine: the number of a process means nothing on another one."""
    return blake2b(platform.node().encode(errors="replace"), digest_size=3).hexdigest()


def temporary(path: Path) -> Path:
    """A name beside `path` that no other writer has."""
    return path.with_name(f".{path.name}.{host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{PART}")


def is_abandoned(part: Path) -> bool:
    """Whether a file or folder of a temporary name is nobody's any more; names that tell no process are."""
    match = NAME.search(part.name)
    if match is None:
        return True
    if match["host"] == host() and not is_running(int(match["process"])):
        return True
    try:
        return time.time() - part.lstat().st_mtime > ABANDONED_SECONDS
    except OSError:  # gone a moment ago
        return False


def is_running(process: int) -> bool:
    """Whether there is a process of this number (Windows cannot be asked without ending it)."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
