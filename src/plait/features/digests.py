"""What is in a file, as 16 bytes: two files with the same content have the same features, whatever they are called.

In: paths.
Out: the BLAKE2 digest of each file's content, None for one that cannot be read.
Invariant: a digest is that of the file as it is now: one that is remembered counts only while size and times of change are the
same. What is remembered is an SQLite file for any number of processes; without it, or if it is damaged, files are read again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path

from plait.features.block import KEY_BYTES
from plait.files import READ_BYTES, FileState, state_of

MEMORY = "files.sqlite"
FRESH_NS = 2_000_000_000
"""A file changed within the last two seconds may change again within one tick of its clock: its digest is not kept on the disk."""

AT_ONCE = 500
"""Files in one question to the database."""


def digest_of(path: Path) -> bytes | None:
    """The digest of the content as it is."""
    digest = hashlib.blake2b(digest_size=KEY_BYTES)
    try:
        with path.open("rb") as file:
            while data := file.read(READ_BYTES):
                digest.update(data)
    except OSError:
        return None
    return digest.digest()


class FileDigests:
    """Digests by path, remembered in `folder` beyond this process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MEMORY
        self._known: dict[Path, tuple[FileState, bytes]] = {}

    def of(self, path: Path) -> bytes | None:
        """The digest of one file; one that is new here is read, and not kept on the disk."""
        state = state_of(path)
        if state is None:
            return None
        known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        digest = digest_of(path)
        if digest is not None:
            self._known[path] = (state, digest)
        return digest

    def learn(self, paths: Iterable[Path], told: Callable[[int, int], None] = lambda done, of: None) -> None:
        """Know the digests of many files: those that were remembered, the others read and remembered. `told(done, all)`."""
        waiting = [path for path in dict.fromkeys(paths) if path not in self._known]
        kept, fresh, done = self._remembered(waiting), [], 0
        now = time.time_ns()
        for path in waiting:
            done += 1
            state = state_of(path)
            if state is None:
                continue
            found = kept.get(str(path.absolute()))
            if found is not None and found[0] == state:
                self._known[path] = found
                continue
            digest = digest_of(path)
            if digest is not None and state_of(path) == state:
                self._known[path] = (state, digest)
                if now - max(state[:2]) > FRESH_NS:
                    fresh.append((path, state, digest))
            told(done, len(waiting))
        self._remember(fresh)

    def _remembered(self, paths: Sequence[Path]) -> dict[str, tuple[FileState, bytes]]:
        if not paths or not self.path.exists():
            return {}
        names = [str(path.absolute()) for path in paths]
        try:
            with closing(self._open()) as database:
                rows = []
                for start in range(0, len(names), AT_ONCE):
                    part = names[start : start + AT_ONCE]
                    question = f"select * from files where name in ({','.join('?' * len(part))})"
                    rows += database.execute(question, part).fetchall()
        except sqlite3.Error as error:
            self._forget_damaged(error)
            return {}
        return {name: (FileState(*state), bytes(digest)) for name, *state, digest in rows}

    def _remember(self, found: Sequence[tuple[Path, FileState, bytes]]) -> None:
        """Keep digests; a disk that does not take them is no reason to stop: they save time and nothing else."""
        if not found:
            return
        rows = [(str(path.absolute()), *state, digest) for path, state, digest in found]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute(
                    "create table if not exists files "
                    "(name text primary key, changed integer, status_changed integer, bytes integer, digest blob)"
                )
                database.executemany("insert or replace into files values (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            self._forget_damaged(error)
        except OSError:
            pass

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=20)

    def _forget_damaged(self, error: sqlite3.Error) -> None:
        """A file that is no database any more is removed; one that is only busy, full or not ours is left."""
        if not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
