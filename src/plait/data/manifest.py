"""A manifest → the samples that a run trains on, with everything that was left out counted and named.

In: a JSONL, CSV, TSV or Parquet file (`rows.py`), or a folder of media with same-named .txt files (`folder.py`).
Out: a `Dataset`.
Invariant: every row is a sample or in `left_out`; all samples with a target have the same segments, in one order; ids
are unique; every media file was there and not empty when the manifest was read.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

from plait.data.fields import TARGET_FORMS, Parsed, RowParser
from plait.data.folder import TABLES, manifests_in, read_folder
from plait.data.media import MediaFolder
from plait.data.row import FIRST_FIELDS, LAST_FIELDS, Row, RowError, readable
from plait.data.rows import read_rows
from plait.data.splits import SplitConfig, draw_splits, known_split
from plait.data.suffixes import Rules
from plait.data.tables import Quoting
from plait.errors import UserError, did_you_mean, nearest
from plait.types import Sample

OnError = Literal["stop", "skip"]


@dataclass(frozen=True)
class LeftOut:
    """A row that is not among the samples: its place, its id if it could be read, why, and the kind of the reason."""

    where: str
    id: str | None
    reason: str
    code: str = "row"


OTHER_FILE = "other-file"
"""The code of a file in a folder of media that is no row."""


@dataclass(frozen=True)
class Dataset:
    """The samples of a manifest in file order, their segments in the order in which they are said, and what occurs.

    `path` is the manifest: a file, or the folder itself. `drawn`: the manifest names no split, so splits were drawn. `reading`:
    how the files were read, where they can be read in two ways; `inputs`: those that occur; `fields`: all names of the rows'
    fields; `parted`: by grouping, how many groups are in several splits; `kinds`: name → modality of the inputs that were read for,
    and `columns` the fields of those that are called otherwise.
    """

    path: Path
    samples: list[Sample]
    segments: tuple[str, ...]
    inputs: tuple[str, ...]
    left_out: list[LeftOut]
    drawn: bool = False
    reading: tuple[str, ...] = ()
    parted: Mapping[str, int] = field(default_factory=dict)
    quoting: Quoting = "auto"
    fields: tuple[str, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)

    def modality_of(self, name: str) -> str:
        """The name of an input's modality."""
        return self.kinds.get(name, name)

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The fields of the inputs."""
        return tuple(self.columns.get(name, name) for name in self.kinds)

    @property
    def modalities(self) -> tuple[str, ...]:
        """As `inputs`: for programs written when every input was called as its modality."""
        return self.inputs

    def refuse_missing(self, inputs: Mapping[str, str], columns: Mapping[str, str]) -> None:
        """One message for an input that no row has, with the column that it might stand in."""
        for error in self.missing(inputs, columns):
            raise error

    def missing(self, inputs: Mapping[str, str], columns: Mapping[str, str]) -> Iterator[UserError]:
        """What is wrong with each input that no row has."""
        for name, of in inputs.items():
            if name in self.inputs:
                continue
            column, found = columns.get(name, name), ", ".join(self.inputs) or "no input at all"
            right = f"The manifest has {found}."
            if column not in self.fields:
                others = [field for field in self.fields if field not in (*FIRST_FIELDS, *LAST_FIELDS)]
                near = of if of in others else nearest(column, others)
                right = f"Did you mean data.columns: {{{name}: {near}}}? {right}" if near and name != of else right
            what = f"no row has {column if name == of else f'a field {column!r}'}"
            yield UserError(what, where="data.inputs", right=right)

    @property
    def folder(self) -> Path:
        """The folder that the paths of the media are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def gone(self) -> list[LeftOut]:
        """The rows that were left out; files that are no rows stop nobody and do not count."""
        return [left for left in self.left_out if left.code != OTHER_FILE]

    @property
    def share_left_out(self) -> float:
        """How much of the rows was left out."""
        gone = len(self.gone)
        return gone / (gone + len(self.samples)) if gone else 0.0

    @property
    def notes(self) -> list[str]:
        """In a line, how many rows were left out, and why the first."""
        gone = self.gone
        if not gone:
            return []
        number = f"{len(gone)} row{'' if len(gone) == 1 else 's'} of {readable(self.path.name)}"
        return [
            f"{number} cannot be used: left out; {'the first: ' * (len(gone) > 1)}{gone[0].where}: {gone[0].reason}"
        ]

    @property
    def lost(self) -> str | None:
        """A sentence that says so, where most of the rows were left out."""
        gone = self.gone
        if self.share_left_out <= 0.5:
            return None
        kinds = ", ".join(f"{number} {code}" for code, number in Counter(left.code for left in gone).most_common())
        of = len(gone) + len(self.samples)
        return f"{len(gone)} of {of} rows cannot be used ({kinds}); the first: {gone[0].where}: {gone[0].reason}"

    @property
    def warnings(self) -> list[str]:
        """What to know before training on it: how it was read, files of no row, groups that stand in several splits."""
        others = [left for left in self.left_out if left.code == OTHER_FILE]
        said = list(self.reading)
        if others:
            number = f"{len(others)} file{' belongs' if len(others) == 1 else 's belong'} to no row"
            said.append(f"{number}; {'the first: ' * (len(others) > 1)}{others[0].where}: {others[0].reason}")
        for name, number in self.parted.items():
            groups = f"{number} group{' stands' if number == 1 else 's stand'} in several splits"
            said.append(
                f"leakage: by {name}, {groups}, because the rows say so; what is measured there is too good "
                f"(data.split.shared: [{name}] where it is meant)"
            )
        return said

    def split(self, name: str, *, needed: bool = False) -> list[Sample]:
        """The samples of a split (`val` means `tune`); where it is `needed`, having none is the user's mistake."""
        wanted = known_split(name)
        found = [sample for sample in self.samples if sample.split == wanted]
        if needed and not found:
            counts = Counter(sample.split for sample in self.samples)
            there = ", ".join(f"{split}: {count} rows" for split, count in counts.items()) or "no rows at all"
            left = f", {len(self.left_out)} left out" if self.left_out else ""
            right = f"There are {there}{left}. Give some rows `split: {wanted}`."
            raise UserError(f"no row is in the split {wanted!r}", where=str(self.path), right=right)
        return found


