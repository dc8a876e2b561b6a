"""The items of a data set, each looked at once, as training would read it: what is broken, odd, or wrongly named.

In: the samples, and how each input is read (`ReadAs`).
Out: per item (a file by its real path) what it is (`Facts`) or what is wrong (`Broken`); keys of contents.
Invariant: an item is broken here exactly if its modality refuses it in training too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from plait.choices import Config
from plait.data.row import readable, short
from plait.errors import UserError
from plait.files import open_regular
from plait.modalities import Modality
from plait.modalities.base import Blob, Facts, Item
from plait.types import Sample

TROUBLES = {
    "truncated": "that are cut off",
    "nan": "that hold samples which are not finite numbers",
    "empty": "that are empty",
    "too-long": "that are longer than is read",
    "too-large": "that are larger than is read",
    "corrupt": "that cannot be decoded",
}
"""The kinds of trouble, as they are said of many items."""

WORDS = {
    "cut off": "truncated",
    "truncated": "truncated",
    "finite": "nan",
    "the file is empty": "empty",
    "too large": "too-large",
}
"""What the message of any decoder contains → the kind of the trouble; a modality's own words are its `troubles`."""


class ReadAs(NamedTuple):
    """How an input is read: its modality, its options, and the first input that is read in the same way."""

    modality: Modality
    options: Config
    first: str


@dataclass(frozen=True)
class Broken:
    """An item that training cannot read."""

    kind: str
    reason: str


class Key(NamedTuple):
    """One item as it is read: a file by its real path, and the first input that reads it so."""

    item: Item
    first: str


class Use(NamedTuple):
    """One use of an item by a sample: by which input, as what, and as the sample holds it."""

    name: str
    key: Key
    item: Item

    @property
    def is_text(self) -> bool:
        """Whether it is a text, which is counted in words and not in files."""
        return isinstance(self.item, str)

    @property
    def is_file(self) -> bool:
        """Whether it is a file, or what would be in one."""
        return isinstance(self.item, Path | Blob)

    @property
    def shown(self) -> str:
        """How a message calls it: a file by its name."""
        return self.item.name if isinstance(self.item, Path) else readable(short(str(self.item)))


def uses_of(sample: Sample, read_as: Mapping[str, ReadAs]) -> list[Use]:
    """Every item of a sample."""
    return [
        Use(name, Key(Path(os.path.realpath(item)) if isinstance(item, Path) else item, read_as[name].first), item)
        for name, items in sample.inputs.items()
        for item in items
    ]


def look_at_all(
    uses: Iterable[Use],
    read_as: Mapping[str, ReadAs],
    *,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> dict[Key, Facts | Broken]:
    """What each item is; files are decoded on a few threads (the decoders let go of the interpreter)."""

    def look(key: Key) -> Facts | Broken:
        one = read_as[key.first]
        try:
            return one.modality.look(key.item, one.options)
        except UserError as error:
            return broken(error, one.modality)

    distinct = {use.key: use.is_text for use in uses}
    found = {key: look(key) for key, is_text in distinct.items() if is_text}
    wanted = [key for key, is_text in distinct.items() if not is_text]
    with ThreadPoolExecutor(threads) as pool:
        for number, (key, facts) in enumerate(zip(wanted, pool.map(look, wanted), strict=True), 1):
            found[key] = facts
            if progress is not None:
                progress(number, len(wanted))
    return found


def broken(error: UserError, modality: Modality) -> Broken:
    """The kind of a decoder's refusal, and its words without the path."""
    words = {**WORDS, **modality.troubles}
    kind = next((kind for said, kind in words.items() if said in error.what), "corrupt")
    return Broken(kind, f"{error.what.rstrip('.')}. {error.right}" if error.right else error.what)


def wrong_suffix(use: Use, facts: Facts | Broken, modality: Modality) -> str | None:
    """What the name claims and the content is, where these differ."""
    if isinstance(facts, Broken) or not isinstance(use.item, Path) or not use.item.suffix:
        return None
    right = modality.formats.get(facts.format)
    if right is None or use.item.suffix.lower() in right:
        return None
    return f"{use.shown} is named {use.item.suffix} and is {facts.format}"


def content_keys(files: Collection[Hashable]) -> dict[Hashable, Hashable]:
    """A key per file, equal for files of equal content. Only files of equal size are read."""
    by_size: dict[int, list[Path | Blob]] = {}
    for file in dict.fromkeys(files):
        if isinstance(file, Path | Blob):
            with contextlib.suppress(OSError):
                size = len(file.data) if isinstance(file, Blob) else os.stat(file).st_size  # noqa: PTH116
                by_size.setdefault(size, []).append(file)
    alike = [(size, file) for size, same in by_size.items() if len(same) > 1 for file in same]
    # A file that cannot be read is like no other; decoding it has said what is wrong.
    return {file: file for file in files} | dict(_digests(alike))


def _digests(files: Iterable[tuple[int, Path | Blob]]) -> Iterator[tuple[Hashable, Hashable]]:
    for size, file in files:
        if isinstance(file, Blob):
            yield file, f"{size}:{hashlib.blake2b(file.data).hexdigest()}"
            continue
        with contextlib.suppress(OSError, UserError), open_regular(file) as opened:
            yield file, f"{size}:{hashlib.file_digest(opened, 'blake2b').hexdigest()}"
