"""A block: the features of some hundred items in one file that never changes.

In: keys, features `(L, E)` of each, and the frames of each sound; or such a file.
Out: a safetensors file of `values` `(Σ L, E)`, `keys`, `lengths`, `frames` and `sums`; of a file its index, and its values mapped.
Invariant: a block is written under another name, synced and renamed, so one that bears its name is whole after any crash; index and
values are one file, so they cannot disagree. A file that is cut off is told by its header and is no block. What was changed since
is told by a digest of the index when the block is opened, and by an item's checksum when it is first read (a block of an older
Plait has neither).

Why a safetensors file mapped by `torch.from_file`: its header states every length, anything reads it, nothing in it can be run; and
unlike `numpy.memmap` the mapping holds no file descriptor, of which a process has some thousand. A mapped file that is deleted
stays readable as long as somebody maps it.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from plait.errors import UserError
from plait.run import PART, reason, remove, save_tensors, sync, sync_folder

KEY_BYTES = 16
INDEX = "index"
"""In the metadata: the digest of all that is not values."""
SUFFIX = ".block"
TYPES = {"keys": torch.uint8, "lengths": torch.int64, "frames": torch.int64, "sums": torch.int64}
"""The tensors of the index."""
MAX_HEADER = 2**20


class CacheUnwritable(UserError):
    """The cache cannot be written: the disk is full, or the folder is not ours."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(
            f"cannot write the cache of features: {reason(error)}",
            where=str(folder),
            right="Make room (plait cache --clear), name another folder (PLAIT_CACHE=…), or leave encoders.cache out.",
        )


class DamagedBlock(Exception):
    """The values of an item are not those that were written."""


@dataclass(frozen=True)
class Block:
    """What stands in a block; `values` are mapped, so only what is read comes from the disk. `starts`: each item's first row.

    `sums`: the checksum of each item, or none at all; `seen`: which items were compared with theirs.
    """

    path: Path
    keys: tuple[bytes, ...]
    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    frames: tuple[int, ...]
    values: Float[Tensor, "rows E"]
    sums: tuple[int, ...] = ()
    seen: bytearray = field(default_factory=bytearray, compare=False, repr=False)

    def item(self, number: int) -> Float[Tensor, "L E"]:
        """The features of one item, not to be changed in place; `DamagedBlock` where they are not those that were written."""
        start = self.starts[number]
        values = self.values[start : start + self.lengths[number]]
        if self.sums and not self.seen[number]:
            if checksum(values) != self.sums[number]:
                raise DamagedBlock(self.path.name)
            self.seen[number] = 1
        return values


def checksum(values: Float[Tensor, "L E"]) -> int:
    """The CRC-32 of an item's values: against accidents it does as much as a digest, in half the time."""
    return zlib.crc32(values.contiguous().numpy().data)


def index_digest(parts: Iterable[Tensor]) -> str:
    """The digest of a block's keys, lengths, frames and checksums."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_block(
    folder: Path, keys: Sequence[bytes], values: Sequence[Float[Tensor, "_ E"]], frames: Sequence[int]
) -> Path:
    """A new block in a folder that is there."""
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    part = path.with_name(f".{path.name}{PART}")
    values = [value.float() for value in values]
    index = {
        "keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).reshape(len(keys), KEY_BYTES),
        "lengths": torch.tensor([len(value) for value in values], dtype=torch.int64),
        "frames": torch.tensor(list(frames), dtype=torch.int64),
        "sums": torch.tensor([checksum(value) for value in values], dtype=torch.int64),
    }
    try:
        save_tensors({"values": torch.cat(values), **index}, part, {INDEX: index_digest(index.values())})
        sync(part)
        os.replace(part, path)  # noqa: PTH105
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        remove(part)
        raise CacheUnwritable(folder, error) from error
    except BaseException:
        remove(part)
        raise
    return path


@dataclass(frozen=True)
class Header:
    """The header of a block: where each of its tensors lies in the file, the file's size, and the digest of its index."""

    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    num_bytes: int
    index: str | None

    @property
    def num_items(self) -> int:
        """The items of the block."""
        return self.tensors["keys"][1][0]


def read_header(path: Path) -> Header | None:
    """The header of a whole block; None for a file that is cut off, damaged, or gone."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= min(MAX_HEADER, size):
                return None
            said = json.loads(file.read(length))
        names = ("values", "keys", "lengths", "frames", *(["sums"] if "sums" in said else []))
        found = {name: place_of(said[name], 8 + length, size) for name in names}
        index = dict(said.get("__metadata__", {})).get(INDEX)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if max(end for _, _, _, end in found.values()) != size or found["values"][0] != "F32":
        return None
    if (index is None) != ("sums" not in found):
        return None
    return Header(found, size, index)


def place_of(said: Any, start: int, size: int) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape, first and last byte of a tensor in the file; `ValueError` where these are none."""
    shape, (first, last) = tuple(said["shape"]), said["data_offsets"]
    if not all(isinstance(n, int) and n >= 0 for n in (*shape, first, last)) or not shape or start + last > size:
        raise ValueError("no tensor")
    return str(said["dtype"]), shape, start + first, start + last


def open_block(path: Path) -> Block | None:
    """A block with its values mapped; None for a file that is no whole block."""
    header = read_header(path)
    if header is None:
        return None
    try:
        everything = torch.from_file(str(path), shared=False, size=header.num_bytes, dtype=torch.uint8)
    except (OSError, RuntimeError):  # deleted since
        return None

    def tensor(name: str, dtype: torch.dtype) -> Tensor:
        _, shape, start, end = header.tensors[name]
        return everything[start:end].view(dtype).reshape(shape)

    try:
        index = {name: tensor(name, kind) for name, kind in TYPES.items() if name in header.tensors}
        values = tensor("values", torch.float32)
    except RuntimeError:  # shapes and places that do not fit each other
        return None
    lengths: Int[np.ndarray, " n"] = index["lengths"].numpy()
    starts = np.cumsum(lengths) - lengths
    if lengths.sum() != len(values) or (header.index is not None and index_digest(index.values()) != header.index):
        return None
    raw, sums = index["keys"].numpy().tobytes(), index["sums"].tolist() if "sums" in index else []
    return Block(
        path,
        tuple(raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)),
        tuple(lengths.tolist()),
        tuple(starts.tolist()),
        tuple(index["frames"].tolist()),
        values,
        tuple(sums),
        bytearray(len(sums)),
    )
