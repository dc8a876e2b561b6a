"""What every kind of record of other tools is turned into: sheets, one row per sample and seed, scores as the file has them.

In: nothing; these are values, and the few rules by which values of JSON become ids, groups and numbers.
Out: `Row`, `Sheet`, `Format`.
Invariant: a score becomes a number by a stated rule or not at all; a text that no file could hold (half a surrogate) is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plait.errors import UserError, did_you_mean

MAX_BYTES = 2**29
"""The most bytes of one text of JSON, unpacked: 512 MiB."""

MAX_ROWS = 10_000_000
MAX_NAME = 2_000
"""The most characters of an id, a group or a name."""

MAX_TARGET = 1_000
"""So much of a target is compared between arms: inspect_ai shortens long ones in part of its logs."""

NOT_SCORED = ("", "na", "n/a", "nan", "null", "none")
TRUTH = {"true": 1.0, "false": 0.0}


class NoNumber(ValueError):
    """A value that is no score."""


class Row(NamedTuple):
    """One sample at one seed. `scores`: metric → the value as the file has it; `why`: what kept the sample from being scored."""

    id: str
    seed: int
    scores: Mapping[str, Any]
    groups: Mapping[str, str]
    target: str | None = None
    why: str = ""


@dataclass(frozen=True)
class Sheet:
    """The rows of one arm on one task, out of one file.

    `settings`: what may make two runs of one model two arms. `higher`: metric → whether more is better, as far as the file says.
    `own_seeds`: the seeds are names that the file gives; otherwise they are counted on over an arm's files. `evaluation` tells one
    evaluation from another. `number`: how this format's scores become numbers. `ours`: Plait wrote it, and knows its metrics.
    `preferred`: the metric that the file itself puts first. `named`: the arm's name is meant as one, settings make no other arm.
    """

    where: Path
    arm: str
    task: str
    rows: Sequence[Row]
    number: Callable[[Any], float | None]
    settings: Mapping[str, str] = field(default_factory=dict)
    higher: Mapping[str, bool] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    own_seeds: bool = False
    evaluation: str = ""
    role: str = "candidate"
    split: str = ""
    ours: bool = False
    preferred: str | None = None
    named: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """All that any row has, in the order in which they come."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.scores))


class Format(NamedTuple):
    """A kind of file: what it is called, which files look like it (by path and first bytes), and how it is read."""

    name: str
    fits: Callable[[Path, bytes], bool]
    read: Callable[[Path, Sequence[str]], list[Sheet]]


def plain_number(value: Any) -> float | None:
    """A number, a truth value, or a text of one; None for what says that there is none; `NoNumber` for everything else."""
    if value is None:
        return None
    if isinstance(value, str):
        word = value.strip().lower()
        if word in NOT_SCORED:
            return None
        if word in TRUTH:
            return TRUTH[word]
    elif not isinstance(value, int | float):
        raise NoNumber
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise NoNumber from None
    if math.isnan(number):
        return None
    if math.isinf(number):
        raise NoNumber
    return number


def parsed(data: bytes, where: str) -> Any:
    """Bytes of JSON as values, or one message."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"is not JSON: {error}", where=where, right="It may be cut off or damaged: copy it again"
        ) from None


def mapping(value: Any, where: str, what: str) -> Mapping[str, Any]:
    """A mapping, or one message."""
    if not isinstance(value, dict):
        raise UserError(f"{what} must be a mapping of keys, not {shown(value)}", where=where)
    return value


def name(value: Any, where: str, what: str) -> str:
    """A text that may stand as an id or a name."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{what} must be a text or a whole number, not {shown(value)}", where=where)
    if isinstance(value, int) and abs(value) >= 2**63:
        raise UserError(f"{what} is a number of more than 64 bits", where=where)
    text = str(value)
    if not text.strip() or len(text) > MAX_NAME or not encodable(text):
        right = f"It needs 1 to {MAX_NAME:,} characters of valid Unicode"
        raise UserError(f"{what} {shown(text)} cannot be used", where=where, right=right)
    return text


def encodable(text: str) -> bool:
    """Whether a file of UTF-8 can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole(value: Any, where: str, what: str) -> int:
    """A whole number, as a text or as it is."""
    text = str(value).strip()
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    try:
        number = int(text)
    except ValueError:
        raise UserError(f"{what} must be a whole number, not {shown(value)}", where=where) from None
    if isinstance(value, bool) or abs(number) >= 2**63:
        raise UserError(f"{what} must be a whole number of at most 64 bits, not {shown(value)}", where=where)
    return number


def shown(value: Any) -> str:
    """A value in a message, shortened."""
    text = ascii(value) if isinstance(value, str) else told(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def told(value: Any) -> str:
    """A value in a sentence, shortened; a text without quotes."""
    text = value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def flattened(value: Any, above: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of mappings in mappings."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield from flattened(inner, f"{above}.{key}" if above else str(key), depth - 1)
    else:
        yield above, value


def found(places: Sequence[Any], key: str) -> Any:
    """The value of a key in the first of these mappings that has it; a dot leads into a mapping inside; None where none has."""
    for place in places:
        if isinstance(place, dict):
            if key in place:
                return place[key]
            first, _, rest = key.partition(".")
            if rest and first in place and (inner := found([place[first]], rest)) is not None:
                return inner
    return None


def group_of(value: Any, where: str, key: str) -> str | None:
    """A value as the name of a group: a list of one as that one; None where it is missing or empty."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (RecursionError, ValueError, TypeError):
        raise UserError(f"{key!r} is {shown(value)}, which names no group", where=where) from None
    return name(text, where, f"the group {key!r}")


def groups_of(places: Sequence[Any], keys: Sequence[str], where: str) -> dict[str, str]:
    """The groups of a sample, as far as it names them; `group.speaker` is called speaker."""
    values = {key: group_of(found(places, key), where, key) for key in keys}
    return {key.removeprefix("group."): value for key, value in values.items() if value is not None}


def check_groups_found(rows: Sequence[Row], keys: Sequence[str], known: Sequence[str], where: str) -> None:
    """A key that no sample has is a mistake."""
    for key in keys:
        if rows and not any(key.removeprefix("group.") in row.groups for row in rows):
            raise UserError(f"no sample has {key!r}, of --group-by", where=where, right=did_you_mean(key, known))


def target_of(value: Any) -> str | None:
    """A target as a text that can be compared, shortened."""
    if value is None or value == "":
        return None
    text = value if isinstance(value, str) else repr(value)
    return text[:MAX_TARGET]
