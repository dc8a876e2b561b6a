"""Comparing runs that exist already.

In: folders of runs, each evaluated.
Out: a `ComparisonResult`, as if they had been trained here.
Invariant: nothing is trained and nothing evaluated; runs that differ in their seed only are one arm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from plait.compare.arms import CONSTANT, MOST_ALONE, Arm, in_line, place_name
from plait.compare.collect import collect
from plait.compare.collected import Collected
from plait.compare.compared import Compared, Settings
from plait.compare.drive import Outcome, Task, run_tasks
from plait.compare.result import RESULT, ComparisonResult, Role
from plait.compare.run import check
from plait.compare.tasks import facts_path, path_of_record
from plait.config import RunConfig
from plait.data.manifest import Dataset
from plait.errors import UserError
from plait.run import check_folder, make_folder, read_run_config
from plait.train.fit import read_data
from plait.train.lock import locked
from plait.train.metrics import read_metrics
from plait.train.resume import leaves
from plait.writing import read_json

MAX_DIFFERENCES = 4
"""Arms are named by the keys in which they differ; where these are more, by their folders."""

BESIDE = (
    "data.manifest",
    "data.workers",
    "data.cache_mb",
    "train.threads",
    "train.log_every",
    "train.checkpoint_every",
)
"""Keys that make no other arm."""

Say = Callable[[str], None]


def compare_existing(folders: Sequence[Path], wanted: Settings, *, say: Say = lambda _: None) -> ComparisonResult:
    """Compare runs by their records."""
    check(wanted)
    configs = {folder: config_of(folder, trust_code=wanted.trust_code) for folder in folders}
    compared = grouped(configs)
    seeds = shared_seeds(compared)
    base = next(iter(configs.values()))
    dataset, notes = read_or_none(base)
    if wanted.baselines:
        compared.append(Compared(Arm(CONSTANT, (), "constant", None), None))
    settings = replace(wanted, seeds=seeds, match="none")

    def tell(tasks: Sequence[Task]) -> dict[str, Outcome]:
        return run_tasks(tasks, jobs=wanted.jobs or 1) if tasks else {}

    with result_folder(wanted, say):
        result = collect(Collected(settings, base, dataset, compared, (), notes), tell=tell, say=say)
        result.write(wanted.folder)
    return result


@contextmanager
def result_folder(wanted: Settings, say: Say) -> Iterator[None]:
    """The folder of a comparison that trains nothing, for the block its own: in place of an earlier one, never of trainings."""
    make_folder(wanted.folder, option="--folder")
    if (wanted.folder / "runs").exists():
        right = "Take another name, or leave --folder out"
        raise UserError(f"{wanted.folder} holds a comparison with its own trainings", where="--folder", right=right)
    if (wanted.folder / RESULT).exists():
        say(f"in place of what {wanted.folder} held; --folder NAME keeps both")
    with locked(wanted.folder):
        yield


def config_of(folder: Path, *, trust_code: bool = False) -> RunConfig:
    """The configuration of a run that is evaluated."""
    check_folder(folder)
    config = read_run_config(folder, trust_code=trust_code)
    path = path_of_record(folder, config, config.evaluate)
    if not path.exists():
        raise UserError(
            f"has no record of the split {config.evaluate.split!r}",
            where=str(folder),
            right=f"plait evaluate {folder} makes it",
        )
    return config


def read_or_none(config: RunConfig) -> tuple[Dataset, tuple[str, ...]]:
    """The data; or none and a note, where they are gone: then there are no examples to show."""
    try:
        return read_data(config), ()
    except UserError as error:
        data, note = config.data, f"the data cannot be read, so no examples are shown: {error}"
        return Dataset(Path(data.manifest), [], data.segments or (), tuple(config.inputs), []), (note,)


def grouped(configs: Mapping[Path, RunConfig]) -> list[Compared]:
    """Runs that differ in their seed only are one arm, named by what it has that others have not."""
    trees = {folder: flat(config) for folder, config in configs.items()}
    groups: list[list[Path]] = []
    for folder in configs:
        group = next((group for group in groups if trees[group[0]] == trees[folder]), None)
        if group is None:
            groups.append([folder])
        else:
            twin = next((other for other in group if configs[other].seed == configs[folder].seed), None)
            if twin is not None:
                raise UserError(
                    f"{twin} and {folder} are the same configuration with the same seed {configs[folder].seed}",
                    where="--from",
                    right="Leave one of them out",
                )
            group.append(folder)
    found = []
    for group in groups:
        tree, config = trees[group[0]], configs[group[0]]
        own = in_line(tree["data.inputs"])
        alike = [trees[other[0]] for other in groups if in_line(trees[other[0]]["data.inputs"]) == own]
        keys = differing(alike)
        shown = keys if len(alike) == len(groups) else ["data.inputs", *keys]
        overrides = tuple(f"{key}={in_line(tree[key])}" for key in shown if key in tree)
        name = arm_name(tree, keys, configs, group[0])
        one = Compared(Arm(name, overrides, role_of(config, configs), config), config)
        one.folders = {configs[folder].seed: folder for folder in group}
        one.facts = {configs[folder].seed: facts_of(folder) for folder in group}
        found.append(one)
    names = [one.arm.name for one in found]
    for one in found:
        if names.count(one.arm.name) > 1:
            one.arm = replace(one.arm, name=next(iter(one.folders.values())).name)
    return found


def differing(trees: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which some of these configurations differ."""
    return sorted({key for tree in trees for key in tree if len({in_line(other.get(key)) for other in trees}) > 1})


