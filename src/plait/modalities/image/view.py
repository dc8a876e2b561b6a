"""A picture as the cells of its encoder's grid, and as a small file.

In: normalised pixels; a file or its bytes.
Out: its `View`; its `Small`.
Invariant: nothing else that a file holds (where a photograph was taken) goes into the small one.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.modalities.base import Blob, content_of
from plait.modalities.image.decoding.decode import seen as decoded
from plait.modalities.image.prepare import MAX_BYTES, ImageConfig
from plait.modalities.view import Seen, Small, View

MAX_SIDE = 360
"""Pixels of a small picture's longer side."""

EXACT = 128
"""Up to so many pixels a picture is kept exactly (PNG)."""

MAX_PIXELS = 64_000_000


def image_view(pixels: Float[Tensor, "C Y X"], seen: Seen) -> View:
    """The picture as the model sees it, and its cells: a cell is hidden with those around it, since convolutions see beyond it."""
    grid = seen.encoder.grid(*pixels.shape[1:])
    rows, columns = grid if len(grid) == 2 else (1, *grid)
    labels = tuple(f"row {row + 1} col {column + 1}" for row in range(rows) for column in range(columns))
    near = tuple(tuple(block_of(place, (rows, columns))) for place in range(rows * columns))
    raw = seen_pixels(pixels.cpu(), seen.options)
    return View("cells", (rows, columns), labels, near, "a cell with those around it", raw=raw)


def seen_pixels(pixels: Tensor, config: ImageConfig) -> np.ndarray:
    """Normalised pixels `(C, Y, X)` as bytes `(Y, X, C)`."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    return ((pixels * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def block_of(place: int, grid: tuple[int, ...]) -> list[int]:
    """The cell at `place` and those around it, as far as the picture goes."""
    rows, columns = grid
    row, column = divmod(place, columns)
    return [
        r * columns + c
        for r in range(max(0, row - 1), min(rows, row + 2))
        for c in range(max(0, column - 1), min(columns, column + 2))
    ]


def small_picture(item: Path | str | Blob, most: int = MAX_SIDE) -> Small:
    """A small picture exactly, a larger one as JPEG, its longer side at most so many pixels."""
    picture = decoded(content_of(item, max_bytes=MAX_BYTES), allowed=_allowed, least=2 * most)
    exact = max(picture.size) <= EXACT
    picture.thumbnail((most, most))
    file = io.BytesIO()
    if exact:
        picture.save(file, format="PNG", optimize=True)
        return Small("picture", file.getvalue(), "image/png", size=picture.size)
    picture.save(file, format="JPEG", quality=82, optimize=True)
    return Small("picture", file.getvalue(), "image/jpeg", size=picture.size)


def _allowed(rows: int, columns: int) -> None:
    if rows * columns > MAX_PIXELS:
        raise ValueError(f"{columns} × {rows} pixels")
