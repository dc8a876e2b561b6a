"""`plait compare`: arms × seeds → a verdict, a table and a report."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.cli import compare_options as o
from plait.cli.common import AcceptChanges, Device, Json, Leave, Output, Seed, Threads, TrustCode, settings
from plait.errors import UserError

if TYPE_CHECKING:
    from plait.compare.compared import Settings
    from plait.compare.result import ComparisonResult

DEFAULT_SEEDS = 5


def compare(
    config: o.Config = None,
    overrides: o.Overrides = None,
    arms: o.Arms = None,
    existing: o.From = None,
    group_by: o.GroupBy = None,
    higher_is_better: o.HigherIsBetter = None,
    seeds: o.Seeds = None,
    power: o.Power = None,
    worth: o.Worth = None,
    folder: o.Folder = None,
    baselines: o.Baselines = True,
    jobs: o.Jobs = None,
    learning_rates: o.LearningRates = None,
    match: o.Match = "parameters",
    race: o.Race = False,
    encoders_from: o.EncodersFrom = None,
    segment: o.Segment = None,
    metric: o.Metric = None,
    explained: o.Explained = 3,
    price_seconds: o.PriceSeconds = 60.0,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Train arms on equal terms and say which is measurably better, with how much certainty, at what price.

    plait compare run.yaml --arms fusion.kind=concat,product,attention --seeds 5

    Stopped at any moment, the same words go on where it was; more seeds or arms are added to what is there.
    """
    from plait.compare.compared import Settings
    from plait.compare.render import render
    from plait.compare.run import seeds_from
    from plait.report import report

    output = Output(as_json)
    check_leads({"--power": power, "--worth": worth})
    if power is not None and seeds is not None:
        raise UserError("both say how many seeds", where="--power beside --seeds", right="Leave one of them out")
    name = "compare-from" if existing or config is None else f"compare-{config.stem}"
    wanted = Settings(
        folder=folder or Path("runs") / name,
        seeds=seeds_from(seeds or DEFAULT_SEEDS, seed or 0),
        jobs=jobs or 0,
        baselines=baselines,
        learning_rates=numbers(learning_rates),
        match=matched(match),
        race=race,
        segment=segment,
        metric=metric,
        explained=explained,
        price_seconds=price_seconds,
        command=command_line(),
        trust_code=trust_code,
        worth=worth,
        power=power,
    )
    with stoppable():
        if existing:
            given = {"--arms": arms, "--power": power, "--race": race, "--learning-rates": learning_rates}
            given |= {"--encoders-from": encoders_from, f"{config}": config and config.suffix in (".yaml", ".yml")}
            refuse_beside(given)
            runs = [*existing, *([config] if config else []), *map(Path, overrides or [])]
            lower = None if higher_is_better is None else not higher_is_better
            result = compared_from(runs, wanted, output, group_by, lower, accept_changes)
        else:
            refuse_without_files(group_by, higher_is_better)
            refuse_axes(overrides or [])
            tree = tree_of(config, [*(overrides or []), *settings(device=device, threads=threads)], trust_code)
            result = trained_for(tree, arms or [], wanted, output, encoders_from or [], accept_changes)
    output.say(f"\n{render(result)}")
    written = report(wanted.folder, None).path
    output.say(f"\nreport: {written}  (and result.json, scores.csv, scores.parquet beside it)")
    output.result({"folder": str(wanted.folder), "report": str(written), **result.to_json()})


def trained_for(
    tree: dict[str, Any], arms: list[str], wanted: Settings, output: Output, encoders: list[Path], accept: bool
) -> ComparisonResult:
    """Train the arms and compare them."""
    from plait.compare.accept import accept_runs
    from plait.compare.run import run_comparison

    for note in accept_runs(encoders, tree, wanted.folder) if accept else []:
        output.say(note)
    return run_comparison(with_encoders(tree, encoders, wanted.trust_code), arms, wanted, say=output.say)


def compared_from(
    runs: list[Path],
    wanted: Settings,
    output: Output,
    group_by: list[str] | None,
    lower_is_better: bool | None,
    accept: bool,
) -> ComparisonResult:
    """Compare runs that exist, or other tools' files of scores."""
    from plait.compare.accept import accept_runs
    from plait.compare.existing import compare_existing
    from plait.compare.others import compare_others, is_other

    if any(map(is_other, runs)):
        return compare_others(runs, wanted, group_by=group_by or (), lower_is_better=lower_is_better, say=output.say)
    refuse_without_files(group_by, lower_is_better)
    for note in accept_runs(runs, None, wanted.folder) if accept else []:
        output.say(note)
    return compare_existing(runs, wanted, say=output.say)


