"""The product of `plait explain --curves`: scores at every level of every kind of damage, and the areas under them.

In: figures.
Out: plain data for JSON, and `RUN/explain/SPLIT[@manifest]-curves.json`.
Invariant: the file is whole or not there; what has no value is null and a note says why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from plait.evaluate.measured import mark
from plait.evaluate.statistics import Figure
from plait.explain.result import FOLDER
from plait.modalities.damage import Kind
from plait.run import replacing

FORMAT = 1


@dataclass(frozen=True)
class Line:
    """One metric of one segment along one curve.

    `values` and `differences` (value − clean, the same samples resampled together) follow the curve's levels. `area`: the mean of
    the piecewise linear curve over its axis, with the interval of the whole curve resampled at once.
    """

    clean: Figure
    values: tuple[Figure, ...]
    differences: tuple[Figure, ...]
    area: Figure


@dataclass(frozen=True)
class Curve:
    """The scores of the n samples that have the input, from clean to the harshest level."""

    kind: Kind
    n: int
    segments: Mapping[str, Mapping[str, Line]]
    """Segment → metric → line; the segment's first metric is its score."""

    @property
    def title(self) -> str:
        """`audio: babble`."""
        return f"{self.kind.modality}: {self.kind.name}"


@dataclass(frozen=True)
class Curves:
    """A run's curves on n of the `num_rows` samples of a split. `clean`: segment → metric → figure over all n.

    `manifest`, `step`: as in `plait.explain.Explanation`.
    """

    split: str
    n: int
    num_rows: int
    seed: int
    confidence: float
    clean: Mapping[str, Mapping[str, Figure]]
    curves: tuple[Curve, ...]
    definitions: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()
    manifest: str | None = None
    step: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"format": FORMAT, **asdict(self)}

    def write(self, run: Path) -> Path:
        """`RUN/explain/SPLIT[@manifest]-curves.json`."""
        path = run / FOLDER / f"{self.split}{mark(self.manifest)}-curves.json"
        with replacing(path) as part:
            text = json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1)
            part.write_text(text + "\n", encoding="utf-8", newline="\n")
        return path


def area_weights(kind: Kind) -> Float[np.ndarray, " points"]:
    """What each point counts in the area, the clean one first: the trapezoid rule over the axis, divided by its range.

    Where the clean point has no place on the axis (an infinite SNR) its weight is 0.
    """
    if kind.clean is None:
        return np.append(0.0, trapezoid(np.array(kind.levels)))
    return trapezoid(np.array([kind.clean, *kind.levels]))


def trapezoid(points: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """Weights that sum to 1; the points rise or fall."""
    gaps = np.abs(np.diff(points))
    return (np.append(gaps, 0.0) + np.append(0.0, gaps)) / (2 * gaps.sum())
