"""Reading and writing a run's configuration.

In: a YAML file and dotted overrides (`fusion.kind=product`).
Out: a `RunConfig`, or one message per mistake that names the file, the key, the value and what would be right.
Invariant: what is written reads back equal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from plait.choices import KINDS
from plait.config.parts import by_dotted_name, of_inputs
from plait.config.plain import plain, read_plain, written
from plait.config.tree import EncodersConfig, RunConfig
from plait.data.config import DataConfig
from plait.data.inputs import as_mapping
from plait.errors import UserError
from plait.files import hint_of
from plait.modalities import MODALITIES, OWN, modality_of
from plait.trust import Trust, reading_file, run_around

AXES = {
    "fusion": "fusion",
    "lm": "language model",
    **{f"encoders.{name}": of.encoder_axis for name, of in MODALITIES.items()},
    "data.tokenizer": "tokenizer",
    "balance": "balance",
}
"""The keys that hold a part chosen by kind, and the axis of each; those of inputs with names of their own: `axis_at`."""


def axis_at(tree: Mapping[str, Any], key: str) -> str | None:
    """The axis of the part that stands at a dotted key, None where none does."""
    head, _, name = key.partition(".")
    if head != "encoders" or not name or "." in name:
        return AXES.get(key)
    of = inputs_in(tree).get(name, name)
    known = MODALITIES.get(of) or OWN.get(of)
    return None if known is None else known.encoder_axis


def inputs_in(tree: Mapping[str, Any]) -> dict[str, str]:
    """Input name → modality, as plain data of a configuration say."""
    data = tree.get("data")
    return as_mapping(data.get("inputs")) if isinstance(data, Mapping) else {}


def read_config(path: Path, overrides: Sequence[str] = (), *, trust_code: bool = False) -> RunConfig:
    """The configuration in a YAML file, with overrides; a relative manifest is relative to the file.

    `trust_code`: code of one's own (`kind: my_module:MyConfig`) is imported even where the file lies in the folder of a run.
    """
    tree = apply_overrides(read_located(path), overrides)
    with reading_file(path, Trust(trust_code)):
        return make_config(tree, where=str(path))


def read_shared(path: Path, overrides: Sequence[str] = (), *, trust_code: bool = False) -> dict[str, Any]:
    """The plain data of a YAML file with overrides, once its code of one's own may be imported."""
    tree = apply_overrides(read_located(path), overrides)
    if run_around(path) is not None:
        with reading_file(path, Trust(trust_code)):
            make_config(tree, where=str(path))
    return tree


def read_located(path: Path) -> dict[str, Any]:
    """The plain data of a YAML file, a relative manifest made absolute: it is relative to the file."""
    tree = read_tree(path)
    manifest = tree.get("data", {}).get("manifest") if isinstance(tree.get("data"), dict) else None
    if isinstance(manifest, str) and not Path(manifest).is_absolute():
        tree["data"]["manifest"] = str((path.parent / manifest).resolve())
    return tree


def read_tree(path: Path) -> dict[str, Any]:
    """The plain data of a YAML file."""
    if os.path.isdir(path):  # noqa: PTH112 - a name that is too long is none
        right = f"Give a configuration; `plait init {path} --out {path.resolve().name or 'run'}.yaml` writes one for the data in it"
        raise UserError("is a folder", where=str(path), right=right)
    if not os.path.lexists(path):
        right = hint_of(path) or "`plait init FOLDER` writes a first one"
        raise UserError("no such file", where=str(path), right=right)
    tree = read_plain(path)
    if not isinstance(tree, dict):
        raise UserError("does not hold a mapping of keys", where=str(path), right="Begin with `data: {manifest: …}`")
    return tree


