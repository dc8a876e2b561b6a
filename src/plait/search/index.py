"""A manifest's vectors in one file, made once, and exact search in them.

In: a run with links, a manifest, a query.
Out: an `Index` and its file (safetensors: no pickle); the entries most like the query.
Invariant: the file is reused only while manifest, media files (`files.state_of`), preparation, tokenizer and weights are those that
it was made from, otherwise it is made anew; it is written under another name and renamed, so a reader never sees half of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from plait.data.folder import manifest_in
from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.files import hint_of, open_regular, state_of
from plait.locks import NAME, PART, is_abandoned, is_running
from plait.run import Run, remove, replacing, save_tensors, weights_of
from plait.search.vectors import Entries, check_links, entries
from plait.types import Sample

KIND = "plait-index-"
FORMAT = f"{KIND}3"
CHUNK = 262_144
"""Entries compared at once."""

State = Literal["built", "rebuilt", "reused"]


@dataclass(frozen=True)
class Gallery:
    """The distinct items of one side: their vectors, what they are (a text, or files relative to the manifest), whose they are.

    `num_without`: rows that lack this side; `num_unreadable`: items that could not be read (`data.on_error: skip`).
    """

    vectors: Float[Tensor, "R D"]
    items: tuple[str | tuple[str, ...], ...]
    ids: tuple[tuple[str, ...], ...]
    num_without: int
    num_unreadable: int


@dataclass(frozen=True)
class Index:
    """A gallery for every side of the run, the file in which they are, and how they came there; `notes`: what was left out."""

    path: Path
    state: State
    num_rows: int
    galleries: Mapping[str, Gallery]
    notes: tuple[str, ...] = ()


class Query(NamedTuple):
    """What is searched for, and the words of it that the model does not know."""

    side: str
    vector: Float[Tensor, " D"]
    unknown: tuple[str, ...] = ()


class Hit(NamedTuple):
    """One entry: its place from 1, its cosine to the query, what it is, and the rows that have it."""

    rank: int
    likeness: float
    item: str | tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """The best entries of each searched side, the index, and what was searched for."""

    hits: dict[str, list[Hit]]
    index: Index
    query: Query


def find(gallery: Gallery, vector: Float[Tensor, " D"], top: int) -> list[Hit]:
    """The `top` entries most like the vector: all are compared; entries that are equally like it stand in the manifest's order."""
    parts = [gallery.vectors[at : at + CHUNK] @ vector for at in range(0, len(gallery.vectors), CHUNK)]
    scores = torch.cat(parts) if parts else torch.zeros(0)
    order = torch.sort(scores, descending=True, stable=True).indices[:top].tolist()
    return [Hit(n, float(scores[i]), gallery.items[i], gallery.ids[i]) for n, i in enumerate(order, 1)]


