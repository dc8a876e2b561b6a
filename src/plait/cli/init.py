"""`plait init`: the user's own data → a commented first configuration that trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.common import (
    AllowOutside,
    Columns,
    Device,
    Json,
    NamedInputs,
    Output,
    Seed,
    Threads,
    named_columns,
    named_modalities,
    settings,
    write_file,
)
from plait.errors import UserError
from plait.files import hint_of

if TYPE_CHECKING:
    from plait.cli.first import Found


def init(
    data: Annotated[Path, typer.Argument(help="A manifest, or a folder of media.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="The configuration to write.")] = Path("run.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    inputs: NamedInputs = None,
    columns: Columns = None,
    allow_outside: AllowOutside = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Look at a manifest or a folder of media, and write a first configuration that trains.

    plait init photos/ --out photos.yaml

    plait init pairs.jsonl --inputs before=image,after=image,question=text
    """
    if out.exists() and not force:
        raise UserError("is there already", where=str(out), right="--force writes over it, --out NAME elsewhere")
    if out.exists() and not out.is_file():
        raise UserError(
            "is not an ordinary file", where=str(out), right="Give the configuration a name: --out run.yaml"
        )
    if not data.exists():
        raise UserError(
            "no such file or folder", where=str(data), right=hint_of(data) or "Give a manifest, or a folder of media"
        )
    from plait.cli.first import first_yaml, look
    from plait.config import read_config

    output, named = Output(as_json), named_modalities(inputs)
    found = look(data, allow_outside=allow_outside, inputs=named, columns=named_columns(columns, named))
    output.say("\n".join(found.lines()))
    extra = settings(seed=seed, device=device, threads=threads)
    write_file(out, first_yaml(found, out, extra))
    config = read_config(out)
    run = Path("runs") / out.stem
    next_commands = [
        f"plait data check {out}",
        f"plait train {out}",
        f"plait evaluate {run}",
        generate_command(found, run),
    ]
    output.say(f"\nwrote {out}: every line says what else could stand there. Next:")
    output.say("\n".join(f"  {command}" for command in next_commands))
    output.result(
        {
            "config": str(out),
            "found": found.to_json(),
            "settings": config.model_dump(mode="json"),
            "next": next_commands,
        }
    )


def generate_command(found: Found, run: Path) -> str:
    """A first question to the trained model, about a sample that it has not seen."""
    import shlex

    from plait.cli.by_name import as_words, options_of
    from plait.cli.generate import generate

    words, options = ["plait", "generate", str(run)], options_of(generate)
    for name, items in found.example.inputs.items():
        for item in items:
            words += as_words(name, item, options)
    return shlex.join(words)
