"""`plait evaluate`: a run and a split → a record and its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.common import (
    AcceptChanges,
    Device,
    Json,
    OnlyInputs,
    Output,
    RunFolder,
    Seed,
    Threads,
    TrustCode,
    kept,
    named_inputs,
    say_aside,
    use_threads,
)


def evaluate(
    run: RunFolder,
    split: Annotated[str | None, typer.Option("--split", help="train, tune or test; default: the run's own.")] = None,
    inputs: OnlyInputs = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Another manifest with the same segments.")
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Answer a split and score it: every figure with its 95 % interval, beside the best constant answer."""
    from plait.api import load
    from plait.cli.progress import counter
    from plait.evaluate import render

    output = Output(as_json)
    use_threads(threads)
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    used = named_inputs(inputs, model.run.inputs)
    with counter("evaluating", to_stderr=True) as count:
        record = model.evaluate(split, inputs=used, manifest=manifest, progress=count, write=False)
    with kept(lambda: model.keep(record)):
        output.say(render(record.summary))
        lacking = [m for m in model.run.inputs if used is not None and m not in used]
        if strange := model.run.config.never_missing(lacking):
            output.say(
                f"This model was trained without modality dropout of {', '.join(strange)} (train.modality_dropout): what it loses\n"
                "without an input shows that it relies on it, not how much the input tells."
            )
    output.result({"run": str(run), **record.summary.to_json()})
