"""The explanation of one sample as a picture: shares and bits drawn over the picture, the log-mel and the words.

In: a `SampleExplanation`.
Out: `RUN/explain/sample-ID.png`.
Invariant: the file is whole or not there; no display is needed; each panel says which measure it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from plait.explain.plot import default_style, save_picture
from plait.explain.result import FOLDER
from plait.explain.sample_result import InputView, SampleExplanation

LOOKED, NEEDED = "looked at", "needed (bits)"
MAX_WORDS = 30
"""Targets with more words are not drawn word by word."""
MAX_STRIP = 16
MAX_NUMBERED = 8
"""Cells along a side that are still numbered."""
LEAST_SCALE = 0.05
"""Scales go up to this at least, so that nothing looks like much."""
WIDTH = 12.0


@default_style()
def plot_sample(found: SampleExplanation, run: Path) -> Path:
    """One block per input."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    blocks = [(draw, height, view) for view in found.views for draw, height in blocks_of(found, view)]
    canvas = Canvas(figsize=(WIDTH, 0.9 + sum(height for _, height, _ in blocks)), layout="constrained")
    FigureCanvasAgg(canvas)
    parts = canvas.subfigures(len(blocks), 1, height_ratios=[height for _, height, _ in blocks], squeeze=False)
    for (draw, _, view), part in zip(blocks, parts[:, 0], strict=True):
        draw(part, found, view)
    canvas.suptitle(plain("\n".join(titles(found))), fontsize=10)
    path = run / FOLDER / f"{found.name}.png"
    save_picture(canvas, path, dpi=110)
    return path


def titles(found: SampleExplanation) -> list[str]:
    """The sample, its target and the model's answer."""

    def said(what: str, texts: Mapping[str, str]) -> str:
        return f"{what}   " + "   ".join(f"{s}: {texts[s]}" for s in found.words if s in texts)

    lines = [found.id, said("what it says" if found.from_answer else "target", found.target)]
    if not found.from_answer and found.answer != found.target:
        lines.append(said("what it says", found.answer))
    return [line if len(line) <= 150 else line[:149] + "…" for line in lines]


def blocks_of(found: SampleExplanation, view: InputView) -> list[tuple[Any, float]]:
    """How a view is drawn, with the height of each part in inches."""
    num_words = sum(map(len, found.words.values()))
    by_word = bool(view.attention_by_word) and num_words <= MAX_WORDS
    if view.drawn == "cells":
        strip = [(draw_strip, 1.5)] if by_word and num_words <= MAX_STRIP else []
        return [(draw_picture, 2.6), *strip]
    grid = [(draw_by_word, 0.9 + 0.15 * num_words)] if by_word else []
    return [(draw_sound if view.drawn == "moments" else draw_text, 2.4), *grid]


def measures(view: InputView) -> dict[str, Mapping[str, Sequence[float]]]:
    """What there is to draw: title → segment → a value per token."""
    return {LOOKED: view.attention, NEEDED: view.needed} if view.attention else {NEEDED: view.needed}


def draw_picture(part: Any, found: SampleExplanation, view: InputView) -> None:
    """The picture, then its cells by each measure and segment."""
    panels = [(title, segment, values) for title, of in measures(view).items() for segment, values in of.items()]
    axes = part.subplots(1, 1 + len(panels), squeeze=False)[0]
    draw_cells(axes[0], view, None, "")
    axes[0].set_title(view.name, fontsize=8)
    for place, (title, segment, values) in enumerate(panels, 1):
        draw_cells(axes[place], view, values, title)
        axes[place].set_title(plain(f"{title}: {segment}"), fontsize=8)


def draw_cells(axes: Any, view: InputView, values: Sequence[float] | None, title: str, *, numbers: bool = True) -> None:
    """The cells' values as a heat map over the grey picture; without values the picture itself."""
    from matplotlib.patheffects import withStroke

    rows, columns = view.grid
    extent = (0, columns, rows, 0)
    assert view.raw is not None
    axes.set_xticks([])
    axes.set_yticks([])
    if values is None:
        axes.imshow(view.raw, extent=extent, aspect="auto")
    else:
        axes.imshow(view.raw.mean(axis=2), cmap="gray", extent=extent, aspect="auto", vmin=0, vmax=255)
        grid = np.asarray(values).reshape(rows, columns)
        bound = max(float(np.abs(grid).max()), LEAST_SCALE)
        low, colours = (0.0, "viridis") if title == LOOKED else (-bound, "RdBu_r")
        axes.imshow(grid, cmap=colours, vmin=low, vmax=bound, alpha=0.55, extent=extent, aspect="auto")
        if numbers and max(view.grid) <= MAX_NUMBERED:
            for (row, column), value in np.ndenumerate(grid):
                shown = f"{100 * value:.0f}" if title == LOOKED else f"{round(value, 2) + 0.0:.2f}"
                text = axes.text(column + 0.5, row + 0.5, shown, ha="center", va="center", fontsize=6)
                text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])
    axes.set_box_aspect(view.raw.shape[0] / view.raw.shape[1])


