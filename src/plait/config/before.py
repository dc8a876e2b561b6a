"""What a key means that a run's configuration does not state, because the Plait that wrote it did not know the key.

In: the format of a run folder (`environment.json`), and a configuration as plain data or typed.
Out: the same with the values of that format where it says nothing.
Invariant: a new default changes no run that was trained before it; a run of today's format is not changed at all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from plait.choices import Config
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
    """A run's plain configuration with the defaults of its own format stated."""
    filled = copy.deepcopy(dict(tree))
    for key, value in defaults_of(format).items():
        *parents, last = key.split(".")
        node: Any = filled
        for parent in parents:
            node = node.setdefault(parent, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.setdefault(last, value)
    return filled


def left_to_run(config: RunConfig, format: int) -> RunConfig:
    """A user's own configuration for a run of an older format: what it does not state means what the run means."""
    changed = {key: value for key, value in defaults_of(format).items() if not is_stated(config, key.split("."))}
    if not changed:
        return config
    tree = config.model_dump(mode="json")
    for key, value in changed.items():
        *parents, last = key.split(".")
        node: Any = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and last in node:
            node[last] = value
    return RunConfig.model_validate(tree)


def is_stated(config: Config, keys: Sequence[str]) -> bool:
    """Whether a dotted key was given, and not left to its default."""
    node: Any = config
    for key in keys:
        if not isinstance(node, Config) or key not in node.model_fields_set:
            return False
        node = getattr(node, key)
    return True
