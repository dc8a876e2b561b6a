"""A block: the features of some hundred items in one file that never changes.

In: keys, features `(L, E)` of each, and the frames of each sound; or such a file.
Out: a safetensors file with `values` `(Σ L, E)`, `keys`, `lengths` and `frames`; of a file its index, and its values mapped.
Invariant: a block is written under another name, synced and renamed, so one that bears its name is whole after any crash; index and
values are one file, so they cannot disagree. A file that is cut off is told by its header and is no block.

Why a safetensors file mapped by `torch.from_file`: its header states every length, anything reads it, nothing in it can be run; and
unlike `numpy.memmap` the mapping holds no file descriptor, of which a process has some thousand. A mapped file that is deleted
stays readable as long as somebody maps it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from plait.errors import UserError
from plait.run import PART, reason, remove, save_tensors, sync, sync_folder

KEY_BYTES = 16
SUFFIX = ".block"
MAX_HEADER = 2**20


class CacheUnwritable(UserError):
    """The cache cannot be written: the disk is full, or the folder is not ours."""

    def __init__(self, folder: Path, error: BaseException) -> None:
        super().__init__(
            f"cannot write the cache of features: {reason(error)}",
            where=str(folder),
            right="Make room (plait cache --clear), name another folder (PLAIT_CACHE=…), or leave encoders.cache out.",
        )


@dataclass(frozen=True)
class Block:
    """What stands in a block; `values` are mapped, so only what is read comes from the disk. `starts`: each item's first row."""

    path: Path
    keys: tuple[bytes, ...]
    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    frames: tuple[int, ...]
    values: Float[Tensor, "rows E"]

    def item(self, number: int) -> Float[Tensor, "L E"]:
        """The features of one item; not to be changed in place."""
        start = self.starts[number]
        return self.values[start : start + self.lengths[number]]


def write_block(
    folder: Path, keys: Sequence[bytes], values: Sequence[Float[Tensor, "_ E"]], frames: Sequence[int]
) -> Path:
    """A new block in a folder that is there."""
    path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
    part = path.with_name(f".{path.name}{PART}")
    tensors = {
        "values": torch.cat(list(values)).float(),
        "keys": torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).reshape(len(keys), KEY_BYTES),
        "lengths": torch.tensor([len(value) for value in values], dtype=torch.int64),
        "frames": torch.tensor(list(frames), dtype=torch.int64),
    }
    try:
        save_tensors(tensors, part, {})
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
    """The header of a block: where each of its tensors lies in the file, and the file's size."""

    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    num_bytes: int

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
        found = {
            name: (
                said[name]["dtype"],
                tuple(said[name]["shape"]),
                *(8 + length + at for at in said[name]["data_offsets"]),
            )
            for name in ("values", "keys", "lengths", "frames")
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if max(end for _, _, _, end in found.values()) != size or found["values"][0] != "F32":
        return None
    return Header(found, size)


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

    raw = tensor("keys", torch.uint8).numpy().tobytes()
    lengths: Int[np.ndarray, " n"] = tensor("lengths", torch.int64).numpy()
    starts = np.cumsum(lengths) - lengths
    values = tensor("values", torch.float32)
    if lengths.sum() != len(values):
        return None
    return Block(
        path,
        tuple(raw[at : at + KEY_BYTES] for at in range(0, len(raw), KEY_BYTES)),
        tuple(lengths.tolist()),
        tuple(starts.tolist()),
        tuple(tensor("frames", torch.int64).tolist()),
        values,
    )
