"""What a data set looks like from outside.

In: a manifest or a folder of media.
Out: `look` → `Found`.
Invariant: of large data only some items are looked at, and of these what the modalities can tell without decoding them, so that it
takes seconds.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plait.data.config import DataConfig
from plait.data.manifest import Dataset, read_manifest
from plait.data.words import CJK
from plait.modalities import modalities_of
from plait.modalities.base import First, Item
from plait.types import Sample

MOST_ITEMS = 2_000
"""Items of one modality that are looked at, spread evenly over the data."""

ENOUGH = 20
"""Groups of the test split under which intervals cover less often than they say (plait.evaluate.statistics)."""

WORD = re.compile(rf"[{CJK}]|[^\W_]+(?:[-'’][^\W_]+)*|[^\w\s]")
CHINESE = re.compile(f"[{CJK}]")
KANA = re.compile("[\u3040-\u30ff]")


class Texts(NamedTuple):
    """All training texts in numbers: words in all, distinct ones, the share of words seen once, the longest target."""

    words: int
    distinct: int
    once: float
    characters: int
    chinese: float
    kana: float
    longest_target: int


@dataclass(frozen=True)
class Found:
    """What was found: the samples, what each modality says of its items, and the texts in numbers.

    `inputs`: name → modality of those that occur; `first`: modality → what it says.
    """

    dataset: Dataset
    first: Mapping[str, First]
    texts: Texts
    allow_outside: bool
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def train(self) -> list[Sample]:
        """The samples to train on."""
        return self.dataset.split("train", needed=True)

    @property
    def example(self) -> Sample:
        """A sample to ask about: one of the test split where there is one."""
        return (self.dataset.split("test") or self.dataset.split("tune") or self.train)[0]

    @property
    def is_named(self) -> bool:
        """Whether an input has a name of its own."""
        return any(name != of for name, of in self.inputs.items())

    @property
    def leaves_out(self) -> bool:
        """Whether training will pass over some rows."""
        return bool(self.left_out) or any(one.leaves_out for one in self.first.values())

    @property
    def left_out(self) -> Counter[str]:
        """Rows that cannot be used, by reason; files that belong to no row do not count."""
        return Counter(left.code for left in self.dataset.gone)

    @property
    def counts(self) -> dict[str, int]:
        """Input → the samples that have it."""
        return {name: sum(sample.has(name) for sample in self.dataset.samples) for name in self.inputs}

    def lines(self) -> list[str]:
        """In words."""
        data = self.dataset
        splits = Counter(sample.split for sample in data.samples)
        drawn = ", drawn: the data name none" if data.drawn else ""
        said = {
            "splits": f"{', '.join(f'{name} {splits[name]}' for name in ('train', 'tune', 'test') if splits[name])}{drawn}",
            "inputs": ", ".join(f"{name} {n}" for name, n in self.counts.items()) or "none: next-word prediction",
            "segments": ", ".join(data.segments),
        }
        if few := self.few_groups():
            said["test"] = (
                f"only {few}: with fewer than {ENOUGH}, intervals are wide and comparisons tell little; "
                "add data, or change data.split.fractions"
            )
        said |= dict(one.found for one in self.first.values() if one.found)
        said["words"] = f"{self.texts.words:,}, {self.texts.distinct:,} different ones"
        lines = [f"{data.path}: {len(data.samples)} samples", *(f"  {word:<9} {text}" for word, text in said.items())]
        for code, number in self.left_out.items():
            first = next(left for left in data.left_out if left.code == code)
            lines.append(f"  left out  {number} ({code}), the first at {first.where}: {first.reason}")
        notes = [note for one in self.first.values() for note in one.notes]
        return lines + [f"  note      {line}" for line in (*data.warnings, *self.needed(), *notes)]

    def needed(self) -> list[str]:
        """What has to be installed for some of the files to be read."""
        suffixes = Counter(path.suffix.lower() for sample in self.dataset.samples for path in sample.files)
        packages = [one for of in modalities_of(self.inputs).values() for one in of.packages.items()]
        lacking = dict.fromkeys(s for name, of in packages if importlib.util.find_spec(name) is None for s in of)
        unread = [f"{suffixes[suffix]} {suffix}" for suffix in lacking if suffixes[suffix]]
        return [f"{', '.join(unread)}: to be read they need pip install 'plait[phone]'"] if unread else []

    def few_groups(self) -> str:
        """The grouping with the fewest groups in the test split, if they are too few for an interval to hold."""
        test = self.dataset.split("test")
        groups = {name: {s.groups.get(name) for s in test} for name in sorted({n for s in test for n in s.groups})}
        counts = [(f"groups by {name}", len(of)) for name, of in groups.items()] or [("samples", len(test))]
        name, number = min(counts, key=lambda one: one[1])
        name = name if number > 1 else name.replace("groups", "group").replace("samples", "sample")
        return f"{number} {name}" if 0 < number < ENOUGH else ""

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        data = self.dataset
        return {
            "manifest": str(data.path),
            "samples": len(data.samples),
            "splits": dict(Counter(sample.split for sample in data.samples)),
            "splits_drawn": data.drawn,
            "inputs": self.counts,
            "modalities": dict(self.inputs),
            "segments": list(data.segments),
            "words": self.texts.words,
            "distinct_words": self.texts.distinct,
            "left_out": dict(self.left_out),
        }


def look(
    path: Path,
    *,
    allow_outside: bool = False,
    inputs: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Found:
    """Read the manifest, leaving out what cannot be used, and ask the modalities of the items."""
    most = DataConfig.model_fields["max_left_out"].default
    dataset = read_manifest(
        path, allow_outside=allow_outside, on_error="skip", max_left_out=most, inputs=inputs, columns=columns
    )
    dataset.refuse_missing(inputs or {}, columns or {})
    named = {name: dataset.modality_of(name) for name in dataset.inputs}
    first = {
        of: modality.first(evenly([item for name in named if named[name] == of for item in items_of(dataset, name)]))
        for of, modality in modalities_of({of: of for of in named.values()}).items()
    }
    return Found(dataset, first, read_texts(dataset.split("train", needed=True)), allow_outside, named)


def items_of(dataset: Dataset, name: str) -> list[Item]:
    """All items of an input."""
    return [item for sample in dataset.samples for item in sample.items(name)]


def evenly(items: Sequence[Item]) -> Sequence[Item]:
    """At most `MOST_ITEMS` of them."""
    return items[:: max(1, math.ceil(len(items) / MOST_ITEMS))]


def read_texts(samples: Sequence[Sample]) -> Texts:
    """The texts of the training samples in numbers."""
    words: Counter[str] = Counter()
    characters = chinese = kana = longest = 0
    for sample in samples:
        targets = [text for reference in sample.references for text in reference.values()]
        longest = max([longest, *(len(WORD.findall(text)) for text in targets)])
        for text in (*targets, *sample.texts):
            words.update(WORD.findall(text.lower()))
            characters += len(text)
            chinese += len(CHINESE.findall(text))
            kana += len(KANA.findall(text))
    total = max(sum(words.values()), 1)
    once = sum(number == 1 for number in words.values()) / total
    return Texts(total, len(words), once, characters, chinese / max(characters, 1), kana / max(characters, 1), longest)
