"""`plait cache`: what the cache of features holds, and its clearing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.common import Json, Output
from plait.errors import UserError

if TYPE_CHECKING:
    from plait.features.listing import Listing, Stored


def cache(
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Only these encoders, by the first letters of their id.", show_default=False),
    ] = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete their features; without ids, of all encoders.")
    ] = False,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Delete only what was not used for this long: 30d."),
    ] = None,
    outdated: Annotated[
        bool,
        typer.Option("--outdated", help="Delete only what no run can use any more: other code or libraries made it."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where the features of frozen encoders are kept (encoders.cache), how much it is, and clear them.

    Whatever is cleared is computed again when a run wants it. The folder is $PLAIT_CACHE, or ~/.cache/plait.
    """
    from plait.features import listing as cached

    output = Output(as_json)
    if older_than is not None and not clear:
        raise UserError("only --clear asks how old", where="--older-than", right="Add --clear, or leave it out.")
    if outdated and not clear:
        raise UserError("--outdated requires --clear", right="Add --clear; plait cache names what is outdated.")
    if clear:
        age = None if older_than is None else cached.seconds_of(older_than)
        gone = cached.clear(ids or (), older_than=age, only_outdated=outdated)
        freed = size(sum(row.num_bytes for row in gone))
        output.say(f"cleared: the features of {len(gone)} encoder{'' if len(gone) == 1 else 's'}, {freed}")
        output.result({"folder": str(cached.cache_folder()), "cleared": [plain(row) for row in gone]})
        return
    found = cached.listing()
    rows = cached.chosen(found.stored, ids or ())
    for line in lines(found, rows):
        output.say(line)
    output.result(
        {
            "folder": str(found.folder),
            "bytes": found.num_bytes,
            "files": found.files,
            "encoders": [plain(row) for row in rows],
        }
    )


def lines(found: Listing, rows: list[Stored]) -> list[str]:
    """The table for people."""
    head = f"{found.folder}: {size(found.num_bytes)}, the content of {found.files:,} files known"
    if not rows:
        return [head, "no features: a run with encoders.freeze and encoders.cache fills it"]
    table = [("id", "modality", "encoder", "items", "size", "last use", "weights of")]
    for row in rows:
        kind = row.kind if row.width is None else f"{row.kind} {row.width}"
        used = datetime.fromtimestamp(row.last_used).strftime("%Y-%m-%d %H:%M")
        table.append((row.id, row.modality, kind, f"{row.items:,}", size(row.num_bytes), used, row.start_from or "-"))
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    right = (3, 4)
    shown = [
        "  ".join(
            word.rjust(width) if column in right else word.ljust(width)
            for column, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    old = [f"outdated: {row.id}: {'; '.join(row.outdated)}" for row in rows if row.outdated]
    advice = ["no run of this installation can use these: plait cache --clear --outdated deletes them"] if old else []
    return [head, *shown, *old, *advice]


def plain(row: Stored) -> dict[str, Any]:
    """A row for programs."""
    used = datetime.fromtimestamp(row.last_used, UTC).isoformat(timespec="seconds")
    return {
        "id": row.id,
        "modality": row.modality,
        "kind": row.kind,
        "width": row.width,
        "start_from": row.start_from,
        "items": row.items,
        "bytes": row.num_bytes,
        "last_used": used,
        "outdated": None if row.outdated is None else list(row.outdated),
    }


def size(num_bytes: int) -> str:
    """`3.4 MB`, `1.2 GB`."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
