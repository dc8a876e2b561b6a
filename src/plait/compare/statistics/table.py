"""The crossed table of a comparison: what each sample adds to each arm's score at each seed, built from records.

In: for every arm one record per training seed; a segment and a metric.
Out: a `ScoreTable`, arm × seed × sample.
Invariant: every arm × seed has the same samples, in the same order, scored by the same rule; what was left out is
counted in `notes`. The mean over the samples is the metric of the whole set, exactly.

A metric is Σ numerator / Σ denominator: right / 1 (accuracy), edits / words (WER), bits / tokens. Such a ratio R is
taken apart by linearisation: sample i adds  R + (numerator_i − R denominator_i) · n / Σ denominator,  whose mean is R
itself and whose variance over samples or groups is that of R to first order (the delta method). For means it is the
sample's own score. So one procedure serves both kinds, sums of variances stay sums (which resampled ratios do not
allow), and nothing is drawn at random.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from plait.errors import UserError, did_you_mean
from plait.evaluate.metrics import LOSS_SCORES, SegmentLoss, build_metrics, loss_statistics
from plait.evaluate.metrics.base import Metric, Score
from plait.evaluate.record import Record, Row
from plait.evaluate.statistics import Groupings
from plait.types import Sample

DENOMINATORS: Mapping[str, int] = {
    "accuracy": 1,
    "wer": 1,
    "cer": 1,
    "rouge_l": 1,
    "cider_d": 1,
    "bits_per_token": 1,
    "bits_per_character": 2,
}
"""The metrics that are ratios of sums, and which of their statistics is the denominator; the numerator is the first one."""

_INSTEAD = {"bleu": "cider_d or rouge_l", "chrf": "cider_d or rouge_l", "perplexity": "bits_per_token"}


def default_metric(names: Iterable[str]) -> str | None:
    """The first metric that can be compared."""
    return next((name for name in names if name in DENOMINATORS), None)


def is_percent(metric: str) -> bool:
    """Whether a metric's scores are shares, shown in per cent."""
    losses = {score.name: score for score in LOSS_SCORES}
    score = losses.get(metric) or build_metrics([metric], normalisation="folded", references=[])[0]
    return score.percent


@dataclass(frozen=True)
class ScoreTable:
    """What each sample adds to each arm's score: `values` (A, S, n), in the metric's own units, and the samples' groupings.

    `notes` says what was left out, and why.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    values: Float[np.ndarray, "A S n"]
    groupings: Mapping[str, Int[np.ndarray, " n"]]
    split: str
    segment: str
    metric: str
    higher_is_better: bool
    percent: bool
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> Float[np.ndarray, " A"]:
        """Each arm's score, the mean over its seeds."""
        return self.values.mean(axis=(1, 2))

    def only(self, arms: Collection[str]) -> ScoreTable:
        """The table of some of the arms."""
        places = [place for place, arm in enumerate(self.arms) if arm in arms]
        return replace(self, arms=tuple(self.arms[place] for place in places), values=self.values[places])


def score_table(
    records: Mapping[str, Mapping[int, Record]], *, segment: str | None = None, metric: str | None = None
) -> ScoreTable:
    """The table of one metric of one segment; without a choice the last segment's first metric that can be compared.

    Arms that lack a seed of the others: the seeds that all have are compared. A sample that any record could not
    score is left out of all. Both are counted in `notes`.
    """
    arms = tuple(records)
    if len(arms) < 2:
        raise UserError(
            f"nothing to compare: {', '.join(arms) or 'no arm'}",
            right="Give at least two arms, each with a record per seed",
        )
    seeds, notes = _shared_seeds(records)
    cells = {(arm, seed): records[arm][seed] for arm in arms for seed in seeds}
    ids = _shared_ids(cells)
    chosen_segment, score = _chosen(cells, segment, metric)
    rows = {cell: _in_order(record, ids) for cell, record in cells.items()}
    _same_references(rows, chosen_segment)
    statistics = {cell: _statistics(found, chosen_segment, score) for cell, found in rows.items()}
    keep = np.flatnonzero(~np.isnan(np.stack(list(statistics.values()))).any(axis=(0, 2)))
    notes += _left_out(rows, chosen_segment, score, ids, keep)
    first = next(iter(rows.values()))
    values = np.stack([[linear(statistics[arm, seed][keep], score, arm) for seed in seeds] for arm in arms])
    if score.name == "bits_per_token":
        _same_tokens(statistics, keep)
    samples = [Sample(row.id, row.split, groups=row.groups) for row in first]
    return ScoreTable(
        arms,
        seeds,
        tuple(ids[i] for i in keep),
        values,
        Groupings.of(samples).among(keep),
        split=first[0].split,
        segment=chosen_segment,
        metric=score.name,
        higher_is_better=score.higher_is_better,
        percent=score.percent,
        notes=tuple(notes),
    )


