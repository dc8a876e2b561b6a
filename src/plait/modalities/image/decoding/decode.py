"""The bytes of any picture file become upright RGB pixels.

In: the bytes; how small a JPEG may be decoded; whether colour profiles are honoured.
Out: `decode` → uint8 `(rows, columns, 3)`; `size_of` → what a file is by its header; `seen` → a Pillow image to be shown.
Invariant: a picture is decoded only after `allowed` was called with its rows and columns; a decoder's own words reach no one.
"""

from __future__ import annotations

import functools
import importlib
import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch import Tensor

from plait.errors import UserError
from plait.modalities.base import Blob, opened
from plait.modalities.image.decoding import png, tiff
from plait.modalities.image.decoding.colour import pixels_to_srgb
from plait.modalities.image.decoding.exif import orientation_of, orientation_of_picture, upright
from plait.modalities.image.decoding.jpeg import read_head
from plait.modalities.image.decoding.pixels import to_rgb
from plait.quiet import quiet

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "TGA", "ICO", "AVIF", "JPEG2000", "PCX", "QOI")
"""What Pillow may decode, where it was built for it: no format that runs another program (EPS) or holds a document."""

JPEG = b"\xff\xd8\xff"
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_CONTAINER = (b"mif1", b"msf1", b"mif2")
INSTALL = "pip install 'plait[phone]'"

_here, _patching = threading.local(), threading.Lock()

Allowed = Callable[[int, int], None]


class Header(NamedTuple):
    """What a picture is: the name of its format, and its size as it is stored."""

    format: str
    columns: int
    rows: int


@functools.cache
def formats() -> tuple[str, ...]:
    """Those of `FORMATS` that this Pillow reads."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def decode(data: bytes, *, allowed: Allowed, profiles: bool, least: int | None = None) -> Tensor:
    """The upright picture. `least`: a JPEG may come smaller, as long as both sides have so many pixels."""
    with quiet():
        if data.startswith(JPEG):
            rows, columns, colours, _ = simplejpeg.decode_jpeg_header(data)
            allowed(int(rows), int(columns))
            if colours in ("YCbCr", "RGB", "Gray"):
                return _decode_jpeg(data, least, profiles=profiles, grey=colours == "Gray")
        return _decode_other(data, allowed, profiles=profiles)


def seen(data: bytes, *, allowed: Allowed, least: int) -> Image.Image:
    """The upright picture, its colours in sRGB, to be shown; a JPEG smaller, with at least so many pixels on each side."""
    return Image.fromarray(decode(data, allowed=allowed, profiles=True, least=least).numpy())


def _decode_jpeg(data: bytes, least: int | None, *, profiles: bool, grey: bool) -> Tensor:
    smallest: dict[str, Any] = {} if least is None else {"min_height": least, "min_width": least, "min_factor": 2}
    pixels = simplejpeg.decode_jpeg(data, "RGB", **smallest)
    head = read_head(data)
    if profiles and head.profile is not None:
        pixels = pixels_to_srgb(pixels, head.profile, grey=grey)
    return upright(torch.from_numpy(pixels), orientation_of(head.exif, head.xmp))


def _decode_other(data: bytes, allowed: Allowed, *, profiles: bool) -> Tensor:
    if is_heif(data[:64]):
        return _decode_heif(data, allowed, profiles=profiles)
    data, profile = png.prepared(data)
    data, inverted, most = tiff.counting_up(data)
    try:
        return _decode_by_pillow(data, inverted, most, profile, allowed, profiles=profiles)
    except Image.DecompressionBombError:  # the limit that counts is asked by `allowed`, before anything is decoded
        with _without_bomb_check():
            return _decode_by_pillow(data, inverted, most, profile, allowed, profiles=profiles)


def _decode_by_pillow(
    data: bytes, inverted: bool, most: int | None, profile: bytes | None, allowed: Allowed, *, profiles: bool
) -> Tensor:
    with open_picture(io.BytesIO(data)) as picture:
        allowed(picture.height, picture.width)
        profile = (profile or picture.info.get("icc_profile")) if profiles else None
        picture.load()
        png.scale_transparent(picture, data)
        deep = png.has_16_bit_colours(data) and isinstance(picture.info.get("transparency"), tuple)
        clear = png.transparent_pixels(picture, data) if deep else None
        pixels = to_rgb(picture, profile or None, inverted=inverted, most=most)
        if clear is not None:
            pixels[clear] = 255
        return upright(torch.from_numpy(pixels), orientation_of_picture(picture))


def _decode_heif(data: bytes, allowed: Allowed, *, profiles: bool) -> Tensor:
    """libheif turns the picture as its container says; the orientation in its EXIF data is for those who do not."""
    found = _heif_module().open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)
    columns, rows = found.size
    allowed(rows, columns)
    picture = found.to_pillow()
    profile = picture.info.get("icc_profile") if profiles else None
    return torch.from_numpy(np.ascontiguousarray(to_rgb(picture, profile or None)))


def _heif_module() -> Any:
    try:
        return importlib.import_module("pillow_heif")
    except ImportError:
        raise UserError("reading HEIC pictures needs pillow-heif", right=INSTALL) from None


def is_heif(head: bytes) -> bool:
    """Whether a file that begins so is a HEIC picture (AVIF, which has the same container, is Pillow's)."""
    if head[4:8] != b"ftyp":
        return False
    size = max(16, min(int.from_bytes(head[:4], "big"), len(head)))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, size, 4))]
    return brands[0] in _HEIF or (brands[0] in _CONTAINER and not any(brand in (b"avif", b"avis") for brand in brands))


def open_picture(file: io.BufferedIOBase | BinaryIO) -> Image.Image:
    """As `PIL.Image.open` of the formats read here, not loaded, and without its own limit of pixels."""
    prefix = file.read(16)
    for name in formats():
        factory, accept = Image.OPEN[name]
        try:
            if accept is None or accept(prefix) is True:
                file.seek(0)
                return factory(cast("Any", file), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    raise Image.UnidentifiedImageError("not a picture")


@contextmanager
def _without_bomb_check() -> Iterator[None]:
    """Pillow's own limit of pixels does not count in this thread; in others, and afterwards, it does."""
    with _patching:
        usual = getattr(Image, "_decompression_bomb_check", None)
        if usual is not None and not hasattr(usual, "plait"):

            @functools.wraps(usual)
            def check(*words: Any, **options: Any) -> None:
                if not getattr(_here, "unlimited", False):
                    usual(*words, **options)

            cast("Any", check).plait = True
            Image._decompression_bomb_check = check
    _here.unlimited = True
    try:
        yield
    finally:
        _here.unlimited = False


def size_of(path: Path | Blob) -> Header | None:
    """What a file is by its header; None for one that cannot be read."""
    try:
        with quiet(), opened(path) as file:
            head = file.read(64)
            file.seek(0)
            if head.startswith(png.SIGNATURE) and len(head) >= 24:
                return Header("PNG", int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
            if is_heif(head):
                return Header("HEIF", *_heif_module().open_heif(file).size)
            with open_picture(file) as picture:
                return Header(picture.format or "", *picture.size)
    except Exception:  # whoever decodes it says what is wrong
        return None
