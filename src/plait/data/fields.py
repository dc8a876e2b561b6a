"""One row's fields → a `Sample`: every field checked and named if it is wrong.

In: a `Row` as it stands in the manifest.
Out: a `Sample` whose split may still be empty (drawn later) and the real paths of its media.
Invariant: what a field may be does not depend on the file's format (a cell that holds a JSON list is that list).

A `target` is a text (its one segment is named `target`), named segments, or a list of references, each a text or
named segments. A segment may itself hold a list: reference i takes its i-th text, and a segment with one text lends
it to all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plait.data.inputs import as_mapping
from plait.data.media import MediaFolder
from plait.data.row import MAX_TEXT, Row, RowError, Unreadable, fields_of, missing, short, unknown_field
from plait.data.splits import ALIASES, SPLITS, split_name
from plait.data.suffixes import Rules
from plait.errors import did_you_mean
from plait.modalities import MODALITIES, Modality, modality_of
from plait.modalities.base import Field, FieldError, Item
from plait.modalities.text.prepare import text_in
from plait.types import Reference, Sample

ONE_SEGMENT = "target"
"""The segment of a target that is a plain text."""

NAME = re.compile(r"[^\W\d][\w-]*")
RESERVED = ("end", "pad", "unknown")
"""No segment's name: special tokens of every tokenizer are called so."""

TARGET_FORMS = 'A target is a text, named segments ({"heard": "…", "answer": "…"}), or a list of such references.'


class Parsed(NamedTuple):
    """A sample, its split as written (None: not written), and the real paths of its media."""

    sample: Sample
    split: str | None
    media: tuple[str, ...]


class Reader(NamedTuple):
    """How one input is read: its name, its modality, and where its values stand."""

    name: str
    modality: Modality
    column: str
    field: Field