def linear(statistics: Float[np.ndarray, "n S"], score: Score, where: str) -> Float[np.ndarray, " n"]:
    """What each sample adds: R + (numerator − R denominator) · n / Σ denominator."""
    numerator, denominator = statistics[:, 0], statistics[:, DENOMINATORS[score.name]]
    total = denominator.sum()
    if total <= 0:
        raise UserError(f"{score.name} has no value: {score.undefined}", where=f"arm {where}")
    ratio = numerator.sum() / total
    return ratio + (numerator - ratio * denominator) * (len(statistics) / total)


def _shared_seeds(records: Mapping[str, Mapping[int, Record]]) -> tuple[tuple[int, ...], list[str]]:
    """The seeds that every arm has, and which were left out."""
    for arm, of_arm in records.items():
        if not of_arm:
            raise UserError("there is no record of this arm", where=f"arm {arm}", right="Give one record per seed")
    shared = set.intersection(*(set(of_arm) for of_arm in records.values()))
    if not shared:
        there = "; ".join(f"{arm}: {', '.join(map(str, sorted(of_arm)))}" for arm, of_arm in records.items())
        raise UserError(
            f"no seed that all arms have ({there})", where="seeds", right="Train every arm with the same seeds"
        )
    alone = {arm: sorted(set(of_arm) - shared) for arm, of_arm in records.items()}
    notes = [
        f"left out: {arm} at seed {', '.join(map(str, extra))}, which other arms lack"
        for arm, extra in alone.items()
        if extra
    ]
    return tuple(sorted(shared)), notes


def _shared_ids(cells: Mapping[tuple[str, int], Record]) -> list[str]:
    """The ids of the first record, after every other one was found to have the same."""
    (first, record), *others = cells.items()
    splits = {row.split for found in cells.values() for row in found.rows}
    ids = [row.id for row in record.rows]
    for cell, other in others:
        theirs = {row.id for row in other.rows}
        if theirs != set(ids) or len(other.rows) != len(ids):
            raise UserError(
                f"{len(theirs & set(ids)):,} of {len(theirs | set(ids)):,} sample ids are shared with {_name(first)}",
                where=_name(cell),
                right="Evaluate all arms on the same samples",
            )
    if len(splits) > 1:
        raise UserError(
            f"records of the splits {', '.join(sorted(splits))} (all {len(ids):,} sample ids are shared)",
            where="split",
            right="Evaluate all arms on the same split",
        )
    if len(set(ids)) < len(ids):
        raise UserError(f"{len(ids) - len(set(ids))} sample ids stand twice", where=_name(first))
    return ids