def draw_strip(part: Any, found: SampleExplanation, view: InputView) -> None:
    """Where each word of the target looked in the picture."""
    words = [
        (word, shares)
        for s, of in view.attention_by_word.items()
        for word, shares in zip(found.words[s], of, strict=True)
    ]
    axes = part.subplots(1, len(words), squeeze=False)[0]
    for place, (word, shares) in enumerate(words):
        draw_cells(axes[place], view, shares, LOOKED, numbers=False)
        axes[place].set_title(plain(word), fontsize=7)
    part.supylabel(LOOKED, fontsize=7)


def draw_sound(part: Any, found: SampleExplanation, view: InputView) -> None:
    """The log-mel with a line per segment for each measure, over seconds."""
    shown = measures(view)
    for axes, (title, by_segment) in zip(part.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        assert view.raw is not None
        end = view.seconds[-1][1]
        axes.imshow(view.raw.T, origin="lower", aspect="auto", cmap="gray_r", extent=(0, end, 0, view.raw.shape[1]))
        axes.set_xlabel("seconds", fontsize=7)
        axes.set_ylabel("mel band", fontsize=7)
        axes.tick_params(labelsize=6)
        over = axes.twinx()
        for number, (segment, values) in enumerate(by_segment.items()):
            edges = [view.seconds[0][0], *(stop for _, stop in view.seconds)]
            over.stairs(values, edges, color=f"C{number}", linewidth=1.5, label=plain(segment), baseline=None)
        over.set_xlim(0, end)
        low, high = over.get_ylim()
        over.set_ylim(min(low, 0), max(high, LEAST_SCALE))
        over.tick_params(labelsize=6)
        over.legend(fontsize=6, loc="upper right")
        axes.set_title(f"{view.name}: {title}", fontsize=8)


def draw_text(part: Any, found: SampleExplanation, view: InputView) -> None:
    """Bars per word and segment for each measure."""
    shown = measures(view)
    for axes, (title, by_segment) in zip(part.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        width = 0.8 / max(1, len(by_segment))
        for number, (segment, values) in enumerate(by_segment.items()):
            places = np.arange(len(values)) + (number - (len(by_segment) - 1) / 2) * width
            axes.bar(places, values, width, color=f"C{number}", label=plain(segment))
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_xticks(
            range(len(view.labels)), [plain(word) for word in view.labels], rotation=60, ha="right", fontsize=7
        )
        axes.tick_params(axis="y", labelsize=6)
        axes.legend(fontsize=6)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0), max(high, LEAST_SCALE))
        axes.set_title(f"{view.name}: {title}", fontsize=8)


def draw_by_word(part: Any, found: SampleExplanation, view: InputView) -> None:
    """Target words down, tokens of the input across: where each word looked."""
    words = [
        (word, shares)
        for s, of in view.attention_by_word.items()
        for word, shares in zip(found.words[s], of, strict=True)
    ]
    axes = part.subplots()
    table = np.asarray([shares for _, shares in words])
    end = view.seconds[-1][1] if view.seconds else len(view.labels)
    axes.imshow(table, aspect="auto", cmap="viridis", vmin=0, extent=(0, end, len(words), 0))
    axes.set_yticks(np.arange(len(words)) + 0.5, [plain(word) for word, _ in words], fontsize=6)
    if view.seconds:
        axes.set_xlabel("seconds", fontsize=7)
        axes.tick_params(axis="x", labelsize=6)
    else:
        axes.set_xticks(
            np.arange(len(view.labels)) + 0.5,
            [plain(word) for word in view.labels],
            fontsize=6,
            rotation=60,
            ha="right",
        )
    axes.set_title(f"{view.name}: {LOOKED}, word by word of the target", fontsize=8)


def plain(text: str) -> str:
    """Text that is drawn as it stands: a dollar sign would begin a formula."""
    return text.replace("$", r"\$")
