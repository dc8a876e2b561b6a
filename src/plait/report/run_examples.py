"""Samples that a run got right and wrong, to be looked at and listened to.

In: what was found of a run: its record, and its manifest for the inputs.
Out: cards, the wrong ones first; and what could not be shown.
Invariant: the same record gives the same examples; they are spread over tags and groups, so that not all show the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from plait.config.before import as_written
from plait.data.fields import RowParser
from plait.data.folder import manifest_in
from plait.data.inputs import as_mapping
from plait.data.manifest import read_manifest
from plait.data.media import MediaFolder
from plait.data.row import RowError
from plait.data.rows import read_rows
from plait.data.suffixes import Rules
from plait.data.tables import Quoting
from plait.errors import UserError
from plait.evaluate import Record, Row
from plait.evaluate.metrics import LOSS_NAMES
from plait.evaluate.render import SCORES
from plait.modalities import modality_of
from plait.report.cards import Answer, Card, answer
from plait.report.found import Found
from plait.report.media import Media
from plait.run import format_of
from plait.seeds import derive_seed
from plait.types import Sample

NUM_WRONG, NUM_RIGHT = 6, 3

PERFECT = {"accuracy": 1.0, "wer": 0.0, "cer": 0.0, "rouge_l": 1.0}
"""Scores that cannot be better: what reaches them is not among the wrong ones."""


class Examples(NamedTuple):
    """`what`: the score by which they were chosen."""

    wrong: list[Card]
    right: list[Card]
    what: str
    exact: bool
    notes: list[str]


def examples(found: Found, media: Media) -> Examples:
    """The examples of the run's main record."""
    record = found.record
    chosen = chosen_by(record) if record else None
    if record is None or chosen is None:
        return Examples([], [], "", False, [])
    segment, metric = chosen
    wrong = chosen_rows(record, segment, metric, NUM_WRONG, best=False)
    taken = {row.id for row in wrong}
    right = [
        row for row in chosen_rows(record, segment, metric, NUM_RIGHT + len(wrong), best=True) if row.id not in taken
    ]
    samples, notes = inputs_of(found, {row.id for row in (*wrong, *right)})
    of = as_mapping(found.config.get("data", {}).get("inputs"))
    cards = [[card(row, samples.get(row.id), media, of) for row in rows] for rows in (wrong, right[:NUM_RIGHT])]
    return Examples(cards[0], cards[1], f"{metric} of {segment}", metric == "accuracy", notes)


def chosen_by(record: Record) -> tuple[str, str] | None:
    """The last segment with a metric of texts, and that metric."""
    for segment in reversed(record.summary.segments):
        for name in record.summary.metrics[segment]:
            if name not in LOSS_NAMES:
                return segment, name
    return None


def chosen_rows(record: Record, segment: str, metric: str, num: int, *, best: bool) -> list[Row]:
    """The best or the worst rows; among equals those of tags and groups not shown yet, then by a draw on the id."""
    sign = 1 if SCORES[metric].higher_is_better == best else -1
    found = []
    for row in record.rows:
        value = row.segments[segment].scores.get(metric)
        perfect = value == PERFECT.get(metric)
        if (
            value is not None
            and (metric not in PERFECT or best or not perfect)
            and (metric != "accuracy" or not best or perfect)
        ):
            found.append((-sign * value, derive_seed(0, "examples", row.id), row))
    found.sort(key=lambda one: one[:2])
    shown: Counter[tuple[str, str]] = Counter()
    chosen: list[Row] = []
    while found and len(chosen) < num:
        ties = [one for one in found if one[0] == found[0][0]]
        one = min(ties, key=lambda one: (sum(shown[key] for key in marks(one[2])), one[1]))
        found.remove(one)
        chosen.append(one[2])
        shown.update(marks(one[2]))
    return chosen


def marks(row: Row) -> list[tuple[str, str]]:
    """What rows may have in common."""
    return [*row.tags.items(), *row.groups.items()]


def inputs_of(found: Found, ids: set[str]) -> tuple[dict[str, Sample], list[str]]:
    """The samples of these ids, from the run's manifest; a note where it is not there any more."""
    data = as_written(found.config, format_of(found.folder)).get("data", {})
    path = Path(data.get("manifest", ""))
    reading = {key: data[key] for key in ("allow_outside", "quoting", "rules", "columns", "unread") if key in data}
    try:
        samples = read_some(path, ids, data.get("inputs") or (), **reading)
    except (UserError, OSError, ValueError) as error:
        return {}, [f"The examples are without their inputs, because the data cannot be read: {error}"]
    gone = sorted(ids - set(samples))
    note = f"Without their inputs, because {path} has no such rows any more, or lacks their files: {', '.join(gone)}"
    return samples, [note] if gone else []


def read_some(
    path: Path,
    ids: set[str],
    inputs: Mapping[str, str] | Sequence[str],
    allow_outside: bool = False,
    quoting: Quoting = "auto",
    rules: Rules = 2,
    columns: Mapping[str, str] | None = None,
    unread: Sequence[str] = (),
) -> dict[str, Sample]:
    """The rows of these ids alone: a large manifest is read through, but only these rows' media are looked at."""
    if path.is_dir() and manifest_in(path) is None:
        dataset = read_manifest(
            path,
            inputs=inputs,
            columns=columns,
            unread=unread,
            allow_outside=allow_outside,
            on_error="skip",
            require_targets=False,
            rules=rules,
        )
        return {sample.id: sample for sample in dataset.samples if sample.id in ids}
    path = (manifest_in(path) if path.is_dir() else None) or path
    media = MediaFolder(path.parent, allow_outside=allow_outside)
    parse = RowParser(media, inputs=inputs, require_targets=False, rules=rules, columns=columns, unread=unread)
    samples: dict[str, Sample] = {}
    for row in read_rows(path, quoting=quoting, fields=parse.fields):
        if isinstance(row, RowError):
            continue
        id = row.fields.get("id")
        if isinstance(id, str) and id.strip() and id.strip() not in ids:
            continue
        try:
            sample = parse(row).sample
        except RowError:
            continue  # the row's media are gone: it is named among those without their inputs
        if sample.id in ids:
            samples.setdefault(sample.id, sample)
    return samples


def card(row: Row, sample: Sample | None, media: Media, inputs: Mapping[str, str]) -> Card:
    """A sample with its inputs, what was right, and what the model said."""
    answers: list[Answer] = []
    segments: list[tuple[str, Sequence[str]]] = []
    for name, part in row.segments.items():
        segments.append((name, part.references))
        metric = next((m for m in part.scores), "")
        answers.append(answer(name, part.output or "", metric, part.scores.get(metric)))
    return Card(
        row.id,
        [media.item(modality_of(inputs[n]), item, input=n) for n in sample.inputs for item in sample.items(n)]
        if sample
        else [],
        segments,
        answers,
        [f"{name}: {value}" for name, value in row.tags.items()],
    )
