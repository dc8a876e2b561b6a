"""Leakage: the same group, file or row in two splits.

In: `Checked` and the content keys of its files.
Out: the leaks, and which rows to leave out so that none remains.
Invariant: what is left out never comes from `test`, and from `tune` only for the sake of `test`: what judges a model
stays comparable, training gives way.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plait.data.check.checked import Checked
from plait.data.check.files import Use
from plait.data.manifest import LeftOut
from plait.data.splits import SPLITS
from plait.types import Sample

GROUP, ROW = "group", "row"


@dataclass(frozen=True)
class Leak:
    """Something that stands in several splits: a grouping's value or a file, with its rows per split.

    `names`: the grouping, or the inputs that read the file; `data.split.shared` allows it if it has all of them.
    """

    kind: str
    names: tuple[str, ...]
    value: str
    rows: Mapping[str, tuple[Sample, ...]]

    @property
    def counts(self) -> str:
        """'train 3 rows, test 1 row'."""
        return ", ".join(f"{split} {len(rows)} row{'s' * (len(rows) != 1)}" for split, rows in self.rows.items())

    @property
    def kept(self) -> str:
        """The split whose rows stay."""
        return max(self.rows, key=SPLITS.index)


class _Mark(NamedTuple):
    """What must not stand in two splits: what it is (a file by its modality, whichever input reads it), its value, the grouping or
    input that it belongs to, and how a message calls it."""

    what: str
    value: Hashable
    name: str
    shown: str


def find_leaks(checked: Checked, content: Mapping[Hashable, Hashable]) -> list[Leak]:
    """Everything that stands in more than one split: groupings, files by content, and rows without a file."""
    rows: dict[tuple[str, Hashable], dict[str, dict[str, Sample]]] = {}
    names: dict[tuple[str, Hashable], dict[str, str]] = {}
    for sample, uses in zip(checked.samples, checked.uses, strict=True):
        for mark in _marks(sample, uses, checked, content):
            key = (mark.what, mark.value)
            rows.setdefault(key, {}).setdefault(sample.split, {})[sample.id] = sample
            names.setdefault(key, {}).setdefault(mark.name, mark.shown)
    found: list[Leak] = []
    for key, by_split in rows.items():
        if len(by_split) > 1:
            of, shown = tuple(names[key]), next(iter(names[key].values()))
            kind = {GROUP: f"group {of[0]}", ROW: ROW}.get(key[0].partition(" ")[0], f"{' + '.join(of)} file")
            splits = {split: tuple(by_split[split].values()) for split in SPLITS if split in by_split}
            found.append(Leak(kind, of, shown, splits))
    return found


def _marks(
    sample: Sample, uses: Sequence[Use], checked: Checked, content: Mapping[Hashable, Hashable]
) -> Iterator[_Mark]:
    for grouping, value in sample.groups.items():
        yield _Mark(f"{GROUP} {grouping}", value, grouping, value)
    files = [use for use in uses if use.is_file]
    for use in files:
        modality = checked.read_as[use.name].modality.name
        yield _Mark(f"file {modality}", content[use.key.item], use.name, use.shown)
    if not files and sample.references:
        inputs = [str(use.item) for use in uses] or [""]
        texts = [*inputs, *(text for reference in sample.references for text in reference.values())]
        yield _Mark(ROW, "\x1f".join(texts), ROW, " | ".join(text for text in texts if text)[:60])


def leaking_rows(leaks: Sequence[Leak]) -> list[LeftOut]:
    """The rows to leave out, each once, with the first reason."""
    found: dict[str, LeftOut] = {}
    for leak in leaks:
        stays = leak.rows[leak.kept][0]
        for split, rows in leak.rows.items():
            if split == leak.kept:
                continue
            for sample in rows:
                reason = (
                    f"{leak.kind} {leak.value!r} is in {leak.kept} as well ({stays.where}); the {split} row gives way"
                )
                found.setdefault(sample.id, LeftOut(sample.where, sample.id, reason, "leak"))
    return list(found.values())


def errors_among(leaks: Sequence[Leak], shared: Collection[str]) -> list[Leak]:
    """The leaks that are errors: not those of groupings or files that may be shared, nor equal rows without a file."""
    return [leak for leak in leaks if leak.kind != ROW and not set(leak.names) <= set(shared)]
