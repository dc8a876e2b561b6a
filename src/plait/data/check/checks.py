"""The checks of a data set, one function each: what is wrong → findings.

In: what the reader left out, the splits, `Checked`, the leaks.
Out: `Finding`s; where rows cannot be trained on, these rows with the reason as well.
Invariant: no check changes anything, and none raises over what it finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from plait.data.check.checked import CheckConfig, Checked
from plait.data.check.files import TROUBLES, Broken, wrong_suffix
from plait.data.check.leaks import Leak, errors_among
from plait.data.check.report import Example, Finding, Unseen, finding
from plait.data.check.texts import target_field
from plait.data.manifest import Dataset, LeftOut
from plait.data.splits import SPLITS
from plait.types import Sample

NOTED = ("other-file",)
"""Codes of what the reader left out that are no mistakes."""

READING = {
    "not-json": "lines that are not JSON objects",
    "cells": "lines that are not CSV of the header's columns",
    "not-utf8": "texts that are not UTF-8",
    "unknown-field": "rows with an unknown field",
    "type": "fields that hold the wrong type of value",
    "id": "ids that are none",
    "duplicate-id": "ids that stand twice",
    "split": "rows with an unknown or missing split",
    "group": "groups that are none",
    "no-target": "rows without a target",
    "target": "targets that cannot be understood",
    "segments": "targets with other segments than the rest",
    "nul": "texts that hold a NUL character",
    "long-text": "texts that are too long to be meant",
    "path": "paths that name no file",
    "path-outside": "files outside the manifest's folder",
    "media-missing": "files that are missing",
    "media-empty": "files of 0 bytes",
    "video": "rows with video, which is not read yet",
    "twice": "files of one stem and kind",
    "tags": "tags that are none",
    "unread-media": "texts beside media of a kind that is not read",
    "other-file": "files of the folder that belong to no row",
}


def by_split(samples: Sequence[Sample]) -> dict[str, int]:
    counts = Counter(sample.split for sample in samples)
    return {split: counts[split] for split in SPLITS}


def subsets(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """Rows per combination of inputs and split, the most frequent first."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(" + ".join(sample.present) or "no inputs", []).append(sample)
    return {name: by_split(of_name) for name, of_name in sorted(found.items(), key=lambda item: -len(item[1]))}


def lost(dataset: Dataset, unreadable: Sequence[LeftOut], config: CheckConfig) -> Iterator[Finding]:
    """That more rows cannot be used than training does without; said before all else."""
    of = len(dataset.samples) + len(dataset.gone)
    gone = len(dataset.gone) + len({one.id for one in unreadable})
    if of and gone / of > config.max_left_out:
        reasons = Counter(one.code for one in [*dataset.gone, *unreadable])
        kinds = ", ".join(f"{number} {code}" for code, number in reasons.most_common())
        yield Finding("error", "most-lost", f"{gone} of {of} rows cannot be used ({kinds}): training refuses", gone, ())


def missing(dataset: Dataset, config: CheckConfig) -> Iterator[Finding]:
    """Inputs that no row has, which training refuses."""
    for error in dataset.missing(config.inputs, dataset.columns) if dataset.samples else ():
        yield Finding("error", "no-input", f"{error.what}. {error.right}", 1, ())


def read_as(dataset: Dataset) -> Iterator[Finding]:
    """How the manifest was read, where it can be read in two ways."""
    for line in dataset.reading:
        yield Finding("note", "reading", line, 1, ())


def reading(left_out: Sequence[LeftOut], config: CheckConfig) -> Iterator[Finding]:
    """What the reader could not use, by kind."""
    by_code: dict[str, list[Example]] = {}
    for one in left_out:
        by_code.setdefault(one.code, []).append(Example(one.where, one.id, one.reason))
    for code, cases in by_code.items():
        severity = "note" if code in NOTED else config.lost
        text = READING.get(code, "rows that cannot be used")
        text += " (left out: data.on_error)" if severity == "warning" else ""
        yield from finding(severity, code, text, cases, examples=config.examples)


def splits(dataset: Dataset) -> Iterator[Finding]:
    """Splits that have no row."""
    there = {sample.split for sample in dataset.samples}
    for split in SPLITS:
        if split not in there:
            severity = "error" if split == "train" else "warning"
            yield Finding(severity, "no-row", f"no row is in the split {split!r}", 1, ())


def unreadable(checked: Checked) -> tuple[list[Finding], list[LeftOut]]:
    """Items that training could not read, by kind, and their rows."""
    leave_out: list[LeftOut] = []
    findings: list[Finding] = []
    config = checked.config
    for name, one in checked.read_as.items():
        by_kind: dict[str, list[Example]] = {}
        for sample, use, facts in checked.items(name):
            if isinstance(facts, Broken):
                detail = f"{name} {use.shown}: {facts.reason}"
                by_kind.setdefault(facts.kind, []).append(Example(sample.where, sample.id, detail))
                leave_out.append(LeftOut(sample.where, sample.id, detail, f"{name}-{facts.kind}"))
        for kind, cases in by_kind.items():
            text = checked.said_of(name, f"{one.modality.many} {TROUBLES.get(kind, TROUBLES['corrupt'])}")
            text += " (left out: data.on_error)" if config.lost == "warning" else ""
            findings += finding(config.lost, f"{name}-{kind}", text, cases, examples=config.examples)
    return findings, leave_out


