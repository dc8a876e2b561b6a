"""What all commands share: their common options, and where output goes.

In: the options `--json`, `--seed`, `--device`, `--threads`.
Out: with `--json` one JSON object on standard output and every message on standard error; otherwise words on standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output; messages go to standard error.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; default: the best there is.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of computation; default: all cores.")]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a trained run.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides after the file: fusion.kind=product train.steps=200", show_default=False),
]


class Output:
    """Where words and results go."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """Words for a person."""
        print(text, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def result(self, values: Mapping[str, Any]) -> None:
        """The result for a program; a person has read it in words already."""
        if self.as_json:
            print(json.dumps(values, ensure_ascii=False, default=str), flush=True)


def use_threads(threads: int | None) -> None:
    """Compute with so many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def settings(*, seed: int | None = None, device: str | None = None, threads: int | None = None) -> list[str]:
    """The common options as overrides of a configuration."""
    given = {"seed": seed, "train.device": device, "train.threads": threads}
    return [f"{key}={value}" for key, value in given.items() if value is not None]
