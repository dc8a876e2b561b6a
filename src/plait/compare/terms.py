"""What was equal between the arms, and what was not: found out, not claimed.

In: the arms' configurations and runs.
Out: a `Term` for each thing that a fair comparison needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.choices import trusted
from plait.compare.collected import Collected
from plait.compare.compared import Compared
from plait.compare.drive import Outcome, Task
from plait.compare.result import ArmResult, Term
from plait.compare.tasks import orders_task
from plait.errors import UserError
from plait.run import CONFIG, ENVIRONMENT, environment_of, read_run_config
from plait.train.checkpoint import STATE, newest
from plait.train.fingerprint import alike
from plait.train.resume import leaves
from plait.writing import read_json

CLOSE = 0.05
"""Parameters within 5 % count as equal."""


def terms_of(
    found: Collected, arms: Sequence[ArmResult], tell: Callable[[Sequence[Task]], Mapping[str, Outcome]]
) -> tuple[Term, ...]:
    """All terms."""
    done = [one for one in found.compared if one.config is not None and one.facts]
    candidates = [one for one in done if one.arm.role == "candidate"] or done
    return (
        samples(found, done, tell),
        training(found, candidates),
        rates(found, done),
        found.match or parameters(arms),
        numerics(done),
        answers(done, found.wanted.trust_code),
        machines(found, done),
        *encoders(found),
        *arms_notes(done),
    )


def samples(
    found: Collected, done: Sequence[Compared], tell: Callable[[Sequence[Task]], Mapping[str, Outcome]]
) -> Term:
    """The same samples in the same order at each seed: the batches of the first two epochs are planned and compared."""
    name = "samples and their order"
    if changed := trained_on(done):
        return Term(name, False, changed)
    configs = {one.arm.name: one.at(found.wanted.seeds[0]) for one in done}
    trees = {name: config.model_dump(mode="json") for name, config in configs.items()}
    keys = {
        name: json.dumps([tree["data"], tree["train"]["batch_size"], tree["balance"]], sort_keys=True)
        for name, tree in trees.items()
    }
    distinct = dict.fromkeys(keys.values())
    first = [next(name for name, key in keys.items() if key == wanted) for wanted in distinct]
    task = Task("comparing the order of samples", orders_task, {"trees": [trees[name] for name in first]})
    outcome = tell([task])[task.name]
    if not outcome.done:
        return Term(name, False, f"could not be found out: {outcome.failure}")
    digests = dict(zip(distinct, outcome.value, strict=True))
    groups: dict[str, list[str]] = {}
    for arm, key in keys.items():
        groups.setdefault(digests[key], []).append(arm)
    if len(groups) == 1:
        return Term(name, True, "the same samples in the same batches at each seed, in all arms")
    most = max(groups.values(), key=len)
    chances = {arm: config.balance.data_of(config.data).sampling for arm, config in configs.items()}
    others = [arm for arms in groups.values() if arms is not most for arm in arms]
    by_length = [arm for arm in others if chances[arm] == chances[most[0]]]
    by_chance = [arm for arm in others if arm not in by_length]
    told = [f"the same batches in {listed(most)}"]
    told += [f"the same samples, batched by other lengths, in {listed(by_length)}"] if by_length else []
    told += [f"samples drawn with other chances in {listed(by_chance)}"] if by_chance else []
    return Term(name, False, "; ".join(told))


def trained_on(done: Sequence[Compared]) -> str:
    """Which runs were trained on other samples than most, because the manifest changed between two sittings; empty for none.

    Compared are runs that read the same inputs: a sample without those that a run does not read is another one to it.
    """
    by_inputs: dict[object, list[tuple[str, str]]] = {}
    for one in done:
        inputs = None if one.config is None else tuple(one.config.inputs.items())
        for seed in one.facts:
            if made := training_data(one.folders[seed]):
                by_inputs.setdefault(inputs, []).append((f"{one.arm.name} at seed {seed}", made))
    others = []
    for named in by_inputs.values():
        runs: dict[str, list[str]] = {}
        for (name, _), made in zip(named, alike([made for _, made in named]), strict=True):
            runs.setdefault(made, []).append(name)
        most = max(runs.values(), key=len)
        others += [name for names in runs.values() if names is not most for name in names]
    return f"the training samples changed between the runs: others than in most in {listed(others)}" if others else ""


def training_data(folder: Path) -> str:
    """The fingerprint of what a run was trained on; empty where its checkpoint is gone."""
    try:
        return str(read_json(newest(folder) / STATE, right="").get("data", ""))
    except UserError:
        return ""


def training(found: Collected, candidates: Sequence[Compared]) -> Term:
    """The training settings, but for what the arms vary on purpose."""
    trees = [dict(leaves(one.at(0).model_dump(mode="json")["train"])) for one in candidates]
    different = sorted({key for tree in trees for key in tree if tree.get(key) != trees[0].get(key)})
    different = [key for key in different if key != "learning_rate" or not found.wanted.learning_rates]
    train = found.base.train
    said = f"{train.steps} steps of {train.batch_size} samples, {train.optimiser}"
    if not different:
        return Term("training", True, f"{said}; the same settings in all arms")
    return Term("training", False, f"{said}; the arms differ in {', '.join('train.' + key for key in different)}")


def rates(found: Collected, done: Sequence[Compared]) -> Term:
    """How each arm came to its learning rate."""
    tried = found.wanted.learning_rates
    own = {one.at(0).train.learning_rate for one in done}
    if not tried and len(own) > 1:
        return Term("learning rate", False, f"the arms' own, {min(own):g} to {max(own):g}, no trials")
    if not tried:
        rate = f"the configuration's {found.base.train.learning_rate:g} for every arm, no trials"
        detail = f"{rate}: an arm that needs another is judged below its best"
        return Term("learning rate", True, detail)
    chosen = ", ".join(f"{one.arm.name} {one.learning_rate:g}" for one in done if one.learning_rate is not None)
    number = f"{len(tried)} trials for every arm" if len(tried) > 1 else "one rate for every arm"
    return Term(
        "learning rate",
        True,
        f"{number} ({', '.join(f'{rate:g}' for rate in tried)}), chosen by held-out loss: {chosen}",
    )


def parameters(arms: Sequence[ArmResult]) -> Term:
    """The candidates' sizes, as configured."""
    known = {arm.name: arm.price.parameters for arm in arms if arm.role == "candidate" and arm.price.parameters}
    sizes = sorted((size, name) for name, size in known.items() if size is not None)
    if len(sizes) < 2:
        return Term("parameters", True, "one arm, one size")
    (low, least), (high, most) = sizes[0], sizes[-1]
    apart = "" if high <= (1 + CLOSE) * low else f": {high / low - 1:.0%} apart"
    return Term("parameters", not apart, f"as configured, {low:,} ({least}) to {high:,} ({most}){apart}")


