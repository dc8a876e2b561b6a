"""`plait explain`: a run and a split → how many bits each input brings, and which are not used; or one sample, drawn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from plait.cli import explain_options as o
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
    from plait.explain.players import Players


def explain(
    run: RunFolder,
    split: o.Split = None,
    fail_if_unused: o.FailIfUnused = None,
    worth: o.Worth = None,
    players: o.PlayersNamed = None,
    sampled: o.Sampled = False,
    orders: o.Orders = None,
    verbose: o.Verbose = False,
    sample: o.SampleId = None,
    manifest: o.Manifest = None,
    curves: o.Curves = False,
    limit: o.Limit = None,
    batch_size: o.BatchSize = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Tell which inputs are used: a verdict for each and the bits behind it, with 95 % intervals; -v shows all figures.

    With --sample ID: for one sample, where the model looked and which cells, moments and words it needed.
    """
    from plait.api import load
    from plait.errors import UserError

    output = Output(as_json)
    use_threads(threads)
    whole_split = {
        "--fail-if-unused": bool(fail_if_unused),
        "--worth": worth is not None,
        "--players": players is not None,
        "--sampled": sampled,
        "--orders": orders is not None,
        "--verbose": verbose,
    }
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
    for option in (option for option, given in whole_split.items() if given and sample is not None):
        right = "Leave one of them out: whether an input is used is asked of a whole split"
        raise UserError(f"--sample does not go with {option}", right=right)
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    if sample is not None:
        explain_one(model, sample, split, manifest, batch_size, output)
        return
    asked = Asked(split, manifest, batch_size, seed, worth, players, orders, sampled, verbose)
    explain_split(model, asked, fail_if_unused or [], output)


class Asked(NamedTuple):
    """The options about a whole split."""

    split: str | None
    manifest: Path | None
    batch_size: int | None
    seed: int | None
    worth: float | None
    players: str | None
    orders: int | None
    sampled: bool
    verbose: bool


def explain_split(model: TrainedModel, asked: Asked, needed: list[str], output: Output) -> None:
    """The verdicts and what is behind them; `needed`: what has to be used."""
    from plait.cli.progress import counter
    from plait.explain import INSTALL, can_plot, render
    from plait.explain.plan import ORDERS
    from plait.explain.players import groups_in
    from plait.explain.run import players_for
    from plait.explain.verdict import WORTH, checked_worth

    worth, players = WORTH if asked.worth is None else checked_worth(asked.worth), groups_in(asked.players)
    sampled = asked.sampled or asked.orders is not None
    check_needed(needed, players_for(model.run, players, sampled=sampled) if model.run.inputs else None)
    with counter("explaining", to_stderr=True) as count:
        found = model.explain(
            asked.split,
            manifest=asked.manifest,
            batch_size=asked.batch_size,
            seed=asked.seed,
            worth=worth,
            players=players,
            orders=asked.orders or (ORDERS if asked.sampled else None),
            progress=count,
            write=False,
        )
    with kept(lambda: model.keep(found)):
        output.say(render(found, verbose=asked.verbose))
    if not can_plot():
        output.say(INSTALL)
    output.result({"run": str(model.run.folder), **found.to_json()})
    unused = [name for name in needed if not found.used[name]]
    for name in unused:
        say_aside(f"plait: {name} is {lacking(found, name)}")
    if unused:
        raise typer.Exit(1)


def check_needed(names: list[str], players: Players | None) -> None:
    """Refuse what is asked about and is no player: an input that is credited with others only has its player's verdict."""
    from plait.errors import UserError, did_you_mean

    known = players.names if players else ()
    for name in names:
        if name in known:
            continue
        if players and name in players.inputs:
            whole = players.of(name).name
            right = f"Ask about {whole}, or credit {name} by itself: --players {name}"
            raise UserError(
                f"{name} is credited together with others, as {whole}", where="--fail-if-unused", right=right
            )
        raise UserError(
            f"this model reads no input {name!r}", where="--fail-if-unused", right=did_you_mean(name, known)
        )


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
