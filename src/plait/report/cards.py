"""What both reports show alike: a sample as a card, an answer with its mark, nested values as lines.

In: samples and answers.
Out: what the templates show.
Invariant: right and wrong are said in words, not by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from plait.report import words
from plait.report.media import Shown

LONG = 22
"""Letters of an answer that still stand beside its mark."""


class Answer(NamedTuple):
    """What an arm said to an example; `mark` is right, wrong, or none where the score is a number."""

    who: str
    text: str
    mark: str
    score: str

    @property
    def is_long(self) -> bool:
        """Whether it needs a line of its own."""
        return len(self.text) > LONG


class Card(NamedTuple):
    """An example as it is shown."""

    id: str
    inputs: list[Shown]
    segments: Sequence[tuple[str, Sequence[str]]]
    answers: list[Answer]
    tags: list[str]


def answer(who: str, text: str, metric: str, value: float | int | None) -> Answer:
    """An answer with its mark: right or wrong where that is what the metric says, its score otherwise."""
    if value is None:
        return Answer(who, text, "", "not scored")
    if metric == "accuracy" and value in (0.0, 1.0):
        return Answer(who, text, "right" if value else "wrong", "")
    return Answer(who, text, "", f"{words.metric_title(metric)} {words.named_score(metric, value)}")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as lines."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name} ")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(map(str, value)) or words.NONE
        else:
            yield f"{prefix}{name}", words.NONE if value is None else str(value)
