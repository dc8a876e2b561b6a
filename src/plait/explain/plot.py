"""The explanation as a picture: bars with intervals, one panel per segment.

In: an `Explanation`.
Out: `RUN/explain/SPLIT.png`; nothing where matplotlib is not installed.
Invariant: the file is whole or not there; no display is needed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from plait.evaluate.statistics import Figure
from plait.explain.result import FOLDER, Explanation, SegmentResult
from plait.run import replacing

INSTALL = "for a picture of it: pip install 'plait[plot]'"


def can_plot() -> bool:
    """Whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def plot(found: Explanation, run: Path) -> Path:
    """Credit (or reliance, where there is no credit) of every modality."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    panels = [segment for segment in found.segments if bars(segment)]
    canvas = Canvas(figsize=(3.2 * max(1, len(panels)), 3.2), layout="constrained")
    FigureCanvasAgg(canvas)
    for place, segment in enumerate(panels):
        axes = canvas.add_subplot(1, len(panels), place + 1)
        for name, figure in bars(segment).items():
            value = figure.value or 0.0
            low, high = figure.low, figure.high
            error = None if low is None or high is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
            axes.bar(name, value, yerr=error, capsize=4, color="#4878a8")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_title(segment.title)
        if place == 0:
            axes.set_ylabel("bits per token" if found.kind == "credit" else "reliance (bits per token)")
    path = run / FOLDER / f"{found.split}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        canvas.savefig(part, format="png", dpi=150)
    return path


def bars(segment: SegmentResult) -> dict[str, Figure]:
    """Modality → what its bar shows, of those that have a value."""
    shown = {name: credit.credit for name, credit in segment.credits.items()} or dict(segment.reliance)
    return {name: figure for name, figure in shown.items() if figure.value is not None}
