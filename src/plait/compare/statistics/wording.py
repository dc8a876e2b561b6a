"""Numbers, groups and time of a comparison, in words.

In: a `Comparison` or its table.
Out: text.
Invariant: shares are points and per cent, everything else keeps its metric's own unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plait.compare.statistics.differences import Comparison, Difference, few_groups
from plait.compare.statistics.table import ScoreTable


def metric_name(found: Comparison) -> str:
    """What is compared."""
    return f"{found.table.metric} of `{found.table.segment}`"


def gap(found: Comparison, one: Difference) -> str:
    """How far behind an arm is, with its interval."""
    bounds = sorted(abs(bound) for bound in (one.low, one.high))
    return f"{number(found.table, abs(one.value))} [{', '.join(plain(found.table, bound) for bound in bounds)}]"


def plain(table: ScoreTable, value: float) -> str:
    """A value without its unit."""
    return f"{100 * value:.1f}" if table.percent else f"{value:.3f}"


def number(table: ScoreTable, value: float) -> str:
    """A difference with its unit."""
    return plain(table, value) + (" points" if table.percent else "")


def rounded(table: ScoreTable, value: float) -> str:
    """A round number that a person chose: `2 points`, `0.5 points`."""
    return f"{100 * value:.3g} {'point' if 100 * value == 1 else 'points'}" if table.percent else f"{value:.3g}"


def score(table: ScoreTable, value: float) -> str:
    """A score with its unit."""
    return plain(table, value) + (" %" if table.percent else "")


def listed(arms: Sequence[str], word: str) -> str:
    """Arms in a row."""
    return arms[0] if len(arms) == 1 else f"{', '.join(arms[:-1])} {word} {arms[-1]}"


def seeds(num: int) -> str:
    """`2 seeds`."""
    return f"{num} {'seed' if num == 1 else 'seeds'}"


def groups(name: str, num: int) -> str:
    """`4 speakers`."""
    word = name if num == 1 or name.endswith("s") else f"{name}s"
    return f"{num:,} {word}"


def limits(table: ScoreTable) -> str:
    """What there is few of: `4 speakers`, `12 speakers that count as 4`; where groups are many: `1,500 samples`."""
    few = few_groups(table)
    told = []
    for name, effective in few.items():
        num = len(np.unique(table.groupings[name]))
        uneven = f" of uneven size that count as {effective:.1f}" if effective < 0.95 * num else ""
        told.append(groups(name, num) + uneven)
    return listed(told, "and") if told else f"{len(table.ids):,} samples"


def duration(seconds: float) -> str:
    """`40 s`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.2g} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