class RowParser:
    """Makes samples of rows.

    `inputs`: name → modality of the inputs that are read, or their names where these are modalities (None: all modalities); the
    others' fields are passed over. `columns`: the field of an input that is called otherwise; `unread`: fields of one's
    own that are passed over too.
    """

    def __init__(
        self,
        media: MediaFolder,
        *,
        inputs: Mapping[str, str] | Sequence[str] | None,
        require_targets: bool,
        rules: Rules = 2,
        columns: Mapping[str, str] | None = None,
        unread: Sequence[str] = (),
    ) -> None:
        self.media = media
        self.rules: Rules = rules
        self.require_targets = require_targets
        named = dict.fromkeys((*MODALITIES, "video")) if inputs is None else as_mapping(inputs)
        self.reads_video = "video" in named
        columns = columns or {}
        self.readers = [
            self._reader(name, of or name, columns.get(name, name)) for name, of in named.items() if name != "video"
        ]
        self.fields = fields_of([*(reader.column for reader in self.readers), *unread])
        self._unread = {*MODALITIES, "video", *unread}.difference(reader.column for reader in self.readers)
        self._unread -= {"video"} if self.reads_video else set()
        self._layouts: dict[tuple[str, ...], dict[str, list[tuple[str, str]]]] = {}
        self._where = ""
        self._reals: list[str] = []

    @property
    def seen(self) -> tuple[str, ...]:
        """The names of all fields that rows had so far."""
        return tuple(dict.fromkeys(name for names in self._layouts for name in names))

    def __call__(self, row: Row) -> Parsed:
        """The sample of a row, or a `RowError` that knows the row's id."""
        id = None
        try:
            dotted = self._layout(row)
            broken = [name for name, value in row.fields.items() if type(value) is Unreadable and self._is_read(name)]
            _refuse_unreadable(row, [name for name in broken if name == "id"])
            id = _id(row, self.rules)
            _refuse_unreadable(row, broken)
            inputs = self._inputs(row)
            self._refuse_video(row, inputs)
            references = _references(row, dotted["target"])
            if not references and self.require_targets:
                raise RowError("no-target", "the row has no target", where=row.where, right=TARGET_FORMS)
            groups = _named(row, "group", dotted["group"], self.rules)
            tags = _named(row, "tags", dotted["tags"], self.rules)
            split = _split(row)
            sample = Sample(
                id, split or "", inputs=inputs, references=references, groups=groups, tags=tags, where=row.where
            )
            return Parsed(sample, split, tuple(self._reals))
        except RowError as error:
            error.id = id
            raise

    def _reader(self, name: str, modality: str, column: str) -> Reader:
        def find(path: str) -> Path:
            found = self.media.find(path, field=column, where=self._where)
            self._reals.append(found.real)
            return found.path

        return Reader(name, modality_of(modality), column, Field(column, short, find))

    def _inputs(self, row: Row) -> dict[str, tuple[Item, ...]]:
        """The items of every input that the row has."""
        self._where, self._reals = row.where, []
        fields, found = row.fields, {}
        for name, modality, column, field in self.readers:
            value = fields.get(column)
            if value is None or missing(value):
                continue
            try:
                items = modality.items(value, field)
            except FieldError as error:
                raise RowError(error.code, error.what, where=row.where, right=error.right) from None
            if items:
                found[name] = items
        return found

    def _refuse_video(self, row: Row, inputs: Mapping[str, object]) -> None:
        """Films are not read yet."""
        if missing(row.fields.get("video")) or any(reader.column == "video" for reader in self.readers):
            return
        if self.reads_video:
            right = (
                "Leave the field out, or name the inputs to read without it: data.inputs=[text,image,audio]. "
                "For its sound alone give the path in the field audio; in a folder, the suffix .m4a, .weba or .mka."
            )
            raise RowError(
                "video", f"video is not read yet: {short(row.fields['video'])}", where=row.where, right=right
            )
        if self.rules == 2 and not inputs:
            raise RowError("video", "the row has nothing but a video, which is not read yet", where=row.where)

    def _is_read(self, field: str) -> bool:
        return field[:1] != "_" and field not in self._unread

    def _layout(self, row: Row) -> Mapping[str, list[tuple[str, str]]]:
        """The `group.NAME`, `tags.NAME` and `target.NAME` fields as (field, NAME); a set of names is checked once."""
        names = tuple(row.fields)
        if names not in self._layouts:
            for name in names:
                if wrong := unknown_field(name, self.fields):
                    raise RowError("unknown-field", wrong[0], where=row.where, right=wrong[1])
            parts = [(name, *name.split(".", 1)) for name in names if "." in name and not name.startswith("_")]
            self._layouts[names] = {
                head: [(n, tail) for n, h, tail in parts if h == head] for head in ("group", "tags", "target")
            }
        return self._layouts[names]


def _refuse_unreadable(row: Row, names: Iterable[str]) -> None:
    """A value of which its file could make no sense is the row's mistake, where the row is read for it."""
    for name in names:
        value = row.fields.get(name)
        if type(value) is Unreadable:
            raise RowError(value.code, value.what, where=row.where, right="Write the value again, as a text of UTF-8.")


def _is_nan(text: str, row: Row, rules: Rules) -> bool:
    """Whether a text is a number that is none, as tools write it out; never where the file has texts only, and it is a name."""
    return text.lower() == "nan" if rules == 1 else row.typed and text in ("nan", "NaN")


def _id(row: Row, rules: Rules) -> str:
    value = row.fields.get("id")
    if (isinstance(value, float) and math.isnan(value)) or (
        isinstance(value, str) and _is_nan(value.strip(), row, rules)
    ):
        right = "Give every row a name of its own, or leave the field empty: the row's number is its id then."
        raise RowError("id", "id is NaN", where=row.where, right=right)
    name = _name(value, "id", row.where)
    return f"row-{row.number}" if name is None else name


def _name(value: Any, field: str, where: str) -> str | None:
    """A short name (of a row, of a group) from a text or a whole number."""
    if missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 17.0: what data frames make of a whole number in a column with gaps
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise RowError(
            "type", f"{field} is {short(value)}", where=where, right=f"Give {field} as a text or a whole number."
        )
    name = _text(str(value), field, where)
    return name and name.strip()


def _text(value: Any, field: str, where: str) -> str | None:
    """A text, None if missing. Whole numbers are texts as well: CSV cannot tell them apart."""
    if type(value) is str and value.isascii() and "\0" not in value and 0 < len(value) < MAX_TEXT:
        return None if value.isspace() else value  # the common case, first: a manifest has millions of texts
    if missing(value):
        return None
    try:
        return text_in(value, field, short)
    except FieldError as error:
        raise RowError(error.code, error.what, where=where, right=error.right) from None


