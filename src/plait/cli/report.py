"""`plait report`: the folder of a run or a comparison → one page to be opened, printed and sent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.common import Json, Output, TrustCode


def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a run or of a comparison.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it; default: report.html in the folder."),
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
) -> None:
    """Write report.html: all that the folder holds, as one page that opens offline, prints, and plays its sounds.

    Nothing is computed, and no code that the run names is imported, with --trust-code neither: what a run's folder lacks is
    named with the command that makes it.
    """
    from plait.report import report as write

    output = Output(as_json)
    written = write(folder, out)
    for missing in written.missing:
        output.say(f"missing: {missing.what}  ({missing.command})")
    for note in written.left_out:
        output.say(note)
    num_bytes = written.path.stat().st_size
    output.say(f"{written.path}  ({num_bytes / 1e6:.1f} MB)")
    output.result(
        {
            "folder": str(folder),
            "report": str(written.path),
            "kind": written.kind,
            "bytes": num_bytes,
            "missing": [missing._asdict() for missing in written.missing],
            "left_out": list(written.left_out),
        }
    )
