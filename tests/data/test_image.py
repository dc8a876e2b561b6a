"""Pictures: each kind of file gives the pixels that a person sees, each broken one a message; changes are seeded."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torch import Tensor

from plait.errors import UserError
from plait.modalities.image.prepare import (
    ImageAugmentConfig,
    ImageConfig,
    augment_image,
    load_image,
    normalise_images,
)

CONFIG = ImageConfig(size=32)


def smooth(columns: int = 96, rows: int = 64, seed: int = 0) -> Image.Image:
    """A picture without edges, so that formats that lose detail stay close."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC)


def expected(picture: Image.Image, size: int = 32) -> np.ndarray:
    """The same by Pillow's resize, the reference for anti-aliasing."""
    resized = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized).transpose(2, 0, 1).astype(int)


def difference(pixels: Tensor, picture: Image.Image) -> int:
    return int(np.abs(pixels.numpy().astype(int) - expected(picture, pixels.shape[-1])).max())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# formats


@pytest.mark.parametrize(
    ("format", "tolerance"),
    [("PNG", 1), ("BMP", 1), ("TIFF", 1), ("PPM", 1), ("JPEG", 16), ("WEBP", 16), ("JPEG2000", 1)],
)
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.txt", "a"])
def test_every_format_is_known_by_its_content(tmp_path: Path, format: str, tolerance: int, name: str) -> None:
    smooth().save(tmp_path / name, format)
    pixels = load_image(tmp_path / name, CONFIG)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == torch.uint8
    assert pixels.is_contiguous()
    assert difference(pixels, smooth()) <= tolerance


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    picture = smooth().convert(mode)
    path = tmp_path / ("a.tiff" if mode in ("CMYK", "YCbCr") else "a.png")
    picture.save(path)
    assert difference(load_image(path, CONFIG), picture) <= 1


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_colours(tmp_path: Path, mode: str) -> None:
    picture = smooth().convert(mode)
    picture.save(tmp_path / "a.jpg", quality=95)
    assert difference(load_image(tmp_path / "a.jpg", CONFIG), picture) <= 6


def test_16_bits_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 32 * 32).reshape(32, 32)
    for dtype, name in ((np.uint16, "a.png"), (np.uint16, "a.tiff"), (np.int32, "b.tiff")):
        Image.fromarray(ramp.astype(dtype)).save(tmp_path / name)
        pixels = load_image(tmp_path / name, CONFIG)
        assert np.abs(pixels[0].numpy() - ramp / 257).max() < 1
        assert torch.equal(pixels[0], pixels[2])
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "c.tiff")
    assert np.abs(load_image(tmp_path / "c.tiff", CONFIG)[1].numpy() - ramp / 257).max() < 1
    Image.fromarray(ramp.astype(np.float32)).save(tmp_path / "d.tiff")
    assert "not from 0 to 1" in refusal(tmp_path / "d.tiff")


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (32, 32), (255, 0, 0, 0))  # a hidden red that must not leak
    picture.paste((0, 0, 255, 255), (0, 0, 16, 32))
    picture.save(tmp_path / "a.png")
    pixels = load_image(tmp_path / "a.png", CONFIG)
    assert pixels[:, 0, 0].tolist() == [0, 0, 255]
    assert pixels[:, 0, 31].tolist() == [255, 255, 255]
    assert pixels[1, 0].tolist() == sorted(pixels[1, 0].tolist()), "no red on the edge"
    Image.new("RGBA", (8, 8), (0, 0, 0, 128)).save(tmp_path / "half.png")
    assert load_image(tmp_path / "half.png", CONFIG).unique().tolist() == [127]


