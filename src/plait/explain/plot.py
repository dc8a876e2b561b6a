"""The explanation as a picture: for each segment bars with intervals, and below them the credits token by token.

In: an `Explanation`.
Out: `RUN/explain/SPLIT.png`; nothing where matplotlib is not installed.
Invariant: the file is whole or not there; no display is needed.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plait.evaluate.measured import mark
from plait.evaluate.statistics import Figure
from plait.explain.looks import Look, looks_of
from plait.explain.result import FOLDER, Explanation, SegmentResult
from plait.run import replacing

INSTALL = "for a picture of it: pip install 'plait[plot]'"


def can_plot() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


@contextmanager
def default_style() -> Iterator[None]:
    """Matplotlib as it comes: a `matplotlibrc` in the working directory, which may be a run that came from anywhere, has no say
    (it could start LaTeX).
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@default_style()
def plot(found: Explanation, run: Path) -> Path:
    """Credit (or reliance, where there is no credit) of every modality."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    look = looks_of(found)
    panels = [segment for segment in (*found.primary, *found.details) if bars(segment)]
    rows = 2 if any(segment.positions for segment in panels) else 1
    canvas = Canvas(figsize=(3.8 * max(1, len(panels)), 3.2 * rows), layout="constrained")
    FigureCanvasAgg(canvas)
    for place, segment in enumerate(panels):
        axes = canvas.add_subplot(rows, len(panels), place + 1)
        for name, figure in bars(segment).items():
            axes.bar(name, figure.value or 0.0, yerr=errors([figure]), capsize=4, color=look[name].colour)
        slanted(axes, bars(segment))
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(found.title_of(segment))
        if place == 0:
            axes.set_ylabel("bits per token" if found.kind == "credit" else "reliance (bits per token)")
        if segment.positions:
            below = canvas.add_subplot(rows, len(panels), len(panels) + place + 1)
            draw_positions(below, segment, found.title_of(segment), look)
    path = run / FOLDER / f"{found.split}{mark(found.manifest)}.png"
    save_picture(canvas, path, dpi=150)
    return path


def save_picture(canvas: Any, path: Path, *, dpi: int) -> None:
    """Write what was drawn; a letter that the font lacks is drawn as a box, without a warning for programmers."""
    with replacing(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        canvas.savefig(part, format="png", dpi=dpi)


def slanted(axes: Any, names: Mapping[str, object], *, most: int = 24) -> None:
    """Names under bars that would run into each other stand aslant."""
    if sum(map(len, names)) > most:
        axes.tick_params(axis="x", rotation=40, labelsize=7)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")


def draw_positions(axes: Any, segment: SegmentResult, title: str, look: Mapping[str, Look]) -> None:
    """Each player's credit at each token of the segment, as points with intervals; the end of the segment stands last."""
    names = [one.position for one in segment.positions]
    modalities = list(segment.credits)
    step = 0.14 if len(modalities) <= 5 else 0.7 / len(modalities)
    for number, name in enumerate(modalities):
        shown = [
            (place + step * (number - (len(modalities) - 1) / 2), one.credits[name])
            for place, one in enumerate(segment.positions)
            if one.credits[name].value is not None
        ]
        places, figures = [place for place, _ in shown], [figure for _, figure in shown]
        values = [figure.value or 0.0 for figure in figures]
        axes.errorbar(
            places,
            values,
            yerr=errors(figures),
            fmt="o",
            linestyle=look[name].dashes if len(names) > 3 else "none",
            markersize=3,
            linewidth=1,
            label=name,
            color=look[name].colour,
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), names, fontsize=7 if len(names) < 15 else 5.5)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.set_xlabel(f"token of {title}")
    axes.set_ylabel("bits")
    axes.legend(fontsize=7)


def errors(figures: Sequence[Figure]) -> list[list[float]]:
    """How far the bounds lie below and above the values; 0 where there is no interval."""
    below = [0.0 if f.low is None else max(0.0, (f.value or 0.0) - f.low) for f in figures]
    above = [0.0 if f.high is None else max(0.0, f.high - (f.value or 0.0)) for f in figures]
    return [below, above]


def bars(segment: SegmentResult) -> dict[str, Figure]:
    """Modality → what its bar shows, of those that have a value."""
    shown = {name: credit.credit for name, credit in segment.credits.items()} or dict(segment.reliance)
    return {name: figure for name, figure in shown.items() if figure.value is not None}
