"""Tokens of an encoder → what they are in the input: cells of a picture, moments of a sound, words of a text.

In: a batch of one sample, and the run that reads it.
Out: an `InputView` for each input, and the windows of tokens that are hidden together.
Invariant: the views of a modality, in order, have as many tokens as its features, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from plait.explain.sample_result import InputView
from plait.modalities.audio.prepare import HOP, SAMPLE_RATE
from plait.modalities.image.prepare import ImageConfig
from plait.run import Run
from plait.types import Batch, Items

LONG = 8000
"""Frames of a sound whose tokens tell how many frames one token stands for."""

WINDOW_SECONDS = 0.24
"""A moment is hidden with what is around it, and so is a cell: sounds run into each other, convolutions see beyond their cell,
and a neighbour would give away what is hidden (LOG.md)."""


def views_of(run: Run, batch: Batch) -> dict[str, list[InputView]]:
    """The inputs of the batch's only sample."""
    assert len(batch) == 1
    makers = {"text": text_view, "image": picture_view, "audio": sound_view}
    found: dict[str, list[InputView]] = {}
    for modality in run.inputs:
        items = batch.inputs[modality]
        numbers = [int(item) for item in items.index[0] if item >= 0]
        found[modality] = [makers[modality](run, items, item, number) for number, item in enumerate(numbers)]
    return {modality: views for modality, views in found.items() if views}


def text_view(run: Run, items: Items, item: int, number: int) -> InputView:
    """A text and its words, as the tokenizer parts it."""
    ids: Int[Tensor, " S"] = items.values[item, : int(items.lengths[item])]
    words = tuple(word_of(run, id) for id in ids.tolist())
    return InputView("text", number, (len(words),), words, hidden="one word")


def picture_view(run: Run, items: Items, item: int, number: int) -> InputView:
    """A picture as the model sees it, and its cells."""
    pixels = items.values[item]
    grid = run.model.encoder("image").grid(*pixels.shape[1:])
    grid = grid if len(grid) == 2 else (1, *grid)
    labels = [f"row {row + 1} col {column + 1}" for row in range(grid[0]) for column in range(grid[1])]
    raw = seen_pixels(pixels.cpu(), run.config.data.image)
    return InputView("image", number, grid, tuple(labels), hidden="a cell with those around it", raw=raw)


def seen_pixels(pixels: Tensor, config: ImageConfig) -> np.ndarray:
    """Normalised pixels `(C, Y, X)` as bytes `(Y, X, C)`."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    return ((pixels * std + mean).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def sound_view(run: Run, items: Items, item: int, number: int) -> InputView:
    """A sound and its moments."""
    frames = int(items.lengths[item])
    num_tokens = run.model.encoder("audio").num_tokens(frames)
    step, end = token_seconds(run), frames * HOP / SAMPLE_RATE
    spans = [(k * step, min(end, (k + 1) * step)) for k in range(num_tokens)]
    labels = tuple(f"{start:.2f}–{stop:.2f} s" for start, stop in spans)
    width = len(window_of(run, num_tokens // 2, num_tokens))
    raw = items.values[item, :frames].cpu().numpy()
    hidden = f"a moment with what is around it, {width * step:.2f} s"
    return InputView("audio", number, (num_tokens,), labels, tuple(spans), hidden, raw=raw)


def token_seconds(run: Run) -> float:
    """What one token of a sound stands for."""
    return LONG / run.model.encoder("audio").num_tokens(LONG) * HOP / SAMPLE_RATE


def window_of(run: Run, place: int, num_tokens: int) -> range:
    """The tokens of a sound that are hidden with the one at `place`: as many before as behind it."""
    around = max(0, round((WINDOW_SECONDS / token_seconds(run) - 1) / 2))
    return range(max(0, place - around), min(num_tokens, place + around + 1))


def block_of(place: int, grid: tuple[int, ...]) -> list[int]:
    """The cell at `place` and those around it, as far as the picture goes."""
    rows, columns = grid
    row, column = divmod(place, columns)
    return [
        r * columns + c
        for r in range(max(0, row - 1), min(rows, row + 2))
        for c in range(max(0, column - 1), min(columns, column + 2))
    ]


def windows(run: Run, modality: str, views: list[InputView]) -> Iterator[list[int]]:
    """For each token of a modality the tokens that are hidden with it, itself included."""
    start = 0
    for view in views:
        num_tokens = len(view.labels)
        for place in range(num_tokens):
            if modality == "audio":
                near = list(window_of(run, place, num_tokens))
            else:
                near = block_of(place, view.grid) if modality == "image" else [place]
            yield [start + k for k in near]
        start += num_tokens


def word_of(run: Run, id: int) -> str:
    """One token as a person reads it."""
    return run.tokenizer.decode([id]).strip() or run.tokenizer.token(id)