def _split(row: Row) -> str | None:
    value = row.fields.get("split")
    if missing(value):
        return None
    split = split_name(value) if isinstance(value, str) else None
    if split is None:
        right = did_you_mean(str(value).strip().lower(), [*SPLITS, *ALIASES])
        raise RowError("split", f"split {short(value)} is unknown", where=row.where, right=right)
    return split


def _named(row: Row, field: str, dotted: Sequence[tuple[str, str]], rules: Rules) -> dict[str, str]:
    """The row's groupings or tags: name → value. A plain value is the grouping, or the tag, that bears the field's name."""
    value = row.fields.get(field)
    named = dict(value) if isinstance(value, dict) else {field: value}
    named |= {name: row.fields[column] for column, name in dotted}
    found: dict[str, str] = {}
    for name, one in named.items():
        if not name.isascii() or "\0" in name:
            _text(name, f"a name in {field}", row.where)
        place = field if name == field else f"{field}.{name}"
        text = _name(one, place, row.where)
        if text is not None and _is_nan(text, row, rules):
            right = "It would tie all such rows together: leave it empty, or give the real value."
            raise RowError(field, f"{place} is {text!r}", where=row.where, right=right)
        if text is not None:
            found[name] = text
    return found


def _references(row: Row, dotted: Sequence[tuple[str, str]]) -> tuple[Reference, ...]:
    """The row's references, empty where it has no target at all."""
    value = row.fields.get("target")
    if dotted and any(not missing(row.fields[field]) for field, _ in dotted):
        if not missing(value):
            both = f"target and {dotted[0][0]} are both given"
            raise RowError("target", both, where=row.where, right="Give one text or named segments, not both.")
        # A column names the segment in every row: an empty cell is an empty text there.
        value = {name: "" if missing(row.fields[field]) else row.fields[field] for field, name in dotted}
    if missing(value):
        return ()
    references: list[Reference] = []
    for one in value if isinstance(value, list) else [value]:
        references += (
            _spread(one, row.where) if isinstance(one, dict) else [{ONE_SEGMENT: _segment(one, "target", row.where)}]
        )
    for reference in references:
        if all(missing(text) for text in reference.values()):
            raise RowError("no-target", "the target is empty", where=row.where, right=TARGET_FORMS)
        if set(reference) != set(references[0]):
            what = f"one reference has the segments {', '.join(references[0])}, another {', '.join(reference)}"
            raise RowError("segments", what, where=row.where, right="Name the same segments in all of them.")
    return tuple(references)


def _segment(value: Any, field: str, where: str) -> str:
    """A segment's text; it may be empty, but it is written."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise RowError(
            "target", f"{field} is null", where=where, right='Write "" for a segment in which nothing is said.'
        )
    return _text(value, field, where) or ""


def _spread(segments: Mapping[str, Any], where: str) -> list[dict[str, str]]:
    """One reference per place of the segments' lists."""
    for name in segments:
        if not NAME.fullmatch(name) or name in RESERVED:
            right = f"A segment's name is letters, digits, '-' and '_', and none of {', '.join(RESERVED)}."
            raise RowError("segments", f"{short(name)} cannot name a segment of the target", where=where, right=right)
    counts = {len(value) for value in segments.values() if isinstance(value, list)} - {1}
    if len(counts) > 1 or 0 in counts:
        lists = ", ".join(f"{name}: {len(value)}" for name, value in segments.items() if isinstance(value, list))
        right = "Give every segment one text, or as many as the others."
        raise RowError("target", f"the segments have different numbers of texts ({lists})", where=where, right=right)
    places = range(max(counts, default=1))
    return [
        {name: _segment(_at(value, i), f"target.{name}", where) for name, value in segments.items()} for i in places
    ]


def _at(value: Any, place: int) -> Any:
    """A segment's text in one of the references; a single one stands in all."""
    return value[place if len(value) > 1 else 0] if isinstance(value, list) else value
