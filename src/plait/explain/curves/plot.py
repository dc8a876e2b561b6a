"""The curves as one picture: a panel for each kind of damage, a line with its band for each segment.

In: `Curves`.
Out: `RUN/explain/SPLIT-curves.png`.
Invariant: the file is whole or not there; no display is needed; all panels share their scale, mild is left and harsh is right.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from plait.evaluate.measured import mark
from plait.evaluate.metrics import Score
from plait.evaluate.render import SCORES, title
from plait.explain.curves.result import Curve, Curves, Line
from plait.explain.plot import default_style, save_picture
from plait.explain.result import FOLDER

COLOURS = ("#1f77b4", "#d95f02", "#2a9d55", "#8e5cc2", "#8c564b", "#e377c2")
MAX_COLUMNS = 4


@default_style()
def plot(found: Curves, run: Path) -> Path:
    """Draw and write it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    columns = min(MAX_COLUMNS, max(1, len(found.curves)))
    rows = math.ceil(max(1, len(found.curves)) / columns)
    canvas = Canvas(figsize=(3.3 * columns, 2.8 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(canvas)
    handles: dict[str, Any] = {}
    for place, curve in enumerate(found.curves):
        handles |= panel(canvas.add_subplot(rows, columns, place + 1), curve, found, leftmost=place % columns == 0)
    if handles:
        canvas.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    path = run / FOLDER / f"{found.split}{mark(found.manifest)}-curves.png"
    save_picture(canvas, path, dpi=150)
    return path


def panel(axes: Any, curve: Curve, found: Curves, *, leftmost: bool) -> dict[str, Any]:
    """One kind of damage; label → its line. Scores that are no percentages have a scale of their own, on the right."""
    names = [next(iter(lines)) for lines in curve.segments.values()]
    percent = [SCORES[name].percent for name in names]
    other = axes.twinx() if any(percent) and not all(percent) else axes
    handles: dict[str, Any] = {}
    for number, (segment, lines) in enumerate(curve.segments.items()):
        name, line = next(iter(lines.items()))
        label = f"{segment} {title(name)}"
        here = axes if percent[number] or not any(percent) else other
        handles[label] = draw(here, curve, line, SCORES[name], COLOURS[number % len(COLOURS)])
        here.set_ylim(*scale(found, percent=SCORES[name].percent))
    places = positions(curve)
    first = "clean" if curve.kind.clean is None else f"{curve.kind.clean:g}"
    axes.set_xticks(places, [first, *(f"{level:g}".replace("-", "−") for level in curve.kind.levels)], fontsize=8)
    if places[0] > places[-1]:
        axes.invert_xaxis()
    axes.set_title(f"{curve.title} (n = {curve.n:,})", fontsize=10)
    axes.set_xlabel(curve.kind.axis, fontsize=9)
    if leftmost:
        axes.set_ylabel("%" if any(percent) else "score")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    return handles


def draw(axes: Any, curve: Curve, line: Line, score: Score, colour: str) -> Any:
    """A line with its band; the step from a clean point that has no place on the axis is dotted."""
    factor = 100 if score.percent else 1
    figures = [line.clean, *line.values]
    places = positions(curve)
    values = [math.nan if f.value is None else factor * f.value for f in figures]
    low = [math.nan if f.low is None else factor * f.low for f in figures]
    high = [math.nan if f.high is None else factor * f.high for f in figures]
    start = 1 if curve.kind.clean is None else 0
    axes.fill_between(places[start:], low[start:], high[start:], color=colour, alpha=0.18, linewidth=0)
    if start:
        axes.plot(places[:2], values[:2], color=colour, linestyle=":", marker="o", markersize=3)
        axes.vlines(places[0], low[0], high[0], color=colour, alpha=0.4, linewidth=3)
    return axes.plot(places[start:], values[start:], color=colour, marker="o", markersize=3)[0]


def positions(curve: Curve) -> list[float]:
    """Where the points stand, clean first, on the axis over which the area is taken; what has no place on it stands beside it."""
    levels = curve.kind.levels
    return [levels[0] - (levels[-1] - levels[0]) / 6 if curve.kind.clean is None else curve.kind.clean, *levels]


def scale(found: Curves, *, percent: bool) -> tuple[float, float]:
    """The range of all values of one kind of score, so that panels can be compared."""
    factor = 100 if percent else 1
    highest = max(
        (
            factor * (figure.high if figure.high is not None else figure.value or 0.0)
            for curve in found.curves
            for lines in curve.segments.values()
            for name, line in [next(iter(lines.items()))]
            if SCORES[name].percent == percent
            for figure in (line.clean, *line.values)
        ),
        default=1.0,
    )
    return (0.0, 1.05 * (max(highest, 100.0) if percent else highest) or 1.0)
