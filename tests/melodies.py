"""A modality that is defined in tests alone: little melodies, lists of notes from 0 to 127, or files `.notes`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field as Limits
from torch import Tensor, nn

from plait.choices import KINDS, Config, one_of
from plait.errors import UserError
from plait.modalities import Modality
from plait.modalities.base import Facts, Field, FieldError, Item, Parts, Preparer, listed, stacked
from plait.modalities.encoder import Encoder, length_mask, zero_masked
from plait.modalities.view import Seen, Small, View, each_alone
from plait.types import Features, Items


class MelodyConfig(Config):
    """How melodies are read."""

    max_notes: int = Limits(default=16, ge=1)


class MelodyEncoderConfig(Config):
    """A vector for each note."""

    kind: Literal["notes"] = "notes"

    def build(self, width: int) -> MelodyEncoder:
        """The encoder."""
        return MelodyEncoder(width)


class MelodyEncoder(Encoder):
    """See the configuration."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.notes = nn.Embedding(128, width)

    def forward(self, items: Items) -> Features:
        """One token for each note."""
        mask = length_mask(items.lengths, items.values.shape[1])
        return Features(zero_masked(self.notes(items.values), mask), mask)

    def num_tokens(self, *size: int) -> int:
        """One for each note."""
        return size[0]


def notes_of(item: Item) -> tuple[int, ...]:
    """The notes of a melody; `UserError` for what is none."""
    notes: Any = item
    if isinstance(item, Path):
        try:
            notes = tuple(json.loads(item.read_text(encoding="utf-8")))
        except ValueError:
            raise UserError("not a melody", where=str(item), right="Write a list of notes: [60, 62]") from None
    for note in notes:
        if not 0 <= note <= 127:
            raise UserError(f"the note {note} is finite, but none", where=str(item), right="From 0 to 127.")
    return notes


class MelodyPreparer(Preparer):
    """Notes as they are."""

    cost = 1.0
    dtype = torch.long

    def __init__(self, options: MelodyConfig) -> None:
        self.options, self.longest = options, options.max_notes

    @property
    def preparation(self) -> str:
        """See the base."""
        return "notes" + self.options.model_dump_json()

    def decode(self, item: Item) -> Tensor:
        """The notes."""
        return torch.tensor(notes_of(item)[: self.longest], dtype=torch.long)

    def is_cut(self, item: Item) -> bool:
        """Whether there are more notes than are read."""
        return len(notes_of(item)) > self.longest

    def length(self, item: Item) -> int:
        """Its notes, as far as they are read."""
        return min(len(notes_of(item)), self.longest)

    def collate(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Padded with 0."""
        lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
        return stacked(values, torch.zeros(1, dtype=torch.long)), lengths

    def shape(self, length: int) -> tuple[int, ...]:
        """`(notes,)`."""
        return (length,)


class Melody(Modality):
    """See the module."""

    name, one, many, unit = "notes", "melody", "melodies", "notes"
    Options = MelodyConfig
    encoder_axis = "notes encoder"
    encoders = one_of("notes encoder", MelodyEncoderConfig)
    suffixes = (".notes",)
    remarks: ClassVar[Mapping[str, str]] = {"monotone": "melodies of one note"}
    formats: ClassVar[Mapping[str, tuple[str, ...]]] = {"JSON": (".notes",)}

    def items(self, value: Any, field: Field) -> tuple[Item, ...]:
        """A list of notes, or a file."""
        notes = listed(value)
        if len(notes) == 1 and isinstance(notes[0], str):
            return (field.find(notes[0]),)
        if not all(isinstance(note, int) for note in notes):
            raise FieldError("type", f"{field.name} {field.shown(value)} is not a melody", right="Write [60, 62].")
        return (tuple(notes),)

    def preparer(self, options: Any, encode: Callable[[str], Sequence[int]], pad_id: int) -> MelodyPreparer:
        """See the base."""
        return MelodyPreparer(options)

    def build_encoder(self, config: Any, width: int, parts: Parts) -> MelodyEncoder:
        """See the base."""
        return config.build(width)

    def look(self, item: Item, options: Any) -> Facts:
        """How many notes it has, and whether they are all one."""
        notes = notes_of(item)
        odd = {"monotone": f"(all {notes[0]})"} if len(notes) > 1 and len(set(notes)) == 1 else {}
        return Facts(len(notes), {"": ("notes", float(len(notes)))}, "JSON" if isinstance(item, Path) else "", odd)

    def view(self, value: Tensor, seen: Seen) -> View:
        """A token for each note."""
        labels = tuple(f"note {place + 1}" for place in range(len(value)))
        return View("words", (len(labels),), labels, each_alone(len(labels)), "one note")

    def small(self, item: Item) -> Small:
        """The notes."""
        return Small("text", text=str(notes_of(item)))


KINDS.pop("notes encoder")  # the axes of Plait's own stay what they are for other tests
