"""What the cache holds, and its clearing.

In: the cache's folder; which encoders to clear.
Out: a row per encoder; what was cleared.
Invariant: nothing is deleted but folders that the cache itself has made; a folder gets another name before it is deleted, so
whoever looks for features finds all of an encoder or nothing. A process that reads them at that moment reads on.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from plait.errors import UserError, did_you_mean
from plait.features.block import SUFFIX, read_header
from plait.features.digests import MEMORY
from plait.features.identity import outdated
from plait.features.place import cache_folder
from plait.features.store import ABOUT, IDENTITY, features_folder, read_about
from plait.run import reason, remove

ID = re.compile(r"^[0-9a-f]{16}$")
GONE = ".gone-"
UNITS = {"min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
AGE = re.compile(r"^(\d+(?:\.\d+)?)\s*(min|h|d|w)$")


@dataclass(frozen=True)
class Stored:
    """One encoder's features. `last_used` in seconds since 1970; `start_from`: the run that its weights came from.

    `outdated`: why no run of this installation can use them (its code or libraries are others); None where that is not known.
    """

    id: str
    modality: str
    kind: str
    width: int | None
    start_from: str
    items: int
    num_bytes: int
    last_used: float
    outdated: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Listing:
    """The whole cache. `files`: how many files' digests are remembered."""

    folder: Path
    stored: tuple[Stored, ...]
    files: int
    num_bytes: int


def listing() -> Listing:
    """What is there now, the last used first."""
    folder = cache_folder()
    stored = [row for path in encoder_folders() if (row := stored_in(path)) is not None]
    stored.sort(key=lambda row: (-row.last_used, row.id))
    files, memory = remembered(folder / MEMORY)
    return Listing(folder, tuple(stored), files, memory + sum(row.num_bytes for row in stored))


def encoder_folders() -> list[Path]:
    """The folders that the cache has made, and nothing else that may lie beside them."""
    try:
        return sorted(path for path in features_folder().iterdir() if ID.match(path.name) and path.is_dir())
    except OSError:
        return []


def stored_in(folder: Path) -> Stored | None:
    """One encoder's row; None for a folder that has just been deleted."""
    about, items, num_bytes = read_about(folder), 0, 0
    try:
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                num_bytes += path.stat().st_size
            if path.suffix == SUFFIX and (header := read_header(path)) is not None:
                items += header.num_items
        used = (folder / ABOUT if (folder / ABOUT).exists() else folder).stat().st_mtime
    except FileNotFoundError:
        return None
    width, why = about.get("width"), outdated(about.get(IDENTITY))
    words = {name: str(about.get(name) or "?") for name in ("modality", "kind")}
    return Stored(
        folder.name,
        words["modality"],
        words["kind"],
        width if isinstance(width, int) else None,
        str(about.get("start_from", "")),
        items,
        num_bytes,
        used,
        None if why is None else tuple(why),
    )


def remembered(path: Path) -> tuple[int, int]:
    """How many digests are remembered, and the bytes of the file that they are in."""
    try:
        size = path.stat().st_size
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
            return database.execute("select count(*) from files").fetchone()[0], size
    except (OSError, sqlite3.Error):
        return 0, 0


def seconds_of(age: str) -> float:
    """`30d`, `12h`, `45min`, `2w` in seconds."""
    match = AGE.match(age.strip())
    if match is None:
        raise UserError(
            f"{age!r} is no time", where="--older-than", right="Give a number and min, h, d or w, such as 30d."
        )
    return float(match[1]) * UNITS[match[2]]


def chosen(stored: Collection[Stored], ids: Collection[str]) -> list[Stored]:
    """The rows of these ids, whose beginnings will do; all for none. An unknown id is told with those that there are."""
    if not ids:
        return list(stored)
    found: dict[str, Stored] = {}
    for id in ids:
        rows = [row for row in stored if row.id.startswith(id)]
        if len(rows) != 1:
            what = f"{len(rows)} encoders begin with {id!r}" if rows else f"the cache holds no encoder {id!r}"
            raise UserError(what, right=did_you_mean(id, [row.id for row in stored]) if stored else "It is empty.")
        found[rows[0].id] = rows[0]
    return list(found.values())


def clear(ids: Collection[str] = (), *, older_than: float | None = None, only_outdated: bool = False) -> list[Stored]:
    """Delete the features of these encoders (all for none) that were not used for so many seconds; what was deleted.

    `only_outdated`: of them those that no run of this installation can use any more.
    """
    now, everything = time.time(), not ids and older_than is None and not only_outdated
    rows = [row for row in chosen(listing().stored, ids) if older_than is None or now - row.last_used > older_than]
    rows = [row for row in rows if row.outdated or not only_outdated]
    folder = features_folder()
    for row in rows:
        discard(folder / row.id)
    for left in folder.glob(f"{GONE}*"):  # of a clearing that did not end
        remove(left)
    if everything:
        discard(cache_folder() / MEMORY)
    return rows


def discard(path: Path) -> None:
    """Take a file or folder away in one instant, then delete it."""
    gone = path.with_name(f"{GONE}{uuid.uuid4().hex}")
    try:
        os.replace(path, gone)  # noqa: PTH105
    except FileNotFoundError:
        return
    except OSError as error:
        right = "Clear it as the user who made it."
        raise UserError(f"cannot clear the cache: {reason(error)}", where=str(path), right=right) from error
    remove(gone)
