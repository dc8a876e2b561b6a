"""The embedded data as an ordinary manifest with files, made once in a cache folder.

In: a cache folder, a seed, sizes.
Out: `cache/demo/manifest.jsonl` with `pictures/`, `speech/`, a card `DATA.md`, and `recipe.json`: how it was made.
Invariant: the folder is there whole or not at all (a temporary folder is renamed), and is made again only when its
recipe changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from plait.demo import card, language, pictures, rows, speech
from plait.demo.rows import DemoSize, Row
from plait.errors import UserError

IN_MAKING = "demo-in-making-"
Progress = Callable[[str, int, int], None]
"""Told the stage, how much of it is done, and how much there is."""


def quiet(stage: str, done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class DemoData:
    """The embedded data on the disk. `message` is for the user: set where there is no speech engine."""

    manifest: Path
    spoken: bool
    summary: Mapping[str, Any]
    message: str | None = None
    made: bool = True


def make_demo_data(
    cache_folder: Path,
    *,
    progress: Progress = quiet,
    seed: int = 0,
    num_processes: int = 2,
    size: DemoSize | None = None,
) -> DemoData:
    """Make the embedded data below `cache_folder`, or find it there."""
    size = size or DemoSize()
    folder = cache_folder / "demo"
    recipe = recipe_hash(seed, size)
    kept = read_recipe(folder)
    if kept.get("recipe") == recipe and kept.get("spoken"):
        return DemoData(folder / "manifest.jsonl", True, kept["summary"], made=False)
    try:
        heard, message = speech.hold_audition(), None
    except speech.SpeechUnavailable as error:
        heard, message = speech.Audition((), {}), no_speech(error)
    if kept.get("recipe") == recipe and message:
        return DemoData(folder / "manifest.jsonl", False, kept["summary"], message, made=False)
    marker = {"recipe": recipe, "seed": seed, "spoken": not message, "versions": package_versions()}
    try:
        with empty_folder(cache_folder) as temporary:
            making = temporary / "demo"
            making.mkdir()
            summary = write_data(making, heard, seed=seed, size=size, num_processes=num_processes, progress=progress)
            (making / "recipe.json").write_text(
                json.dumps({**marker, "summary": summary}, indent=1), encoding="utf-8", newline="\n"
            )
            put_in_place(making, folder, temporary / "old")
    except OSError as error:
        raise UserError(
            f"the demo data could not be written: {error.strerror or error}",
            where=str(cache_folder),
            right="They need about 600 MB in a folder that you may write to.",
        ) from error
    return DemoData(folder / "manifest.jsonl", not message, summary, message)


@contextlib.contextmanager
def empty_folder(cache_folder: Path) -> Iterator[Path]:
    """A folder to work in, gone afterwards; what a killed process left behind more than a day ago goes with it."""
    cache_folder.mkdir(parents=True, exist_ok=True)
    for left in cache_folder.glob(f"{IN_MAKING}*"):
        if time.time() - left.stat().st_mtime > 86_400:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=IN_MAKING, dir=cache_folder, ignore_cleanup_errors=True) as name:
        yield Path(name)


def no_speech(error: Exception) -> str:
    """What the user is told where nothing can speak."""
    return (
        f"No speech engine here ({error}). To hear spoken questions: pip install 'plait[demo]'. "
        "Going on with typed questions only."
    )


def recipe_hash(seed: int, size: DemoSize) -> str:
    """A hash of what decides the data: this package's recipe, seed and sizes; once made, they need no other package."""
    digest = hashlib.sha256(json.dumps([seed, asdict(size)]).encode())
    for module in (language, pictures, rows, speech, card):
        digest.update(Path(str(module.__file__)).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def package_versions() -> dict[str, str]:
    """The versions of the packages that the data come from."""
    found: dict[str, str] = {}
    for name in ("easy-vqa", "espeakng-loader"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def read_recipe(folder: Path) -> dict[str, Any]:
    """How the data in `folder` were made; empty where there are none."""
    try:
        found = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def put_in_place(making: Path, folder: Path, old: Path) -> None:
    """Rename the finished folder to its place; what stood there goes to `old`, which is thrown away."""
    if folder.exists():
        folder.rename(old)
    making.rename(folder)


def write_data(
    folder: Path, heard: speech.Audition, *, seed: int, size: DemoSize, num_processes: int, progress: Progress
) -> dict[str, Any]:
    """Write pictures, speech, manifest and card; the summary says what there is."""
    drawn = [pictures.read_pictures(part) for part in ("train", "test")]
    split = rows.split_pictures(drawn[0], drawn[1], seed)
    made = rows.make_rows(split, heard.variants, size=size, seed=seed)
    copy_pictures(made, folder, progress)
    clips = list(dict.fromkeys(row.clip for row in made if row.clip))
    speech.record(clips, folder, num_processes=num_processes, progress=lambda done, of: progress("speech", done, of))
    lines = (json.dumps(manifest_row(row)) + "\n" for row in made)
    (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    summary = card.summarise(made, clip_seconds(clips, folder), heard)
    (folder / "DATA.md").write_text(card.write_card(summary, seed), encoding="utf-8", newline="\n")
    return summary


def picture_path(row: Row) -> str:
    """Where the picture of a row lies; the number is easy-vqa's, the folder is its part."""
    return f"pictures/{picture_name(row)}.png"


def picture_name(row: Row) -> str:
    """The picture's name in easy-vqa: part and number."""
    return f"{'test' if row.split == 'test' else 'train'}/{row.picture.number}"


def copy_pictures(made: Sequence[Row], folder: Path, progress: Progress) -> None:
    """Copy the pictures that the rows need."""
    needed = {picture_path(row): row.picture.file for row in made}
    for part in ("train", "test"):
        (folder / "pictures" / part).mkdir(parents=True)
    for done, (path, file) in enumerate(needed.items(), 1):
        (folder / path).write_bytes(file.read_bytes())
        progress("pictures", done, len(needed))


def clip_seconds(clips: Sequence[speech.Clip], folder: Path) -> list[float]:
    """How long each clip is."""
    import soundfile

    return [soundfile.info(folder / clip.path).duration for clip in clips]


def manifest_row(row: Row) -> dict[str, Any]:
    """The row as the manifest has it."""
    written: dict[str, Any] = {"id": row.id, "split": row.split, "image": picture_path(row)}
    if row.clip:
        written["audio"] = row.clip.path
    if row.pattern != "spoken":
        written["text"] = row.asked.words
    written["target"] = {"heard": row.asked.words, "answer": row.asked.answer}
    written["group"] = {"picture": picture_name(row)} | ({"speaker": row.clip.voice} if row.clip else {})
    written["tags"] = {
        "pattern": row.pattern,
        "sentence": "unheard" if row.unheard else "heard",
        "question": row.asked.clause.kind,
    }
    return written
