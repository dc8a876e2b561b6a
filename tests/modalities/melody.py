"""A modality of its own, defined outside of Plait: little melodies as lists of notes, `[[pitch, beats], …]`.

It proves the door: whatever Plait does with an input it does with this one, and nothing in `src` knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Option
from torch import Tensor, nn

from plait.choices import KINDS, Config, one_of
from plait.modalities import MODALITIES, register
from plait.modalities.base import Facts, Field, FieldError, Item, Modality, Parts, Preparer, listed, stacked
from plait.modalities.damage import Damage, Kind
from plait.modalities.encoder import Encoder, length_mask, sine_positions, zero_masked
from plait.modalities.view import Seen, Small, View, each_alone
from plait.types import Features, Items, Sample


class MelodyAugmentConfig(Config):
    """In training all pitches move by up to so many semitones."""

    transpose: int = Option(default=0, ge=0, le=12)


class MelodyConfig(Config):
    """How melodies are read."""

    max_notes: int = Option(default=64, ge=1)
    augment: MelodyAugmentConfig = MelodyAugmentConfig()


class MelodyPreparer(Preparer):
    """Notes as `(N, 2)`: the pitch in octaves from middle C, the beats."""

    cost = 4.0

    def __init__(self, options: MelodyConfig) -> None:
        self.options, self.longest = options, options.max_notes
        self.changes_value = options.augment.transpose > 0

    @property
    def preparation(self) -> str:
        return f"melody {self.options.max_notes}"

    def decode(self, item: Item) -> Tensor:
        notes = torch.tensor(item, dtype=torch.float32)[: self.options.max_notes]
        return torch.stack([(notes[:, 0] - 60) / 12, notes[:, 1]], dim=1)

    def change_value(self, value: Tensor, generator: torch.Generator) -> Tensor:
        span = self.options.augment.transpose
        by = int(torch.randint(-span, span + 1, (), generator=generator))
        return value + torch.tensor([by / 12, 0.0])

    def collate(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return stacked(values, torch.zeros(1, 2)), torch.tensor([len(value) for value in values], dtype=torch.long)

    def length(self, item: Item) -> int:
        assert isinstance(item, tuple)
        return min(len(item), self.options.max_notes)

    def is_cut(self, item: Item) -> bool:
        assert isinstance(item, tuple)
        return len(item) > self.options.max_notes

    def shape(self, length: int) -> tuple[int, ...]:
        return (length, 2)

    def decoded_bytes(self, length: int) -> int:
        return 8 * length


class NotesConfig(Config):
    """A linear layer over the notes, and their places."""

    kind: Literal["notes"] = "notes"

    def build(self, width: int) -> Notes:
        return Notes(width)


class Notes(Encoder):
    """See its configuration."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(2, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))

    def forward(self, items: Items) -> Features:
        mask = length_mask(items.lengths, items.values.shape[1])
        places = torch.arange(items.values.shape[1], dtype=torch.float32)
        values = self.layers(items.values) + 0.1 * sine_positions(places, self.width)
        return Features(zero_masked(values, mask), mask)

    def num_tokens(self, *size: int) -> int:
        (notes,) = size
        return notes


class Flattened(Damage):
    """All notes drawn towards middle C."""

    kind: ClassVar[Kind] = Kind("flattened", "melody", "share", (0.25, 0.5, 1.0), 0.0, "pitches nearer to middle C")

    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor:
        return decoded * torch.tensor([1 - self.level, 1.0])


class Melody(Modality):
    """See the module."""

    name = "melody"
    one, many = "melody", "melodies"
    Options = MelodyConfig
    encoder_axis = "melody encoder"
    encoders = one_of("melody encoder", NotesConfig)
    other_names = ("tune", "notes")
    holds = "a list of notes"
    remarks: ClassVar[Mapping[str, str]] = {"monotone": "melodies of one pitch"}
    prepared_by = (__name__,)
    damages = (Flattened,)
    hue = ("#9467bd", "#bb96dd")

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        notes = listed(value)
        try:
            return (tuple((float(pitch), float(beats)) for pitch, beats in notes),)
        except (TypeError, ValueError):
            what = f"{field.name} {field.shown(value)} is no melody"
            raise FieldError("type", what, right="Give a list of notes: [[60, 1], [64, 0.5]].") from None

    def preparer(self, options: MelodyConfig, encode: Callable[[str], Sequence[int]], pad_id: int) -> MelodyPreparer:
        return MelodyPreparer(options)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> Encoder:
        return config.build(width)

    def look(self, item: Item, options: MelodyConfig) -> Facts:
        assert isinstance(item, tuple)
        odd = {"monotone": ""} if len({pitch for pitch, _ in item}) == 1 else {}
        return Facts(len(item), {"": ("notes", float(len(item)))}, remarks=odd)

    def view(self, value: Tensor, seen: Seen) -> View:
        labels = tuple(f"note {place + 1}" for place in range(len(value)))
        return View("words", (len(labels),), labels, each_alone(len(labels)), "one note")

    def small(self, item: Item) -> Small:
        return Small("text", text=self.told(item))

    def told(self, item: Item) -> str:
        assert isinstance(item, tuple)
        return " ".join(f"{pitch:g}/{beats:g}" for pitch, beats in item)


if __name__ == "modalities.melody":  # as a user's own module it stays known
    KINDS.pop(Melody.encoder_axis)


@contextmanager
def registered() -> Iterator[None]:
    """Melodies are known inside the block."""
    KINDS[Melody.encoder_axis] = {"notes": NotesConfig}
    register(Melody())
    try:
        yield
    finally:
        del MODALITIES[Melody.name], KINDS[Melody.encoder_axis]
