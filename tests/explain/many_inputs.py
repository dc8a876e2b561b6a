"""Small runs of many inputs with names of one's own: words, and pictures of one colour, that say bits of the target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tiny_data import tiny_tree

NAMES = ("before", "after", "type", "values", "train", "left_eye", "float", "items")
"""Some are attributes of modules."""
WORDS = ("red", "green")


def manifest(folder: Path, kinds: dict[str, str], number: int = 96) -> Path:
    """Rows with a drawn bit in every input; the answer is the first two bits. Every eighth row lacks an input."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for bit, colour in enumerate(((220, 30, 30), (30, 200, 60))):
        Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(folder / f"{WORDS[bit]}.png")
    rows: list[dict[str, Any]] = []
    for row in range(number):
        bits = dict(zip(kinds, rng.integers(2, size=len(kinds)).tolist(), strict=True))
        values = {n: WORDS[bit] + (".png" if kinds[n] == "image" else "") for n, bit in bits.items()}
        if row % 8 == 7:
            del values[list(kinds)[row // 8 % len(kinds)]]
        first, second, *_ = bits.values()
        split = ("train", "tune", "test")[row % 3]
        rows.append(
            {"id": f"row{row}", "split": split, **values, "target": {"answer": f"{WORDS[first]} {WORDS[second]}"}}
        )
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tree_of(folder: Path, kinds: dict[str, str], *, rows: int = 96, **train: Any) -> dict[str, Any]:
    """The configuration of a run over it."""
    tree = tiny_tree(manifest(folder, kinds, rows))
    tree["data"] |= {"inputs": kinds, "image": {"size": 16}}
    tree["encoders"] = {"text": {"kind": "transformer", "layers": 0}, "image": {"kind": "vit", "layers": 1, "patch": 8}}
    tree["encoders"]["image"]["num_heads"] = 2
    tree["train"] |= {"modality_subsets": 0.5, "modality_dropout": 0.5, **train}
    tree["generate"] = {"max_tokens": 3}
    return tree


def fitted(folder: Path, kinds: dict[str, str], *, rows: int = 96, **train: Any) -> Path:
    """The folder of a trained run."""
    from plait.config import make_config
    from plait.train import fit

    fit(make_config(tree_of(folder / "data", kinds, rows=rows, **train)), folder / "run")
    return folder / "run"
