"""Pictures as a person sees them: turned as by Pillow, coloured as by LittleCMS, of any depth, transparent as they state."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from plait.config.before import BEFORE
from plait.errors import UserError
from plait.modalities.image.decoding.decode import size_of
from plait.modalities.image.decoding.exif import orientation_of
from plait.modalities.image.decoding.jpeg import read_head
from plait.modalities.image.prepare import ImageConfig, load_image

CONFIG = ImageConfig(size=16)
ICC = b"ICC_PROFILE\0\1\1"


def corners(columns: int = 24, rows: int = 16) -> Image.Image:
    """Four corners of four colours: no turn or flip leaves it as it is."""
    picture = Image.new("RGB", (columns, rows), "#ff0000")
    half = (columns // 2, rows // 2)
    for colour, place in (("#00ff00", (half[0], 0)), ("#0000ff", (0, half[1])), ("#ffffff", half)):
        picture.paste(colour, (*place, place[0] + half[0], place[1] + half[1]))
    return picture


def content(picture: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def load(folder: Path, data: bytes, config: ImageConfig = CONFIG) -> Tensor:
    (folder / "a").write_bytes(data)
    return load_image(folder / "a", config)


def by_pillow(data: bytes) -> Image.Image:
    """The picture that Pillow turns upright."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


# orientation


def tiff(
    orientation: int, *, order: str = "<", kind: int = 3, before: bool = False, thumbnail: int | None = None
) -> bytes:
    """EXIF data: in IFD0 the orientation as SHORT (3) or LONG (4); with a text before it, and a thumbnail's own in IFD1."""
    entries = [(271, 2, 8, None)] if before else []
    entries.append((274, kind, 1, orientation))
    first = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    place = 8 + 2 + 12 * len(entries) + 4
    body = b""
    for tag, type, count, value in entries:
        if value is None:
            body += struct.pack(f"{order}HHII", tag, type, count, place)
        else:
            number = struct.pack(f"{order}H", value) + b"\0\0" if type == 3 else struct.pack(f"{order}I", value)
            body += struct.pack(f"{order}HHI", tag, type, count) + number
    following = 0 if thumbnail is None else place + (8 if before else 0)
    data = first + body + struct.pack(f"{order}I", following) + (b"Camera\0\0" if before else b"")
    if thumbnail is not None:
        data += struct.pack(f"{order}HHHIHHI", 1, 274, 3, 1, thumbnail, 0, 0)
    return data


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def exif(orientation: int, **options: object) -> bytes:
    return segment(0xE1, b"Exif\0\0" + tiff(orientation, **options))  # pyright: ignore[reportArgumentType]


def xmp(orientation: int, form: str = '="{}"') -> bytes:
    text = f"<x:xmpmeta><rdf:Description tiff:Orientation{form.format(orientation)}/></x:xmpmeta>"
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + text.encode())


def with_segments(*segments: bytes) -> bytes:
    """The corners as a JPEG with these segments in front."""
    data = content(corners(), quality=95, subsampling=0)
    return data[:2] + b"".join(segments) + data[2:]


