"""Curves as text: a small table for each kind of damage.

In: `Curves`.
Out: aligned plain text; rows are the segments' scores, columns the levels, the area with its interval at the end; then the notes.
Invariant: a star marks a score that differs measurably from the clean one.
"""

from __future__ import annotations

from plait.evaluate.render import SCORES, WIDTH, score_number, title, wrap
from plait.evaluate.statistics import ALONE, CROSS, Figure
from plait.explain.curves.result import Curve, Curves, Line

MAX_LABEL = 18
"""Columns for a segment and its metric; longer ones are cut."""


def render(found: Curves, *, width: int = WIDTH) -> str:
    """The heading, the tables, the notes."""
    lines = heading(found, width)
    for curve in found.curves:
        lines += ["", f"{curve.title} ({curve.kind.axis}; n = {curve.n:,})", *table(curve)]
    percent = f"{100 * found.confidence:g} %"
    star = f"a star: differs from clean, the {percent} interval of the paired difference does not hold 0"
    lines += ["", *(line for note in (star, *found.notes) for line in wrap(f"* {note}", width))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def heading(found: Curves, width: int) -> list[str]:
    """What was measured on what."""
    figures = [f for metrics in found.clean.values() for f in metrics.values() if f.grouping]
    names = sorted({name for f in figures for name in (f.grouping or "").split(CROSS)} - {ALONE})
    over = f" over {CROSS.join(names)}" if names else ""
    part = f" of {found.num_rows:,} (drawn with seed {found.seed}; --limit 0: all)" if found.n < found.num_rows else ""
    intervals = f"{100 * found.confidence:g} % bootstrap intervals{over}"
    text = f"{found.split}: {found.n:,} samples{part}; each curve is of those that have the modality; {intervals}"
    return [line.removeprefix("  ") for line in wrap(text, width)]


def table(curve: Curve) -> list[str]:
    """One row per segment, of its first metric."""
    scores = [(segment, *next(iter(lines.items()))) for segment, lines in curve.segments.items()]
    percent = all(SCORES[name].percent for _, name, _ in scores)
    rows = [
        ["%" if percent else "", "clean ", *(f"{level:g} ".replace("-", "−") for level in curve.kind.levels), "area"]
    ]
    for segment, name, line in scores:
        unit = " %" if SCORES[name].percent and not percent else ""
        rows.append([cut(f"{segment} {title(name)}{unit}", MAX_LABEL), *cells(name, line), area(name, line.area)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        " ".join([label.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(middle, widths[1:], strict=False)), last])
        for label, *middle, last in rows
    ]


def cells(name: str, line: Line) -> list[str]:
    """The clean value and that of each level, starred where the paired difference excludes 0."""
    stars = ["*" if excludes_zero(difference) else " " for difference in line.differences]
    values = [score_number(SCORES[name], value.value) for value in line.values]
    return [score_number(SCORES[name], line.clean.value) + " ", *(v + s for v, s in zip(values, stars, strict=True))]


def excludes_zero(found: Figure) -> bool:
    """Whether the interval lies on one side of 0."""
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def area(name: str, found: Figure) -> str:
    """`12.3 [10.1, 14.5]`."""
    value = score_number(SCORES[name], found.value)
    if found.low is None:
        return value
    return f"{value} [{score_number(SCORES[name], found.low)}, {score_number(SCORES[name], found.high)}]"


def cut(text: str, width: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= width else text[: width - 1] + "…"