def check_leads(given: dict[str, float | None]) -> None:
    """A lead is larger than 0."""
    for option, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{value:g} is no lead", where=option, right="Give a number above 0, such as 2")


def tree_of(config: Path | None, changes: list[str], trust_code: bool) -> dict[str, Any]:
    """What the arms have in common."""
    from plait.config.reading import read_shared

    if config is None:
        right = "plait compare run.yaml --arms fusion.kind=concat,product"
        raise UserError("nothing says what to compare", right=right)
    return read_shared(config, changes, trust_code=trust_code)


def refuse_beside(given: dict[str, Any]) -> None:
    """Options that say how to train have no meaning for runs that are trained."""
    for option, value in given.items():
        if value:
            raise UserError(
                "these runs are trained already", where=f"--from beside {option}", right="Leave one of them out"
            )


def refuse_without_files(group_by: list[str] | None, higher_is_better: bool | None) -> None:
    """Plait's own records know their groups and their metrics."""
    for option, given in (("--group-by", group_by), ("--higher-is-better", higher_is_better is not None)):
        if given:
            right = "Give files of scores: --from FILE"
            raise UserError("is for the records of other tools; Plait's own runs know it", where=option, right=right)


def refuse_axes(overrides: list[str]) -> None:
    """An axis among the overrides, which each hold one value: only `--arms` was forgotten."""
    for word in overrides:
        key, _, values = word.partition("=")
        if key.rpartition(".")[2] == "kind" and "," in values:
            raise UserError(f"{word}: an override holds one value", right=f"An axis of arms is --arms {word}")


@contextmanager
def stoppable() -> Iterator[None]:
    """A signal ends the command with a message."""
    from plait.compare.drive import Stopped

    try:
        yield
    except Stopped as stopped:
        raise Leave(f"{stopped}; what is trained is kept. The same command goes on", stopped.exit_code) from None


def matched(word: str) -> Any:
    """What `--match` may say."""
    if word not in ("parameters", "flops", "none"):
        raise UserError(f"{word!r} cannot be matched", where="--match", right="Take parameters, flops or none")
    return word


def numbers(text: str | None) -> tuple[float, ...]:
    """The numbers between commas."""
    try:
        found = tuple(float(word) for word in (text or "").split(",") if word.strip())
    except ValueError:
        raise UserError(
            f"{text!r} is no list of numbers", where="--learning-rates", right="Write 1e-3,2e-3,4e-3"
        ) from None
    if any(not 0 < rate < math.inf for rate in found) or len(set(found)) < len(found):
        raise UserError(f"{text!r}", where="--learning-rates", right="Give each rate once, above 0")
    return found


def with_encoders(tree: dict[str, Any], runs: list[Path], trust_code: bool = False) -> dict[str, Any]:
    """The tree with frozen encoders out of runs: of each the modalities that it reads."""
    from plait.choices import trusted
    from plait.config import make_config
    from plait.config.reading import copy_tree
    from plait.run import check_folder, read_run_config

    if not runs:
        return tree
    config = make_config(tree)
    inputs, trust = config.data.inputs, trusted(trust_code, config)
    found: dict[str, str] = {}
    for run in runs:
        check_folder(run)
        for modality in read_run_config(run, trust_code=trust).data.inputs or ():
            if inputs is not None and modality not in inputs:
                continue
            if modality in found:
                raise UserError(
                    f"{found[modality]} and {run} both have a {modality} encoder",
                    where="--encoders-from",
                    right="Give runs that read one modality each",
                )
            found[modality] = str(run.resolve())
    tree = copy_tree(tree)
    encoders = tree.setdefault("encoders", {})
    encoders["start_from"] = {**encoders.get("start_from", {}), **found}
    encoders["freeze"] = list(dict.fromkeys([*encoders.get("freeze", []), *found]))
    return tree


def command_line() -> str:
    """The words that were typed."""
    return shlex.join(["plait", *sys.argv[1:]])
