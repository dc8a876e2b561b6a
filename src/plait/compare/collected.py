"""Everything that the result of a comparison is made from.

In: nothing; this is a value.
Out: `Collected`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plait.compare.compared import Compared, Settings
from plait.compare.race import RaceRow
from plait.compare.result import Term
from plait.config import RunConfig
from plait.data.manifest import Dataset


@dataclass(frozen=True)
class Collected:
    """The settings, the shared configuration, the data, the arms with their runs, and what a race and matching did."""

    wanted: Settings
    base: RunConfig
    dataset: Dataset
    compared: Sequence[Compared]
    raced: Sequence[RaceRow]
    notes: tuple[str, ...] = ()
    match: Term | None = None
