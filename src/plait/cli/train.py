"""`plait train`: a configuration → a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.common import (
    AcceptChanges,
    Device,
    Json,
    Output,
    Overrides,
    Seed,
    Threads,
    TrustCode,
    fit_or_leave,
    settings,
)
from plait.errors import UserError


def train(
    config: Annotated[
        Path | None,
        typer.Argument(help="The configuration (YAML). With --resume it may be left out.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The run's folder; default: runs/NAME of the configuration.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", help="Go on with the run in this folder, from its newest checkpoint.")
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Train a model. Ctrl-C saves and leaves; --resume goes on as if nothing had happened.

    plait train run.yaml fusion.kind=product train.steps=200
    """
    from plait.config import read_config
    from plait.run import check_folder, read_run_config
    from plait.train import progress_for

    output = Output(as_json)
    given = [*(overrides or []), *settings(seed=seed, device=device, threads=threads)]
    progress = progress_for(to_stderr=as_json)
    if resume is not None:
        check_folder(resume)
        if config is not None and "=" in str(config):  # `--resume RUN train.steps=200`: the first override, no file
            given, config = [str(config), *given], None
        wanted = read_config(config, given, trust_code=trust_code) if config else None
        if config is None and given:
            wanted = read_run_config(resume, given, trust_code=trust_code, accept_changes=accept_changes)
        fitted = fit_or_leave(
            wanted,
            resume,
            resume=True,
            progress=progress,
            trust_code=trust_code,
            accept_changes=accept_changes,
        )
    elif config is None:
        raise UserError("nothing says what to train", right="plait train run.yaml, or plait train --resume FOLDER")
    else:
        folder = out or Path("runs") / config.stem
        wanted = read_config(config, given, trust_code=trust_code)
        fitted = fit_or_leave(wanted, folder, progress=progress, trust_code=trust_code, accept_changes=accept_changes)
    folder = fitted.run.folder
    output.say(f"trained: {folder}  (next: plait evaluate {folder})")
    output.result(summary(fitted))


def summary(fitted: Any) -> dict[str, Any]:
    """How the training ended, for programs."""
    result = fitted.result
    return {
        "run": str(fitted.run.folder),
        "steps": result.step,
        "best_step": result.best_step,
        "tune_bits_per_token": result.best_bits,
        "stopped_early": result.stopped_early,
        "samples": result.num_samples,
        "seconds": round(result.seconds, 2),
        "parameters": fitted.run.model.num_parameters,
    }