def numerics(done: Sequence[Compared]) -> Term:
    """Number type, attention, matrix products, threads."""
    chosen = {
        one.arm.name: (t.dtype, t.attention, t.matmul, t.device, t.threads) for one in done for t in [one.at(0).train]
    }
    kinds = set(chosen.values())
    told = " or ".join(f"{d}, {a} attention, matrix products {m}, on {v} with {n} threads" for d, a, m, v, n in kinds)
    return Term("numerics", len(kinds) == 1, told.replace("with 1 threads", "with one thread"))


def answers(done: Sequence[Compared], trust_code: bool = False) -> Term:
    """How texts are chosen and which inputs are given at the evaluation: of each run, for runs of an arm may differ in it."""
    trees: list[dict[str, Any]] = []
    for one in done:
        for seed, folder in one.folders.items():
            trust = trusted(trust_code, one.config)
            config = read_run_config(folder, trust_code=trust) if (folder / CONFIG).exists() else one.at(seed)
            tree = config.model_dump(mode="json", include={"generate": True, "evaluate": {"inputs"}})
            if one.at(seed).generate.max_tokens is None:  # each run's own, by one rule: room for its longest target
                tree["generate"].pop("max_tokens")
            trees.append(dict(leaves(tree)))
    different = sorted({key for tree in trees for key in tree if tree[key] != trees[0].get(key)})
    if different:
        return Term("answers", False, f"the runs differ in {', '.join(different)}")
    return Term("answers", True, f"{trees[0]['generate.method']}, chosen alike in all arms" if trees else "")


def machines(found: Collected, done: Sequence[Compared]) -> Term:
    """Where the runs were made."""
    made = [read_environment(one.folders[seed]) for one in done for seed in one.facts]
    hardware = {
        (str(m.get("hardware", {}).get("processor")), str(m.get("packages", {}).get("torch")), str(m.get("plait")))
        for m in made
    }
    detail = " or ".join(f"{processor}, torch {torch}, plait {plait}" for processor, torch, plait in sorted(hardware))
    return Term("machine", len(hardware) == 1, detail)


def read_environment(folder: Path) -> Mapping[str, Any]:
    """What a run says of its machine."""
    return environment_of(folder) if (folder / ENVIRONMENT).exists() else {}


def encoders(found: Collected) -> list[Term]:
    """Where frozen encoders come from: those trained inside an arm favour that arm."""
    terms = []
    for modality, place in found.base.encoders.start_from.items():
        folder = Path(place)
        if not (folder / CONFIG).exists():
            continue
        other = read_run_config(folder, trust_code=found.wanted.trust(found.base))
        of = found.base.inputs.get(modality, modality)
        own = modality if modality in other.inputs else next((n for n, m in other.inputs.items() if m == of), modality)
        inputs = [name for name in other.inputs if name != own]
        if inputs:
            kind = getattr(other.fusion, "kind", "?")
            detail = f"learnt in a run that reads {', '.join(inputs)} too, by {kind}: this favours arms like that run"
            terms.append(Term(f"{modality} encoder", False, detail))
        else:
            terms.append(Term(f"{modality} encoder", True, "learnt in a run that reads nothing else"))
    return terms


def arms_notes(done: Sequence[Compared]) -> list[Term]:
    """What single arms had to do without, or needed more of."""
    told = [note for one in done if one.arm.role != "candidate" for note in dict.fromkeys(one.arm.notes)]
    return [
        Term(note, False, listed([one.arm.name for one in done if note in one.arm.notes]))
        for note in dict.fromkeys(told)
    ]


def listed(names: Iterable[str]) -> str:
    """Names in a row."""
    *most, last = list(names)
    return f"{', '.join(most)} and {last}" if most else last
