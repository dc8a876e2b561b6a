"""A folder → its report, whether it holds a run or a comparison.

In: a folder; where the page is to be written, if not in it.
Out: a `Written`: the page, and what it does not show.
Invariant: a folder that is neither is refused in one message, and nothing is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from plait.compare.result import RESULT, read_result
from plait.errors import UserError
from plait.report.comparison import comparison_report
from plait.report.found import Missing, find
from plait.report.media import Media
from plait.report.page import NAME
from plait.report.run import write_run
from plait.report.svg import INSTALL, can_plot
from plait.run import CONFIG


class Written(NamedTuple):
    """`missing`: what the folder lacks and the command that makes it. `left_out`: what it holds and the page does not."""

    path: Path
    kind: Literal["run", "comparison"]
    missing: tuple[Missing, ...]
    left_out: tuple[str, ...]


def report(folder: Path, out: Path | None = None) -> Written:
    """Write the report of what is in a folder."""
    out = folder / NAME if out is None else out
    if out.is_dir():
        raise UserError("is a folder", where=str(out), right=f"Give the page a name: {out / NAME}")
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError("a page's name ends in .html", where=str(out), right=f"Write {out.with_suffix('.html')}")
    plots = () if can_plot() else (INSTALL,)
    if (folder / RESULT).is_file():
        media = Media()
        path = comparison_report(read_result(folder), folder, out=out, media=media)
        return Written(path, "comparison", (), (*media.notes, *plots))
    right = "Give the folder that plait train or plait compare wrote"
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", right=right)
    if not (folder / CONFIG).exists():
        raise UserError(
            f"{folder} holds neither a run ({CONFIG}) nor a finished comparison ({RESULT})",
            right=right,
        )
    found, media = find(folder), Media()
    path = write_run(found, out=out, media=media)
    return Written(path, "run", tuple(found.missing), (*media.notes, *plots))
