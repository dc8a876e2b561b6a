"""A race: short trainings drop the arms that are measurably worse before anything is trained at full length.

In: candidates, and how to train them.
Out: a row per rung; dropped arms are marked with the reason.
Invariant: an arm is dropped only where its simultaneous interval against the leader, on the held-out losses of paired samples over
several seeds, lies wholly on the worse side; every rung is a training of its own, with its own warm-up and decay (successive
halving, Jamieson & Talwalkar 2016, arXiv 1502.07943, with a test in the place of "the worse half").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.compare.compared import Compared, Settings
from plait.compare.drive import Outcome
from plait.compare.statistics import compare, score_table
from plait.compare.tasks import record_of
from plait.config import RunConfig

SHARES = (0.25, 0.5)
"""The rungs' share of the steps."""

RACE_SEEDS = 2
MIN_LEFT = 2
"""So many candidates stay, whatever short trainings say of them."""

TrainAll = Callable[..., dict[Any, Outcome]]


@dataclass(frozen=True)
class RaceRow:
    """One rung: its steps, the arms that ran, what was dropped, and the trainings' steps in all."""

    steps: int
    arms: tuple[str, ...]
    dropped: tuple[str, ...]
    total_steps: int


def race(
    candidates: Sequence[Compared], wanted: Settings, train_all: TrainAll, say: Callable[[str], None]
) -> list[RaceRow]:
    """Run the rungs."""
    rows: list[RaceRow] = []
    if len(candidates) <= MIN_LEFT:
        say(f"no race: it needs more than {MIN_LEFT} candidates")
    seeds = wanted.seeds[:RACE_SEEDS]
    for rung, share in enumerate(SHARES, start=1):
        left = [one for one in candidates if one.trains]
        if len(left) <= MIN_LEFT:
            break
        cells: dict[tuple[str, int], tuple[str, Path, RunConfig]] = {}
        for seed in seeds:
            for one in left:
                assert one.config is not None
                steps = max(1, round(share * one.config.train.steps))
                every = one.config.train.evaluate_every and min(one.config.train.evaluate_every, steps)
                folder = wanted.folder / "race" / str(rung) / one.arm.slug / f"seed-{seed}"
                config = one.at(seed, steps=steps, evaluate_every=every)
                cells[one.arm.name, seed] = (f"rung {rung}: {one.arm.name}, seed {seed}", folder, config)
        outcomes = train_all(cells, scored="losses")
        rows.append(judged(left, seeds, cells, outcomes, wanted.segment))
        row = rows[-1]
        gone = f"dropped {', '.join(row.dropped)}" if row.dropped else "nothing was measurably worse"
        say(f"rung {rung} ({row.steps} steps, {len(seeds)} seeds): {gone}")
    return rows


def judged(
    left: Sequence[Compared],
    seeds: Sequence[int],
    cells: Mapping[tuple[str, int], tuple[str, Path, RunConfig]],
    outcomes: Mapping[tuple[str, int], Outcome],
    segment: str | None,
) -> RaceRow:
    """Drop what is measurably worse than the leader, and what failed."""
    for one in left:
        failed = [outcomes[one.arm.name, s].failure for s in seeds if not outcomes[one.arm.name, s].done]
        if failed:
            one.reason = failed[0]
    whole = [one for one in left if not one.reason]
    steps = next(config.train.steps for _, _, config in cells.values())
    names = tuple(one.arm.name for one in left)
    if len(whole) < MIN_LEFT:
        return RaceRow(steps, names, (), steps * len(cells))
    records = {
        one.arm.name: {s: record_of(cells[one.arm.name, s][1], cells[one.arm.name, s][2], "losses") for s in seeds}
        for one in whole
    }
    found = compare(score_table(records, segment=segment, metric=metric_for(whole)))
    by_name = {one.arm.name: one for one in whole}
    for against in found.differences[MIN_LEFT - 1 :]:  # the best first: so many stay, to be compared at full length
        if against.worse:
            one = by_name[against.arm]
            one.dropped = True
            one.notes.append(
                f"after {steps} steps {against.value:.3f} {found.table.metric.replace('_', ' ')} "
                f"[{against.low:.3f}, {against.high:.3f}] worse than {found.best}"
            )
    dropped = tuple(one.arm.name for one in whole if one.dropped)
    return RaceRow(steps, names, dropped, steps * len(cells))


def metric_for(arms: Sequence[Compared]) -> str:
    """The loss by which arms are compared: per character where they cut texts into different tokens."""
    tokenizers = [one.config.data.tokenizer for one in arms if one.config is not None]
    return "bits_per_token" if all(one == tokenizers[0] for one in tokenizers) else "bits_per_character"


def saved(rows: Sequence[RaceRow], *, num_seeds: int, full_steps: int) -> str:
    """What a race saved, in words."""
    if not rows:
        return ""
    dropped = [name for row in rows for name in row.dropped]
    spent, spared = sum(row.total_steps for row in rows), len(dropped) * num_seeds * full_steps
    everything = len(rows[0].arms) * num_seeds * full_steps
    balance = spared - spent
    word = f"saved {balance / everything:.0%}" if balance >= 0 else f"cost {-balance / everything:.0%} more"
    warning = ". A dropped arm was measurably worse in short trainings; at full length it might not have been"
    return (
        f"the race {word} of the candidates' training steps ({spent:,} spent on its rungs, {spared:,} spared); "
        f"dropped: {', '.join(dropped) or 'nothing'}{warning if dropped else ''}"
    )