def apply_overrides(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The tree with `a.b.c=value` set; the value is YAML. A new `kind` drops its siblings that this kind does not have."""
    changed = copy_tree(tree)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise UserError(
                f"{override!r} is not an override", right="Write key.key=value, for example train.steps=200"
            )
        value = plain(text, where=f"{key.strip()}=", lines=False)
        *parents, last = with_dotted(changed, key.strip().split("."))
        node = changed
        for number, parent in enumerate(parents):
            if isinstance(node.get(parent), str) and axis_at(changed, ".".join(parents[: number + 1])):
                node[parent] = {"kind": node[parent]}
            if node.get(parent) is None:  # a section that is null is one that is absent
                node[parent] = {}
            node = node[parent]
            if not isinstance(node, dict):
                raise UserError(f"{'.'.join(parents[: number + 1])} holds a value and no keys", where=override)
        if last == "kind" and node.get("kind") != value:
            drop_foreign_keys(node, axis_at(changed, ".".join(parents)), value)
        before = inputs_in(changed)
        node[last] = value
        if key.strip() == "data.inputs":
            drop_inputs(changed, before)
    return changed


def with_dotted(tree: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The keys on the way; a name with dots in it (of a part of the model) is one of them where the tree has it so."""
    found: list[str] = []
    node: Any = tree
    while keys:
        names = [".".join(keys[:number]) for number in range(len(keys) - 1, 1, -1)]
        name = next((name for name in names if isinstance(node, Mapping) and name in node), keys[0])
        node = node.get(name) if isinstance(node, Mapping) else None
        found.append(name)
        keys = keys[name.count(".") + 1 :]
    return found


def drop_inputs(tree: dict[str, Any], before: Mapping[str, str]) -> None:
    """Take away what is said of inputs that the run does not read any more, so that `data.inputs={photo: image}` works on a file
    that says more of others. An encoder that another is `like` stays."""
    now, encoders, data = inputs_in(tree), tree.get("encoders"), tree.get("data")
    gone = [name for name in before if name not in now and name not in MODALITIES]
    named = (
        {one.get("like") for one in encoders.values() if isinstance(one, Mapping)}
        if isinstance(encoders, Mapping)
        else ()
    )
    train = tree.get("train")
    if isinstance(train, dict) and isinstance(train.get("parts"), Mapping):
        with suppress(ValueError):  # what is wrong with it is told where it is typed
            train["parts"] = of_inputs(by_dotted_name(train["parts"]), now)
    parts = [encoders, *(data.get(key) for key in ("prepare", "columns"))] if isinstance(data, Mapping) else [encoders]
    for part in parts:
        for name in gone:
            if isinstance(part, dict) and not (part is encoders and name in named):
                part.pop(name, None)


def drop_foreign_keys(node: dict[str, Any], axis: str | None, kind: object) -> None:
    """Take away what the new kind does not know, so that `fusion.kind=attention` works on a file that says `align`."""
    member = KINDS.get(axis or "", {}).get(str(kind))
    if member is not None:
        for key in [key for key in node if key not in member.model_fields]:
            del node[key]


def copy_tree(value: Any) -> Any:
    """A copy whose mappings may be changed."""
    return {key: copy_tree(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def make_config(tree: Mapping[str, Any], *, where: str = "configuration") -> RunConfig:
    """The typed configuration, or the mistakes in words."""
    try:
        return RunConfig.model_validate(dict(tree))
    except ValidationError as error:
        mistakes = [describe(mistake, tree, where) for mistake in error.errors()]
        raise UserError("\n".join(dict.fromkeys(mistakes))) from None


def describe(mistake: Mapping[str, Any], tree: Mapping[str, Any], where: str) -> str:
    """One mistake: file: key: what is wrong (value)."""
    keys: list[str] = []
    node: Any = tree
    for part in mistake["loc"]:  # among the keys stand the kinds that pydantic chose: they are no keys of the file
        is_key = isinstance(node, Mapping) and part in node
        is_place = isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)
        if is_key or is_place:
            keys.append(str(part))
            node = node[part]
    message = str(mistake["msg"]).removeprefix("Value error, ")
    if mistake["type"] == "missing":
        return f"{where}: {'.'.join([*keys, str(mistake['loc'][-1])])} is missing"
    wrong_key = mistake.get("input") if mistake["loc"][-1:] == ("[key]",) else None
    if wrong_key is not None and not isinstance(wrong_key, str):
        return f"{where}: {'.'.join(keys[:-1] or keys)}: the key {wrong_key!r} must be text: quote it"
    if mistake["type"] == "string_type" and isinstance(node, bool | int | float | date):
        return f"{where}: {'.'.join(keys)}: must be text, but YAML reads it as {node}: quote it"
    shown = "" if isinstance(node, Mapping) or mistake["type"] == "value_error" else f", not {node!r}"
    return f"{where}: {'.'.join(keys) or 'top level'}: {message}{shown}"


def config_yaml(config: RunConfig) -> str:
    """The configuration as YAML, every value stated."""
    return written(config.model_dump(mode="json"))


def json_schema_of(config: RunConfig) -> dict[str, Any]:
    """The JSON Schema that fits this run: its inputs by name, each with the options of its modality."""
    schema = json_schema()
    definitions = schema["$defs"]

    def fitting(kind: Any) -> dict[str, Any]:
        """The schema of one part; its definitions go among the others."""
        found = TypeAdapter(kind).json_schema(ref_template="#/$defs/{model}")
        definitions.update(found.pop("$defs", {}))
        return found

    encoders, data = definitions["EncodersConfig"], definitions["DataConfig"]
    encoders["additionalProperties"] = data["additionalProperties"] = False
    prepare: dict[str, Any] = {}
    for name, of in config.inputs.items():
        modality = modality_of(of)
        like = {"type": "object", "properties": {"like": {"type": "string"}}, "required": ["like"]}
        if name not in EncodersConfig.model_fields:
            encoders["properties"][name] = {
                "anyOf": [fitting(modality.encoders), {**like, "additionalProperties": False}]
            }
        prepare[name] = fitting(modality.Options)
        if of not in DataConfig.model_fields:
            data["properties"][of] = fitting(modality.Options)
            encoders["properties"].setdefault(of, fitting(modality.encoders))
    for name in config.encoders.named:  # those that others are like, though the run does not read them
        encoders["properties"].setdefault(name, {"type": "object"})
    data["properties"]["prepare"] = {"type": "object", "properties": prepare, "additionalProperties": False}
    return schema


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the YAML file, for editors."""
    schema = RunConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Plait run", **schema}
