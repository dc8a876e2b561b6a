"""The plots of a single run: how it learned, which modality it uses, what damage does to it.

In: the lines of `metrics.jsonl`, an `Explanation`, `Curves`.
Out: `Plot`s, or nothing where there is nothing to draw.
Invariant: an input has the colour that it has in the pictures of `plait explain`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from plait.explain import Explanation, SegmentResult
from plait.explain.curves import Curves
from plait.explain.curves.plot import panel
from plait.explain.looks import looks_of
from plait.explain.plot import bars, draw_positions, errors, slanted
from plait.report.comparison_plots import plain_log
from plait.report.palette import COLOURS
from plait.report.svg import Plot, Width, clean, plot
from plait.train.metrics import tune_segments

HELD_OUT = (("candidate", "o"), ("unimodal", "s"), ("textonly", "^"), ("right", "D"), ("constant", "v"))
"""Colour and marker of the held-out losses, all together first, then segment by segment."""


def training(lines: Sequence[Mapping[str, Any]]) -> Plot | None:
    """Bits per token by step: in training, and held out for each segment."""
    train = [(line["step"], line["bits"]) for line in lines if line.get("bits") is not None]
    held = held_out(lines)
    values = [bits for _, bits in [*train, *(point for points in held.values() for point in points)] if bits > 0]
    if not values:
        return None
    log = max(values) > 20 * min(values)

    def draw(figure: Any, width: Width) -> None:
        figure.set_size_inches(figure.get_figwidth(), 2.9)
        axes = figure.add_subplot()
        if train:
            axes.plot(*zip(*train, strict=True), color=COLOURS["axis"], linewidth=1, label="in training")
        for (name, points), (ink, marker) in zip(held.items(), HELD_OUT, strict=False):
            label = "held out, all" if name is None else f"held out, {clean(name, 18)}"
            axes.plot(
                *zip(*points, strict=True), color=COLOURS[ink], marker=marker, markersize=4, linewidth=1.6, label=label
            )
        if log:
            plain_log(axes)
        axes.set_xlabel("training step")
        axes.set_ylabel("bits per token" + (" (log scale)" if log else ""))
        axes.grid(axis="y")
        axes.legend()

    ends = [f"{'all segments' if name is None else clean(name)} {points[-1][1]:.3g}" for name, points in held.items()]
    described = (
        f"Held-out bits per token at the end: {', '.join(ends)}." if ends else "Only the loss in training was measured."
    )
    return plot(draw, title="Learning curve: bits per token by training step", description=described, key="training")


def held_out(lines: Sequence[Mapping[str, Any]]) -> dict[str | None, list[tuple[int, float]]]:
    """None (all segments together) and each segment → (step, bits per token on the tuning split)."""
    found: dict[str | None, list[tuple[int, float]]] = {}
    for line in lines:
        tune: Mapping[str, Any] = line.get("tune") or {}
        of_all = {None: tune["bits"]} if "bits" in tune else {}
        for name, bits in {**of_all, **tune_segments(tune)}.items():
            if isinstance(bits, int | float) and math.isfinite(bits):
                found.setdefault(name, []).append((line["step"], float(bits)))
    return found


def modalities(found: Explanation, segments: Sequence[SegmentResult]) -> Plot | None:
    """Credit (or reliance) of every input, a panel for each segment; it reads as `plait explain`'s own picture."""
    shown = [(segment, bars(segment)) for segment in segments if bars(segment)]
    if not shown:
        return None
    what = "bits per token" if found.kind == "credit" else "reliance (bits per token)"
    look = looks_of(found)

    def draw(figure: Any, width: Width) -> None:
        columns = min(len(shown), 4 if width == "wide" else 2)
        rows = math.ceil(len(shown) / columns)
        figure.set_size_inches(figure.get_figwidth(), 2.3 * rows)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        for axes in list(grid)[len(shown) :]:
            axes.set_visible(False)
        for axes, (segment, figures) in zip(figure.axes, shown, strict=False):
            for name, one in figures.items():
                axes.bar(
                    name,
                    one.value or 0.0,
                    yerr=errors([one]),
                    capsize=4,
                    color=look[name].colour,
                    ecolor=COLOURS["ink"],
                    width=0.62,
                )
            slanted(axes, figures)
            axes.axhline(0, color=COLOURS["axis"], linewidth=0.8)
            axes.set_title(clean(found.title_of(segment), 22), loc="left")
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        figure.supylabel(what, fontsize=8.5)

    said = [
        f"{clean(found.title_of(segment))}: {', '.join(f'{n} {f.value:.2f}' for n, f in of.items())}"
        for segment, of in shown
    ]
    return plot(
        draw,
        title=f"{what[0].upper()}{what[1:]} by input",
        description=f"{'; '.join(said)}.",
        key=f"modalities {place_of(found, segments)}",
    )


def place_of(found: Explanation, segments: Sequence[SegmentResult]) -> str:
    """What tells a plot of these segments from all others in the page."""
    return f"{found.split} {found.manifest} {' '.join(found.title_of(segment) for segment in segments)}"


def positions(found: Explanation, segments: Sequence[SegmentResult]) -> Plot | None:
    """The same token by token of the target."""
    shown = [segment for segment in segments if segment.positions and segment.credits]
    if not shown:
        return None

    def draw(figure: Any, width: Width) -> None:
        columns = min(len(shown), 2 if width == "wide" else 1)
        rows = math.ceil(len(shown) / columns)
        figure.set_size_inches(figure.get_figwidth(), 2.4 * rows)
        for axes, segment in zip(figure.subplots(rows, columns, squeeze=False).flat, shown, strict=False):
            draw_positions(axes, segment, found.title_of(segment), looks_of(found))
            axes.grid(axis="y")
        for axes in figure.axes[len(shown) :]:
            axes.set_visible(False)

    names = ", ".join(clean(found.title_of(segment)) for segment in shown)
    return plot(
        draw,
        title="Bits of each input, token by token",
        description=f"One panel for each of: {names}.",
        key=f"positions {place_of(found, segments)}",
    )


def damage(found: Curves) -> Plot | None:
    """Scores against growing damage, a panel for each kind."""
    if not found.curves:
        return None

    def draw(figure: Any, width: Width) -> None:
        columns = min(len(found.curves), 3 if width == "wide" else 1)
        rows = math.ceil(len(found.curves) / columns)
        figure.set_size_inches(figure.get_figwidth(), 2.3 * rows + 0.3)
        handles: dict[str, Any] = {}
        for place, curve in enumerate(found.curves):
            handles |= panel(figure.add_subplot(rows, columns, place + 1), curve, found, leftmost=place % columns == 0)
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=2)

    names = ", ".join(curve.title for curve in found.curves)
    return plot(
        draw,
        title="Scores when the inputs are damaged",
        description=f"Mild is left and harsh is right: {names}.",
        key=f"damage {found.split}",
    )
