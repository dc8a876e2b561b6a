"""From trained arms to what a comparison found.

In: the arms with their runs' folders.
Out: a `ComparisonResult`: scores, differences, verdict, prices, credits, examples, and what was equal.
Invariant: scores come from the records of the runs; an arm without a record at every seed is a row with its reason.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from plait.compare.arms import CONSTANT, EMPTY, slug
from plait.compare.collected import Collected
from plait.compare.compared import Compared
from plait.compare.drive import Outcome, Task
from plait.compare.examples import examples_of
from plait.compare.frontier import frontier
from plait.compare.race import saved
from plait.compare.records import Records, read_records
from plait.compare.result import (
    Against,
    ArmResult,
    ComparisonResult,
    Credit,
    Decision,
    Example,
    Metric,
    Point,
    Price,
    SeedResult,
)
from plait.compare.scores import Said, write_scores
from plait.compare.statistics import Cost, Decided, ScoreTable, Verdict, decide, score_table
from plait.compare.statistics.wording import listed
from plait.compare.tasks import explain_task, price_task
from plait.compare.terms import terms_of
from plait.environment import environment
from plait.errors import UserError
from plait.evaluate import LOSS_NAMES
from plait.evaluate.record import Record, SegmentRow
from plait.explain.looks import player_modality
from plait.run import replacing, write_json
from plait.train.metrics import METRICS, read_metrics
from plait.writing import read_json

PRICES = "prices.json"
NUM_EXAMPLES = 8
Run_tasks = Callable[[Sequence[Task]], dict[str, Outcome]]


def collect(found: Collected, *, tell: Run_tasks, say: Callable[[str], None]) -> ComparisonResult:
    """The result."""
    wanted = found.wanted
    records = read_records(found.compared, wanted)
    if sum(1 for name in records if name != CONSTANT) < 1 or len(records) < 2:
        reasons = "; ".join(f"{c.arm.name}: {c.reason}" for c in found.compared if c.reason)
        raise UserError(f"nothing is left to compare{f' ({reasons})' if reasons else ''}", where=str(wanted.folder))
    table = score_table(records, segment=wanted.segment, metric=wanted.metric)
    prices = priced(found, [name for name in records if name != CONSTANT], tell, say)
    decided = decide(
        table,
        candidates=[c.arm.name for c in found.compared if c.arm.role == "candidate"],
        costs={name: cost_of(name, prices.get(name, Price())) for name in records},
        empty=[c.arm.name for c in found.compared if c.arm.role in EMPTY and c.arm.name in records],
        partial=[c.arm.name for c in found.compared if c.arm.role == "all but one" and c.arm.name in records],
        worth=wanted.worth_in(percent=table.percent),
        seconds_per_seed=seconds_per_seed(found, table.arms),
    )
    credits = credited(found, decided, tell)
    say(f"\n{decided.verdict.sentence}")
    arms = arm_results(found, records, table, decided, prices, credits)
    scored = {arm.name: arm.score for arm in arms if arm.score is not None}
    keep_scores(found, records, table)
    first = wanted.seeds[0]
    return ComparisonResult(
        metric=metric_of(table, decided),
        decision=decision_of(decided.verdict, num_samples=len(table.ids)),
        arms=tuple(arms),
        seeds=table.seeds,
        terms=terms_of(found, arms, tell),
        frontier=frontier(scored, prices, higher_is_better=table.higher_is_better),
        examples=disagreements(found, records, table),
        command=wanted.command,
        environment=environment(first),
        config=found.base.model_dump(mode="json"),
        seconds=sum(took(facts) for one in found.compared for facts in one.facts.values()),
        notes=(*teacher_forced(table, records), *from_cache(found, prices), *found.notes, *found.dataset.notes),
        saved=saved(found.raced, num_seeds=len(wanted.seeds), full_steps=found.base.train.steps),
    )


def teacher_forced(table: ScoreTable, records: Records) -> tuple[str, ...]:
    """What the loss of a later segment does not see."""
    before = next(iter(next(iter(records.values())).values())).summary.segments
    before = before[: before.index(table.segment)]
    if table.metric not in LOSS_NAMES or not before:
        return ()
    told = " and ".join(f"`{segment}`" for segment in before)
    return (
        f"{table.metric} of `{table.segment}` is measured with the true {told} before it: an input that only serves {told} counts "
        "for nothing here; metrics of what is generated see the whole way",
    )


def from_cache(found: Collected, prices: Mapping[str, Price]) -> tuple[str, ...]:
    """What prices do not hold where features come from the cache."""
    cached = sorted({m for one in found.compared if one.config is not None for m in one.config.encoders.cache})
    if not cached or not any(price.step_seconds for price in prices.values()):
        return ()
    return (
        f"features of {listed(cached, 'and')} come from the cache, in training and where prices were measured: what is new costs "
        "its encoding as well, the same in all arms",
    )


def took(facts: Mapping[str, Any]) -> float:
    """The seconds of a training with its evaluation, as far as its folder says."""
    return float(facts.get("seconds") or facts.get("train_seconds") or 0.0)


def seconds_per_seed(found: Collected, arms: Sequence[str]) -> float | None:
    """What one more seed of all arms takes, as many trainings at once as here; None where no folder says it."""
    each = [[took(facts) for facts in one.facts.values()] for one in found.compared if one.arm.name in arms]
    spent = sum(float(np.mean(seconds)) for seconds in each if seconds)
    return spent / max(1, found.wanted.jobs) if spent > 0 else None


def disagreements(found: Collected, records: Records, table: ScoreTable) -> tuple[Example, ...]:
    """The samples on which the arms disagree most at the first seed; none where the data are gone."""
    samples, first = found.dataset.split(found.base.evaluate.split), table.seeds[0]
    roles = {one.arm.name: one.arm.role for one in found.compared}
    answered = {name: of[first] for name, of in records.items() if roles[name] == "candidate"}
    if len(answered) < 2:  # then the baselines say more than nothing
        answered = {name: of[first] for name, of in records.items() if name != CONSTANT}
    if not samples or len(answered) < 2:
        return ()
    inputs = found.base.inputs
    return examples_of(answered, samples, segment=table.segment, metric=table.metric, num=NUM_EXAMPLES, inputs=inputs)


def metric_of(table: ScoreTable, decided: Decided) -> Metric:
    """What was compared."""
    groups = {name: len(np.unique(index)) for name, index in table.groupings.items()}
    return Metric(
        table.segment,
        table.metric,
        table.higher_is_better,
        table.percent,
        table.split,
        len(table.ids),
        groups,
        decided.overall.confidence,
    )


def decision_of(decided: Verdict, *, num_samples: int) -> Decision:
    """The verdict as plain data."""
    separate, planned = decided.separate, decided.planned
    return Decision(
        decided.kind,
        decided.sentence,
        decided.take,
        decided.level,
        decided.detectable,
        separate.seeds if separate else None,
        None if separate is None or separate.sample_factor is None else math.ceil(separate.sample_factor),
        decided.further,
        decided.worth,
        planned.seeds if planned else None,
        round(planned.sample_factor * num_samples) if planned else None,
    )


def cost_of(name: str, price: Price) -> Cost:
    """What the verdict needs of a price. Seconds count only where arms were measured in turns, not what a clock said beside other
    work.
    """
    if name == CONSTANT:
        return Cost(0, 0.0)
    return Cost(price.parameters, price.train_seconds if price.step_seconds else None, price.step_spread)


def arm_results(
    found: Collected,
    records: Records,
    table: ScoreTable,
    decided: Decided,
    prices: Mapping[str, Price],
    credits: Mapping[str, tuple[Credit, ...]],
) -> list[ArmResult]:
    """The arms in the order of the result."""
    of_seed = table.values.mean(axis=2)
    against = {d.arm: Against(d.value, d.low, d.high, d.p, d.worse) for d in decided.differences.values()}
    rows: dict[str, ArmResult] = {}
    for one in found.compared:
        name = one.arm.name
        if name in table.arms:
            a = table.arms.index(name)
            seeds = tuple(seed_result(found, one, seed, float(of_seed[a, s])) for s, seed in enumerate(table.seeds))
            rows[name] = ArmResult(
                name,
                one.arm.role,
                one.arm.overrides,
                "done",
                score=float(table.scores[a]),
                against=against.get(name),
                seeds=seeds,
                others=other_metrics(list(records[name].values()), table) if name != CONSTANT else {},
                price=prices.get(name, Price()),
                credits=credits.get(name, ()),
                notes=tuple(one.notes),
            )
        else:
            status = "dropped" if one.dropped else "failed"
            reason = one.notes[-1] if one.dropped else one.reason
            seeds = tuple(seed_result(found, one, seed, None) for seed in one.facts)
            rows[name] = ArmResult(
                name, one.arm.role, one.arm.overrides, status, reason, seeds=seeds, notes=tuple(one.notes)
            )
    return [*(rows[name] for name in decided.ranking), *(row for row in rows.values() if row.score is None)]


def seed_result(found: Collected, one: Compared, seed: int, score: float | None) -> SeedResult:
    """One training: its score, and its held-out losses on the way."""
    if seed not in one.folders:
        return SeedResult(seed, score)
    folder, facts = one.folders[seed], one.facts.get(seed, {})
    return SeedResult(
        seed,
        score,
        os.path.relpath(folder, found.wanted.folder),
        facts.get("best_bits"),
        curve_of(folder),
        facts.get("train_seconds"),
    )


def curve_of(folder: Path) -> tuple[Point, ...]:
    """The held-out loss by step, as the training wrote it down."""
    path = folder / METRICS
    if not path.exists():
        return ()
    return tuple(Point(line["step"], line["tune"]["bits"]) for line in read_metrics(folder) if "tune" in line)


def other_metrics(records: Sequence[Record], table: ScoreTable) -> dict[str, float]:
    """The other figures, the mean over seeds, where every seed has one."""
    found: dict[str, list[float]] = {}
    for record in records:
        for segment, figures in record.summary.metrics.items():
            for name, figure in figures.items():
                if (segment, name) != (table.segment, table.metric) and figure.value is not None:
                    found.setdefault(f"{segment}.{name}", []).append(figure.value)
    return {name: float(np.mean(values)) for name, values in found.items() if len(values) == len(records)}


def priced(found: Collected, names: Sequence[str], tell: Run_tasks, say: Callable[[str], None]) -> dict[str, Price]:
    """The price of every arm that was compared, measured in one go; kept as long as the arms and their runs are the same."""
    wanted, first = found.wanted, found.wanted.seeds[0]
    by_name = {c.arm.name: c for c in found.compared}
    peaks = {name: by_name[name].facts.get(first, {}).get("peak_bytes") for name in names}
    path, of = wanted.folder / PRICES, {name: str(by_name[name].folders[first]) for name in names}
    kept = read_json(path, right="Remove it: costs are then measured again.") if path.exists() else {}
    if kept.get("runs") != of or kept.get("seconds") != wanted.price_seconds:
        if wanted.price_seconds <= 0:
            kept = {"prices": {}}
        else:
            say(f"measuring what each arm costs: at most {wanted.price_seconds:.0f} s")
            arguments = {"folders": of, "split": found.base.evaluate.split, "seconds": wanted.price_seconds}
            arguments["trust"] = {one.arm.name: wanted.trust(one.config) for one in found.compared}
            outcome = tell([Task("prices", price_task, arguments, wanted.folder / "logs" / "prices.log")])["prices"]
            if not outcome.done:
                say(f"prices could not be measured: {outcome.failure}")
            kept = {"runs": of, "seconds": wanted.price_seconds, "prices": outcome.value or {}}
            if outcome.done:  # otherwise the same words try again
                with replacing(path) as part:
                    write_json(part, kept)
    prices = {name: Price(**kept["prices"][name]) if name in kept["prices"] else Price() for name in names}
    known = {name: by_name[name].facts.get(first, {}).get("parameters") for name in names}
    return {
        name: replace(
            price,
            parameters=price.parameters or known[name],
            peak_bytes=price.peak_bytes or peaks[name],
            train_seconds=price.train_seconds if price.step_seconds else by_name[name].facts[first]["train_seconds"],
        )
        for name, price in prices.items()
    }


def credited(found: Collected, decided: Decided, tell: Run_tasks) -> dict[str, tuple[Credit, ...]]:
    """What `plait explain` says of the best arms that read something, at the first seed."""
    wanted, first = found.wanted, found.wanted.seeds[0]
    by_name = {c.arm.name: c for c in found.compared}
    names = [n for n in decided.ranking if n != CONSTANT and (by_name[n].config or found.base).data.inputs]
    split, tasks, logs = found.base.evaluate.split, {}, wanted.folder / "logs"
    for name in names[: wanted.explained]:
        folder = by_name[name].folders[first]
        arguments = {"folder": folder, "split": split, "trust": wanted.trust(by_name[name].config)}
        tasks[name] = Task(f"explaining {name}", explain_task, arguments, logs / f"explain-{slug(name)}.log")
    outcomes = tell(list(tasks.values()))
    return {
        name: credits_of(outcomes[task.name].value, decided.overall.table.segment)
        for name, task in tasks.items()
        if outcomes[task.name].done
    }


def credits_of(explained: Mapping[str, Any], segment: str) -> tuple[Credit, ...]:
    """The credits of a segment, after what the model itself said before; of a model that has none, why."""
    parts = [part for part in explained["segments"] if part["segment"] == segment]
    if not parts:
        return ()
    part = next((p for p in parts if p["context"] == "own"), parts[0])
    verdicts = {one["modality"]: one for one in part["verdicts"]}
    found = []
    for modality in explained["modalities"]:
        decided = verdicts.get(modality)
        used = None if decided is None or decided["status"] == "unknown" else decided["status"] in ("used", "redundant")
        credit = part["credits"].get(modality)
        figure = credit["credit"] if credit else {"value": None, "low": None, "high": None}
        note = decided["sentence"] if decided else ""
        of = player_modality(modality, explained.get("players", {}), explained.get("inputs", {})) or "mixed"
        found.append(Credit(modality, figure["value"], figure["low"], figure["high"], used, note, of))
    return tuple(found)


def keep_scores(found: Collected, records: Records, table: ScoreTable) -> None:
    """The tables of scores: what each arm said of each sample, and what that adds to its score."""
    roles = {one.arm.name: one.arm.role for one in found.compared}
    first = {row.id: row.groups for row in records[table.arms[0]][table.seeds[0]].rows}
    known: dict[tuple[str, int], Mapping[str, SegmentRow]] = {}

    def said(arm: str, seed: int, id: str) -> Said:
        if (arm, seed) not in known:
            known.clear()  # the rows come arm by arm, seed by seed
            known[arm, seed] = {row.id: row.segments[table.segment] for row in records[arm][seed].rows}
        part = known[arm, seed][id]
        return Said(part.output, part.scores.get(table.metric), part.bits)

    write_scores(found.wanted.folder, table, groups=[first[id] for id in table.ids], roles=roles, details=said)