def open_index(
    run: Run,
    manifest: Path,
    path: Path | None = None,
    *,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Index:
    """The index of a manifest, from its file where that is still right. `path` None: beside the run."""
    check_links(run)
    own = path is None
    path = default_path(run, manifest) if path is None else path
    remove_leftovers(path.parent, "*" if own else escape(path.name))
    known = manifest_digest(manifest)
    digest = blake(FORMAT, run_digest(run), known)
    found = read(path, own=own)
    folder = folder_of(manifest)
    current = found if found and found.metadata["digest"] == digest and found.is_current(folder) else None
    if current is not None and not current.entries["notes"]:
        return current.index(path)
    dataset = read_manifest(
        manifest,
        inputs=run.config.inputs,
        **run.config.data.reading,
        require_targets=False,
    )
    samples = dataset.samples
    if current is not None and current.entries["notes"] == dataset.notes:  # else left-out rows were mended
        return current.index(path)
    media = {path for sample in samples for path in sample.files}
    files = {relative(path, folder): stamp(path) for path in media}  # before they are read: a later change is seen
    galleries = {}
    for side in check_links(run).sides:
        made = entries(run, samples, side, batch_size=batch_size, progress=progress)
        galleries[side] = gallery_of(made, samples, folder)
    state: State = "built" if found is None else "rebuilt"
    index = Index(path, state, len(samples), galleries, tuple(dataset.notes))
    write(index, digest, files)
    return index


def gallery_of(made: Entries, samples: list[Sample], folder: Path) -> Gallery:
    """The entries of a side with the ids of the rows that have them."""
    ids: list[list[str]] = [[] for _ in made.items]
    for sample, numbers in zip(samples, made.of_samples, strict=True):
        for number in numbers:
            ids[number].append(sample.id)
    items = tuple(i if isinstance(i, str) else tuple(relative(p, folder) for p in i) for i in made.items)
    without = sum(not numbers for numbers in made.of_samples) - made.num_unread
    return Gallery(made.vectors, items, tuple(map(tuple, ids)), without, len(made.left_out))


def default_path(run: Run, manifest: Path) -> Path:
    """Beside the run, one file for each manifest."""
    name = manifest.resolve()
    return run.folder / "search" / f"{name.stem}-{blake(str(name))[:8]}.safetensors"


def folder_of(manifest: Path) -> Path:
    """The folder that the media's paths are relative to."""
    return (manifest if manifest.is_dir() else manifest.parent).resolve()


def relative(path: Path, folder: Path) -> str:
    """A path as it stands in the manifest, so that run and data may be moved; absolute where it lies outside."""
    path = path.resolve()
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def stamp(path: Path) -> list[int]:
    """What shows that a file was changed; nothing of a file that is gone."""
    return list(state_of(path) or ())


def blake(*parts: str | bytes) -> str:
    """A digest of the parts."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def run_digest(run: Run) -> str:
    """Of everything in the run that a vector depends on."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in weights_of(run.model).items():
        digest.update(name.encode() + tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    segment = check_links(run).segment
    data, listed = run.config.data, ("inputs", "segments", "text", "image", "audio", "on_error")
    named = {name for name in ("columns", "prepare") if getattr(data, name)} | set(data.model_extra or {})
    prepared = data.model_dump_json(include={*listed, *named})
    vocabulary = json.dumps([run.tokenizer.vocabulary, run.segments, segment], ensure_ascii=False)
    return blake(digest.digest(), prepared, vocabulary)


def manifest_digest(manifest: Path) -> str:
    """Of the rows: the file's bytes, or the names and texts of a folder."""
    file = (manifest_in(manifest) or manifest) if manifest.is_dir() else manifest
    try:
        if file.is_dir():
            files = sorted(p for p in file.rglob("*") if p.is_file() and p.suffix != ".safetensors")
            return blake(*(f"{p.relative_to(file)} {stamp(p)}" for p in files))
        if not file.exists():
            right = hint_of(manifest) or "Give a manifest, or a folder of media"
            raise UserError("no such file", where=str(manifest), right=right)
        with open_regular(file, where=str(manifest)) as opened:
            return hashlib.file_digest(opened, "blake2b").hexdigest()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(manifest)) from error


@dataclass(frozen=True)
class Saved:
    """What a file holds."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]
    entries: dict[str, Any]

    def is_current(self, folder: Path) -> bool:
        """Whether the media are still the files that were read."""
        return all(value and stamp(folder / name) == value for name, value in self.entries["files"].items())

    def index(self, path: Path) -> Index:
        """The index of the file."""
        galleries = {
            side: Gallery(
                self.tensors[f"{side}.vectors"],
                tuple(item if isinstance(item, str) else tuple(item) for item in kept["items"]),
                tuple(map(tuple, kept["ids"])),
                kept["num_without"],
                kept["num_unreadable"],
            )
            for side, kept in self.entries["sides"].items()
        }
        return Index(path, "reused", self.entries["num_rows"], galleries, tuple(self.entries["notes"]))


def read(path: Path, *, own: bool) -> Saved | None:
    """What the file holds; None where there is none yet, or where plait's `own` file is damaged and may be made anew."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format", "").startswith(KIND) and metadata["format"] != FORMAT:
                return Saved({**metadata, "digest": ""}, {}, {})  # an older Plait's: made anew
            if metadata.get("format") == FORMAT:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                kept = json.loads(tensors.pop("entries").numpy().tobytes())
                return Saved(metadata, tensors, kept)
    except (SafetensorError, OSError, ValueError, KeyError):
        pass
    if own:
        return None
    raise UserError("is no index that plait wrote", where=str(path), right="Name another file: --index FILE")


def remove_leftovers(folder: Path, name: str) -> None:
    """What writers left that were killed in the middle of it; what a process is still writing stays."""
    for part in folder.glob(f".{name}.*{PART}"):
        if NAME.search(part.name) and is_abandoned(part):
            remove(part)
    for part in [
        *folder.glob(f".{name}.[0-9]*"),
        *folder.glob(f"..{name}.[0-9]*{PART}"),
    ]:  # as Plait called them before
        process = part.name.removesuffix(PART).rpartition(".")[2]
        if process.isdigit() and not is_running(int(process)):
            remove(part)


def write(index: Index, digest: str, files: Mapping[str, list[int]]) -> None:
    """The file, whole or not at all; two processes that write it at once do not meet."""
    sides = {
        side: {"items": g.items, "ids": g.ids, "num_without": g.num_without, "num_unreadable": g.num_unreadable}
        for side, g in index.galleries.items()
    }
    entries = {"num_rows": index.num_rows, "notes": index.notes, "sides": sides, "files": files}
    kept = json.dumps(entries, ensure_ascii=False).encode()
    tensors = {f"{side}.vectors": gallery.vectors for side, gallery in index.galleries.items()}
    tensors["entries"] = torch.from_numpy(np.frombuffer(kept, dtype=np.uint8).copy())
    try:
        with replacing(index.path) as part:
            save_tensors(tensors, part, {"format": FORMAT, "digest": digest})
    except (OSError, UserError) as error:
        what = error.what if isinstance(error, UserError) else f"cannot write: {error.strerror or error}"
        right = "Name a file in a folder that can be written: --index FILE"
        raise UserError(what, where=str(index.path.parent), right=right) from error
