"""What a first configuration says of pictures.

In: pictures, of which only the headers are read.
Out: a `First`.
Invariant: nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from plait.modalities.base import First, Item, spread
from plait.modalities.image.decoding.decode import size_of


def first_of(items: Sequence[Item]) -> First:
    """How large they are to be for the model, and how they become square."""
    sizes = [(found.columns, found.rows) for item in items if (found := size_of(item))]  # pyright: ignore[reportArgumentType]
    sides = [float(min(size)) for size in sizes]
    side = 32 if sides and median(sides) <= 40 else 64
    resize, shape = resize_for(sizes)
    return First(
        "{kind: resnet}",
        found=("pictures", f"shorter side {spread(sides, 'pixels', digits=0)}") if sides else None,
        options=f"{{size: {side}, resize: {resize}}}",
        why=f"{shape}; size 96, 128, … sees more, costs (size/{side})²",
        encoder_why="or vit, vgg, alexnet (weights: FILE loads torchvision's)",
        cost=0.5 * (side / 64) ** 2,
    )


def resize_for(sizes: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """How pictures become square, and why."""
    ratios = [max(size) / max(min(size), 1) for size in sizes]
    if ratios and median(ratios) > 1.6:
        return "pad", "long pictures are padded; or squash, or crop"
    return "squash", "squash to a square; or crop, or pad"
