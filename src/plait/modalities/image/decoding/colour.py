"""Colours in the sRGB space, whatever colour profile (ICC) a picture carries.

In: pixels of 8 bits and the bytes of the profile that they are meant in.
Out: the RGB pixels as LittleCMS converts them (perceptual intent); the same pixels where the profile means sRGB.
Invariant: a profile that is damaged, or made for another kind of pixels than it comes with, changes nothing; a transform is made
once for each profile. A PNG's `gAMA` and `cHRM` are no profile, and are passed over, as by Pillow.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SAME = 4
"""Levels of 255: a profile that moves no colour by more than this is one of the many that mean sRGB."""

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_KEPT = 64
MAX_PROFILE = 2**24


def to_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture (mode RGB, L, CMYK or LAB) as RGB; without a usable profile as Pillow converts the mode."""
    transform = _transform(profile, picture.mode) if profile and len(profile) <= MAX_PROFILE else None
    if transform is None and picture.mode == "LAB":
        transform = _lab()
    if transform is None:
        return picture.convert("RGB")
    converted = ImageCms.applyTransform(picture, transform)
    return picture.convert("RGB") if converted is None else converted


def pixels_to_srgb(pixels: np.ndarray, profile: bytes, *, grey: bool) -> np.ndarray:
    """The same for RGB pixels `(rows, columns, 3)`; `grey`: the file holds one channel, the three are copies of it."""
    mode = "L" if grey else "RGB"
    if len(profile) > MAX_PROFILE or _transform(profile, mode) is None:
        return pixels
    picture = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]) if grey else pixels)
    return np.array(to_srgb(picture, profile))


@functools.lru_cache(_KEPT)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the profile to sRGB; None where it cannot be used or would change nothing."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        core: Any = source.profile
        if core.xcolor_space != _SPACES.get(mode):
            return None
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB")
        return None if mode in ("RGB", "L") and _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """By a grid of colours, 0, 15, … 255 in each channel."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    if mode == "L":
        before = np.repeat(steps[None, :, None], 3, axis=2)
        grid = Image.fromarray(steps[None])
    else:
        before = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        grid = Image.fromarray(before)
    after = ImageCms.applyTransform(grid, transform)
    return after is not None and int(np.abs(np.array(after).astype(int) - before).max()) <= SAME


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@functools.cache
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), _srgb(), "LAB", "RGB")
