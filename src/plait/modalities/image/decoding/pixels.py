"""A picture as Pillow decoded it, in any mode, becomes RGB of 8 bits.

In: a loaded `PIL.Image.Image`; the colour profile to honour, or None; what the file says of deep grey values.
Out: uint8 `(rows, columns, 3)`.
Invariant: what is transparent shows white; grey values of 16 bits, and floats from 0 to 1, are scaled, never cut or wrapped.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from plait.modalities.image.decoding.colour import to_srgb

_GREY = ("1", "L", "LA", "La")


def to_rgb(
    picture: Image.Image, profile: bytes | None = None, *, inverted: bool = False, most: int | None = None
) -> np.ndarray:
    """The picture's RGB values; `inverted`: 0 is white; `most`: the largest grey value, where it is not that of the mode."""
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.array(picture)
        pixels = _grey(_to_8_bits(values, picture.mode, most, inverted=inverted), profile)
        transparent = picture.info.get("transparency")
        if isinstance(transparent, int):
            pixels[values == transparent] = 255
        return pixels
    if picture.has_transparency_data or picture.mode in ("La", "RGBa"):
        whole = picture.convert("RGBA")
        colours = whole.convert("RGB")
        if profile is not None:
            colours = to_srgb(_plain(picture, whole), profile)
        colours.putalpha(whole.getchannel("A"))
        return np.array(Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB"))
    if profile is None and picture.mode != "LAB":
        return np.array(picture.convert("RGB"))
    return np.array(to_srgb(_plain(picture, picture), profile))


def _plain(picture: Image.Image, whole: Image.Image) -> Image.Image:
    """The colours without transparency, in the mode that a profile is made for: L, CMYK, LAB or RGB."""
    if picture.mode in ("CMYK", "LAB"):
        return picture
    if picture.mode in _GREY:
        return whole.getchannel("R") if whole.mode == "RGBA" else picture.convert("L")
    return whole.convert("RGB")


def _grey(values: np.ndarray, profile: bytes | None) -> np.ndarray:
    if profile is not None:
        return np.array(to_srgb(Image.fromarray(values), profile))
    return np.repeat(values[:, :, None], 3, axis=2)


def _to_8_bits(values: np.ndarray, mode: str, most: int | None, *, inverted: bool) -> np.ndarray:
    """Grey values of up to 16 bits, or floats from 0 to 1, as bytes."""
    largest = most or (1.0 if mode == "F" else 65535.0)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= largest):
        raise ValueError(f"values from {values.min():g} to {values.max():g}, not from 0 to {largest:g}")
    scaled = values.astype(np.float64)
    return np.rint((largest - scaled if inverted else scaled) * (255 / largest)).astype(np.uint8)
