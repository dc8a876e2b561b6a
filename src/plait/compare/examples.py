"""The samples on which the arms disagree most, to be looked at.

In: for each arm its record at one seed; the samples, for their inputs.
Out: `Example`s, those of the greatest disagreement first.
Invariant: the same records give the same examples, in whatever order their rows and arms stand; a sample on which all arms score
alike is none; what one picture or one voice was made into does not fill the list while there is anything else to show.

Disagreement is the mean absolute difference between the scores of two arms, over all pairs of arms that scored the sample. For 0/1
scores with k of n arms right that is 2 k (n − k) / (n (n − 1)): 1 for two arms that differ, greatest where half of them are right.
For other scores it is in the metric's own unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from plait.compare.result import Example, ExampleInput
from plait.errors import UserError, did_you_mean
from plait.evaluate.metrics import LOSS_NAMES
from plait.evaluate.record import Record, Row, SegmentRow
from plait.modalities import modality_of
from plait.seeds import derive_seed
from plait.types import Sample


@dataclass(frozen=True)
class _Candidate:
    """A sample and each arm's row of it. `pattern`: which arm scored what."""

    id: str
    rows: Mapping[str, Row]
    scores: Mapping[str, float | None]
    disagreement: float
    groups: frozenset[tuple[str, str]]
    pattern: tuple[tuple[str, float | None], ...]


def examples_of(
    records: Mapping[str, Record],
    samples: Sequence[Sample],
    *,
    segment: str,
    metric: str,
    num: int,
    inputs: Mapping[str, str] | None = None,
) -> tuple[Example, ...]:
    """At most `num` of the samples that all records hold, the greatest disagreement first.

    What is shown already makes others count less: a disagreement d counts as d / (1 + k + s), with k chosen samples of the same
    picture, voice or other group, and s the share (below 1) of the chosen ones on which the same arms did the same. Ties are
    broken by a draw that depends on the id alone.
    """
    candidates = _candidates(records, segment, metric)
    by_id = {sample.id: sample for sample in samples}
    shown: Counter[Hashable] = Counter()
    chosen: list[_Candidate] = []
    while candidates and len(chosen) < num:
        best = max(candidates, key=lambda one: one.disagreement / (1 + _seen(one, shown, len(chosen))))
        candidates.remove(best)
        shown.update([*best.groups, best.pattern])
        chosen.append(best)
    missing = [one.id for one in chosen if one.id not in by_id]
    if missing:
        raise UserError(
            f"the records hold samples that the data do not: {', '.join(missing[:3])}",
            right="Give the samples on which the records were made",
        )
    return tuple(
        _example(one, by_id[one.id], segment, inputs or {}) for one in sorted(chosen, key=lambda one: -one.disagreement)
    )


def _seen(one: _Candidate, shown: Counter[Hashable], num_chosen: int) -> float:
    """How much of it was shown already."""
    return sum(shown[group] for group in one.groups) + shown[one.pattern] / (1 + num_chosen)


def disagreement(scores: Sequence[float | None]) -> float:
    """The mean absolute difference between two of the scores; 0 where fewer than two are known."""
    known = [score for score in scores if score is not None]
    gaps = [abs(a - b) for a, b in combinations(known, 2)]
    return sum(gaps) / len(gaps) if gaps else 0.0


def score_of(row: SegmentRow, metric: str) -> float | None:
    """A sample's own value of a metric; the losses are made from its bits."""
    if metric not in LOSS_NAMES:
        return row.scores.get(metric)
    if row.bits is None or not row.num_tokens:
        return None
    if metric == "bits_per_character":
        lengths = [len(text) for text in row.references]
        return row.bits * len(lengths) / sum(lengths) if sum(lengths) else None
    bits = row.bits / row.num_tokens
    return 2.0**bits if metric == "perplexity" else bits


def _candidates(records: Mapping[str, Record], segment: str, metric: str) -> list[_Candidate]:
    """The samples on which the arms disagree, in an order that depends on their ids alone."""
    for arm, record in records.items():
        if segment not in record.summary.segments:
            right = did_you_mean(segment, record.summary.segments)
            raise UserError(f"has no segment {segment!r}", where=f"the record of {arm}", right=right)
        if metric not in (*record.summary.metrics[segment], *LOSS_NAMES):
            right = did_you_mean(metric, record.summary.metrics[segment])
            raise UserError(f"has no {metric!r} of {segment}", where=f"the record of {arm}", right=right)
    rows = {arm: {row.id: row for row in record.rows} for arm, record in records.items()}
    ids = set.intersection(*(set(of) for of in rows.values())) if rows else set()
    found = []
    for id in sorted(ids, key=lambda id: (derive_seed(0, "examples", id), id)):
        scores = {arm: score_of(of[id].segments[segment], metric) for arm, of in rows.items()}
        if gap := disagreement(list(scores.values())):
            here = {arm: of[id] for arm, of in rows.items()}
            groups = frozenset(group for row in here.values() for group in row.groups.items())
            found.append(_Candidate(id, here, scores, gap, groups, tuple(sorted(scores.items()))))
    return found


def _example(chosen: _Candidate, sample: Sample, segment: str, inputs: Mapping[str, str]) -> Example:
    """It with its inputs; paths absolute."""
    parts = {arm: row.segments[segment] for arm, row in chosen.rows.items()}
    return Example(
        id=chosen.id,
        text=sample.text,
        images=tuple(str(path.absolute()) for path in sample.image),
        audio=None if sample.audio is None else str(sample.audio.absolute()),
        references=next(iter(parts.values())).references,
        answers={arm: part.output or "" for arm, part in parts.items()},
        right=chosen.scores,
        disagreement=chosen.disagreement,
        inputs=tuple(
            ExampleInput(name, of, file=str(item.absolute()))
            if isinstance(item, Path)
            else ExampleInput(name, of, text=modality_of(of).told(item))
            for name, of in inputs.items()
            for item in sample.items(name)
        ),
    )
