"""Leakage: the same group, file or row in two splits.

In: samples and the content keys of their files.
Out: the leaks, and which rows to leave out so that none remains.
Invariant: what is left out never comes from `test`, and from `tune` only for the sake of `test`: what judges a model
stays comparable, training gives way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plait.data.check.files import MediaUse
from plait.data.manifest import LeftOut
from plait.data.splits import SPLITS
from plait.types import Sample


@dataclass(frozen=True)
class Leak:
    """Something that stands in several splits: a grouping's value or a file, with its rows per split."""

    kind: str
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


def find_leaks(
    samples: Sequence[Sample], uses: Sequence[Sequence[tuple[MediaUse, Path]]], content: Mapping[str, str]
) -> list[Leak]:
    """Everything that stands in more than one split: groupings, files by content, and rows of nothing but text."""
    rows: dict[tuple[str, str], dict[str, dict[str, Sample]]] = {}
    names: dict[tuple[str, str], str] = {}
    for sample, of_sample in zip(samples, uses, strict=True):
        for kind, value, name in _marks(sample, of_sample, content):
            rows.setdefault((kind, value), {}).setdefault(sample.split, {})[sample.id] = sample
            names.setdefault((kind, value), name)
    return [
        Leak(key[0], names[key], {split: tuple(by_split[split].values()) for split in SPLITS if split in by_split})
        for key, by_split in rows.items()
        if len(by_split) > 1
    ]


def _marks(
    sample: Sample, uses: Sequence[tuple[MediaUse, Path]], content: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """What must not stand in two splits: its kind, its value, and the name that a message gives it."""
    for grouping, value in sample.groups.items():
        yield f"group {grouping}", value, value
    for use, path in uses:
        yield f"{use.modality} file", content[use.real], path.name
    if not uses and sample.references:
        texts = [sample.text or "", *(text for reference in sample.references for text in reference.values())]
        yield "row", "\x1f".join(texts), " | ".join(text for text in texts if text)[:60]


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
    """The leaks that are errors: not those of groupings or files that may be shared, nor equal rows of text."""
    names = ((leak, leak.kind.removeprefix("group ").removesuffix(" file")) for leak in leaks)
    return [leak for leak, name in names if leak.kind != "row" and name not in shared]