def corpus() -> Iterator[tuple[str, bytes]]:
    far = segment(0xEB, bytes(65_000)) + segment(0xEB, b"JP" + bytes(20_000))
    decoy = tiff(3)
    for orientation in range(10):
        for order, kind in itertools.product("<>", (3, 4)):
            yield f"{orientation}{order}{kind}", with_segments(exif(orientation, order=order, kind=kind, before=True))
        this = exif(orientation, order=">", kind=4)
        yield f"{orientation} behind a profile", with_segments(segment(0xE2, ICC + bytes(60_000)), this)
        yield f"{orientation} behind APP11", with_segments(far, this)
        yield f"{orientation} behind a comment", with_segments(segment(0xFE, b"Exif\0\0" + decoy), this)
        yield f"{orientation} behind APP13", with_segments(segment(0xED, b"Photoshop 3.0\0Exif\0\0" + decoy), this)
        yield f"{orientation} and then decoys", with_segments(this, segment(0xFE, b"Exif\0\0" + decoy))
        yield f"{orientation} fill bytes", with_segments(b"\xff\xff\xff" + this, b"\xff" + segment(0xFE, b"x"))
        yield f"{orientation} thumbnail", with_segments(exif(orientation, thumbnail=8, before=True))
        yield f"{orientation} XMP", with_segments(xmp(orientation))
        yield f"{orientation} XMP element", with_segments(xmp(orientation, ">{}"))
        yield f"{orientation} XMP before EXIF", with_segments(xmp(3), this)
        yield f"{orientation} EXIF before XMP", with_segments(this, xmp(3))
        yield f"{orientation} EXIF twice", with_segments(this, exif(3))
        yield f"{orientation} XMP twice", with_segments(xmp(orientation), xmp(3))
        yield f"{orientation} only a decoy", with_segments(segment(0xFE, this[4:]))
        yield (
            f"{orientation} none in EXIF",
            with_segments(exif(orientation).replace(b"\x12\x01", b"\x13\x01"), xmp(orientation)),
        )
    for kind in (1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 99):
        yield f"type {kind}", with_segments(exif(6, kind=3).replace(b"\x12\x01\x03\0", bytes([0x12, 1, kind, 0])))
    yield "cut EXIF", with_segments(segment(0xE1, b"Exif\0\0" + tiff(6, before=True)[:20]))
    yield "mark twice", with_segments(segment(0xE1, b"Exif\0\0Exif\0\0" + tiff(6)))


CORPUS = dict(corpus())


def test_jpegs_are_turned_as_pillow_turns_them(tmp_path: Path) -> None:
    """Previously, the mark `Exif` was searched as bytes in the first 64 KiB: it was missed behind a colour profile or APP11 data,
    found in comments, and a big-endian LONG was read as 0. Reference: `PIL.ImageOps.exif_transpose`."""
    wrong: list[str] = []
    for name, data in CORPUS.items():
        head = read_head(data)
        try:
            right = by_pillow(data)
        except Exception:  # Pillow cannot read the EXIF data: the picture stays as it is
            right = corners()
        turned = load(tmp_path, data)
        upright = load(tmp_path, content(right, "PNG"))
        if (turned.int() - upright.int()).abs().max() > 40:
            wrong.append(f"{name}: {orientation_of(head.exif, head.xmp)}")
    assert not wrong


