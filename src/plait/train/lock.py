"""One process at a time trains in a run folder, and makes it.

In: the folder.
Out: a lock held for the block, or one message.
Invariant: the lock is the system's and goes with the process, its loader's workers notwithstanding, so a crash leaves none behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from plait.errors import UserError
from plait.locks import held_name, lock
from plait.writing import unwritable

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder that is there; where the system has no such locks, nothing is held."""
    try:
        file = (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise unwritable(folder / LOCK, error) from error
    with file:
        if lock(file) is False:
            raise in_training(folder)
        yield


@contextmanager
def creating(folder: Path) -> Iterator[None]:
    """Hold the name of a folder that is to be made: the lock is a file beside it, and gone afterwards."""
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - a link of this name is not followed
    made = [parent for parent in folder.parents if not parent.exists()]
    with ExitStack() as stack:
        stack.callback(remove_empty, made)  # the last thing, after the lock's own file is gone
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            is_held = stack.enter_context(held_name(folder.with_name(f".{folder.name}{LOCK}")))
        except OSError as error:
            raise unwritable(folder, error) from error
        if not is_held:
            raise in_training(folder)
        yield


def remove_empty(folders: Sequence[Path]) -> None:
    """Folders that were made and stayed empty, because nothing came of it."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def in_training(folder: Path) -> UserError:
    """One message for a folder that another process works in."""
    return UserError(f"{folder} is being trained by another process", right="Wait for it, or take another name.")
