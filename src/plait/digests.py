"""Whether a file of a run is the one that Plait wrote: a digest of what it means, kept where it cannot be parted from it.

In: a configuration's text, a tokenizer's bytes, tensors with what is noted beside them.
Out: the digest to be written with it; or a `Mismatch` between what is there and what was written.
Invariant: a file and its digest get their name in one rename, so no crash can part them: the configuration's digests are its last
line, those of tensors their metadata; a tokenizer is written once, with the folder that holds its digest. Layout and comments of
a configuration do not count, nor where the data lies. A configuration that lost its last line is compared with what the run was
made with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

SIZE = 16
DIGEST, RUN = "digest", "run"
"""The keys in the metadata of tensors: of the content, and which run they belong to."""

SAID = (
    "# The next line tells whether the values above were changed since they were written; comments and layout may be.\n"
)
LINE = "# digests: "
FREE = ("evaluate", "explain", "generate")
"""Sections of a configuration that shape no number of the model: a change in them is said and taken."""


class Mismatch(NamedTuple):
    """A file that is not what was written: what is wrong with it, its digest now, and the one that was written ('' = none)."""

    path: Path
    what: str
    now: str
    was: str


def digest_of(*parts: bytes | str) -> str:
    """A digest of the parts, in hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=SIZE)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def digest_of_value(value: object) -> str:
    """A digest of plain data."""
    return digest_of(json.dumps(_sorted(value), ensure_ascii=False, default=str))


def _sorted(value: object) -> object:
    """Plain data with the keys of its mappings as texts, in order."""
    if isinstance(value, Mapping):
        return {key: _sorted(inner) for key, inner in sorted((str(key), inner) for key, inner in value.items())}
    return [_sorted(inner) for inner in value] if isinstance(value, list | tuple) else value


def section_digests(tree: Mapping[str, Any]) -> dict[str, str]:
    """A digest of each section of a configuration; the place of the data is left out, as data may be moved."""
    found = {}
    for key, value in tree.items():
        if key == "data" and isinstance(value, Mapping):
            value = {name: inner for name, inner in value.items() if name != "manifest"}
        found[str(key)] = digest_of_value(value)
    return found


def digests_line(tree: Mapping[str, Any], run: str) -> str:
    """The last lines of a configuration: a digest of each of its sections, and the run that it belongs to."""
    return SAID + LINE + json.dumps({RUN: run} | section_digests(tree)) + "\n"


def written_digests(text: str) -> dict[str, str] | None:
    """The digests that a configuration's text holds; None where there are none, {} where they are damaged."""
    found = [line for line in text.split("\n") if line.startswith(LINE)]
    if not found:
        return None
    try:
        values = json.loads(found[-1].removeprefix(LINE))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def config_mismatch(
    path: Path, tree: Mapping[str, Any], text: str, run: str, made: Mapping[str, str]
) -> tuple[Mismatch | None, bool]:
    """What is wrong with a run's configuration (its plain data and its text), and whether that only has to be said.

    `run`: the run's own name; '' for one that was made before there were digests. `made`: the sections when the run was made.
    """
    now, written = section_digests(tree), written_digests(text)
    if written is None and not run:
        return None, False
    whole, was = digest_of_value(now), dict(made) if written is None else written
    owner = was.pop(RUN, None)
    if written is not None and run and owner != run:
        what = "has damaged digests" if owner is None else "belongs to another run"
        return Mismatch(path, what, whole, digest_of_value(was)), False
    changed = [key for key in {**was, **now} if now.get(key) != was.get(key)]
    if not changed:
        return None, False
    since = "plait wrote it" if written is not None else "the run was made, and its digests are gone"
    what = f"was changed since {since} ({', '.join(changed)})"
    return Mismatch(path, what, whole, digest_of_value(was)), set(changed) <= set(FREE)


def digest_of_tensors(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """A digest of the tensors' names, types, shapes and values, and of what is noted beside them."""
    digest = hashlib.blake2b(digest_size=SIZE)
    noted = {key: value for key, value in metadata.items() if key != DIGEST}
    digest.update(json.dumps(_sorted(noted)).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def with_digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """What to note beside the tensors: the same and their digest."""
    return {**metadata, DIGEST: digest_of_tensors(tensors, metadata)}


def tensors_mismatch(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], run: str
) -> Mismatch | None:
    """What is wrong with a file of tensors."""
    was = metadata.get(DIGEST, "")
    if not was and not run:
        return None
    now = digest_of_tensors(tensors, metadata)
    if was and was != now:
        return Mismatch(path, "was changed or damaged since plait wrote it", now, was)
    if run and not was:
        return Mismatch(path, "lost its digest: another program wrote it", now, "")
    if run and metadata.get(RUN, "") != run:
        return Mismatch(path, "belongs to another run", now, was)
    return None