def _chosen(cells: Mapping[tuple[str, int], Record], segment: str | None, metric: str | None) -> tuple[str, Score]:
    """The segment and the score, which all records must have by the same rule."""
    first = next(iter(cells.values())).summary
    segment = segment if segment is not None else first.segments[-1]
    metric = metric if metric is not None else default_metric(first.metrics.get(segment, {}))
    for cell, record in cells.items():
        summary = record.summary
        if segment not in summary.metrics:
            raise UserError(f"no segment {segment!r}", where=_name(cell), right=did_you_mean(segment, summary.segments))
        if metric is None or metric not in summary.metrics[segment]:
            raise UserError(
                f"no metric {metric!r} of segment {segment!r}",
                where=_name(cell),
                right=did_you_mean(str(metric), summary.metrics[segment]),
            )
        if summary.definitions.get(segment, {}).get(metric) != first.definitions.get(segment, {}).get(metric):
            raise UserError(
                f"{metric} of {segment!r} is counted by another rule: {summary.definitions[segment][metric]}; "
                f"elsewhere {first.definitions[segment][metric]}",
                where=_name(cell),
                right="Evaluate all arms with the same settings",
            )
    assert metric is not None
    if metric not in DENOMINATORS:
        raise UserError(
            f"{metric} is no sum over samples, so differences have no exact share per sample",
            where="metric",
            right=f"Take {_INSTEAD.get(metric, 'another metric')}. Comparable: {', '.join(DENOMINATORS)}",
        )
    losses = {score.name: score for score in LOSS_SCORES}
    normalisation = first.config.get("normalisation", "folded")
    return segment, losses.get(metric) or build_metrics([metric], normalisation=normalisation, references=[])[0]


def _in_order(record: Record, ids: Sequence[str]) -> list[Row]:
    rows = {row.id: row for row in record.rows}
    return [rows[i] for i in ids]


def _same_references(rows: Mapping[tuple[str, int], list[Row]], segment: str) -> None:
    """The targets and the groups must be the same, or the samples are not."""
    (first, expected), *others = rows.items()
    for cell, found in others:
        changed = sum(
            a.segments[segment].references != b.segments[segment].references or a.groups != b.groups
            for a, b in zip(expected, found, strict=True)
        )
        if changed:
            raise UserError(
                f"{changed:,} of {len(expected):,} samples have other targets or groups than at {_name(first)}",
                where=_name(cell),
                right="Evaluate all arms on the same manifest",
            )


def _statistics(rows: Sequence[Row], segment: str, score: Score) -> Float[np.ndarray, "n S"]:
    """The metric's statistics, from what the record holds; NaN where a sample could not be scored."""
    parts = [row.segments[segment] for row in rows]
    if score.name in ("bits_per_token", "bits_per_character"):
        lost = [SegmentLoss(np.nan, np.nan, np.nan)] * len(parts)
        for i, part in enumerate(parts):
            if part.bits is not None and part.num_tokens is not None:
                characters = float(np.mean([len(text) for text in part.references])) if part.references else 0.0
                lost[i] = SegmentLoss(part.bits, part.num_tokens, characters)
        return loss_statistics(lost)
    there = [i for i, part in enumerate(parts) if part.output is not None and part.references]
    assert isinstance(score, Metric)
    found = score.statistics([parts[i].output or "" for i in there], [parts[i].references for i in there])
    table = np.full((len(parts), found.shape[1]), np.nan)
    table[there] = found
    return table


def _same_tokens(statistics: Mapping[tuple[str, int], np.ndarray], keep: Int[np.ndarray, " kept"]) -> None:
    """Bits per token mean nothing where the arms cut the targets into different tokens."""
    (_, first), *others = statistics.items()
    for cell, other in others:
        if not np.allclose(other[keep, 1], first[keep, 1]):
            raise UserError(
                "the targets have other numbers of tokens than in other arms, so bits per token cannot be compared",
                where=_name(cell),
                right="Take bits_per_character",
            )


def _left_out(
    rows: Mapping[tuple[str, int], list[Row]],
    segment: str,
    score: Score,
    ids: Sequence[str],
    keep: Int[np.ndarray, " kept"],
) -> list[str]:
    """How many samples were left out, and the reasons that the records give."""
    gone = sorted(set(range(len(ids))) - set(keep.tolist()))
    if not gone:
        return []
    reasons = Counter(
        found[i].segments[segment].unscored.get(score.name, score.undefined)
        for found in rows.values()
        for i in gone
        if score.name in found[i].segments[segment].unscored
    )
    why = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    if len(gone) == len(ids):
        raise UserError(f"no sample was scored in every arm and seed{why}", where=f"{score.name} of {segment!r}")
    return [f"left out: {len(gone):,} of {len(ids):,} samples, which not every arm and seed could score{why}"]


def _name(cell: tuple[str, int]) -> str:
    return f"arm {cell[0]}, seed {cell[1]}"
