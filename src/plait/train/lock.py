"""One process at a time trains in a run folder.

In: the folder.
Out: a lock held for the block, or one message.
Invariant: the lock is the system's and goes with the process, so a crash leaves none behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plait.errors import UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder; where the system has no such locks, nothing is held."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with (folder / ".lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder} is being trained by another process", right="Wait for it, or take another name."
            ) from None
        except OSError:  # a network file system without locks
            pass
        yield
