"""Pictures: photographs, drawings, scans, one or several for each input.

In: a file known by its content, or its bytes.
Out: normalised pixels `(3, size, size)`; features of a convolutional network or a Vision Transformer.
Invariant: see `plait.modalities.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from plait.choices import one_of
from plait.modalities.base import Facts, Field, FieldError, First, Item, Modality, Parts, listed, path_of
from plait.modalities.image.alexnet import AlexNetConfig
from plait.modalities.image.convnet import ConvNetConfig
from plait.modalities.image.damage import Blur, Jpeg, Occlusion
from plait.modalities.image.decoding.decode import Header, size_of
from plait.modalities.image.first import first_of
from plait.modalities.image.prepare import ImageConfig, ImagePreparer, load_image
from plait.modalities.image.resnet import ResNetConfig
from plait.modalities.image.vgg import VGGConfig
from plait.modalities.image.view import image_view, small_picture
from plait.modalities.image.vit import ViTConfig
from plait.modalities.view import Seen, Small, View

if TYPE_CHECKING:
    ImageEncoderConfig = ConvNetConfig | ResNetConfig | ViTConfig | AlexNetConfig | VGGConfig
else:
    ImageEncoderConfig = one_of("image encoder", ConvNetConfig, ResNetConfig, ViTConfig, AlexNetConfig, VGGConfig)


PHONE = (".heic", ".heif", ".hif")
"""Suffixes of what the extra `[phone]` reads."""


class Image(Modality):
    """See the module."""

    name = "image"
    one, many = "picture", "pictures"
    Options = ImageConfig
    encoder_axis = "image encoder"
    encoders = ImageEncoderConfig
    other_names = ("picture", "photo", "img", "image_path", "file_name", "filename")
    holds = "the path of one picture, or a list of paths"
    damages = (Blur, Occlusion, Jpeg)
    hue = ("#ff7f0e", "#ffa04d")
    remarks: ClassVar[Mapping[str, str]] = {
        "constant": "pictures of one colour all over (what is transparent is read as white)"
    }
    suffixes = (
        *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
        *(".jpe", ".jfif", ".dib", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".pcx", ".qoi"),
        *PHONE,
    )
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "PNG": (".png",),
        "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
        "MPO": (".jpg", ".jpeg", ".mpo"),
        "GIF": (".gif",),
        "BMP": (".bmp", ".dib"),
        "WEBP": (".webp",),
        "TIFF": (".tif", ".tiff"),
        "HEIF": PHONE,
        "AVIF": (".avif", ".avifs"),
    }
    """By the names that Pillow gives."""
    troubles: ClassVar[Mapping[str, str]] = {"a picture of": "too-large"}
    packages: ClassVar[Mapping[str, tuple[str, ...]]] = {"pillow_heif": PHONE}
    unit = "pictures"
    prepared_by = (
        "plait.modalities.image.prepare",
        *(
            f"plait.modalities.image.decoding.{name}"
            for name in ("colour", "decode", "exif", "jpeg", "pixels", "png", "tiff")
        ),
    )

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """One picture or several; a text that is a JSON list is that list."""
        try:
            return tuple(path_of(name, field) for name in listed(value))
        except TypeError:
            right = "Give the path of one picture, or a list of paths."
            raise FieldError("type", f"{field.name} {field.shown(value)} is not a path", right=right) from None

    def preparer(self, options: ImageConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> ImagePreparer:
        """See the base."""
        return ImagePreparer(options)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Any:
        """The encoder, perhaps with published weights."""
        return config.build(width, read_weights=parts.read_weights)

    def view(self, value: Tensor, seen: Seen) -> View:
        """See `view.py`."""
        return image_view(value, seen)

    def small(self, item: Item) -> Small:
        """See `view.py`."""
        return small_picture(item)  # pyright: ignore[reportArgumentType]

    def look(self, item: Item, options: ImageConfig) -> Facts:
        """Its size, its format, and whether it is of one colour."""
        # borders that padding adds would hide that a picture is constant
        pixels = load_image(item, options.model_copy(update={"resize": "squash"}))  # pyright: ignore[reportArgumentType]
        header = size_of(item) or Header("", 0, 0)  # pyright: ignore[reportArgumentType]
        constant = bool((pixels == pixels[:, :1, :1]).all())
        sizes = {"width": ("pixels", float(header.columns)), "height": ("pixels", float(header.rows))}
        return Facts(1, sizes, header.format, {"constant": ""} if constant else {})

    def first(self, items: Sequence[Item]) -> First:
        """See `plait.modalities.image.first`."""
        return first_of(items)
