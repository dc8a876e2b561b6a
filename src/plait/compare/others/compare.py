"""Comparing models by the records of other tools.

In: files of scores.
Out: a `ComparisonResult` in the comparison's folder, with the scores as tables that other tools read.
Invariant: nothing is trained, run or evaluated; prices and credits are not known, and nothing is said of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from plait.compare.arms import EMPTY
from plait.compare.collect import decision_of, metric_of
from plait.compare.compared import Settings
from plait.compare.existing import result_folder
from plait.compare.others.arms import Scored, arms_of, of_task
from plait.compare.others.sheet import Sheet
from plait.compare.others.sources import read_source, split_name
from plait.compare.others.table import Chosen, chosen_metric, score_table_of
from plait.compare.result import Against, ArmResult, ComparisonResult, SeedResult, Term
from plait.compare.run import check
from plait.compare.scores import write_scores
from plait.compare.statistics import Decided, decide
from plait.environment import environment
from plait.errors import UserError

MAX_LISTED = 6


def compare_others(
    sources: Sequence[Path],
    wanted: Settings,
    *,
    group_by: Sequence[str] = (),
    lower_is_better: bool | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> ComparisonResult:
    """Compare the arms in these files. `group_by`: keys that name what must not be counted twice, such as the speaker."""
    check(wanted)
    arms, found, notes = gathered(sources, wanted, group_by=group_by, lower_is_better=lower_is_better)
    decided = decide(
        found.table,
        candidates=[arm.name for arm in arms if arm.role == "candidate"],
        empty=[arm.name for arm in arms if arm.role in EMPTY],
        partial=[arm.name for arm in arms if arm.role == "all but one"],
        worth=wanted.worth_in(percent=found.table.percent),
    )
    with result_folder(wanted, say):
        result = replace(result_of(wanted, arms, found, decided, notes), files=tuple(map(str, sources)))
        say(f"\n{decided.verdict.sentence}")
        roles = {arm.name: arm.role for arm in arms}
        write_scores(wanted.folder, found.table, groups=found.groups, roles=roles)
        result.write(wanted.folder)
    return result


def gathered(
    sources: Sequence[Path], wanted: Settings, *, group_by: Sequence[str] = (), lower_is_better: bool | None = None
) -> tuple[list[Scored], Chosen, list[str]]:
    """The arms, their table, and what else is to be said."""
    check_sources(sources)
    sheets = [sheet for source in sources for sheet in read_source(source, group_by)]
    sheets, notes = of_task(sheets, wanted.segment)
    metric, others = chosen_metric(sheets, wanted.metric)
    if others:
        notes.append(f"also in these files: {', '.join(others[:MAX_LISTED])} (--metric)")
    arms = arms_of(sheets)
    return arms, score_table_of(arms, task=sheets[0].task, metric=metric, lower_is_better=lower_is_better), notes


def check_sources(sources: Sequence[Path]) -> None:
    """A file that is given twice would count as two runs that agree in everything."""
    seen: dict[Path, Path] = {}
    for source in sources:
        path = split_name(source)[1].resolve()
        if path in seen:
            raise UserError(f"{seen[path]} and {source} are the same file", where="--from", right="Give it once")
        seen[path] = source


def result_of(
    wanted: Settings, arms: Sequence[Scored], found: Chosen, decided: Decided, notes: Sequence[str]
) -> ComparisonResult:
    """The result: what it has of no price, no training and no example stays empty."""
    table = found.table
    against = {d.arm: Against(d.value, d.low, d.high, d.p, d.worse) for d in decided.differences.values()}
    of_seed, by_name = table.values.mean(axis=2), {arm.name: arm for arm in arms}
    rows = []
    for name in decided.ranking:
        a = table.arms.index(name)
        seeds = tuple(SeedResult(seed, float(of_seed[a, s])) for s, seed in enumerate(table.seeds))
        role, score = by_name[name].role, float(table.scores[a])
        rows.append(ArmResult(name, role, (), "done", score=score, against=against.get(name), seeds=seeds))
    return ComparisonResult(
        metric=metric_of(table, decided),
        decision=decision_of(decided.verdict, num_samples=len(found.table.ids)),
        arms=tuple(rows),
        seeds=table.seeds,
        terms=terms_of(arms, found),
        frontier={},
        examples=(),
        command=wanted.command,
        environment=environment(table.seeds[0]),
        config={},
        seconds=0.0,
        notes=(
            *notes,
            *(note for arm in arms for sheet in arm.sheets for note in sheet.notes),
        ),
    )


def terms_of(arms: Sequence[Scored], found: Chosen) -> tuple[Term, ...]:
    """What was equal between the arms, as far as the files say."""
    table = found.table
    terms = [Term("samples", True, f"the same {len(table.ids):,} in every arm at every seed, by their ids")]
    if found.targets_known:
        terms.append(Term("targets", True, "the same in all files, as far as they hold them"))
    else:
        terms.append(
            Term("targets", False, "these files hold none: that the same was asked is taken from the ids alone")
        )
    sheets: list[Sheet] = [sheet for arm in arms for sheet in arm.sheets]
    if any(sheet.settings for sheet in sheets):
        keys = sorted({key for sheet in sheets for key in sheet.settings})
        unlike = [key for key in keys if len({sheet.settings.get(key) for sheet in sheets}) > 1]
        equal = [f"{key} {sheets[0].settings[key]}" for key in keys if key not in unlike]
        detail = f"the files differ in {', '.join(unlike)}" if unlike else ", ".join(equal)
        terms.append(Term("settings", not unlike, detail))
    return tuple(terms)
