"""`plait data check`: what is wrong with a manifest and its files, before training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.common import (
    AllowOutside,
    Columns,
    Device,
    Json,
    NamedInputs,
    Output,
    Overrides,
    Seed,
    Threads,
    TrustCode,
    as_overrides,
    named_columns,
    named_modalities,
)

if TYPE_CHECKING:
    from plait.config import RunConfig
    from plait.data.check import CheckConfig

data_app = typer.Typer(help="Look at data.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Look at data."""


@data_app.command()
def check(
    manifest: Annotated[
        Path, typer.Argument(help="A manifest, a folder of media, or a run's YAML.", show_default=False)
    ],
    overrides: Overrides = None,
    inputs: NamedInputs = None,
    columns: Columns = None,
    write_clean: Annotated[
        Path | None,
        typer.Option("--write-clean", help="Write a repaired manifest here, and what it leaves out beside it."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="--write-clean may replace an earlier result.")
    ] = False,
    shared: Annotated[
        list[str] | None, typer.Option("--shared", help="A grouping that may be in several splits (no leakage).")
    ] = None,
    allow_outside: AllowOutside = False,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Counts, broken files, leakage between splits, lengths, unknown words; exit code 1 if anything is an error.

    plait data check run.yaml --inputs image

    plait data check pairs.jsonl --inputs before=image,after=image

    Of a run's YAML with data.on_error: skip, rows that cannot be used are warnings, as long as they are not most of them.
    """
    from plait.cli.progress import counter
    from plait.data.check import CheckConfig
    from plait.data.check import check as run_check
    from plait.data.check import write_clean as write
    from plait.data.manifest import read_manifest

    output = Output(as_json)
    config = CheckConfig(shared=tuple(shared or ()))
    if threads is not None:
        config = config.model_copy(update={"threads": threads})
    path = manifest
    reading: dict[str, Any] = {}
    named = named_modalities(inputs)
    overrides = [*(overrides or ()), *as_overrides(named, named_columns(columns, named))]
    if overrides or manifest.suffix.lower() in YAML:
        run = as_run(manifest, overrides, trust_code=trust_code)
        data, path = run.data, Path(run.data.manifest)
        reading = {**data.reading, "split": data.split, "inputs": data.inputs, "segments": data.segments}
        allow_outside = allow_outside or data.allow_outside
        config = config.model_copy(update=as_in(run, config))
    reading |= {"allow_outside": allow_outside, "on_error": "skip", "may_be_empty": True}
    dataset = read_manifest(path, **reading)
    with counter("checking files") as count:
        report = run_check(dataset, config, progress=count)
    for line in report.lines():
        output.say(line)
    result = report.to_dict()
    if write_clean is not None:
        cleaned = write(report, dataset, write_clean, overwrite=overwrite)
        output.say(
            f"wrote {cleaned.path} ({cleaned.num_rows} rows); {cleaned.num_left_out} left out: {cleaned.list_path}"
        )
        result["clean"] = {"manifest": str(cleaned.path), "rows": cleaned.num_rows, "left_out": str(cleaned.list_path)}
    output.result(result)
    if not report.ok:
        raise typer.Exit(1)


YAML = (".yaml", ".yml")


def as_run(path: Path, overrides: list[str], *, trust_code: bool) -> RunConfig:
    """The configuration in a file, or that of a run of this manifest."""
    from plait.config import apply_overrides, make_config, read_config

    if path.suffix.lower() in YAML:
        return read_config(path, overrides, trust_code=trust_code)
    return make_config(apply_overrides({"data": {"manifest": str(path)}}, overrides))


def as_in(run: RunConfig, config: CheckConfig) -> dict[str, Any]:
    """What a check takes over from a run."""
    from plait.modalities import MODALITIES

    data, inputs = run.data, run.data.modality_of_input
    return {
        "inputs": inputs,
        "prepare": {
            name: data.options_of(name) for name in {**MODALITIES, **inputs} if inputs.get(name, name) in MODALITIES
        },
        "max_target_tokens": data.max_target_tokens,
        "batch_size": run.train.batch_size,
        "shared": (*config.shared, *data.split.shared),
        "on_error": data.on_error,
        "max_left_out": data.max_left_out,
    }


__all__ = ["data_app"]