@example(place=10, noise=b"\0", name="0 EXIF before XMP")
@given(place=st.integers(0, 400), noise=st.binary(min_size=1, max_size=4), name=st.sampled_from(sorted(CORPUS)))
def test_damaged_segments_say_what_pillow_says(place: int, noise: bytes, name: str) -> None:
    data = bytearray(CORPUS[name])
    data[2 + place : 2 + place + len(noise)] = noise
    try:
        right = Image.open(io.BytesIO(data))
        wanted = right.getexif().get(274, 1)
    except Exception:
        return
    head = read_head(bytes(data))
    assert orientation_of(head.exif, head.xmp) == (wanted if wanted in range(1, 9) else 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_other_formats_are_turned_as_pillow_turns_them(tmp_path: Path, format: str, orientation: int) -> None:
    info = Image.Exif()
    info[274] = orientation
    data = content(corners(), format, exif=info)
    turned, upright = load(tmp_path, data), load(tmp_path, content(by_pillow(data), "PNG"))
    assert (turned.int() - upright.int()).abs().max() <= 1


def test_the_orientation_in_a_text_of_a_png_is_read(tmp_path: Path) -> None:
    """Texts are dropped from a PNG, but for those that say which way up it is. Reference: Pillow."""
    for compressed in (False, True):
        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>', zip=compressed)
        info.add_text("workflow", "x" * 3_000_000, zip=True)
        picture = load(tmp_path, content(corners(), "PNG", pnginfo=info))
        assert torch.equal(picture, load(tmp_path, content(corners().transpose(Image.Transpose.ROTATE_270), "PNG")))


# colours


def profile(matrix: str = "exchanged") -> bytes:
    """sRGB with its red and blue primaries exchanged, or its green and blue."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(data[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    one, other = (tags[b"rXYZ"], tags[b"bXYZ"]) if matrix == "exchanged" else (tags[b"gXYZ"], tags[b"bXYZ"])
    data[one : one + 4], data[other : other + 4] = data[other : other + 4], data[one : one + 4]
    return bytes(data)


def grey_profile(gamma: float) -> bytes:
    """A grey profile of one gamma (ICC.1:2010: header, grayTRC, white point)."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    white = b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061)
    tags = struct.pack(">I4sII4sII", 2, b"kTRC", 156, 14, b"wtpt", 172, 20)
    body = tags + curve + white
    head = struct.pack(
        ">I4sI4s4s4s12s4s", 128 + len(body), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ", bytes(12), b"acsp"
    )
    return head + bytes(68 - len(head)) + struct.pack(">iii", 63190, 65536, 54061) + bytes(48) + body


def by_littlecms(data: bytes) -> tuple[int, ...]:
    """A pixel of the picture's middle, converted by LittleCMS (perceptual)."""
    picture = Image.open(io.BytesIO(data))
    picture.load()
    source = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    pixel = converted.getpixel((5, 5))
    assert isinstance(pixel, tuple)
    return pixel


@pytest.mark.parametrize("colour", ["#ff0000", "#3070c0", "#808080"])
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_colours_are_those_of_the_profile(tmp_path: Path, format: str, colour: str) -> None:
    """Previously, profiles were not looked at: a Display P3 photograph looked pale. Reference: LittleCMS."""
    options = {"quality": 95} if format in ("JPEG", "WEBP", "AVIF") else {}
    data = content(Image.new("RGB", (40, 40), colour), format, icc_profile=profile(), **options)
    middle = load(tmp_path, data)[:, 8, 8].tolist()
    assert np.abs(np.array(middle) - by_littlecms(data)).max() <= 2
    ignored = load(tmp_path, data, CONFIG.model_copy(update={"profile": "ignore"}))[:, 8, 8].tolist()
    plain = Image.new("RGB", (1, 1), colour).getpixel((0, 0))
    assert np.abs(np.array(ignored) - plain).max() <= 3, "as a run of before saw it"


def test_runs_of_before_ignore_profiles() -> None:
    assert BEFORE[1]["data.image.profile"] == "ignore"
    assert ImageConfig().profile == "srgb"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_profiles_of_every_mode(tmp_path: Path, mode: str, format: str) -> None:
    if format == "JPEG" and mode != "L":
        pytest.skip("JPEG has no such mode")
    picture = Image.new("RGB", (40, 40), {"L": "#505050", "LA": "#505050", "1": "#ffffff"}.get(mode, "#3070c0"))
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    grey = mode in ("L", "LA", "1")
    data = content(picture, format, icc_profile=grey_profile(1.0) if grey else profile())
    plain = Image.open(io.BytesIO(data)).convert("L" if grey else "RGB")
    wanted = by_littlecms(content(plain, "PNG", icc_profile=grey_profile(1.0) if grey else profile()))
    assert np.abs(np.array(load(tmp_path, data)[:, 8, 8].tolist()) - wanted).max() <= 2


def test_grey_of_16_bits_has_its_profile_too(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full((40, 40), 0x50 * 257, np.uint16))
    data = content(grey, "PNG", icc_profile=grey_profile(1.0))
    wanted = by_littlecms(content(Image.new("L", (40, 40), 0x50), "PNG", icc_profile=grey_profile(1.0)))
    assert load(tmp_path, data)[:, 8, 8].tolist() == list(wanted)


def test_cmyk_is_converted_by_its_profile_or_as_pillow_does(tmp_path: Path) -> None:
    """A CMYK profile is too large to be made here: one of RGB with it is a mistake, and passed over."""
    picture = Image.new("CMYK", (40, 40), (200, 40, 10, 20))
    for format in ("JPEG", "TIFF"):
        plain = load(tmp_path, content(picture, format))
        assert np.abs(plain[:, 8, 8].numpy() - np.array(picture.convert("RGB").getpixel((5, 5)), int)).max() <= 4
        assert torch.equal(load(tmp_path, content(picture, format, icc_profile=profile())), plain)


def test_lab_pictures_are_read(tmp_path: Path) -> None:
    """Previously refused as damaged. Reference: LittleCMS."""
    lab = ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), lab, "RGB", "LAB")
    picture = ImageCms.applyTransform(Image.new("RGB", (40, 40), "#3070c0"), to_lab)
    assert picture is not None
    assert (
        np.abs(load(tmp_path, content(picture, "TIFF"))[:, 8, 8].numpy() - np.array([0x30, 0x70, 0xC0], int)).max() <= 3
    )


