"""From sheets to arms: which files are one arm, what it is called, and which of its runs bears which seed.

In: sheets of one task.
Out: arm → seed → rows.
Invariant: two runs of one model are one arm unless their settings differ; no sample stands twice in an arm at a seed, and no
evaluation is counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.compare.others.sheet import Row, Sheet
from plait.errors import UserError, did_you_mean

MAX_DIFFERENCES = 4
"""Arms of one model are named by the settings in which they differ; where these are more, by their files."""


@dataclass
class Scored:
    """An arm: its sheets, and by seed its rows with the sheet that each is from."""

    name: str
    sheets: list[Sheet]
    cells: dict[int, dict[str, tuple[Row, Sheet]]] = field(default_factory=dict)

    @property
    def role(self) -> Any:
        """Why it is there; others' arms are candidates."""
        return self.sheets[0].role


def of_task(sheets: Sequence[Sheet], task: str | None) -> tuple[list[Sheet], list[str]]:
    """The sheets of one task, and what is to be said of the rest."""
    tasks = list(dict.fromkeys(sheet.task for sheet in sheets))
    if task is None and len(tasks) > 1:
        right = f"Choose one with --segment: {', '.join(tasks)}"
        raise UserError(f"these files hold {len(tasks)} tasks", where="--from", right=right)
    task = tasks[0] if task is None else task
    chosen = [sheet for sheet in sheets if sheet.task == task]
    if not chosen:
        raise UserError(f"no file holds the task {task!r}", where="--segment", right=did_you_mean(task, tasks))
    return chosen, [f"left out: other tasks ({', '.join(one for one in tasks if one != task)})"] if tasks[1:] else []


def arms_of(sheets: Sequence[Sheet]) -> list[Scored]:
    """The arms, in the order in which they come."""
    groups: dict[tuple[Any, ...], list[Sheet]] = {}
    for sheet in sheets:
        settings = () if sheet.named else tuple(sorted(sheet.settings.items()))
        groups.setdefault((sheet.arm, sheet.named, settings), []).append(sheet)
    arms = [Scored(name, of) for name, of in zip(names_of(list(groups.values())), groups.values(), strict=True)]
    names = [arm.name for arm in arms]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"two arms are called {twice!r}", where="--from", right="Name them: --from NAME=PATH")
    for arm in arms:
        fill(arm)
    if len(arms) < 2:
        right = "Give the files of another model, or name the arms: --from NAME=PATH"
        raise UserError(f"one arm alone ({arms[0].name}): nothing to compare", where="--from", right=right)
    return arms


def names_of(groups: Sequence[Sequence[Sheet]]) -> list[str]:
    """What arms are called: the model, and the settings in which arms of that model differ."""
    found = []
    for sheets in groups:
        first = sheets[0]
        alike = [other[0] for other in groups if other[0].arm == first.arm and not other[0].named]
        keys = sorted({key for one in alike for key in one.settings if len({o.settings.get(key) for o in alike}) > 1})
        if first.named or len(alike) < 2:
            found.append(first.arm)
        elif len(keys) > MAX_DIFFERENCES:
            found.append(first.where.stem)
        else:
            found.append(", ".join([first.arm, *(f"{key}={first.settings.get(key, 'none')}" for key in keys)]))
    return found


def fill(arm: Scored) -> None:
    """The rows by seed. Seeds that a table names are kept; epochs and runs are counted on over the arm's files."""
    evaluations: dict[str, Sheet] = {}
    for sheet in arm.sheets:
        twin = evaluations.setdefault(sheet.evaluation, sheet) if sheet.evaluation else sheet
        if twin is not sheet:
            raise UserError(
                f"is the same evaluation as {twin.where}",
                where=str(sheet.where),
                right="Give each once: a copy tells nothing about how scores vary",
            )
        numbers = sorted({row.seed for row in sheet.rows})
        start = max(arm.cells, default=-1) + 1
        seeds: Mapping[int, int] = {
            number: number if sheet.own_seeds else start + i for i, number in enumerate(numbers)
        }
        for row in sheet.rows:
            cell = arm.cells.setdefault(seeds[row.seed], {})
            if row.id in cell:
                raise UserError(
                    f"the sample {row.id} stands twice in {arm.name} at seed {seeds[row.seed]}",
                    where=str(sheet.where),
                    right="Each sample has one score at a seed; name arms that are not the same: --from NAME=PATH",
                )
            cell[row.id] = row, sheet
