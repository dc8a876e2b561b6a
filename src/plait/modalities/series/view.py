"""A series as the moments of its encoder's tokens, and as a small picture of its curves.

In: values and their validity `(N, 2 C)`; a file or its bytes.
Out: its `View`; its `Small`.
Invariant: the moments follow each other without a gap, from the beginning to the end.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from plait.errors import UserError
from plait.modalities.base import Blob
from plait.modalities.series.prepare import SeriesConfig, header_of, load_series
from plait.modalities.view import Seen, Small, View

LONG = 8000
"""Steps of a series whose tokens tell how many steps one token stands for."""

WIDTH, HEIGHT = 360, 120
MAX_CURVES = 6
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")


def series_view(value: Float[Tensor, "N W"], seen: Seen) -> View:
    """A series and its moments; each is hidden with its neighbours, into which it runs on."""
    steps, rate = len(value), seen.options.model_rate
    num_tokens = seen.encoder.num_tokens(steps)
    spans = spans_of(steps, num_tokens, LONG // seen.encoder.num_tokens(LONG))
    labels = tuple(label_of(first, last, rate) for first, last in spans)
    near = tuple(tuple(range(max(0, k - 1), min(num_tokens, k + 2))) for k in range(num_tokens))
    seconds = tuple((first / rate, last / rate) for first, last in spans) if rate else ()
    raw = value[:, : value.shape[1] // 2].cpu().numpy()
    drawn = "moments" if rate else "words"  # moments are drawn over seconds
    return View(drawn, (num_tokens,), labels, near, "a moment with its neighbours", seconds, raw)


def spans_of(steps: int, num_tokens: int, stride: int) -> tuple[tuple[int, int], ...]:
    """The first step of each token, and the one behind its last."""
    return tuple((k * stride, min(steps, (k + 1) * stride)) for k in range(num_tokens))


def label_of(first: int, last: int, rate: float | None) -> str:
    """`0.00–0.08 s`; `steps 1–4` where no rate is known."""
    if not rate:
        return f"step {last}" if last - first == 1 else f"steps {first + 1}–{last}"
    digits = 2 if (last - first) / rate >= 0.01 else 4
    return f"{first / rate:.{digits}f}–{last / rate:.{digits}f} s"


def told_of(item: Blob) -> str:
    """`40 steps of 2 channels`."""
    try:
        found = header_of(item, SeriesConfig())
    except UserError:
        return str(item)
    return f"{found.steps:,} steps of {found.channels} channel{'s' * (found.channels > 1)}"


def small_series(item: Path | str | Blob, options: SeriesConfig | None = None) -> Small:
    """The curves of the first channels, each between its own lowest and highest value; gaps stay open."""
    values = load_series(item, options or SeriesConfig(max_steps=2**40)).values
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    for channel, curve in enumerate(values.T[:MAX_CURVES]):
        for line in lines_of(curve):
            pen.line(line, fill=COLOURS[channel], width=1)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    steps, channels = values.shape
    note = f"{steps:,} steps" + (f", the first {MAX_CURVES} of {channels} channels" if channels > MAX_CURVES else "")
    return Small("picture", file.getvalue(), "image/png", note=note, size=picture.size)


def lines_of(curve: Float[np.ndarray, " N"]) -> list[list[tuple[float, float]]]:
    """A curve as lines of points in the picture; a new line behind every gap."""
    there = np.flatnonzero(~np.isnan(curve))
    if not len(there):
        return []
    low, high = float(np.nanmin(curve)), float(np.nanmax(curve))
    across = there * ((WIDTH - 1) / max(1, len(curve) - 1))
    down = (HEIGHT - 1) * (1 - (curve[there] - low) / (high - low if high > low else 1))
    breaks = np.flatnonzero(np.diff(there) > 1) + 1
    return [
        [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)] * (2 if len(xs) == 1 else 1)
        for xs, ys in zip(np.split(across, breaks), np.split(down, breaks), strict=True)
    ]
