"""The texts of a data set: how long they are, and how much of them training never sees.

In: samples, and a tokenizer if there is one yet.
Out: lengths per text field and `Unseen` per split and field.
Invariant: without a tokenizer everything is counted in words, lower-cased; a Chinese or Japanese character is a word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from plait.data.check.report import Unseen
from plait.types import Sample

WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\W_]+(?:['’][^\W_]+)*|[^\w\s]|_")


@runtime_checkable
class Encoder(Protocol):
    """What the check asks of a tokenizer."""

    @property
    def unknown_id(self) -> int:
        """The id of what the vocabulary lacks."""
        ...

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        ...


def words(text: str) -> list[str]:
    """The words and punctuation marks of a text, lower-cased."""
    return WORD.findall(text.lower())


def texts_of(sample: Sample) -> Iterator[tuple[str, str]]:
    """The texts of a sample with the name of their input or field: `text`, `target.SEGMENT`."""
    for name, items in sample.inputs.items():
        yield from ((name, item) for item in items if isinstance(item, str))
    for reference in sample.references:
        for segment, text in reference.items():
            yield target_field(segment), text


def target_field(segment: str) -> str:
    """The field of a segment: `target`, `target.answer`."""
    return "target" if segment == "target" else f"target.{segment}"


def unseen(samples: Sequence[Sample], tokenizer: Encoder | None) -> list[Unseen]:
    """Per field of tune and test: words that it never has in train; with a tokenizer, unknown tokens too."""
    by_field: dict[str, dict[str, Counter[str]]] = {}
    texts: dict[str, dict[str, Counter[str]]] = {}
    for sample in samples:
        for field, text in texts_of(sample):
            by_field.setdefault(field, {}).setdefault(sample.split, Counter()).update(words(text))
            texts.setdefault(field, {}).setdefault(sample.split, Counter())[text] += 1
    found: list[Unseen] = []
    for field, by_split in by_field.items():
        known = by_split.get("train", Counter())
        for split in ("tune", "test"):
            if split not in by_split or not known:
                continue
            new = Counter({word: count for word, count in by_split[split].items() if word not in known})
            frequent = tuple(word for word, _ in new.most_common(5))
            found.append(Unseen(split, field, "words", by_split[split].total(), new.total(), frequent))
            if tokenizer is not None:
                total = unknown = 0
                for text, count in texts[field][split].items():
                    ids = tokenizer.encode(text)
                    total += count * len(ids)
                    unknown += count * ids.count(tokenizer.unknown_id)
                found.append(Unseen(split, field, "tokens", total, unknown, ()))
    return found
