"""Series on the disk: two classes of sines, as lists and as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from plait.modalities import MODALITIES
from plait.modalities.base import Field

SERIES = MODALITIES["series"]


def field_in(folder: Path) -> Field:
    """The field of a manifest in this folder."""
    return Field("series", repr, lambda name: folder / name)


def wave(number: int, *, channels: int = 2) -> np.ndarray:
    """A slow or a fast sine with an offset, and noise in the other channels; every fifth has a gap."""
    draws = np.random.default_rng(number)
    steps = 40 + number % 7
    time = np.arange(steps)
    values = draws.normal(size=(steps, channels))
    values[:, 0] = 7 + 3 * np.sin(2 * np.pi * time * (0.05 if number % 2 else 0.15) + draws.uniform(0, 6))
    if number % 5 == 0:
        values[10:14, 0] = np.nan
    return values


def as_list(values: np.ndarray) -> list[list[float | None]]:
    """Rows as JSON writes them."""
    return [[None if np.isnan(one) else float(one) for one in row] for row in values]


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """A manifest."""
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sines(folder: Path, number: int = 40) -> Path:
    """A manifest whose series stand in files for two rows of three, in lists for the third."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for row in range(number):
        values = wave(row)
        field: Any = as_list(values)
        if row % 3:
            field = f"{row}.npy"
            np.save(folder / field, values)
        split = "test" if row >= number - 10 else "tune" if row >= number - 14 else "train"
        rows.append({"id": f"r{row}", "series": field, "target": "slow" if row % 2 else "fast", "split": split})
    return write_rows(folder, rows)


def tree_of(manifest: Path, **parts: Any) -> dict[str, Any]:
    """A small run over it; `parts` go into the section of their name."""
    tree: dict[str, Any] = {
        "data": {"manifest": str(manifest), "inputs": ["series"], "workers": 0},
        "width": 32,
        "encoders": {"series": {"kind": "transformer", "layers": 1, "num_heads": 2, "dropout": 0}},
        "lm": {"kind": "transformer", "layers": 1, "num_heads": 2, "dropout": 0},
        "train": {
            "steps": 40,
            "batch_size": 8,
            "learning_rate": 0.005,
            "warmup": 5,
            "dtype": "fp32",
            "matmul": "highest",
            "attention": "math",
            "device": "cpu",
            "threads": 1,
        },
    }
    for name, part in parts.items():
        tree[name] = {**tree.get(name, {}), **part} if isinstance(part, dict) else part
    return tree
