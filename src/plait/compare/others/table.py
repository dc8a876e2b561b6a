"""From arms to the table that the statistics take: one metric, the samples that all have, and what was left out, counted.

In: arms of others' records; which metric.
Out: a `Chosen`: the `ScoreTable`, with the groups of its samples by name.
Invariant: every arm × seed holds the same samples; a sample that any of them lacks or did not score is left out of all; targets
and groups that differ between arms are refused; what is no number is refused with its file and sample.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from plait.compare.others.arms import Scored
from plait.compare.others.sheet import NoNumber, Row, Sheet, shown
from plait.compare.statistics import ScoreTable
from plait.compare.statistics.table import DENOMINATORS
from plait.errors import UserError, did_you_mean
from plait.evaluate.metrics import LOSS_SCORES, build_metrics
from plait.evaluate.statistics import Groupings
from plait.types import Sample

NO_SHARES = frozenset(
    ("loss", "losses", "perplexity", "ppl", "nll", "bits", "bpb", "bpc", "mae", "mse", "rmse", "distance", "fid")
)
"""Of these a value in 0..1 is no share of anything."""

LOWER = NO_SHARES | frozenset(("wer", "cer", "mer", "ter", "der", "eer", "fer", "per", "error", "errors", "err"))
"""A metric with one of these words in its name is better where it is lower, if its file does not say."""

Cells = Mapping[tuple[str, int], Mapping[str, tuple[Row, Sheet]]]


@dataclass(frozen=True)
class Chosen:
    """`groups`: of each sample in the table's order. `targets_known`: whether any file holds targets."""

    table: ScoreTable
    groups: Sequence[Mapping[str, str]]
    targets_known: bool


def chosen_metric(sheets: Sequence[Sheet], wanted: str | None) -> tuple[str, list[str]]:
    """The metric, and the others that the files have; without a choice the first whose values are numbers in the first file."""
    shared = [metric for metric in sheets[0].metrics if all(metric in sheet.metrics for sheet in sheets)]
    if wanted is not None:
        for form in (wanted, f"{wanted}.score"):
            alike = [metric for metric in shared if metric == form or metric.partition(",")[0] == form]
            if form in alike or len(alike) == 1:
                return form if form in alike else alike[0], []
            if alike:
                right = f"Choose one with --metric: {'; '.join(alike)}"
                raise UserError(f"several metrics are called {wanted!r}", where="--metric", right=right)
        known = sorted({metric for sheet in sheets for metric in sheet.metrics})
        raise UserError(f"not all files have a metric {wanted!r}", where="--metric", right=did_you_mean(wanted, known))
    usable = [metric for metric in shared if is_number(sheets[0], metric)]
    if not usable:
        known = sorted({metric for sheet in sheets for metric in sheet.metrics})
        right = f"They have {', '.join(known[:12]) or 'none'}"
        raise UserError("these files have no metric of numbers in common", where="--from", right=right)
    preferred = next((metric for metric in usable if metric == sheets[0].preferred), usable[0])
    return preferred, [metric for metric in usable if metric != preferred]


def is_number(sheet: Sheet, metric: str) -> bool:
    """Whether all that a file has of a metric are numbers, and there is one."""
    values = []
    for row in sheet.rows:
        try:
            values.append(sheet.number(row.scores.get(metric)))
        except NoNumber:
            return False
    return any(value is not None for value in values)


def score_table_of(
    arms: Sequence[Scored], *, task: str, metric: str, lower_is_better: bool | None = None, notes: Sequence[str] = ()
) -> Chosen:
    """The table of one metric.

    Several epochs or runs of a model that is not trained again are one seed: how much its answers vary is part of how much samples
    vary, and as crossed seeds two of them would leave one degree of freedom.
    """
    seeds, told = shared_seeds(arms)
    cells: Cells = {(arm.name, seed): arm.cells[seed] for arm in arms for seed in seeds}
    first = next(iter(cells.values()))
    shared = [id for id in first if all(id in cell for cell in cells.values())]
    if not shared:
        right = "All arms must have been asked the same samples, by the same ids"
        raise UserError("no sample is in every arm and seed", where="--from", right=right)
    known = same_targets_and_groups(cells, shared)
    values, reasons = scores(cells, shared, metric)
    keep = np.flatnonzero(~np.isnan(values).any(axis=0))
    num_all = len({id for cell in cells.values() for id in cell})
    told += left_out(num_all, len(shared), len(keep), reasons)
    if not len(keep):
        raise UserError(f"no sample was scored by {metric} in every arm and seed", where="--metric")
    ids = tuple(shared[i] for i in keep)
    values = values[:, keep].reshape(len(arms), len(seeds), len(keep))
    if len(seeds) > 1 and not any(sheet.own_seeds for arm in arms for sheet in arm.sheets):
        told.append(
            f"each score is the mean over {len(seeds)} epochs or runs of the same model: nothing is said of models trained again"
        )
        values, seeds = values.mean(axis=1, keepdims=True), seeds[:1]
    groups = [first[id][0].groups for id in ids]
    splits = {sheet.split for arm in arms for sheet in arm.sheets}
    higher, percent, rule = sense(metric, [sheet for arm in arms for sheet in arm.sheets], values, lower_is_better)
    samples = [Sample(id, "", groups=of) for id, of in zip(ids, groups, strict=True)]
    table = ScoreTable(
        tuple(arm.name for arm in arms),
        seeds,
        ids,
        values,
        Groupings.of(samples).among(np.arange(len(ids))),
        split=splits.pop() if len(splits) == 1 else "",
        segment=task,
        metric=metric,
        higher_is_better=higher,
        percent=percent,
        notes=(*notes, *told, *rule),
    )
    return Chosen(table, groups, known)


