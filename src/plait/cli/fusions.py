"""`plait fusions`: every fusion with its formula, its cost for the present configuration, and when to take it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.common import Device, Json, Output, Overrides, Seed, Threads, TrustCode, settings


def fusions(
    config: Annotated[Path | None, typer.Argument(help="A YAML file; default: the default sizes.")] = None,
    overrides: Overrides = None,
    positions: Annotated[int, typer.Option("--positions", min=1, help="Positions of text of a sample.")] = 16,
    text: Annotated[int, typer.Option("--text", min=1, help="Tokens of a text input.")] = 12,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, help="Seconds of sound.")] = 3.0,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """List the fusions: what each computes, what it costs for this configuration, and when to take which."""
    from plait.build import fusion_costs
    from plait.config import apply_overrides, make_config, read_config

    output = Output(as_json)
    given = [*(overrides or []), *settings(seed=seed, device=device, threads=threads)]
    if config and "=" in config.name and not config.exists():  # no file, and an override first
        config, given = None, [str(config), *given]
    run = (
        read_config(config, given, trust_code=trust_code)
        if config
        else make_config(apply_overrides({"data": {"manifest": "none.jsonl"}}, given))
    )
    found = fusion_costs(run, num_positions=positions, num_words=text, seconds=seconds)
    sizes = ", ".join(f"{m} {n} tokens" for m, n in found.num_tokens.items())
    width, num_blocks = found.around.width, found.around.num_blocks
    output.say(f"width {width}, {num_blocks} blocks, {positions} positions of text; {sizes}\n")
    rows: dict[str, Any] = {}
    for row in found.rows:
        output.say(f"{row.kind:<16}{row.formula}")
        if row.cost is None:
            output.say(f"{'':<16}refused: {row.refusal}")
        else:
            size = f"{row.cost.parameters / 1e3:,.0f} k parameters, {row.cost.flops / 1e6:,.1f} MFLOPs a sample"
            size += f"; the language model runs {row.cost.lm_rows} times" if row.cost.lm_rows > 1 else ""
            size += f"; {row.cost.lm_positions} more positions" if row.cost.lm_positions else ""
            output.say(f"{'':<16}{size}")
        output.say(textwrap.indent(textwrap.fill(f"take it for: {row.advice}", 110), " " * 16) + "\n")
        rows[row.kind] = {
            "formula": row.formula,
            "advice": row.advice,
            **(row.cost._asdict() if row.cost else {"refused": row.refusal}),
        }
    output.result({"width": width, "num_tokens": {str(m): n for m, n in found.num_tokens.items()}, "fusions": rows})
