"""Curves as text: a small table for each kind of damage.

In: `Curves`.
Out: aligned plain text; rows are the segments' scores, columns the levels, the area with its interval at the end; then the notes.
Invariant: a star marks a score that differs measurably from the clean one.
"""

from __future__ import annotations

import re
from pathlib import Path

from plait.evaluate.render import SCORES, WIDTH, score_number, title, wrap
from plait.evaluate.statistics import ALONE, CROSS, Figure
from plait.explain.curves.result import Curve, Curves, Line

MIN_LABEL = 8
"""Columns that a segment and its metric keep where all would be too wide."""


def render(found: Curves, *, width: int = WIDTH) -> str:
    """The heading, the tables, the notes."""
    lines = heading(found, width)
    for curve in found.curves:
        lines += ["", f"{curve.title} ({curve.kind.axis}; n = {curve.n:,})", *table(curve, width)]
    percent = f"{100 * found.confidence:g} %"
    star = f"a star: differs from clean, the {percent} interval of the paired difference does not hold 0"
    notes = dict.fromkeys([star, *found.notes, *area_notes(found)])
    lines += ["", *(line for note in notes for line in wrap(f"* {note}", width))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def heading(found: Curves, width: int) -> list[str]:
    """What was measured on what."""
    figures = [f for metrics in found.clean.values() for f in metrics.values() if f.grouping]
    names = sorted({name for f in figures for name in (f.grouping or "").split(CROSS)} - {ALONE})
    over = f" over {CROSS.join(names)}" if names else ""
    part = f" of {found.num_rows:,} (drawn with seed {found.seed}; --limit 0: all)" if found.n < found.num_rows else ""
    intervals = f"{100 * found.confidence:g} % intervals{over}"
    of = "" if found.manifest is None else f" of {Path(found.manifest).name}"
    text = f"{found.split}{of}: {found.n:,} samples{part}; each curve is of those that have the input; {intervals}"
    return [line.removeprefix("  ") for line in wrap(text, width)]


def area_notes(found: Curves) -> list[str]:
    """Why an area has no value or no interval, or what its interval is worth."""
    notes = []
    for curve in found.curves:
        for segment, lines in curve.segments.items():
            note = next(iter(lines.values())).area.note
            if note and "only" in note:  # said of nearly every row, with other counts
                notes.append(re.sub(r"\d+ groups", "few groups", note))
            elif note:
                notes.append(f"{curve.title}, {segment}: {note}")
    return notes


def table(curve: Curve, width: int) -> list[str]:
    """One row per segment, of its first metric; what all rows have in common stands in the head."""
    scores = [(segment, *next(iter(lines.items()))) for segment, lines in curve.segments.items()]
    names = {name for _, name, _ in scores}
    percent = all(SCORES[name].percent for name in names)
    head = (title(next(iter(names))) if len(names) == 1 else "") + (" %" if percent else "")
    rows = [[head.strip(), "clean ", *(f"{level:g} ".replace("-", "−") for level in curve.kind.levels), "area"]]
    for segment, name, line in scores:
        label = segment if len(names) == 1 else f"{segment} {title(name)}"
        unit = " %" if SCORES[name].percent and not percent else ""
        rows.append([label + unit, *cells(name, line), area(name, line.area)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    widths[0] = max(MIN_LABEL, min(widths[0], width - sum(widths[1:]) - len(widths) + 1))
    return [
        " ".join(
            [
                cut(label, widths[0]).ljust(widths[0]),
                *(cell.rjust(w) for cell, w in zip(middle, widths[1:], strict=False)),
                last,
            ]
        )
        for label, *middle, last in rows
    ]


def shown(name: str, value: float | None) -> str:
    """As an evaluation shows it, from a hundred on without decimals."""
    text = score_number(SCORES[name], value)
    return f"{float(text):.0f}" if value is not None and abs(float(text)) >= 100 else text


def cells(name: str, line: Line) -> list[str]:
    """The clean value and that of each level, starred where the paired difference excludes 0."""
    stars = [" ", *("*" if excludes_zero(difference) else " " for difference in line.differences)]
    return [shown(name, f.value) + star for f, star in zip((line.clean, *line.values), stars, strict=True)]


def excludes_zero(found: Figure) -> bool:
    """Whether the interval lies on one side of 0."""
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def area(name: str, found: Figure) -> str:
    """`12.3 [10.1, 14.5]`."""
    interval = "" if found.low is None else f" [{shown(name, found.low)}, {shown(name, found.high)}]"
    return shown(name, found.value) + interval


def cut(text: str, width: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= width else text[: width - 1] + "…"