@pytest.mark.parametrize(
    "broken",
    [b"", b"x", bytes(200), profile()[:100], profile()[:300]],
    ids=["empty", "a byte", "zeros", "100 bytes", "300 bytes"],
)
def test_a_broken_profile_changes_nothing(tmp_path: Path, broken: bytes) -> None:
    for format in ("JPEG", "PNG"):
        picture = corners()
        got = load(tmp_path, content(picture, format, icc_profile=broken or None))
        assert torch.equal(got, load(tmp_path, content(picture, format)))


def test_a_profile_that_means_srgb_leaves_every_bit(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("JPEG", "PNG"):
        plain = load(tmp_path, content(corners(), format))
        assert torch.equal(load(tmp_path, content(corners(), format, icc_profile=srgb)), plain)


def test_a_large_profile_of_a_png_is_used(tmp_path: Path) -> None:
    """Previously, Pillow refused a PNG whose profile has more than 1 MiB."""
    large = bytearray(profile() + bytes(2_000_000))
    large[:4] = len(large).to_bytes(4, "big")
    data = content(Image.new("RGB", (40, 40), "#ff0000"), "PNG", icc_profile=bytes(large))
    assert load(tmp_path, data)[:, 8, 8].tolist() == [0, 0, 255]


# depths and transparency


def grey_tiff(values: np.ndarray, photometric: int, bits: int, *, order: str = "<", kind: int = 1) -> bytes:
    data = values.tobytes()
    entries = [
        *((256, 3, values.shape[1] if bits != 12 else 64), (257, 3, values.shape[0]), (258, 3, bits), (259, 3, 1)),
        *(
            (262, 3, photometric),
            (273, 4, 0),
            (277, 3, 1),
            (278, 3, values.shape[0]),
            (279, 4, len(data)),
            (339, 3, kind),
        ),
    ]
    place = 8 + 2 + 12 * len(entries) + 4
    body = b""
    for tag, type, value in entries:
        value = place if tag == 273 else value
        number = struct.pack(f"{order}H", value) + b"\0\0" if type == 3 else struct.pack(f"{order}I", value)
        body += struct.pack(f"{order}HHI", tag, type, 1) + number
    head = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    return head + body + bytes(4) + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize(("bits", "kind"), [(1, 1), (4, 1), (8, 1), (12, 1), (16, 1), (32, 3)])
def test_grey_tiffs_count_up_and_down(tmp_path: Path, bits: int, kind: int, photometric: int, order: str) -> None:
    """Previously, 0 was black in a 16-bit TIFF that says it is white, and 12 bits were nearly black. Reference: TIFF 6.0,
    `PhotometricInterpretation`: 0 is white (WhiteIsZero) or black (BlackIsZero)."""
    if bits == 12 and order == ">":
        pytest.skip("Pillow does not read it")
    share = np.full((64, 64), 0.75)
    share[:32] = 0.25
    if bits == 32:
        values = share.astype(f"{order}f4")
    elif bits == 16:
        values = np.rint(share * 65535).astype(f"{order}u2")
    elif bits == 8:
        values = np.rint(share * 255).astype(np.uint8)
    elif bits == 4:
        rows = np.rint(share * 15).astype(np.uint8)
        values = rows[:, ::2] << 4 | rows[:, 1::2]
    elif bits == 1:
        values = np.packbits(share > 0.5, axis=1)
    else:
        rows = np.rint(share * 4095).astype(int)
        first, second = rows[:, ::2], rows[:, 1::2]
        values = (
            np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2)
            .reshape(64, 96)
            .astype(np.uint8)
        )
    data = grey_tiff(values, photometric, bits, order=order, kind=kind)
    if bits < 8:  # the packed rows are shorter than the picture is wide
        data = data.replace(
            struct.pack(f"{order}HHIH", 256, 3, 1, values.shape[1]), struct.pack(f"{order}HHIH", 256, 3, 1, 64)
        )
    light = {1: 1.0, 4: 11 / 15}.get(bits, 0.75)
    dark = {1: 0.0, 4: 4 / 15}.get(bits, 0.25)
    top, bottom = (dark, light) if photometric == 1 else (1 - dark, 1 - light)
    pixels = load(tmp_path, data)
    assert abs(int(pixels[0, 2, 4]) - 255 * top) < 2
    assert abs(int(pixels[0, 13, 4]) - 255 * bottom) < 2


