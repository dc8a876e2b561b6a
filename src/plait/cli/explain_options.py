"""The options of `plait explain`, with what `--help` says of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Split = Annotated[str | None, typer.Option("--split", help="train, tune or test; default: the run's own.")]
FailIfUnused = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if-unused", metavar="NAME", help="Exit code 1 if this input is not measurably, or hardly, used."
    ),
]
Worth = Annotated[
    float | None,
    typer.Option(
        "--worth",
        metavar="PERCENT",
        help="Effects below this per cent of a segment's loss without inputs do not matter; default: 1.",
        show_default=False,
    ),
]
PlayersNamed = Annotated[
    str | None,
    typer.Option(
        "--players",
        metavar="A+B,C",
        help="Inputs that are credited together; the others each by itself. Default: each input up to 5, of more one per "
        "modality.",
    ),
]
Sampled = Annotated[
    bool, typer.Option("--sampled", help="Credit every input by sampled orders: for more than 5 of them.")
]
Orders = Annotated[
    int | None,
    typer.Option("--orders", min=1, help="So many sampled orders per sample; default: 8.", show_default=False),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show all figures, not only those behind the verdicts.")]
SampleId = Annotated[
    str | None,
    typer.Option("--sample", metavar="ID", help="One sample instead: what it was read from, over the inputs."),
]
Manifest = Annotated[Path | None, typer.Option("--manifest", help="Another manifest with the same segments.")]
Curves = Annotated[
    bool, typer.Option("--curves", help="Instead: scores against noise, blur, occlusion, JPEG, missing inputs.")
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=0, help="Samples for --curves; 0: all; default: 400.", show_default=False),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", min=1, help="Samples at a time; default: the run's own.")
]
