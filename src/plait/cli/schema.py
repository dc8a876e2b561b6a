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
    run: Annotated[
        Path | None,
        typer.Argument(help="A configuration: the schema that fits its inputs; without it the general one."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write it here instead of to standard output.")] = None,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Write the JSON Schema of the YAML file, so that editors complete and check it."""
    from plait.config import json_schema, json_schema_of, read_config

    found = json_schema() if run is None else json_schema_of(read_config(run))
    text = json.dumps(found, indent=2, ensure_ascii=False) + "\n"
    if out is None:
        print(json_text(found, sys.stdout.encoding, indent=2))
        return
    write_file(out, text)
    output = Output(as_json)
    output.say(f"{out}: put  # yaml-language-server: $schema={out}  on the first line of a configuration")
    output.result({"schema": str(out)})
