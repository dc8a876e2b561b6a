"""The records of a comparison's runs, as far as they are compared.

In: arms with their runs' folders.
Out: arm → seed → record, held lean; the constant answer's as if a model had given it.
Invariant: only arms that are whole have records; nothing is evaluated here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plait.compare.arms import CONSTANT
from plait.compare.compared import Compared, Settings
from plait.compare.statistics.table import default_metric
from plait.compare.tasks import record_of
from plait.evaluate.record import Record, Row, SegmentRow

Records = dict[str, dict[int, Record]]
NOTHING: Mapping[str, Any] = {}


def read_records(compared: Sequence[Compared], wanted: Settings) -> Records:
    """The records of every whole arm, and of the constant answer."""
    records: Records = {}
    known: dict[str, Row] = {}
    for one in compared:
        if one.config is not None and not one.reason and not one.dropped:
            records[one.arm.name] = {
                seed: lean(record_of(one.folders[seed], one.at(seed)), wanted.segment, known) for seed in wanted.seeds
            }
    for one in compared:
        if one.arm.role == "constant" and records:
            constant = constant_record(next(iter(records.values()))[wanted.seeds[0]], wanted)
            if constant is None:
                one.reason = "a constant answer has no score in this metric"
            else:
                records[CONSTANT] = dict.fromkeys(wanted.seeds, constant)
    return records


def lean(record: Record, segment: str | None, known: dict[str, Row]) -> Record:
    """The record with the compared segment only; what all records say alike of a sample is held once (`known`, by id).

    Arms × seeds × samples are all in memory at once.
    """
    segment = segment or record.summary.segments[-1]
    if segment not in record.summary.segments:  # said by whoever looks for it
        return record
    rows = []
    for row in record.rows:
        part, like = row.segments[segment], known.get(row.id)
        if like is None:
            like = known[row.id] = replace(row, segments={segment: part}, ranks=NOTHING)
            rows.append(like)
            continue
        alike = like.segments[segment].references
        rows.append(
            Row(
                like.id,
                like.split if like.split == row.split else row.split,
                like.inputs if like.inputs == row.inputs else row.inputs,
                like.tags if like.tags == row.tags else row.tags,
                like.groups if like.groups == row.groups else row.groups,
                {
                    segment: SegmentRow(
                        alike if alike == part.references else part.references,
                        part.output,
                        part.scores,
                        part.bits,
                        part.num_tokens,
                        part.log_probability,
                        part.unscored or NOTHING,
                    )
                },
                row.seconds,
                NOTHING,
            )
        )
    return Record(tuple(rows), record.summary)


def constant_record(record: Record, wanted: Settings) -> Record | None:
    """The record of the best constant answer: that text for every sample, with none of the scores and losses of the model whose
    record it is made from; None where the metric is no metric of texts.
    """
    summary = record.summary
    segment = wanted.segment or summary.segments[-1]
    figures = summary.metrics.get(segment, {})
    metric = wanted.metric or default_metric(figures)
    constant = figures[metric].constant if metric is not None and metric in figures else None
    if constant is None:
        return None
    answer = SegmentRow((), constant.text)
    rows = tuple(
        replace(
            row,
            segments={**row.segments, segment: replace(answer, references=row.segments[segment].references)},
        )
        for row in record.rows
    )
    return Record(rows, summary)