def leaks(leaks: Sequence[Leak], config: CheckConfig) -> Iterator[Finding]:
    """Groups, files and rows that stand in two splits."""
    errors = errors_among(leaks, config.shared)
    for kind in dict.fromkeys(leak.kind for leak in leaks):
        of_kind = [leak for leak in leaks if leak.kind == kind]
        severity = "error" if of_kind[0] in errors else "warning" if kind == "row" else "note"
        code = "row-in-two-splits" if kind == "row" else f"{kind.replace(' + ', '-').replace(' ', '-')}-in-two-splits"
        text = "rows of equal text in two splits"
        if kind != "row":
            meant = (
                f"; data.split.shared: [{', '.join(of_kind[0].names)}] if it is meant" if severity == "error" else ""
            )
            text = f"the same {kind} in two splits (leakage{meant})"
        cases = [
            Example(leak.rows[leak.kept][0].where, leak.rows[leak.kept][0].id, f"{leak.value!r}: {leak.counts}")
            for leak in of_kind
        ]
        yield from finding(severity, code, text, cases, examples=config.examples)


def remarks(checked: Checked) -> Iterator[Finding]:
    """Items that can be read and are odd (they seem to hold nothing): they stay, and are told."""
    levels, examples = checked.config.levels, checked.config.examples
    for name, one in checked.read_as.items():
        found: dict[str, list[Example]] = {code: [] for code in one.modality.remarks}
        for sample, use, facts in checked.items(name):
            if isinstance(facts, Broken):
                continue
            said = dict(facts.remarks)
            for code in levels.keys() & found.keys():
                said.pop(code, None)
                if (level := facts.levels.get(code)) is not None and level <= levels[code]:
                    said[code] = facts.remarks.get(code, f"({level:.2g})")
            for code, detail in said.items():
                found[code].append(Example(sample.where, sample.id, f"{use.shown} {detail}".rstrip()))
        for code, cases in found.items():
            text = checked.said_of(name, one.modality.remarks[code])
            yield from finding("warning", f"{name}-{code.replace(' ', '-')}", text, cases, examples=examples)


def too_long(checked: Checked) -> tuple[list[Finding], list[LeftOut]]:
    """Targets beyond the limit are refused in training, inputs of which only the beginning is read are told."""
    config, unit, cases = checked.config, checked.unit, []
    for sample in checked.samples:
        length = checked.target_length(sample)
        if length > config.max_target_tokens:
            detail = f"the target has {length} {unit}, at most {config.max_target_tokens} are taken"
            cases.append(Example(sample.where, sample.id, detail))
    # Words only hint at how many tokens there will be, so without a tokenizer no row is condemned.
    severity = "warning" if checked.tokenizer is None else config.lost
    findings = finding(
        severity, "target-long", "targets that are too long to be trained on", cases, examples=config.examples
    )
    findings += [one for name in checked.read_as for one in cut(checked, name)]
    left_out = [LeftOut(case.where, case.id, case.detail, "target-long") for case in cases]
    return findings, left_out if checked.tokenizer is not None else []


def cut(checked: Checked, name: str) -> list[Finding]:
    """Items of an input of which only the beginning is read."""
    modality, preparer = checked.read_as[name].modality, checked.preparer(name)
    cases: list[Example] = []
    for sample, use, facts in checked.items(name):
        if isinstance(facts, Broken) or not preparer.is_cut(use.item):
            continue
        of = (
            f"{checked.count(use.item)} {checked.unit}"
            if isinstance(use.item, str)
            else f"{facts.length} {modality.unit}"
        )
        cases.append(Example(sample.where, sample.id, f"{of}, the first {preparer.longest} are read"))
    text = checked.said_of(name, f"{modality.many} that are cut")
    return finding("warning", f"{name}-long", text, cases, examples=checked.config.examples)


def texts(checked: Checked, new_words: Sequence[Unseen]) -> Iterator[Finding]:
    """Targets that teach nothing, and words that training never sees."""
    config = checked.config
    empty = [
        Example(sample.where, sample.id, target_field(segment))
        for sample in checked.samples
        for segment in dict.fromkeys(
            name for ref in sample.references for name, text in ref.items() if not text.strip()
        )
    ]
    yield from finding(
        "warning", "segment-empty", "segments of the target that are empty", empty, examples=config.examples
    )
    suspicious = [
        Example(sample.where, sample.id, f"{text!r}")
        for sample in checked.samples
        for text in dict.fromkeys(text for ref in sample.references for text in ref.values())
        if text.strip().lower() in ("nan", "none", "null", "n/a", "#n/a")
    ]
    yield from finding(
        "warning", "target-null", "targets that look like a missing value", suspicious, examples=config.examples
    )
    training = [sample.references for sample in checked.samples if sample.split == "train" and sample.references]
    if len(training) > 1 and all(references == training[0] for references in training):
        yield Finding("warning", "target-constant", "all training targets are the same", len(training), ())
    for one in new_words:
        if one.share > config.unseen:
            text = f"{one.share:.1%} of the {one.unit} of {one.field} in {one.split} never stand in train"
            yield Finding("warning", "unseen-words" if one.unit == "words" else "unseen-tokens", text, one.unseen, ())


def suffixes(checked: Checked) -> Iterator[Finding]:
    """Names that claim another format than the content has: read by the content."""
    for name, one in checked.read_as.items():
        cases = [
            Example(sample.where, sample.id, wrong)
            for sample, use, facts in checked.items(name)
            if (wrong := wrong_suffix(use, facts, one.modality))
        ]
        text = f"{one.modality.many} whose suffix is not that of their content (they are read by their content)"
        yield from finding(
            "note", f"{name}-suffix", checked.said_of(name, text), cases, examples=checked.config.examples
        )