class _Refuser:
    """Raises what is wrong with a row, or writes it down where the user said that the rest goes on."""

    def __init__(self, on_error: OnError) -> None:
        self.on_error = on_error
        self.left_out: list[LeftOut] = []

    def __call__(self, error: RowError) -> None:
        harmless = error.code == OTHER_FILE  # a README beside the pictures stops nobody, and is listed
        if self.on_error == "stop" and not harmless:
            raise error
        self.left_out.append(
            LeftOut(readable(error.where or ""), error.id and readable(error.id), readable(error.reason), error.code)
        )


def read_manifest(
    path: Path | str,
    *,
    inputs: Mapping[str, str] | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    unread: Sequence[str] = (),
    segments: Sequence[str] | None = None,
    split: SplitConfig | None = None,
    allow_outside: bool = False,
    on_error: OnError = "stop",
    require_targets: bool = True,
    may_be_empty: bool = False,
    quoting: Quoting = "auto",
    rules: Rules = 2,
    max_left_out: float = 1.0,
) -> Dataset:
    """Read a manifest. A row that cannot be used raises `UserError`; with `on_error="skip"` it is left out and listed.

    `inputs`: name → modality of what is to be read, or modalities (None = all of them); other fields are passed over. `columns`:
    the field of an input that is called otherwise. `unread`: other fields to pass over. `segments`: the segments to read, in this
    order (None = those that the rows have). `split`: how rows are split if none names its split.
    `require_targets=False`: rows need no target (they are to be answered), and without splits all of them are `test`.
    `may_be_empty`: that no row can be used is no error (a check tells of all of them). `quoting`: how TSV is read; `rules`: 1 reads
    as runs of the first format did. `max_left_out`: leaving out more than this share of the rows is an error all the same.
    """
    said: list[str] = []
    path = _manifest_of(Path(path), said, allow_outside=allow_outside)
    is_folder = os.path.isdir(path)  # noqa: PTH112
    refuse = _Refuser(on_error)
    media = MediaFolder(path if is_folder else path.parent, allow_outside=allow_outside)
    parse = RowParser(
        media, inputs=inputs, require_targets=require_targets, rules=rules, columns=columns, unread=unread
    )
    with _nothing_collected():
        if is_folder:
            rows = read_folder(media, path, rules=rules, say=said.append)
        else:
            rows = read_rows(path, quoting=quoting, say=said.append, fields=parse.fields)
        parsed = _unique(_parsed(rows, parse, refuse), refuse)
    chosen = _choose_segments(parsed, segments)
    parsed = list(_with_segments(parsed, chosen, refuse))
    split = split or SplitConfig()
    samples, drawn = _with_splits(parsed, split, refuse, path=path, unlabelled=not require_targets)
    wanted = [reader.name for reader in parse.readers]
    there = tuple(name for name in wanted if any(sample.has(name) for sample in samples))
    if not samples and not may_be_empty:
        raise _nothing_left(path, refuse.left_out)
    parted = {} if drawn or not require_targets else _parted(samples, split.shared)
    dataset = Dataset(
        path,
        samples,
        chosen.names,
        there,
        refuse.left_out,
        drawn=drawn,
        reading=tuple(said),
        parted=parted,
        quoting=quoting,
        fields=parse.seen,
        kinds={reader.name: reader.modality.name for reader in parse.readers},
        columns={reader.name: reader.column for reader in parse.readers if reader.column != reader.name},
    )
    if dataset.share_left_out > max_left_out:
        right = (
            f"`plait data check` names all of them. Fix the rows, or set data.max_left_out (now {max_left_out:g}) to 1 in the "
            f"configuration to go on with the other {len(samples)}."
        )
        raise UserError(dataset.lost or dataset.notes[0], where=readable(str(path)), right=right)
    return dataset