def png(columns: int, rows: int, depth: int, colour: int, lines: bytes, *, transparent: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0))
    seen = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + head + seen + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_any_depth_is_white(tmp_path: Path, depth: int) -> None:
    """Previously of 1 and 8 bits only. Reference: the PNG specification, 11.3.2.1 (tRNS holds the value as it is stored)."""
    most = 2**depth - 1
    clear = most // 3
    other = most - most // 3 if depth > 1 else 1
    rows = np.full((16, 16), other, int)
    rows[:8] = clear
    if depth == 16:
        packed = rows.astype(">u2").tobytes()
        width = 32
    else:
        bits = (rows[:, :, None] >> np.arange(depth - 1, -1, -1) & 1).reshape(16, -1).astype(np.uint8)
        packed = np.packbits(bits, axis=1).tobytes()
        width = 2 * depth
    lines = b"".join(b"\0" + packed[i * width : (i + 1) * width] for i in range(16))
    for extra in (0, 0x8000 if depth < 16 else 0):  # bits above the depth mean nothing
        pixels = load(tmp_path, png(16, 16, depth, 0, lines, transparent=struct.pack(">H", clear | extra)))
        assert pixels[:, 3, 3].tolist() == [255] * 3
        if depth > 1:
            assert abs(int(pixels[0, 12, 3]) - 255 * other / most) <= 1


def test_the_transparent_colour_of_16_bits_is_exact(tmp_path: Path) -> None:
    """One that differs in its low byte only is not it."""
    colours = np.zeros((16, 16, 3), ">u2")
    colours[:8] = (0x1234, 0x5678, 0x9ABC)
    colours[8:] = (0x1235, 0x5678, 0x9ABC)
    lines = b"".join(b"\0" + row.tobytes() for row in colours)
    pixels = load(tmp_path, png(16, 16, 16, 2, lines, transparent=struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)))
    assert pixels[:, 3, 3].tolist() == [255] * 3
    assert pixels[:, 12, 3].tolist() == [0x12, 0x56, 0x9A]


@pytest.mark.parametrize("colour", [4, 6])
def test_alpha_of_16_bits(tmp_path: Path, colour: int) -> None:
    channels = 2 if colour == 4 else 4
    values = np.full((16, 16, channels), 0x4000, ">u2")
    values[:8, :, -1], values[8:, :, -1] = 0, 0xFFFF
    lines = b"".join(b"\0" + row.tobytes() for row in values)
    pixels = load(tmp_path, png(16, 16, 16, colour, lines))
    assert pixels[:, 3, 3].tolist() == [255] * 3
    assert pixels[:, 12, 3].tolist() == [0x40] * 3


# Pillow's own limits and words


def test_the_limit_of_pixels_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Previously, a limit above Pillow's own had no effect. Pillow's stays as the user has set it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for format in ("PNG", "GIF", "TIFF", "WEBP", "BMP", "JPEG", "AVIF"):
        assert load(tmp_path, content(Image.new("RGB", (60, 50)), format)).shape == (3, 16, 16)
        (tmp_path / "a").write_bytes(content(Image.new("RGB", (60, 50)), format))
        with pytest.raises(UserError, match=r"image\.max_pixels = 2999"):
            load_image(tmp_path / "a", ImageConfig(max_pixels=2999))
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(content(Image.new("RGB", (60, 50)), "WEBP")))


