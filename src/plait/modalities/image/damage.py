"""Damage to pictures, at the size that the model sees.

In: pixels `(3, Y, X)`, bytes, decoded and resized.
Out: the same, blurred, partly covered, or compressed.
Invariant: the mildest level of each (no blur, nothing covered) changes nothing; a part covered at one level is covered at every
harsher one.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import simplejpeg
import torch
from jaxtyping import UInt8
from torch import Tensor

from plait.modalities.damage import Damage, Kind
from plait.types import Sample

GREY = 128
Pixels = UInt8[Tensor, "3 Y X"]


class Blur(Damage):
    """As if out of focus."""

    kind: ClassVar[Kind] = Kind(
        "blur",
        "image",
        "sigma, % of the width",
        (1.0, 2.0, 4.0, 8.0, 16.0),
        0.0,
        "Gaussian at the size that the model sees, sigma in per cent of the width (of the height down the columns); mirrored at "
        "the edges",
    )

    def damaged(self, decoded: Pixels, sample: Sample, place: int) -> Pixels:
        return blurred(decoded, self.level / 100)


class Occlusion(Damage):
    """As if something stood before it."""

    kind: ClassVar[Kind] = Kind(
        "occlusion",
        "image",
        "% of the area",
        (10.0, 25.0, 50.0, 75.0, 90.0),
        0.0,
        f"one grey rectangle ({GREY}) of the picture's own shape at a random place covers the share of the area, to the pixel; it "
        "grows with the level and keeps what it covered",
    )

    def damaged(self, decoded: Pixels, sample: Sample, place: int) -> Pixels:
        down, right = torch.rand(2, generator=self.source.generator(self.kind, sample, place)).tolist()
        return occluded(decoded, self.level / 100, down=down, right=right)


class Jpeg(Damage):
    """As if it had been saved to be small."""

    kind: ClassVar[Kind] = Kind(
        "JPEG",
        "image",
        "quality",
        (90.0, 70.0, 50.0, 30.0, 15.0, 5.0),
        None,
        "compressed by libjpeg at this quality at the size that the model sees, colours at half the resolution (4:2:0)",
    )

    def damaged(self, decoded: Pixels, sample: Sample, place: int) -> Pixels:
        return compressed(decoded, round(self.level))


def blurred(pixels: Pixels, share: float) -> Pixels:
    """Convolved with a Gaussian of sigma = share × width, cut at 4 sigma, by scipy.ndimage.

    Its `reflect` mirrors the picture at its edge, edge pixels included, so the filter's matrix is symmetric and the mean is kept.
    """
    from scipy.ndimage import gaussian_filter

    if not share:
        return pixels
    _, rows, columns = pixels.shape
    soft = gaussian_filter(
        pixels.numpy().astype(np.float64), (0, share * rows, share * columns), mode="reflect", truncate=4.0
    )
    return torch.from_numpy(np.rint(soft).clip(0, 255).astype(np.uint8))


def occluded(pixels: Pixels, share: float, *, down: float, right: float) -> Pixels:
    """round(share × Y × X) pixels made grey: those that a growing rectangle of the picture's shape reaches first.

    At scale s it spans [p (1 − s), p (1 − s) + s] of each side, p = `down` or `right` in [0, 1); the rim that it reaches last is
    covered in part, so that the count is exact.
    """
    _, rows, columns = pixels.shape

    def reached(num: int, at: float) -> np.ndarray:
        """The scale at which the rectangle reaches each row or column."""
        middle = (np.arange(num) + 0.5) / num
        return np.where(middle < at, (at - middle) / max(at, 1e-12), (middle - at) / (1 - at))

    scale = np.maximum(reached(rows, down)[:, None], reached(columns, right)[None, :])
    first = np.argsort(scale, axis=None, kind="stable")[: round(share * rows * columns)]
    covered = pixels.clone()
    covered.view(3, -1)[:, torch.from_numpy(first)] = GREY
    return covered


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """What is left after JPEG at this quality, 1 to 100."""
    data = simplejpeg.encode_jpeg(
        pixels.permute(1, 2, 0).contiguous().numpy(), quality, "RGB", colorsubsampling="420", fastdct=False
    )
    decoded = simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False)
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()
