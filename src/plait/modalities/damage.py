"""What every kind of damage says of itself, and what it is made from.

In: the seed, the rows of the split, and a way to what they hold.
Out: `Kind`: name, levels and definition; `Damage`: one kind at one level, ready to be given to a `Preprocessor`.
Invariant: what is random about a sample's damage is drawn from (seed, kind, sample, place) and is the same at every level, which
only scales it; so a curve is paired with itself, and a sample's damage does not depend on what else is measured.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from plait.seeds import torch_generator
from plait.types import Sample


@dataclass(frozen=True)
class Kind:
    """One kind of damage. `levels` go from mild to harsh on `axis`; `clean`: where no damage stands on it, None if nowhere.

    `modality`: what it damages; in a curve the input.
    """

    name: str
    modality: str
    axis: str
    levels: tuple[float, ...]
    clean: float | None
    definition: str


@dataclass(frozen=True)
class Source:
    """What damage is made from: the seed, the rows of the split that have the input, and what their items hold, clean.

    `input`: the name of the input; `untouched` collects what could not be done: kind and reason → the ids of the samples.
    """

    seed: int
    samples: Sequence[Sample] = ()
    decoded: Callable[[Hashable], Tensor] | None = None
    input: str = ""
    untouched: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def note(self, kind: Kind, reason: str, sample: Sample) -> None:
        """Remember that a sample was not, or not wholly, damaged."""
        self.untouched.setdefault((kind.name, reason), set()).add(sample.id)

    def generator(self, kind: Kind, sample: Sample, place: int) -> torch.Generator:
        """The draws of one item: the same for every level."""
        names = (kind.name,) if self.input in ("", kind.modality) else (kind.name, self.input)
        return torch_generator(self.seed, "curve", *names, sample.id, place)


@dataclass(frozen=True)
class Damage(ABC):
    """One kind at one level, of one input: the `Corruption` that a preprocessor takes."""

    kind: ClassVar[Kind]
    level: float
    source: Source

    @property
    def input(self) -> str:
        """The input that it damages."""
        return self.source.input or self.kind.modality

    @abstractmethod
    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor:
        """The damaged wave or pixels; `decoded` stays as it is."""