def _manifest_of(path: Path, said: list[str], *, allow_outside: bool) -> Path:
    """The manifest that a path means: of a folder the file in it that is named so, if there is one."""
    found = manifests_in(path) if os.path.isdir(path) else []  # noqa: PTH112
    if not found:
        return path
    real, inside = os.path.realpath(found[0]), os.path.realpath(path).rstrip(os.sep) + os.sep
    if not allow_outside and not real.startswith(inside):
        right = "Name the file itself as the manifest, or allow it: data.allow_outside=true."
        raise UserError(f"is outside the folder (it is {readable(real)})", where=readable(str(found[0])), right=right)
    if len(found) > 1:
        others = ", ".join(other.name for other in found[1:])
        said.append(f"{readable(str(path))}: {found[0].name} is read, and not {others}")
    return found[0]


def _parted(samples: Sequence[Sample], shared: Sequence[str]) -> dict[str, int]:
    """By grouping, how many of its groups stand in several splits; not of those that may."""
    splits: dict[tuple[str, str], set[str]] = {}
    for sample in samples:
        for group in sample.groups.items():
            splits.setdefault(group, set()).add(sample.split)
    counts = Counter(name for (name, _), of in splits.items() if len(of) > 1)
    return {name: counts[name] for name in sorted(counts) if name not in shared}


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """Python does not look for cycles meanwhile: rows have none, and looking through them again and again is 30 % of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _nothing_left(path: Path, left_out: Sequence[LeftOut]) -> UserError:
    if not left_out:
        return UserError("the manifest holds no row", where=str(path), right="Write one row per sample.")
    first = next((left for left in left_out if left.where.endswith(TABLES)), None)  # a manifest that is no folder's
    first = first or next((left for left in left_out if left.code != OTHER_FILE), left_out[0])
    what = f"no row can be used: {len(left_out)} left out, the first at {first.where}: {first.reason}"
    return UserError(what, where=str(path))


def _parsed(rows: Iterable[Row | RowError], parse: RowParser, refuse: _Refuser) -> Iterator[Parsed]:
    for row in rows:
        if isinstance(row, RowError):
            refuse(row)
            continue
        try:
            yield parse(row)
        except RowError as error:
            refuse(error)


def _unique(parsed: Iterable[Parsed], refuse: _Refuser) -> list[Parsed]:
    """The rows whose id was not there before."""
    first: dict[str, str] = {}
    kept: list[Parsed] = []
    for one in parsed:
        sample = one.sample
        if sample.id in first:
            what = f"id {sample.id!r} is already at {first[sample.id]}"
            right = "Give every row its own id, or none."
            refuse(RowError("duplicate-id", what, where=sample.where, right=right, id=sample.id))
        else:
            first[sample.id] = sample.where
            kept.append(one)
    return kept


class _Segments(NamedTuple):
    """The segments to read, and whether a row may have others beside them."""

    names: tuple[str, ...]
    given: bool
    rows: int


def _choose_segments(parsed: Sequence[Parsed], given: Sequence[str] | None) -> _Segments:
    """The segments that the user named, else those that most rows have (in the order of the first of these rows)."""
    layouts = [tuple(one.sample.references[0]) for one in parsed if one.sample.references]
    if given is not None:
        known = {name for layout in set(layouts) for name in layout}
        for name in given:
            if known and name not in known:
                raise UserError(
                    f"no row has a segment {name!r}", where="data.segments", right=did_you_mean(name, known)
                )
        return _Segments(tuple(given), True, len(layouts))
    counts = Counter(frozenset(layout) for layout in layouts)
    if not counts:
        return _Segments((), False, 0)
    most, rows = counts.most_common(1)[0]
    return _Segments(next(layout for layout in layouts if frozenset(layout) == most), False, rows)


def _with_segments(parsed: Iterable[Parsed], segments: _Segments, refuse: _Refuser) -> Iterator[Parsed]:
    """The rows with their segments in one order; a row with others is refused."""
    wanted = set(segments.names)
    for one in parsed:
        sample = one.sample
        if not sample.references or tuple(sample.references[0]) == segments.names:
            yield one
            continue
        has = set(sample.references[0])
        if has == wanted or (segments.given and has > wanted):
            ordered = tuple({name: reference[name] for name in segments.names} for reference in sample.references)
            yield one._replace(sample=replace(sample, references=ordered))
            continue
        others = (
            "data.segments names"
            if segments.given
            else f"{segments.rows} other row{'s have' if segments.rows > 1 else ' has'}"
        )
        what = f"the target has the segments {', '.join(sample.references[0])}; {others} {', '.join(segments.names)}"
        right = f"Name the same segments in every row. {TARGET_FORMS}"
        refuse(RowError("segments", what, where=sample.where, right=right, id=sample.id))


def _with_splits(
    parsed: list[Parsed], config: SplitConfig, refuse: _Refuser, *, path: Path, unlabelled: bool
) -> tuple[list[Sample], bool]:
    """The samples with their splits, and whether these were drawn here."""
    written = sum(one.split is not None for one in parsed)
    if written:
        kept: list[Sample] = []
        for one in parsed:
            if one.split is None:
                what = f"the row has no split, {written} other{'s have' if written > 1 else ' has'}"
                right = "Give every row a split (train, tune or test), or none: then it is drawn by group."
                refuse(RowError("split", what, where=one.sample.where, right=right, id=one.sample.id))
            else:
                kept.append(one.sample)
        return kept, False
    if unlabelled or not parsed:
        return [replace(one.sample, split="test") for one in parsed], False
    groupings = {name for one in parsed for name in one.sample.groups}
    for name in config.groupings or ():
        if name not in groupings:
            right = did_you_mean(name, groupings) if groupings else "No row has a group."
            raise UserError(f"no row has a grouping {name!r}", where="data.split.by", right=right)
    by = groupings if config.groupings is None else set(config.groupings)
    keys = [[*(item for item in one.sample.groups.items() if item[0] in by), *one.media] for one in parsed]
    try:
        splits = draw_splits([one.sample.id for one in parsed], keys, config)
    except UserError as error:
        raise UserError(error.what, where=str(path), right=error.right) from error
    return [replace(one.sample, split=split) for one, split in zip(parsed, splits, strict=True)], True
