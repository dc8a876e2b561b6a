"""How often `plait explain` calls a modality used where no modality says anything: false alarms on shuffled answers.

In: the data of a task, and how many repetitions.
Out: the repetitions in which any modality was called used, and the exact 95 % interval of their share.
Invariant: every repetition shuffles the answers of each split anew, trains its own small model and asks `explain` as a user would.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.config import RunConfig, make_config
from plait.explain import explain
from plait.files import split_lines
from plait.seeds import numpy_generator
from plait.train import fit
from plait.train.fit import read_data

CONFIDENCE = 0.95


@dataclass(frozen=True)
class FalseAlarms:
    """`repetitions`: what was called used in each, usually nothing."""

    repetitions: tuple[tuple[str, ...], ...]

    @property
    def number(self) -> int:
        """Repetitions with any false alarm."""
        return sum(bool(found) for found in self.repetitions)

    @property
    def interval(self) -> tuple[float, float]:
        """The exact binomial interval of the share (Clopper and Pearson 1934)."""
        from scipy.stats import binomtest

        found = binomtest(self.number, len(self.repetitions)).proportion_ci(CONFIDENCE, method="exact")
        return float(found.low), float(found.high)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        low, high = self.interval
        return {
            "number": self.number,
            "repetitions": len(self.repetitions),
            "share": self.number / len(self.repetitions),
            "low": low,
            "high": high,
        }


def false_alarms(
    manifest: Path, number: int, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, of: None
) -> FalseAlarms:
    """So many repetitions on the rows of `manifest`."""
    rows = [json.loads(line) for line in split_lines(manifest.read_text(encoding="utf-8"))]
    found = []
    for repetition in range(number):
        found.append(one_repetition(rows, manifest, seed, repetition))
        progress(repetition + 1, number)
    return FalseAlarms(tuple(found))


def one_repetition(rows: Sequence[dict[str, Any]], manifest: Path, seed: int, repetition: int) -> tuple[str, ...]:
    """The modalities that are called used for shuffled answers."""
    with tempfile.TemporaryDirectory(prefix=".shuffled-", dir=manifest.parent) as name:
        path = manifest.parent / f"{Path(name).name}.jsonl"
        try:
            path.write_text(
                "".join(json.dumps(row) + "\n" for row in shuffled(rows, seed, repetition)),
                encoding="utf-8",
                newline="\n",
            )
            run = fit(chance_config(path, repetition), Path(name) / "run").run
            explained = explain(run, read_data(run.config).samples, split="test", seed=repetition, batch_size=200)
        finally:
            path.unlink(missing_ok=True)
    return tuple(m for m, used in explained.used.items() if used)


def shuffled(rows: Sequence[dict[str, Any]], seed: int, repetition: int) -> list[dict[str, Any]]:
    """The rows with the targets of each split in random order."""
    found = [dict(row) for row in rows]
    for split in ("train", "tune", "test"):
        places = [place for place, row in enumerate(rows) if row["split"] == split]
        order = numpy_generator(seed, "shuffled answers", repetition, split).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            found[place]["target"] = rows[places[other]]["target"]
    return found


def chance_config(manifest: Path, seed: int) -> RunConfig:
    """A model of a few seconds."""
    return make_config(
        {
            "data": {"manifest": str(manifest), "image": {"size": 16}, "workers": 0},
            "width": 16,
            "encoders": {
                "image": {"kind": "vit", "layers": 1, "num_heads": 2, "patch": 4},
                "text": {"kind": "transformer", "layers": 0, "dropout": 0.0},
            },
            "lm": {"kind": "transformer", "layers": 2, "num_heads": 2},
            "train": {
                "steps": 40,
                "batch_size": 32,
                "learning_rate": 3e-3,
                "modality_subsets": 0.4,
                "dtype": "fp32",
                "attention": "math",
                "matmul": "highest",
                "device": "cpu",
                "threads": 1,
                "evaluate_every": None,
                "log_every": 20,
            },
            "evaluate": {"num_resamples": 500},
            "seed": seed,
        },
        where="lab",
    )
