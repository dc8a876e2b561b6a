"""What a key means that a run's configuration does not state, because the Plait that wrote it did not know the key.

In: the format of a run folder (`environment.json`), and a configuration as plain data or typed.
Out: the same with the values of that format where it says nothing.
Invariant: a new default changes no run that was trained before it; a run of today's format is not changed at all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from plait.choices import KINDS, Config
from plait.config.reading import axis_at
from plait.config.tree import RunConfig

FORMAT = 2
"""The format of run folders that this Plait writes. It grows when an older Plait could not read what this one writes, and when a
new default has to leave old runs as they are."""

BEFORE: Mapping[int, Mapping[str, Any]] = {
    1: {
        "data.image.profile": "ignore",
        "data.max_left_out": 1.0,
        "data.quoting": "csv",
        "data.rules": 1,
        "data.tokenizer.normalisation": "nfkc",
        "evaluate.normalisation": "folded",
        "generate.max_tokens": 64,
    },
}
"""Format → dotted key → what runs up to this format mean where they do not state the key (where the part that holds it has it)."""


def defaults_of(format: int) -> dict[str, Any]:
    """Every key whose default changed since the format, with the value of then."""
    found: dict[str, Any] = {}
    for older in sorted((number for number in BEFORE if number >= format), reverse=True):
        found |= BEFORE[older]
    return found


def as_written(tree: Mapping[str, Any], format: int) -> dict[str, Any]:
    """A run's plain configuration with the defaults of its own format stated, where the part that is named has the key.

    A part of the user's own (`module:Class`) is not asked, because that would run its code: see `left_to_run`.
    """
    filled = copy.deepcopy(dict(tree))
    for key, value in defaults_of(format).items():
        *parents, last = key.split(".")
        node: Any = filled
        for number, parent in enumerate(parents, 1):
            axis = axis_at(filled, ".".join(parents[:number]))
            if axis is not None and isinstance(node, dict) and isinstance(node.get(parent), str):
                node[parent] = {"kind": node[parent]}
            node = node.setdefault(parent, {}) if isinstance(node, dict) else None
            if (
                axis is not None
                and isinstance(node, dict)
                and not has_key(axis, node.get("kind"), parents[number:], last)
            ):
                node = None
        if isinstance(node, dict):
            node.setdefault(last, value)
    return filled


def has_key(axis: str, kind: object, between: Sequence[str], last: str) -> bool:
    """Whether Plait's own part of this kind has the key."""
    members = KINDS[axis]
    member = next(iter(members.values())) if kind is None else members.get(str(kind))
    return member is not None and (between[0] if between else last) in member.model_fields


def left_to_run(config: RunConfig, format: int) -> RunConfig:
    """A configuration for a run of an older format: what it does not state means what the run means."""
    for key, value in defaults_of(format).items():
        keys = key.split(".")
        if not is_stated(config, keys):
            config = stating(config, keys, value)
    return config


C = TypeVar("C", bound=Config)


def stating(config: C, keys: Sequence[str], value: Any) -> C:
    """The configuration with one dotted key stated; as it is where its parts have no such key."""
    first, *rest = keys
    if first not in type(config).model_fields:
        return config
    if rest:
        inner = getattr(config, first)
        value = stating(inner, rest, value) if isinstance(inner, Config) else inner
    return config.model_copy(update={first: value})


def is_stated(config: Config, keys: Sequence[str]) -> bool:
    """Whether a dotted key was given, and not left to its default."""
    node: Any = config
    for key in keys:
        if not isinstance(node, Config) or key not in node.model_fields_set:
            return False
        node = getattr(node, key)
    return True
