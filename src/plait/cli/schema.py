"""`plait schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.common import Device, Json, Output, Seed, Threads, write_file
from plait.terminal import json_text


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="Write it here instead of to standard output.")] = None,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Write the JSON Schema of the YAML file, so that editors complete and check it."""
    from plait.config import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if out is None:
        print(json_text(json_schema(), sys.stdout.encoding, indent=2))
        return
    write_file(out, text)
    output = Output(as_json)
    output.say(f"{out}: put  # yaml-language-server: $schema={out}  on the first line of a configuration")
    output.result({"schema": str(out)})
