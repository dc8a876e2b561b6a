"""Arms: named sets of overrides of one configuration, and the baselines that any of them has to beat.

In: a configuration's tree; `key=value,value` axes, or a YAML file of arms.
Out: every arm with its typed configuration, no two alike.
Invariant: an arm is the configuration with its own overrides and nothing else; what an arm without a modality cannot keep (the CTC
loss without sound) is taken away and said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from plait.compare.result import Role
from plait.config import RunConfig, apply_overrides, make_config
from plait.config.plain import read_plain
from plait.errors import UserError
from plait.explain.players import players_of
from plait.modalities import MODALITIES
from plait.train.resume import leaves
from plait.types import in_order

CONSTANT = "constant answer"
MOST_ALONE = 4
"""Up to so many inputs (or groups of them) each is a baseline alone; of more, all but each."""
EMPTY: tuple[Role, ...] = ("no input", "constant")
"""The baselines that read nothing: where nothing beats them, no modality helps."""

FORMS = "Write KEY=VALUE,VALUE (fusion.kind=concat,product), or name a YAML file of arms"


@dataclass(frozen=True)
class Arm:
    """One candidate, or one of the baselines; `config` is None for the constant answer, which is not trained."""

    name: str
    overrides: tuple[str, ...]
    role: Role
    config: RunConfig | None
    notes: tuple[str, ...] = ()

    @property
    def slug(self) -> str:
        """The name as a folder."""
        return slug(self.name)


def slug(name: str) -> str:
    """A name as that of a file or folder."""
    return re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "arm"


def arms_of(
    tree: Mapping[str, Any],
    words: Sequence[str],
    *,
    modalities: Sequence[str],
    baselines: bool = True,
    where: str = "--arms",
) -> list[Arm]:
    """All arms: the axes multiplied with each other and with the files' arms; without any, the configuration itself.

    `modalities`: what the data has, for the baselines: each input alone (of more than four, all but each), no input, and the
    constant answer.
    """
    refuse_axis_twice(words, where)
    axes = [list(axis_of(word, where)) for word in words]
    arms = [made(tree, names, [o for _, own in names for o in own]) for names in product(*axes)]
    refuse_alike(arms, where)
    if not baselines:
        return arms
    wanted = [baseline_of(tree, one, modalities) for one in baselines_of(tree, modalities)]
    for baseline in wanted:
        twin = next((i for i, arm in enumerate(arms) if arm.config == baseline.config), None)
        if twin is None:
            arms.append(baseline)
        else:  # asked for already: it is that baseline as well
            arms[twin] = replace(arms[twin], role=baseline.role)
    names = {arm.name for arm in arms}
    return arms if CONSTANT in names else [*arms, Arm(CONSTANT, (), "constant", None)]


def made(tree: Mapping[str, Any], names: Sequence[tuple[str, tuple[str, ...]]], overrides: list[str]) -> Arm:
    """An arm of the places that were chosen on each axis."""
    name = " ".join(name for name, _ in names) or "as configured"
    try:
        config = make_config(apply_overrides(tree, overrides), where=f"arm {name}")
    except UserError as error:
        if error.where is None and not error.what.startswith("arm "):
            raise UserError(error.what, where=f"arm {name}", right=error.right) from None
        raise
    return Arm(name, tuple(overrides), "candidate", config)


def refuse_axis_twice(words: Sequence[str], where: str) -> None:
    """One message for two axes of one key: of their product only the last would be trained."""
    values: dict[str, str] = {}
    for key, sign, text in (word.partition("=") for word in words):
        if sign and key.strip() in values:
            right = f"Write one axis: {key.strip()}={values[key.strip()]},{text.strip()}"
            raise UserError(f"two axes change {key.strip()}", where=where, right=right)
        values[key.strip()] = text.strip()


def axis_of(word: str, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The places on one axis: (name, overrides)."""
    if "=" not in word:
        path = Path(word)
        if path.suffix not in (".yaml", ".yml"):
            raise UserError(f"{word!r} names no arms", where=where, right=FORMS)
        yield from arms_in(path)
        return
    key, _, text = word.partition("=")
    values = split_values(text)
    if not key.strip() or not all(values):
        raise UserError(f"{word!r} names no arms", where=where, right=FORMS)
    for value in values:
        yield place_name(key.strip(), value), (f"{key.strip()}={value}",)