def shared_seeds(arms: Sequence[Scored]) -> tuple[tuple[int, ...], list[str]]:
    """The seeds that every arm has, and which were left out."""
    shared = set.intersection(*(set(arm.cells) for arm in arms))
    if not shared:
        there = "; ".join(f"{arm.name}: {', '.join(map(str, sorted(arm.cells)))}" for arm in arms)
        right = "Give the arms the same seeds"
        raise UserError(f"no seed that all arms have ({there})", where="--from", right=right)
    extra = {arm.name: sorted(set(arm.cells) - shared) for arm in arms}
    return tuple(sorted(shared)), [
        f"left out: {name} at seed {', '.join(map(str, seeds))}, which other arms lack"
        for name, seeds in extra.items()
        if seeds
    ]


def same_targets_and_groups(cells: Cells, shared: Sequence[str]) -> bool:
    """The same id must mean the same sample in all arms. Whether any target is known."""
    targets: dict[str, str] = {}
    (_, first), *_ = cells.items()
    for (arm, seed), cell in cells.items():
        others, moved = [], []
        for id in shared:
            row, _ = cell[id]
            if row.target is not None and targets.setdefault(id, row.target) != row.target:
                others.append(id)
            if row.groups != first[id][0].groups:
                moved.append(id)
        for what, ids in (("targets", others), ("groups", moved)):
            if ids:
                sheet = cell[ids[0]][1]
                raise UserError(
                    f"{len(ids):,} of {len(shared):,} samples have other {what} than in other arms, the first of them {ids[0]}",
                    where=f"{sheet.where} (arm {arm}, seed {seed})",
                    right="The same id must be the same sample in all files",
                )
    return bool(targets)


def scores(cells: Cells, shared: Sequence[str], metric: str) -> tuple[Float[np.ndarray, "cells n"], Counter[str]]:
    """Every score as a number, NaN where there is none, and why."""
    values = np.full((len(cells), len(shared)), math.nan)
    reasons: Counter[str] = Counter()
    for c, cell in enumerate(cells.values()):
        for i, id in enumerate(shared):
            row, sheet = cell[id]
            value = row.scores.get(metric)
            try:
                number = sheet.number(value)
            except NoNumber:
                raise UserError(
                    f"the score {metric} is {shown(value)}, which is no number",
                    where=f"{sheet.where}, sample {id}",
                    right="Choose another metric with --metric",
                ) from None
            if number is None:
                reasons[row.why] += 1
            else:
                values[c, i] = number
    return values, reasons


def left_out(num_all: int, num_shared: int, num_kept: int, reasons: Counter[str]) -> list[str]:
    """How many samples are compared by none, and why."""
    told = []
    if num_shared < num_all:
        told.append(f"{num_all - num_shared:,} missing in some arm or seed")
    if num_kept < num_shared:
        why = next((f" ({reason})" for reason, _ in reasons.most_common() if reason), "")
        told.append(f"{num_shared - num_kept:,} without a score in some arm or seed{why}")
    if not told:
        return []
    return [f"left out: {num_all - num_kept:,} of {num_all:,} samples: {', '.join(told)}"]


def sense(
    metric: str, sheets: Sequence[Sheet], values: np.ndarray, lower_is_better: bool | None
) -> tuple[bool, bool, list[str]]:
    """Whether more is better, whether values are shares, and by which rule, where one had to be taken."""
    base = metric.partition(",")[0]
    if all(sheet.ours for sheet in sheets) and metric in DENOMINATORS:
        losses = {score.name: score for score in LOSS_SCORES}
        score = losses.get(metric) or build_metrics([metric], normalisation="folded", references=[])[0]
        return score.higher_is_better if lower_is_better is None else not lower_is_better, score.percent, []
    words = set(re.split(r"[^a-z]+", base.lower()))
    percent = bool(values.min() >= 0 and values.max() <= 1) and not words & NO_SHARES
    said = {sheet.higher[key] for sheet in sheets for key in (base, base.partition(".")[0]) if key in sheet.higher}
    if lower_is_better is not None:
        return not lower_is_better, percent, []
    if len(said) == 1:
        return said.pop(), percent, []
    if words & LOWER:
        word = sorted(words & LOWER)[0]
        return (
            False,
            percent,
            [
                f"lower is taken to be better, because {metric} has {word!r} in its name (--higher-is-better says otherwise)"
            ],
        )
    return True, percent, []