def flat(config: RunConfig) -> dict[str, Any]:
    """Dotted keys and values, without the seed and what makes no other arm; the inputs in one value."""
    tree = config.model_dump(mode="json", exclude={"seed", "evaluate", "explain", "generate"})
    found = {key: value for key, value in leaves(tree) if key not in BESIDE and not key.startswith("data.inputs")}
    are_modalities = all(name == of for name, of in config.inputs.items())
    return {**found, "data.inputs": list(config.inputs) if are_modalities else dict(config.inputs)}


def arm_name(tree: Mapping[str, Any], keys: Sequence[str], configs: Mapping[Path, RunConfig], folder: Path) -> str:
    """What an arm has that others with the same inputs have not: `concat`, or `concat, layers=2`.

    A new kind's own keys are not named. Where it reads less than others do, its inputs come first: `text only`.
    """
    kinds = [key.removesuffix("kind") for key in keys if key.endswith(".kind")]
    named = [k for k in keys if k in tree and (k.endswith(".kind") or not any(k.startswith(kind) for kind in kinds))]
    if len(named) > MAX_DIFFERENCES:
        return folder.name
    most = max((list(other.inputs) for other in configs.values()), key=len)
    words = [place_name(key, in_line(tree[key])) for key in named]
    if len(tree["data.inputs"]) < len(most) or not words:
        words.insert(0, inputs_name(list(tree["data.inputs"]), most))
    return ", ".join(words)


def inputs_name(inputs: Sequence[str], most: Sequence[str]) -> str:
    """`no input`, `text only`, `text + image`; of many inputs `without text`."""
    gone = [name for name in most if name not in inputs]
    if len(gone) == 1 and len(inputs) == len(most) - 1 >= MOST_ALONE:
        return f"without {gone[0]}"
    return "no input" if not inputs else f"{inputs[0]} only" if len(inputs) == 1 else " + ".join(inputs)


def role_of(config: RunConfig, configs: Mapping[Path, RunConfig]) -> Role:
    """Whether an arm reads less than others do: nothing, one input, or of many all but one."""
    inputs = config.inputs
    most = max(len(other.inputs) for other in configs.values())
    if len(inputs) == most - 1 >= MOST_ALONE:
        return "all but one"
    if len(inputs) == most or len(inputs) > 1:
        return "candidate"
    return "no input" if not inputs else "text only" if "text" in inputs.values() else "unimodal"


def shared_seeds(compared: Sequence[Compared]) -> tuple[int, ...]:
    """The seeds that every arm has."""
    seeds = set.intersection(*({*one.folders} for one in compared))
    if not seeds:
        there = "; ".join(f"{one.arm.name}: {', '.join(map(str, one.folders))}" for one in compared)
        raise UserError(
            f"no seed that all arms have ({there})", where="--from", right="Train every arm with the same seeds"
        )
    return tuple(sorted(seeds))


def facts_of(folder: Path) -> dict[str, Any]:
    """What a training took, as far as its folder says."""
    path = facts_path(folder)
    if path.exists():
        return read_json(path, right="Remove it: what the training took is then read from its metrics.")
    lines = read_metrics(folder)
    bits = [line["tune"]["bits"] for line in lines if "tune" in line]
    seconds = [line["seconds"] for line in lines if "seconds" in line]
    return {"best_bits": min(bits, default=None), "train_seconds": max(seconds, default=None)}
