"""A task of known truth as an ordinary manifest with its files.

In: a task, sizes, a seed, a folder that is not there yet (or that holds the same data).
Out: `manifest.jsonl` with `pictures/` and `sounds/`; for each modality a lesson, `image.jsonl`: the same rows with that modality
alone and its own bit as the answer; and `recipe.json`: how it was made.
Invariant: the same task, sizes and seed give the same bytes; the folder is there whole or not at all. In every split each case
of the joint distribution occurs as often as it is probable, to within one row: labels add no sampling error.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plait.errors import UserError
from plait.lab import carriers
from plait.lab.truth import ANSWERS, Outcome, Task
from plait.seeds import numpy_generator

MANIFEST, RECIPE = "manifest.jsonl", "recipe.json"
SPLITS = ("train", "tune", "test")
VERSION = 2
"""Of the carriers and of this file: data of another version are not taken for the same."""
Progress = Callable[[int, int], None]
"""Told how many rows are done, and how many there are."""


@dataclass(frozen=True)
class LabSize:
    """Rows of each split."""

    train: int = 3000
    tune: int = 400
    test: int = 800


def size_of(task: Task) -> LabSize:
    """Rows enough to learn the task; where something is to be learnt slowly, so few that the rare cases are a few dozen."""
    return LabSize(1000, 200, 600) if task.slow else LabSize()


def make_task_data(
    task: Task, folder: Path, *, size: LabSize | None = None, seed: int = 0, progress: Progress = lambda done, of: None
) -> Path:
    """Write the task's data, or find them there; the path of the manifest."""
    size = size or size_of(task)
    recipe = {"version": VERSION, "task": task.name, "joint": task.joint, "size": asdict(size), "seed": seed}
    recipe_text = json.dumps(recipe, indent=1)
    if folder.exists() and any(folder.iterdir()):
        if read_text(folder / RECIPE) == recipe_text:
            return folder / MANIFEST
        raise UserError(f"{folder} holds something else", right="Name a folder that is not there yet.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
            making = Path(name) / "data"
            making.mkdir()
            write_rows(task, making, size=size, seed=seed, progress=progress)
            (making / RECIPE).write_text(recipe_text, encoding="utf-8", newline="\n")
            making.rename(folder)
    except OSError as error:
        raise UserError(f"the data could not be written: {error.strerror or error}", where=str(folder)) from error
    return folder / MANIFEST


def read_text(path: Path) -> str | None:
    """What a file says; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None


def by_probability(joint: tuple[Outcome, ...], number: int, generator: np.random.Generator) -> list[Outcome]:
    """So many outcomes in random order, each as often as it is probable; rows left over go to the largest remainders."""
    exact = np.array([outcome.probability * number for outcome in joint])
    counts = np.floor(exact + 1e-9).astype(int)
    left = number - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    found = [outcome for outcome, count in zip(joint, counts, strict=True) for _ in range(count)]
    return [found[place] for place in generator.permutation(number)]


def write_rows(task: Task, folder: Path, *, size: LabSize, seed: int, progress: Progress) -> None:
    """Write the manifest and its files."""
    for name in ("pictures", "sounds"):
        (folder / name).mkdir()
    sizes: dict[str, int] = asdict(size)
    lines: list[str] = []
    for split in SPLITS:
        order = numpy_generator(seed, "lab", task.name, split)
        for place, outcome in enumerate(by_probability(task.joint, sizes[split], order)):
            row = write_row(task, outcome, f"{split}-{place:05d}", split, folder, seed)
            lines.append(json.dumps(row) + "\n")
            progress(len(lines), sum(sizes.values()))
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8", newline="\n")
    for place, modality in enumerate(task.modalities):
        rows = [lesson(json.loads(line), modality, place) for line in lines]
        lesson_path(folder / MANIFEST, modality).write_text(
            "".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n"
        )


def lesson_path(manifest: Path, modality: str) -> Path:
    """The manifest that teaches one modality's bit."""
    return manifest.with_name(f"{modality}.jsonl")


def lesson(row: dict[str, Any], modality: str, place: int) -> dict[str, Any]:
    """A row with one modality, whose answer is that modality's own bit."""
    kept = {key: row[key] for key in ("id", "split", modality, "group", "tags")}
    return {**kept, "target": {"answer": ANSWERS[int(row["tags"]["bits"][place])]}}


def write_row(task: Task, outcome: Outcome, id: str, split: str, folder: Path, seed: int) -> dict[str, Any]:
    """Write the files of one row; the row as the manifest has it."""
    row: dict[str, Any] = {"id": id, "split": split}
    for modality, bit in zip(task.modalities, outcome.bits, strict=True):
        generator = numpy_generator(seed, "lab", task.name, id, modality)
        row[modality] = carry(modality, bit, id, folder, generator, slow=modality in task.slow)
    row["target"] = {"answer": ANSWERS[outcome.answer]}
    row["group"] = {"draw": id}
    row["tags"] = {"bits": "".join(map(str, outcome.bits))}
    return row


def carry(modality: str, bit: int, id: str, folder: Path, generator: np.random.Generator, *, slow: bool = False) -> str:
    """Give the bit to a modality: the text, or the path of the file that was written."""
    import soundfile
    from PIL import Image

    if modality == "image":
        path = f"pictures/{id}.png"
        Image.fromarray(carriers.paint(bit, generator)).save(folder / path)
    elif modality == "audio":
        path = f"sounds/{id}.wav"
        wave = (carriers.tune if slow else carriers.sing)(bit, generator)
        soundfile.write(folder / path, wave, carriers.SAMPLE_RATE, subtype="PCM_16")
    else:
        assert modality == "text"
        return carriers.write(bit, generator)
    return path
