"""`plait explain`: a run and a split → how many bits each modality brings, and which are not used; or one sample, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plait.cli.common import (
    AcceptChanges,
    Device,
    Json,
    Output,
    RunFolder,
    Seed,
    Threads,
    TrustCode,
    kept,
    say_aside,
    use_threads,
)

if TYPE_CHECKING:
    from plait.api import TrainedModel
    from plait.explain import Explanation


def explain(
    run: RunFolder,
    split: Annotated[str | None, typer.Option("--split", help="train, tune or test; default: the run's own.")] = None,
    fail_if_unused: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if-unused", metavar="NAME", help="Exit code 1 if this modality is not measurably, or hardly, used."
        ),
    ] = None,
    worth: Annotated[
        float | None,
        typer.Option(
            "--worth",
            metavar="PERCENT",
            help="Effects below this per cent of a segment's loss without inputs do not matter; default: 1.",
            show_default=False,
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all figures, not only those behind the verdicts.")
    ] = False,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="ID", help="One sample instead: what it was read from, over the inputs."),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option("--manifest", help="Another manifest with the same segments.")
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
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Tell which modalities are used: a verdict for each and the bits behind it, with 95 % intervals; -v shows all figures.

    With --sample ID: for one sample, where the model looked and which cells, moments and words it needed.
    """
    from plait.api import load
    from plait.cli.progress import counter
    from plait.errors import UserError, did_you_mean
    from plait.explain import INSTALL, can_plot, render
    from plait.explain.verdict import WORTH, checked_worth

    output = Output(as_json)
    use_threads(threads)
    whole_split = {"--fail-if-unused": bool(fail_if_unused), "--worth": worth is not None, "--verbose": verbose}
    if curves or limit is not None:
        from plait.cli.curves import show_curves

        given = {**whole_split, "--sample": sample is not None}
        others = [option for option, value in given.items() if value]
        show_curves(
            run,
            split,
            limit,
            curves=curves,
            manifest=manifest,
            others=others,
            batch_size=batch_size,
            seed=seed,
            device=device,
            trust_code=trust_code,
            accept_changes=accept_changes,
            output=output,
        )
        return
    needed = fail_if_unused or []
    for option in (option for option, given in whole_split.items() if given and sample is not None):
        right = "Leave one of them out: whether a modality is used is asked of a whole split"
        raise UserError(f"--sample does not go with {option}", right=right)
    worth = WORTH if worth is None else checked_worth(worth)
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    for name in needed:
        if name not in model.run.inputs:
            right = did_you_mean(name, model.run.inputs)
            raise UserError(f"this model reads no modality {name!r}", where="--fail-if-unused", right=right)
    if sample is not None:
        explain_one(model, sample, split, manifest, batch_size, output)
        return
    with counter("explaining", to_stderr=True) as count:
        found = model.explain(
            split, manifest=manifest, batch_size=batch_size, seed=seed, worth=worth, progress=count, write=False
        )
    with kept(lambda: model.keep(found)):
        output.say(render(found, verbose=verbose))
    if not can_plot():
        output.say(INSTALL)
    output.result({"run": str(run), **found.to_json()})
    unused = [name for name in needed if not found.used[name]]
    for name in unused:
        say_aside(f"plait: {name} is {lacking(found, name)}")
    if unused:
        raise typer.Exit(1)


def lacking(found: Explanation, name: str) -> str:
    """Why a modality does not count as used: `not measurably used (heard: no difference that matters, answer: harms)`."""
    verdicts = {segment.segment: v for segment in found.primary for v in segment.verdicts if v.modality == name}
    if any(verdict.status == "present" for verdict in verdicts.values()):
        return "present, hardly used"
    said = {"negligible": "no difference that matters", "harmful": "harms", "unknown": "not known"}
    each = [f"{segment}: {said[v.status]}" for segment, v in verdicts.items() if v.status in said]
    return "not measurably used" + (f" ({', '.join(each)})" if each else "")


def explain_one(
    model: TrainedModel,
    id: str,
    split: str | None,
    manifest: Path | None,
    batch_size: int | None,
    output: Output,
) -> None:
    """One sample: words on screen, numbers and a picture in the run's folder."""
    from plait.cli.progress import counter
    from plait.explain import INSTALL, can_plot, render_sample
    from plait.explain.result import FOLDER

    with counter("hiding", to_stderr=True) as count:
        found = model.explain_sample(
            id, split=split, manifest=manifest, batch_size=batch_size, progress=count, write=False
        )
    with kept(lambda: model.keep(found)):
        output.say(render_sample(found))
    ending = "png" if can_plot() else "json"
    output.say(f"{model.run.folder / FOLDER / found.name}.{ending}")
    if not can_plot():
        output.say(INSTALL)
    output.result({"run": str(model.run.folder), **found.to_json()})
