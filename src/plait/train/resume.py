"""Which keys of a run may change when it is resumed.

In: the configuration of the run and the one that was given now.
Out: the configuration to go on with, and a list of what changed; or one message with every change that is refused.
Invariant: what shapes the model, the data or an update never changes within a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from plait.config import RunConfig
from plait.config.train import Continued
from plait.errors import UserError

MAY_CHANGE = (
    "train.steps",
    "train.device",
    "train.threads",
    "train.evaluate_every",
    "train.patience",
    "train.checkpoint_every",
    "train.log_every",
    "train.alone_every",
    "train.tensorboard",
    "data.manifest",
    "data.workers",
    "data.cache_mb",
    "encoders.cache",
    "evaluate",
    "explain",
    "generate",
)
"""How long, on what, how often, and where the data lies (its content is compared by itself); the rest is the run."""

CHOSEN_BY_RUN = {
    "auto": ("train.dtype", "train.attention", "train.matmul", "train.device"),
    None: (
        "train.threads",
        "data.inputs",
        "data.segments",
        "generate.max_tokens",
        "train.continued",
        *(f"train.continued.{name}" for name in Continued.model_fields),
    ),
}
"""Values that leave a choice to the run, and the keys where they do: beside what the run chose they are no change."""


class Change(NamedTuple):
    """One key and its two values."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old!r} → {self.new!r}"


def changes(old: RunConfig, new: RunConfig) -> list[Change]:
    """Every key whose value differs, except where the new one leaves the choice to the run."""
    before, after = dict(leaves(old.model_dump(mode="json"))), dict(leaves(new.model_dump(mode="json")))
    different = [Change(key, before.get(key), after.get(key)) for key in {**before, **after}]
    return [change for change in different if change.old != change.new and not is_left_to_run(change)]


def is_left_to_run(change: Change) -> bool:
    """Whether the new value only leaves the choice to the run, which has chosen."""
    return any(change.new == value and change.key in keys for value, keys in CHOSEN_BY_RUN.items())


def merged(old: RunConfig, new: RunConfig, *, where: str) -> tuple[RunConfig, list[Change]]:
    """The configuration to go on with, and what changed in it."""
    found = changes(old, new)
    refused = [change for change in found if not may_change(change.key)]
    if refused:
        raise UserError(
            "the configuration changed since this run began: " + "; ".join(map(str, refused)),
            where=where,
            right="Put these back to go on, or train anew under another name.",
        )
    tree = old.model_dump(mode="json")
    for change in found:
        put(tree, change.key.split("."), change.new)
    return RunConfig.model_validate(tree), found


@cache
def may_change(key: str) -> bool:
    """Whether a resumed run may differ in this key."""
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in MAY_CHANGE)


def leaves(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, in order; an empty mapping is a value."""
    waiting = [(prefix, tree)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [(f"{place}.{key}" if place else str(key), inner) for key, inner in reversed([*value.items()])]
        else:
            yield place, value


def put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set one dotted key."""
    for key in keys[:-1]:
        inner = tree.get(key)
        tree[key] = inner = inner if isinstance(inner, dict) else {}
        tree = inner
    tree[keys[-1]] = value