def test_a_png_with_much_text_is_read(tmp_path: Path) -> None:
    """Previously "damaged?": Pillow refuses more than 1 MiB of text."""
    for zipped, number in ((True, 1), (False, 1), (True, 80)):
        info = PngInfo()
        for key in range(number):
            info.add_text(f"workflow{key}", "x" * (3_000_000 if number == 1 else 1_000_000), zip=zipped)
        info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
        assert torch.equal(
            load(tmp_path, content(corners(), "PNG", pnginfo=info)), load(tmp_path, content(corners(), "PNG"))
        )


def test_a_cut_jpeg_is_refused(tmp_path: Path) -> None:
    """Not filled with grey: baseline and progressive, cut anywhere."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for progressive in (False, True):
        data = content(noise, progressive=progressive)
        for share in (0.3, 0.6, 0.9):
            with pytest.raises(UserError):
                load(tmp_path, data[: int(len(data) * share)])
            with pytest.raises(UserError):
                load(tmp_path, data[: int(len(data) * 0.6)] + b"\xff\xd9")


def test_documents_are_refused_politely(tmp_path: Path) -> None:
    for data in (
        b"8BPS\0\1" + bytes(500),
        b"%PDF-1.7\n" + bytes(500),
        b"%!PS-Adobe-3.0 EPSF-3.0\n" + bytes(500),
        b"<svg/>" * 99,
    ):
        with pytest.raises(UserError, match="not a picture"):
            load(tmp_path, data)


def test_decoders_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Previously, libtiff wrote to the terminal, and Pillow warned. What other threads write stays."""
    strips = content(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99), dtype=np.uint8)),
        "TIFF",
        compression="tiff_lzw",
    )
    wrong = bytearray(strips)
    wrong[200:400] = bytes(200)
    stop = threading.Event()
    lines = 0

    def write() -> None:
        nonlocal lines
        while not stop.is_set():
            os.write(2, b"kept\n")
            lines += 1

    thread = threading.Thread(target=write)
    thread.start()
    for data in (bytes(wrong), strips[:3000], b"II*\0" + bytes(300), *list(CORPUS.values())[-15:]):
        for _ in range(3):
            with contextlib.suppress(UserError):
                load(tmp_path, data)
    stop.set()
    thread.join()
    sys.stderr.flush()
    assert capfd.readouterr().err == "kept\n" * lines


# telephones


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(tmp_path: Path, orientation: int) -> None:
    """libheif turns it by the container; the EXIF orientation that stands beside it is not applied again."""
    heif = pytest.importorskip("pillow_heif")
    info = Image.Exif()
    info[274] = orientation
    heif.from_pillow(corners(64, 48)).save(tmp_path / "a.heic", exif=info.tobytes(), quality=95, chroma=444)
    named = content(corners(64, 48), "PNG", exif=info)
    upright = content(by_pillow(named), "PNG")
    pixels = load_image(tmp_path / "a.heic", CONFIG)
    assert (pixels.int() - load(tmp_path, upright).int()).abs().float().mean() < 4
    header = size_of(tmp_path / "a.heic")
    assert header is not None
    assert header.format == "HEIF"


def test_heic_of_10_bits_with_a_profile(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    values = np.full((48, 64, 3), (0xFFFF, 0, 0), np.uint16)
    file = heif.from_bytes(mode="RGB;16", size=(64, 48), data=values.tobytes())
    file.save(tmp_path / "a", quality=95, icc_profile=profile())
    assert np.abs(load_image(tmp_path / "a", CONFIG)[:, 8, 8].numpy() - np.array([0, 0, 255], int)).max() <= 8


def test_heic_without_the_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    with pytest.raises(UserError, match=r"a\.jpg: .*pip install 'plait\[phone\]'") as caught:
        load_image(tmp_path / "a.jpg", CONFIG)
    assert "\n" not in str(caught.value)
    assert size_of(tmp_path / "a.jpg") is None
