"""Tiny data on the disk: coloured pictures, tones and sentences, for tests that go the whole way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 230), "white": (250, 250, 250)}
PITCHES = {"low": 200.0, "high": 1200.0}


def draw(path: Path, colour: str, side: int = 32) -> str:
    """A picture of one colour with a darker square."""
    pixels = np.full((side, side, 3), COLOURS[colour], np.uint8)
    pixels[side // 4 : side // 2, side // 4 : side // 2] //= 2
    Image.fromarray(pixels).save(path)
    return path.name


def sing(path: Path, pitch: str, seconds: float = 0.3) -> str:
    """A tone."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * PITCHES[pitch] * time), 16_000)
    return path.name


def make_folder(folder: Path, number: int = 24) -> Path:
    """Pictures and recordings with same-named .txt files."""
    folder.mkdir(parents=True, exist_ok=True)
    for row in range(number):
        colour, pitch = list(COLOURS)[row % 4], list(PITCHES)[row % 2]
        draw(folder / f"{row:02}.png", colour)
        sing(folder / f"{row:02}.wav", pitch, 0.2 + 0.01 * row)
        (folder / f"{row:02}.txt").write_text(f"a {colour} square with a {pitch} tone", encoding="utf-8")
    return folder


def make_manifest(folder: Path, number: int = 24) -> Path:
    """Rows with every subset of text, image and audio, two segments, and all three splits."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for row in range(number):
        colour, pitch = list(COLOURS)[row % 4], list(PITCHES)[row % 2]
        split = "test" if row % 6 == 5 else "tune" if row % 6 == 4 else "train"
        target = {"heard": f"a {pitch} tone.", "answer": colour}
        values: dict[str, Any] = {"id": f"row{row}", "split": split, "target": target}
        if row % 8 & 1 == 0:
            values["image"] = draw(folder / f"{row}.png", colour)
        if row % 8 & 2 == 0:
            values["audio"] = sing(folder / f"{row}.wav", pitch, 0.2 + 0.01 * row)
        if row % 8 & 4 == 0:
            values["text"] = f"which colour, and which tone? number {row % 3}"
        rows.append(values)
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tiny_tree(manifest: Path, **parts: Any) -> dict[str, Any]:
    """The smallest run over it; `parts` replace sections."""
    return {
        "data": {"manifest": str(manifest), "image": {"size": 32}, "workers": 0},
        "width": 16,
        "encoders": {
            "text": {"kind": "transformer", "layers": 1, "num_heads": 2},
            "image": {"kind": "vit", "layers": 1, "num_heads": 2, "patch": 8},
            "audio": {"kind": "transformer", "layers": 1, "num_heads": 2},
        },
        "lm": {"kind": "transformer", "layers": 2, "num_heads": 2},
        "train": {
            "steps": 2,
            "batch_size": 8,
            "dtype": "fp32",
            "matmul": "highest",
            "attention": "math",
            "device": "cpu",
            "threads": 1,
            "evaluate_every": 2,
        },
        "evaluate": {"num_resamples": 100},
        "generate": {"max_tokens": 6},
        **parts,
    }
