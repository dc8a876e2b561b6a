"""One row of a manifest as its file gives it, and the names that a field may have.

In: the fields of a row by their names.
Out: a `Row`, or a `RowError` that tells the kind of the mistake.
Invariant: a message about a value is short and printable, whatever the value is.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plait.errors import UserError, did_you_mean
from plait.modalities import MODALITIES
from plait.modalities.text.prepare import MAX_TEXT as MAX_TEXT

FIRST_FIELDS, LAST_FIELDS = ("id", "split", "group", "tags"), ("video", "target")
"""The fields of every row, before and behind its inputs. `group.NAME`, `tags.NAME`, `target.NAME`: one grouping, tag, segment;
`_anything`: a note, not read."""

DOTTED = ("group", "tags", "target")
OTHER_WORDS = {
    "id": "key name uid",
    "split": "subset fold partition",
    "group.speaker": "speaker speaker_id client_id",
    "target": "caption captions label answer answers transcript transcription sentence output response",
}
"""Names that other tools give to a field: only to say what was probably meant."""


def fields_of(columns: Iterable[str] = ()) -> tuple[str, ...]:
    """The fields that a row may have: those of every row, one for each modality, and these columns."""
    return tuple(dict.fromkeys((*FIRST_FIELDS, *MODALITIES, *columns, *LAST_FIELDS)))


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `where` for messages, `number` from 1 for its id, and its fields.

    `typed`: the file tells numbers from texts (JSON, Parquet); in CSV everything is a text, and none is a number gone wrong.
    """

    where: str
    number: int
    fields: Mapping[str, Any]
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands where a value could not be made sense of: the kind of the mistake, and what is wrong."""

    code: str
    what: str


class RowError(UserError):
    """A row that cannot be used. `code` tells the kind of the mistake, for counting; `id` is the row's, if known."""

    def __init__(self, code: str, what: str, *, where: str, right: str | None = None, id: str | None = None) -> None:
        super().__init__(what, where=where, right=right)
        self.code, self.id = code, id

    @property
    def reason(self) -> str:
        """The message without the place."""
        return f"{self.what.rstrip('.')}. {self.right}" if self.right else self.what


def short(value: object, limit: int = 60) -> str:
    """A value as a message shows it: quoted, on one line, a long one cut and its length told."""
    if not isinstance(value, str):
        try:
            value_text = repr(value)
        except RecursionError:  # lists within lists within …
            value_text = type(value).__name__
        return value_text if len(value_text) <= limit else f"{value_text[:limit]}…"
    return repr(value) if len(value) <= limit else f"{value[:limit]!r}… ({len(value):,} characters)"


def missing(value: object) -> bool:
    """Whether a field holds nothing: null, NaN (how data frames write null), an empty text, list or mapping."""
    if value is None:
        return True
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, (list, dict)) and not value


def unknown_field(name: object, fields: Sequence[str] | None = None) -> tuple[str, str] | None:
    """What is wrong with a field's name and what would be right, or None if it is one of `fields` (None: of no named inputs)."""
    fields = fields_of() if fields is None else fields
    if name in fields or (isinstance(name, str) and name.startswith("_")):
        return None
    head, dot, tail = str(name).partition(".")
    if dot and head in DOTTED and tail:
        return None
    known = [*fields, "group.NAME", "tags.NAME", "target.NAME"]
    others = {field: words.split() for field, words in OTHER_WORDS.items()}
    others |= {field: list(modality.other_names) for field, modality in MODALITIES.items()}
    meant = [field for field, words in others.items() if str(name).lower() in words]
    hint = f"Did you mean {meant[0]!r}? Known: {', '.join(known)}." if meant else did_you_mean(str(name)[:100], known)
    return f"unknown field {short(name)}", f"{hint} A field of your own that Plait should not read begins with '_'."


def readable(text: str) -> str:
    """A text that can be written as UTF-8: what cannot be is shown as Python shows it (file names may hold any bytes)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def refuse_columns(names: Sequence[str], where: str, fields: Sequence[str] | None = None) -> None:
    """Refuse columns that are unknown or doubled: they are wrong in every row."""
    for name, count in Counter(names).items():
        if wrong := unknown_field(name, fields):
            raise UserError(wrong[0], where=where, right=wrong[1])
        if count > 1:
            raise UserError(
                f"column {name!r} stands {count} times in the header", where=where, right="Name each column once."
            )


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that stands twice is refused, since one of the two values would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {short(twice)} stands twice")
    return found


STRICT_JSON = json.JSONDecoder(object_pairs_hook=_strict_object)
"""Refuses a key that stands twice in an object."""
