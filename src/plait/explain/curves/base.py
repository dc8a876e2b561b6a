"""What every kind of damage says of itself, and what it is made from.

In: the seed, the rows of the split, and a way to their recordings.
Out: `Kind`: name, levels and definition; `Damage`: one kind at one level, ready to be given to a `Preprocessor`.
Invariant: what is random about a sample's damage is drawn from (seed, kind, sample, place) and is the same at every level, which
only scales it; so a curve is paired with itself, and a sample's damage does not depend on what else is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from plait.seeds import torch_generator
from plait.types import Sample


@dataclass(frozen=True)
class Kind:
    """One kind of damage. `levels` go from mild to harsh on `axis`; `clean`: where no damage stands on it, None if nowhere."""

    name: str
    modality: str
    axis: str
    levels: tuple[float, ...]
    clean: float | None
    definition: str


@dataclass(frozen=True)
class Source:
    """What damage is made from: the seed, the rows of the split and their clean recordings.

    `untouched` collects what could not be done: kind and reason → the ids of the samples.
    """

    seed: int
    samples: Sequence[Sample] = ()
    wave: Callable[[Path], Tensor] | None = None
    untouched: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def note(self, kind: Kind, reason: str, sample: Sample) -> None:
        """Remember that a sample was not, or not wholly, damaged."""
        self.untouched.setdefault((kind.name, reason), set()).add(sample.id)

    def generator(self, kind: Kind, sample: Sample, place: int) -> torch.Generator:
        """The draws of one item: the same for every level."""
        return torch_generator(self.seed, "curve", kind.name, sample.id, place)


@dataclass(frozen=True)
class Damage(ABC):
    """One kind at one level: the `Corruption` that a preprocessor takes."""

    kind: ClassVar[Kind]
    level: float
    source: Source

    @property
    def modality(self) -> str:
        """What it damages."""
        return self.kind.modality

    @abstractmethod
    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor:
        """The damaged wave or pixels; `decoded` stays as it is."""
