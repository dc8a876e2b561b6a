"""How large things are: lengths as histograms, and the largest batch.

In: `Checked`.
Out: `Histogram`s and one `WorstBatch` per input and for the target.
Invariant: the largest batch is one that training can meet: the `batch_size` largest rows of `train`, padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

from plait.data.check.checked import Checked
from plait.data.check.files import Broken
from plait.data.check.report import Histogram, WorstBatch, histogram
from plait.data.check.texts import target_field
from plait.modalities.base import Preparer


def histograms(checked: Checked) -> Iterator[Histogram]:
    """Lengths of texts and targets, and what the modalities measure of the items (each of them once)."""
    lengths: dict[tuple[str, str], list[float | int]] = {}
    for sample, uses in zip(checked.samples, checked.uses, strict=True):
        for use in uses:
            if isinstance(use.item, str):
                lengths.setdefault((use.name, checked.unit), []).append(checked.count(use.item))
        for reference in sample.references:
            for segment, text in reference.items():
                lengths.setdefault((target_field(segment), checked.unit), []).append(checked.count(text))
    distinct = dict.fromkeys((use.name, use.key) for uses in checked.uses for use in uses)
    for name, key in distinct:
        facts = checked.facts[key]
        for measure, (unit, number) in ({} if isinstance(facts, Broken) else facts.sizes).items():
            lengths.setdefault((f"{name} {measure}".rstrip(), unit), []).append(number)
    for (name, unit), values in lengths.items():
        one = histogram(name, unit, values)
        if one is not None:
            yield one


class _Row(NamedTuple):
    """How many items a row has of an input, and the longest of them."""

    items: int
    length: int
    where: str


def worst_batch(checked: Checked) -> Iterator[WorstBatch]:
    """Per input, and for the target: the numbers in a padded batch of the largest training samples."""
    config = checked.config
    for name, one in checked.read_as.items():
        preparer, rows = checked.preparer(name), _rows(checked, name)
        of_texts = any(isinstance(item, str) for sample in checked.samples for item in sample.items(name))
        if rows:
            unit = checked.unit if of_texts else one.modality.unit
            yield _largest(name, unit, rows, config.batch_size, preparer)
    targets = [
        _Row(1, min(checked.target_length(sample), config.max_target_tokens), sample.where)
        for sample in checked.samples
        if sample.split == "train" and sample.references
    ]
    if targets:
        yield _largest("target", checked.unit, targets, config.batch_size, None)


def _rows(checked: Checked, name: str) -> list[_Row]:
    """The training samples that have items which can be read."""
    preparer, found = checked.preparer(name), []
    for sample, uses in zip(checked.samples, checked.uses, strict=True):
        facts = [(use, checked.facts[use.key]) for use in uses if use.name == name and sample.split == "train"]
        lengths = [
            preparer.length(use.item) if isinstance(use.item, str) else min(one.length, preparer.longest)
            for use, one in facts
            if not isinstance(one, Broken)
        ]
        if lengths:
            found.append(_Row(len(lengths), max(lengths), sample.where))
    return found


def _largest(name: str, unit: str, rows: Sequence[_Row], batch_size: int, preparer: Preparer | None) -> WorstBatch:
    """The largest rows side by side. Where all values have one shape, what counts is how many there are."""
    of_one_shape = preparer is not None and preparer.longest == 1
    sizes = [row.items if of_one_shape else row.items * row.length for row in rows]
    chosen = sorted(range(len(rows)), key=lambda place: -sizes[place])[:batch_size]
    most, longest = max(rows[place].items for place in chosen), max(rows[place].length for place in chosen)
    padded = len(chosen) * most * (1 if of_one_shape else longest)
    each = prod(preparer.shape(longest)) if preparer is not None else longest
    padding = 1 - sum(sizes[place] for place in chosen) / padded if padded else 0.0
    shown = most if of_one_shape else longest
    return WorstBatch(name, len(chosen), shown, unit, len(chosen) * most * each, padding, rows[chosen[0]].where)