def place_name(key: str, value: str) -> str:
    """`concat` for fusion.kind=concat, `at=0` for fusion.at=0."""
    *_, last = key.split(".")
    return value if last == "kind" else f"{last}={value}"


def split_values(text: str) -> list[str]:
    """The values between the commas that stand in no bracket and no quotes."""
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            values.append("")
            continue
        values[-1] += letter
    return [value.strip() for value in values]


def arms_in(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The arms of a YAML file: a mapping of names to what they change, as dotted keys or as a tree."""
    content = read_plain(path)
    right = "Write `NAME: {fusion.kind: product, lm.layers: 3}`, one arm a line"
    arms = [named(one, number) for number, one in enumerate(content, 1)] if isinstance(content, list) else content
    if not arms or not isinstance(arms, dict | list):
        raise UserError("holds no arms", where=str(path), right=right)
    for name, changes in arms.items() if isinstance(arms, dict) else arms:
        if not isinstance(changes, dict | None):
            raise UserError(f"arm {name!r} is no mapping of keys", where=str(path), right=right)
        yield str(name), tuple(f"{key}={in_line(value)}" for key, value in sorted_kinds(changes or {}))


def named(one: Any, number: int) -> tuple[str, Any]:
    """An arm of a list: what its key `name` says, and the rest; two of one name stay two."""
    if not isinstance(one, dict):
        return str(one), one
    return str(one.get("name", f"arm {number}")), {key: value for key, value in one.items() if key != "name"}


def sorted_kinds(changes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Dotted keys and values, kinds first: a new kind drops the keys that it does not have."""
    return sorted(leaves(changes), key=lambda pair: not pair[0].endswith("kind")) if changes else []


def in_line(value: Any) -> str:
    """A value as YAML in one line, mappings in their order."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False).removesuffix("\n...\n").strip()


def refuse_alike(arms: Sequence[Arm], where: str) -> None:
    """One message for two arms of one name, or of one configuration; every arm is trained with every seed, so one seed is as good
    as another.
    """
    configs = [None if arm.config is None else arm.config.model_copy(update={"seed": 0}) for arm in arms]
    for i, arm in enumerate(arms):
        for other, config in zip(arms[:i], configs, strict=False):
            if config == configs[i]:
                raise UserError(
                    f"{other.name!r} and {arm.name!r} are the same configuration: {' '.join(arm.overrides) or 'no change'}",
                    where=where,
                    right="Leave one of them out",
                )
            if other.name == arm.name or other.slug == arm.slug:
                raise UserError(f"two arms are called {arm.name!r}", where=where, right="Give each a name of its own")


class Baseline(NamedTuple):
    """A baseline that is trained: its name, why it is there, and the inputs that it reads."""

    name: str
    role: Role
    kept: tuple[str, ...]


def baselines_of(tree: Mapping[str, Any], modalities: Sequence[str]) -> list[Baseline]:
    """Each player of the configuration alone, or of more than four all but each; and no input. Players are those of `explain`."""
    config = make_config(tree, where="configuration")
    of = config.inputs or {name: name for name in in_order(modalities)}
    inputs = tuple(of)
    players = players_of(inputs, of, config.explain.players)
    found: list[Baseline] = []
    for player in players.all if players.num > 1 else ():
        words = " + ".join(player.members) if player.name == "+".join(player.members) else player.name
        if players.num <= MOST_ALONE:
            role: Role = "text only" if player.modality == "text" and len(player.members) == 1 else "unimodal"
            found.append(Baseline(f"{words} only", role, player.members))
        else:
            rest = tuple(name for name in inputs if name not in player.members)
            found.append(Baseline(f"without {words}", "all but one", rest))
    return [*found, *([Baseline("no input", "no input", ())] if inputs else [])]


def baseline_of(tree: Mapping[str, Any], baseline: Baseline, modalities: Sequence[str]) -> Arm:
    """The configuration with these inputs only."""
    config, kept = make_config(tree, where="configuration"), baseline.kept
    gone = [m for m in (config.inputs or modalities) if m not in kept]
    overrides, notes = [f"data.inputs={inputs_in_line(config, kept)}"], []
    for change, note in [
        *lost_losses(config, kept, gone),
        *lost_encoders(config, kept, gone),
        *lost_words(config, kept),
    ]:
        overrides.append(change)
        notes += [note] if note else []
    made = make_config(apply_overrides(tree, overrides), where=f"arm {baseline.name}")
    return Arm(baseline.name, tuple(overrides), baseline.role, made, tuple(notes))


def inputs_in_line(config: RunConfig, kept: Sequence[str]) -> str:
    """These inputs as the configuration writes them."""
    if isinstance(config.data.inputs, Mapping):
        return in_line({name: config.inputs[name] for name in kept})
    return f"[{', '.join(kept)}]"


def lost_losses(config: RunConfig, kept: Sequence[str], gone: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What a training without some inputs cannot do, and what is said of it."""
    train, of = config.train, config.inputs or {name: name for name in (*kept, *gone)}
    heard = train.ctc and train.ctc.heard(of)
    if heard in gone:
        yield "train.ctc=null", f"trained without train.ctc, which needs {heard}"
    if train.alignment is not None and not kept:
        yield "train.alignment=null", "trained without train.alignment, which needs an input"
    least = config.balance.num_modalities
    if len(kept) < least and config.balance.kind_name != "none":
        needs = "two modalities" if least > 1 else "an input"
        yield "balance.kind=none", f"trained without balance, which needs {needs}"


def lost_encoders(config: RunConfig, kept: Sequence[str], gone: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the configuration says of encoders that are not there; one that a kept input has too stays."""
    encoders = config.encoders
    for key in ("freeze", "cache"):
        named: Sequence[str] = getattr(encoders, key, ())
        if any(m in gone for m in named):
            yield f"encoders.{key}=[{', '.join(m for m in named if m not in gone)}]", ""
    if any(m in gone for m in encoders.start_from):
        rest = {m: path for m, path in encoders.start_from.items() if m not in gone}
        yield f"encoders.start_from={in_line(rest)}", ""
    needed = {config.owner_of(name) for name in kept} | {*kept, *MODALITIES}
    for name in encoders.named:
        if name in gone and name not in needed:
            yield f"encoders.{name}=null", ""


def lost_words(config: RunConfig, kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What else names inputs of one's own that are not there; their fields of the manifest are passed over."""
    if config.explain.players is not None:
        groups = [[one] if isinstance(one, str) else [*one] for one in config.explain.players]
        left = [[name for name in group if name in kept] for group in groups]
        if left != groups:
            yield f"explain.players={in_line([group for group in left if group] or None)}", ""
    if not isinstance(config.data.inputs, Mapping):
        return
    columns = {name: config.data.columns.get(name, name) for name in config.inputs}
    read = [columns[name] for name in kept]
    unread = [column for column in dict.fromkeys((*config.data.unread, *columns.values())) if column not in read]
    yield f"data.unread=[{', '.join(unread)}]", ""
    prepare = {name: one.model_dump(mode="json") for name, one in config.data.prepare.items()}
    said = {"data.columns": config.data.columns, "data.prepare": prepare}
    dropout = config.train.modality_dropout
    said |= {"train.modality_dropout": dropout} if isinstance(dropout, Mapping) else {}
    for key, values in said.items():
        rest = {name: value for name, value in values.items() if name in kept}
        if len(rest) < len(values):
            yield f"{key}={in_line(rest)}", ""
    asked = config.evaluate.inputs
    if asked is not None and any(name not in kept for name in asked):
        yield f"evaluate.inputs=[{', '.join(name for name in asked if name in kept)}]", ""
