"""`plait explain`: a run and a split → how many bits each modality brings, and which are not used."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from plait.cli.common import Device, Json, Output, RunFolder, Seed, Threads, use_threads


def explain(
    run: RunFolder,
    split: Annotated[str | None, typer.Option("--split", help="train, tune or test; default: the run's own.")] = None,
    fail_if_unused: Annotated[
        list[str] | None,
        typer.Option("--fail-if-unused", metavar="NAME", help="Exit code 1 if this modality is not measurably used."),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="Instead: scores against noise, blur, occlusion, JPEG, missing inputs.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, help="Samples for --curves; 0: all; default: 400.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Samples at a time; default: the run's own.")
    ] = None,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure what each modality brings: bits of credit with 95 % intervals, interactions, reliance, and a verdict."""
    from plait.api import load
    from plait.cli.progress import counter
    from plait.errors import UserError, did_you_mean
    from plait.explain import INSTALL, can_plot, render

    output = Output(as_json)
    use_threads(threads)
    if curves or limit is not None:
        from plait.cli.curves import show_curves

        others = ["--fail-if-unused"] if fail_if_unused else []
        show_curves(
            run,
            split,
            limit,
            curves=curves,
            others=others,
            batch_size=batch_size,
            seed=seed,
            device=device,
            output=output,
        )
        return
    model = load(run, device=device or "cpu")
    needed = fail_if_unused or []
    for name in needed:
        if name not in model.run.modalities:
            right = did_you_mean(name, model.run.modalities)
            raise UserError(f"this model reads no modality {name!r}", where="--fail-if-unused", right=right)
    with counter("explaining", to_stderr=True) as count:
        found = model.explain(split, batch_size=batch_size, seed=seed, progress=count)
    output.say(render(found))
    if not can_plot():
        output.say(INSTALL)
    output.result({"run": str(run), **found.to_json()})
    unused = [name for name in needed if not found.used[name]]
    for name in unused:
        print(f"plait: {name} is not measurably used", file=sys.stderr)
    if unused:
        raise typer.Exit(1)
