"""`plait search`: words, a text, a picture or a sound → the rows of a manifest that are most like it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.common import (
    AcceptChanges,
    Device,
    Json,
    Output,
    RunFolder,
    Threads,
    TrustCode,
    say_aside,
    use_threads,
)

if TYPE_CHECKING:
    from plait.search import Found, Hit

MAX_IDS = 3
"""Rows that are named beside an entry; of more the number is said."""


def search(
    run: RunFolder,
    manifest: Annotated[Path, typer.Option("--in", metavar="MANIFEST", help="The rows to search.", show_default=False)],
    words: Annotated[str | None, typer.Argument(help="Words, compared as a target.", show_default=False)] = None,
    text: Annotated[str | None, typer.Option("--text", help="Search by a text of the modality `text`.")] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", help="Search by a picture.")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="Search by a recording.")] = None,
    of: Annotated[
        str | None, typer.Option("--of", help="What to search: image, audio, text or target; default: all others.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Show the best K of each.")] = 10,
    index: Annotated[
        Path | None, typer.Option("--index", help="Where the manifest's vectors are kept; default: in the run.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Items at a time; default: the run's own.")
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Find the rows of a manifest that are most like some words, a picture or a sound, with a run trained with train.alignment.

    plait search runs/demo "a red circle" --in data/manifest.jsonl --of image
    """
    from plait.api import load
    from plait.cli.progress import counter

    output = Output(as_json)
    use_threads(threads)
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    with counter("reading the rows", to_stderr=True) as count:
        found = model.search(
            words,
            manifest=manifest,
            text=text,
            image=image or (),
            audio=audio,
            of=of,
            top=top,
            index=index,
            batch_size=batch_size,
            progress=count,
        )
    output.say(in_words(found))
    output.result({"run": str(run), "manifest": str(manifest), **as_json_object(found)})


def in_words(found: Found) -> str:
    """Where the vectors came from, what was passed over, and the entries of each side with their cosines."""
    index = found.index
    lines = [f"{index.num_rows:,} rows; vectors {index.state}: {index.path}", *index.notes]
    if found.query.unknown:
        lines.append(f"unknown to the model and left out: {', '.join(found.query.unknown)}")
    for side, hits in found.hits.items():
        gallery = index.galleries[side]
        passed = [f"{gallery.num_without:,} rows have none"] * bool(gallery.num_without)
        passed += [f"{gallery.num_unreadable:,} could not be read"] * bool(gallery.num_unreadable)
        heading = f"{side}: the best {len(hits)} of {len(gallery.items):,}" if hits else f"{side}: nothing to search"
        lines += ["", heading + (f" ({', '.join(passed)})" if passed else "")]
        lines += [f"{hit.rank:4}  {hit.likeness:6.3f}  {shown(hit)}" for hit in hits]
    return "\n".join(lines)


def shown(hit: Hit) -> str:
    """An entry and whose it is."""
    item = hit.item if isinstance(hit.item, str) else " + ".join(hit.item)
    more = len(hit.ids) - MAX_IDS
    return f"{item}   ({', '.join(hit.ids[:MAX_IDS])}{f' and {more} more' if more > 0 else ''})"


def as_json_object(found: Found) -> dict[str, Any]:
    """The same for a program."""
    index = found.index
    return {
        "query": found.query.side,
        "unknown": list(found.query.unknown),
        "index": {"path": str(index.path), "state": index.state, "rows": index.num_rows, "notes": list(index.notes)},
        "sides": {
            side: {
                "entries": len(index.galleries[side].items),
                "rows_without": index.galleries[side].num_without,
                "unreadable": index.galleries[side].num_unreadable,
                "hits": [{**hit._asdict(), "likeness": round(hit.likeness, 6)} for hit in hits],
            }
            for side, hits in found.hits.items()
        },
    }