def test_a_transparent_palette_colour_is_white(tmp_path: Path) -> None:
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([200, 0, 0, 0, 200, 0] + [0] * 762)
    picture.paste(1, (16, 0, 32, 32))
    picture.save(tmp_path / "a.png", transparency=0)
    pixels = load_image(tmp_path / "a.png", CONFIG)
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]
    assert pixels[:, 0, 31].tolist() == [0, 200, 0]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_a_moving_picture_shows_its_first_frame(tmp_path: Path, format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    frames[0].save(tmp_path / "a", format, save_all=True, append_images=frames[1:])
    red, green, blue = load_image(tmp_path / "a", CONFIG)[:, 5, 5].tolist()
    assert red > 250
    assert green < 5
    assert blue < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_pictures_are_turned_upright(tmp_path: Path, orientation: int, format: str, resize: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    picture = smooth()
    upright = picture.copy()
    upright.getexif()[274] = orientation
    upright = ImageOps.exif_transpose(upright)
    picture.save(tmp_path / "turned", format, exif=exif)
    upright.save(tmp_path / "upright", "PNG", exif=Image.Exif())
    config = ImageConfig.model_validate({"size": 32, "resize": resize})
    turned, right = (load_image(tmp_path / name, config).int() for name in ("turned", "upright"))
    assert (turned - right).abs().max() <= (0 if format in ("PNG", "TIFF") else 16)


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    for exif in (b"", b"MM", b"II*\0\x08\0\0\0", b"MM\0*\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + b"\xee" * 40):
        smooth().save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
        assert difference(load_image(tmp_path / "a.jpg", CONFIG), smooth()) <= 16


def test_the_orientation_of_little_endian_exif_is_read(tmp_path: Path) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0"
    smooth().save(tmp_path / "a.jpg", exif=exif)
    assert difference(load_image(tmp_path / "a.jpg", CONFIG), smooth().rotate(180)) <= 16


# resizing


def test_a_large_jpeg_decoded_small_is_the_picture_decoded_whole(tmp_path: Path) -> None:
    smooth(1600, 1200).save(tmp_path / "a.jpg", quality=95)
    for size in (24, 100, 224):
        assert difference(load_image(tmp_path / "a.jpg", ImageConfig(size=size)), smooth(1600, 1200)) <= 8


def test_fine_detail_is_averaged_not_aliased(tmp_path: Path) -> None:
    board = (np.indices((320, 320)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    pixels = load_image(tmp_path / "a.png", CONFIG)
    assert pixels.min() >= 120
    assert pixels.max() <= 135


@pytest.mark.parametrize(("columns", "rows"), [(96, 32), (32, 96)])
def test_crop_keeps_the_centre_and_pad_keeps_all(tmp_path: Path, columns: int, rows: int) -> None:
    picture = Image.new("RGB", (columns, rows), "#0000ff")
    left, top = (columns - 32) // 2, (rows - 32) // 2
    picture.paste("#ff0000", (left, top, left + 32, top + 32))
    picture.save(tmp_path / "a.png")
    cropped = load_image(tmp_path / "a.png", ImageConfig(size=32, resize="crop"))
    assert torch.equal(cropped, torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None].expand(3, 32, 32))
    padded = load_image(tmp_path / "a.png", ImageConfig(size=30, resize="pad"))
    assert padded[:, 0, 0].tolist() == [124, 116, 104], "the mean colour"
    assert padded[:, 15, 15].tolist() == [255, 0, 0]
    band = padded[:, 1, 15] if rows > columns else padded[:, 15, 1]
    assert band.tolist() == [0, 0, 255], "all of the longer side is there"
    assert normalise_images(padded[None], ImageConfig())[0, :, 0, 0].abs().max() < 0.01


@given(
    columns=st.integers(1, 300),
    rows=st.integers(1, 300),
    size=st.integers(1, 64),
    resize=st.sampled_from(["squash", "crop", "pad"]),
    format=st.sampled_from(["PNG", "JPEG"]),
)
def test_any_shape_fits(
    tmp_path_factory: pytest.TempPathFactory, columns: int, rows: int, size: int, resize: str, format: str
) -> None:
    path = tmp_path_factory.mktemp("shape") / "a"
    Image.new("RGB", (columns, rows), "#408020").save(path, format, quality=100)
    pixels = load_image(path, ImageConfig.model_validate({"size": size, "resize": resize})).int()
    assert pixels.shape == (3, size, size)
    if resize != "pad":
        assert (pixels - torch.tensor([0x40, 0x80, 0x20])[:, None, None]).abs().max() <= 2


def test_a_thread_of_a_picture_needs_no_great_memory(tmp_path: Path) -> None:
    Image.new("L", (60_000, 1)).save(tmp_path / "a.png")
    for resize in ("squash", "crop", "pad"):
        assert load_image(tmp_path / "a.png", ImageConfig.model_validate({"resize": resize})).shape == (3, 64, 64)


# bad files


def refusal(path: Path, config: ImageConfig = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        load_image(path, config)
    assert caught.value.where == str(path)
    return str(caught.value)


def png_header(columns: int, rows: int) -> bytes:
    """A PNG that states a size and holds next to nothing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("side", [8_001, 10_000, 50_000, 2**31 - 1])
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    (tmp_path / "a.png").write_bytes(png_header(side, side))
    refusal(tmp_path / "a.png")


def test_the_limit_of_pixels_holds_for_every_decoder(tmp_path: Path) -> None:
    for format in ("JPEG", "PNG", "GIF"):
        smooth(100, 50).save(tmp_path / "a", format)
        message = refusal(tmp_path / "a", ImageConfig(max_pixels=4999))
        assert "100 × 50 pixels" in message
        assert "max_pixels = 4999" in message
        load_image(tmp_path / "a", ImageConfig(max_pixels=5000))


def test_files_that_are_missing_empty_or_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert "No such file" in refusal(path)
    assert "is a folder" in refusal(tmp_path)
    path.write_bytes(b"")
    assert "the file is empty" in refusal(path)
    for content in (
        b"no picture",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0" + bytes(500),
        bytes(5000),
    ):
        path.write_bytes(content)
        refusal(path)
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    assert "not a picture" in refusal(path), "EPS would run another program"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_picture_is_refused(tmp_path: Path, format: str, kept: float) -> None:
    smooth(200, 200).save(tmp_path / "a", format)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: int(len(content) * kept)])
    refusal(tmp_path / "a")


def test_a_jpeg_damaged_inside_is_refused(tmp_path: Path) -> None:
    smooth(300, 300).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    (tmp_path / "a.jpg").write_bytes(content)
    assert "cannot decode the picture" in refusal(tmp_path / "a.jpg")
    assert "tjDecompress" not in refusal(tmp_path / "a.jpg"), "the name of a function of libjpeg-turbo"


@given(
    noise=st.binary(min_size=1, max_size=60),
    place=st.floats(0, 1),
    format=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: float, format: str
) -> None:
    buffer = io.BytesIO()
    smooth(40, 30).save(buffer, format)
    content = bytearray(buffer.getvalue())
    start = int(place * (len(content) - 1))
    content[start : start + len(noise)] = noise
    path = tmp_path_factory.mktemp("damaged") / "a"
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert load_image(path, CONFIG).shape == (3, 32, 32)


def test_threads_read_alike(tmp_path: Path) -> None:
    smooth(400, 300).save(tmp_path / "a.jpg")
    first = load_image(tmp_path / "a.jpg", CONFIG)
    equal: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: equal.extend(torch.equal(load_image(tmp_path / "a.jpg", CONFIG), first) for _ in range(20))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 80


# normalising


@pytest.mark.parametrize("count", [0, 1, 3])
def test_normalise_is_the_formula(count: int) -> None:
    pixels = torch.randint(0, 256, (count, 3, 5, 7), dtype=torch.uint8)
    mean, std = (np.array(v)[:, None, None] for v in (CONFIG.mean, CONFIG.std))
    normal = normalise_images(pixels, CONFIG)
    assert normal.dtype == torch.float32
    np.testing.assert_allclose(normal.numpy(), (pixels.numpy() / 255 - mean) / std, atol=1e-6)


def test_a_picture_is_normalised_alike_in_any_batch() -> None:
    pixels = torch.randint(0, 256, (5, 3, 9, 9), dtype=torch.uint8)
    assert torch.equal(normalise_images(pixels, CONFIG)[3:4], normalise_images(pixels[3:4], CONFIG))


# augmentation


def test_everything_is_off_by_default() -> None:
    pixels = torch.randint(0, 256, (3, 20, 20), dtype=torch.uint8)
    assert torch.equal(augment_image(pixels, ImageAugmentConfig(), generator()), pixels)


@given(
    crop=st.floats(0.01, 1),
    flip=st.floats(0, 1),
    colours=st.tuples(*[st.floats(0, 1)] * 3),
    hue=st.floats(0, 0.5),
    size=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
def test_any_change_keeps_the_shape_and_is_seeded(
    crop: float, flip: float, colours: tuple[float, float, float], hue: float, size: int, seed: int
) -> None:
    config = ImageAugmentConfig(
        crop=crop, flip=flip, brightness=colours[0], contrast=colours[1], saturation=colours[2], hue=hue
    )
    pixels = torch.randint(0, 256, (3, size, size), dtype=torch.uint8)
    before = pixels.clone()
    changed = augment_image(pixels, config, generator(seed))
    assert changed.shape == pixels.shape
    assert changed.is_contiguous()
    assert torch.equal(changed, augment_image(pixels, config, generator(seed)))
    assert torch.equal(pixels, before), "the loaded picture may be in a cache"


def test_flips_are_as_frequent_as_asked_and_nothing_else() -> None:
    pixels = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    draw, flips = generator(), 0
    for _ in range(1000):
        changed = augment_image(pixels, ImageAugmentConfig(flip=0.25), draw)
        flipped = torch.equal(changed, pixels.flip(2))
        assert flipped or torch.equal(changed, pixels)
        flips += flipped
    assert 200 < flips < 300


def test_a_crop_shows_a_part_of_the_asked_area() -> None:
    ramp = torch.arange(64, dtype=torch.uint8)
    pixels = torch.stack([ramp.repeat(64, 1), ramp[:, None].repeat(1, 64), torch.zeros(64, 64, dtype=torch.uint8)])
    draw = generator()
    areas: list[float] = []
    for _ in range(300):
        changed = augment_image(pixels, ImageAugmentConfig(crop=0.25), draw).int()
        columns, rows = (int(changed[c].max() - changed[c].min()) + 1 for c in (0, 1))
        assert 0.6 <= columns / rows <= 1.6
        areas.append(columns * rows / 64**2)
    assert 0.22 <= min(areas) < 0.35
    assert 0.85 < max(areas) <= 1


def test_colours_change_as_their_names_say() -> None:
    grey = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    red = torch.tensor([200, 40, 40], dtype=torch.uint8)[:, None, None].repeat(1, 4, 4)
    many = [augment_image(grey, ImageAugmentConfig(brightness=0.5), generator(s))[0, 0, 0].item() for s in range(200)]
    assert 50 <= min(many) < 60
    assert 140 < max(many) <= 150
    for config in (ImageAugmentConfig(contrast=1), ImageAugmentConfig(saturation=1), ImageAugmentConfig(hue=0.5)):
        assert (augment_image(grey, config, generator()).int() - 100).abs().max() <= 1, "an even grey stays as it is"
    faded = [augment_image(red, ImageAugmentConfig(saturation=1), generator(s)).int() for s in range(50)]
    spread = [int(f[0, 0, 0] - f[1, 0, 0]) for f in faded]
    assert min(spread) < 20
    assert max(spread) > 200
    turned = [augment_image(red, ImageAugmentConfig(hue=0.5), generator(s)).int()[:, 0, 0] for s in range(50)]
    assert {int(t.argmax()) for t in turned} == {0, 1, 2}, "half a turn either way reaches every colour"
