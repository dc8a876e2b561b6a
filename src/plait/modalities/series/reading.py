"""A file of numbers over time becomes an array, known by its content: `.npy`, `.npz`, or a table of numbers as text.

In: a path or what would be in such a file; the `key` of an array where several are in it.
Out: `shape_of` → steps, channels and format by the header alone; `read` → float64 `(N, C)`, NaN where a value is missing.
Invariant: nothing in a file is run (pickled objects are refused), and no values are read before the header has shown how many
there are: a file of any size is refused as quickly as a small one.
"""

from __future__ import annotations

import csv
import io
import math
import os
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from plait.errors import UserError, did_you_mean
from plait.files import open_regular
from plait.modalities.base import Blob

NPY, ZIP = b"\x93NUMPY", b"PK"
MAX_HEADER = 10_000
"""Bytes of a header; numpy's own limit."""
BYTES_A_NUMBER = 24
"""A table that has more bytes than this for each number that may be read is refused unread."""
MISSING = ("", "nan", "na", "n/a", "null", "none")
"""What a cell of a table may hold for a value that is missing, in lower case."""

Allowed = Callable[[int, int], None]
"""Called with steps and channels before any value is read; `UserError` refuses them."""


class Shape(NamedTuple):
    """What a file holds, by its header."""

    steps: int
    channels: int
    format: str


class Numbers(NamedTuple):
    """The values of a file, and its format."""

    values: Float64[np.ndarray, "N C"]
    format: str


def shape_of(item: Path | str | Blob, *, key: str | None, max_values: int) -> Shape:
    """Steps, channels and format; no value is read but those of a table, whose rows have to be counted."""
    found: list[tuple[int, int]] = []
    with _opened(item) as (file, size):
        format = _load(file, size, str(item), key, max_values, lambda *shape: found.append(shape), wanted=False)[1]
    return Shape(*found[0], format)


def read(item: Path | str | Blob, *, key: str | None, max_values: int, allowed: Allowed) -> Numbers:
    """The values, whole and finite; whatever is wrong with the file is said with its name."""
    where = str(item)
    with _opened(item) as (file, size):
        raw, format = _load(file, size, where, key, max_values, allowed, wanted=True)
    assert raw is not None
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(raw, dtype=np.float64).reshape(len(raw), -1)
    infinite = np.isinf(values)
    if infinite.any():
        step, channel = (int(place[0]) for place in infinite.nonzero())
        raise UserError(
            f"a value is infinite (step {step + 1}, channel {channel + 1})",
            where=where,
            right="Write NaN where a value is missing.",
        )
    if np.isnan(values).all():
        raise UserError(
            "every value is missing (NaN)", where=where, right="Leave the field empty, or leave the row out."
        )
    return Numbers(values, format)


def packed(values: np.ndarray) -> bytes:
    """An array as the bytes of a `.npy` file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


@contextmanager
def _opened(item: Path | str | Blob) -> Iterator[tuple[io.BufferedIOBase, int]]:
    """A file and its size; what libraries raise at broken bytes is said in words."""
    where = str(item)
    try:
        if isinstance(item, Blob):
            yield io.BytesIO(item.data), len(item.data)
            return
        with open_regular(item) as file:
            yield file, os.fstat(file.fileno()).st_size
    except (UserError, MemoryError):
        raise
    except Exception as error:  # readers raise anything at broken bytes
        said = " ".join(str(error).split()).rstrip(".")[:200]
        right = "Is it cut off or damaged?"
        raise UserError(f"the series cannot be read: {said}", where=where, right=right) from None


def _load(
    file: io.BufferedIOBase, size: int, where: str, key: str | None, max_values: int, allowed: Allowed, *, wanted: bool
) -> tuple[np.ndarray | None, str]:
    """The array (None where only its shape is wanted) and the format."""

    def check(steps: int, channels: int) -> None:
        refuse_empty(steps, channels, where)
        if steps * channels > max_values:
            right = f"At most series.max_values = {max_values:,} are read; cut it, or raise the limit."
            raise UserError(f"a series of {steps:,} steps and {channels:,} channels", where=where, right=right)
        allowed(steps, channels)

    head = file.read(len(NPY))
    file.seek(0)
    if not head:
        raise UserError("the series cannot be read: the file is empty", where=where)
    if head == NPY:
        return _array(file, size, where, check, wanted=wanted), "NPY"
    if head.startswith(ZIP):
        with zipfile.ZipFile(file) as archive:
            entry = _entry(archive, key, where)
            with archive.open(entry) as inner:
                return _array(inner, entry.file_size, where, check, wanted=wanted), "NPZ"  # pyright: ignore[reportArgumentType]
    suffix = PurePath(where).suffix.lower()
    if suffix in (".npy", ".npz"):
        right = "Write it again with numpy.save, or give it the suffix of what it is."
        raise UserError(f"is named {suffix}, but is no such file", where=where, right=right)
    if size > BYTES_A_NUMBER * max_values:
        right = f"At most series.max_values = {max_values:,} numbers are read; cut it, or raise the limit."
        raise UserError(f"a table of {size:,} bytes", where=where, right=right)
    return _table(file, where, max_values, check), "CSV"


def refuse_empty(steps: int, channels: int, where: str) -> None:
    """One message for a series in which there is nothing."""
    if not steps or not channels:
        what = f"{steps} steps" if not steps else f"{steps} steps of 0 channels"
        raise UserError(f"a series of {what}", where=where, right="Leave the field empty where there is nothing.")


def _entry(archive: zipfile.ZipFile, key: str | None, where: str) -> zipfile.ZipInfo:
    """The array of that key, or the only one."""
    entries = {
        info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")
    }
    if not entries:
        raise UserError("holds no array", where=where, right="Write it with numpy.savez.")
    if key is None and len(entries) > 1:
        names = ", ".join(list(entries)[:10])
        right = f"Say which one is meant: series.key={next(iter(entries))}"
        raise UserError(f"holds {len(entries)} arrays: {names}", where=where, right=right)
    if key is not None and key not in entries:
        raise UserError(f"holds no array {key!r} (series.key)", where=where, right=did_you_mean(key, entries))
    return entries[key] if key is not None else next(iter(entries.values()))


def _array(file: io.BufferedIOBase, size: int, where: str, check: Allowed, *, wanted: bool) -> np.ndarray | None:
    """One array in numpy's format, read by hand: the header, and then exactly as many bytes as it states."""
    shape, is_fortran, dtype = _header(file)
    if dtype.hasobject:
        right = "Save numbers: numpy.save(path, numpy.asarray(values, dtype=float))."
        raise UserError("holds Python objects (pickle), which are never loaded", where=where, right=right)
    if dtype.kind not in "biuf":
        right = "Whole numbers, floating-point numbers and booleans are read."
        raise UserError(f"an array of {'complex numbers' if dtype.kind == 'c' else dtype}", where=where, right=right)
    if len(shape) not in (1, 2):
        right = "Give (steps, channels), or (steps,) for one channel."
        raise UserError(f"an array of {len(shape)} axes, {shape}", where=where, right=right)
    if min(shape) < 0:
        raise ValueError(f"the header states the shape {shape}")
    check(shape[0], shape[1] if len(shape) == 2 else 1)
    num_bytes = math.prod(shape) * dtype.itemsize
    if size - file.tell() < num_bytes:
        has = f"{size - file.tell():,} of {num_bytes:,} bytes are there"
        raise UserError(f"the series is cut off: {has}", where=where, right="Copy or download it again.")
    if not wanted:
        return None
    data = file.read(num_bytes)
    if len(data) < num_bytes:
        raise EOFError("it is cut off")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")


def _header(file: io.BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type."""
    head = file.read(12)
    version, width = tuple(head[6:8]), 2 if head[6:7] == b"\1" else 4
    if head[:6] != NPY or version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError("not an array in numpy's format")
    if int.from_bytes(head[8 : 8 + width], "little") > MAX_HEADER:
        raise ValueError("the header is too long")
    file.seek(0)
    np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _table(file: io.BufferedIOBase, where: str, max_values: int, check: Allowed) -> np.ndarray:
    """Numbers as text: a row for each step, a first line of names or none."""
    values, channels = array("d"), 0
    try:
        with io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:  # pyright: ignore[reportArgumentType]
            for line, cells in _rows(lines):
                numbers = _numbers(cells)
                if isinstance(numbers, str) and not channels:  # the names of the channels
                    channels = len(cells)
                    continue
                if isinstance(numbers, str):
                    right = f"Write numbers; a missing one is an empty cell or NaN ({file_formats()})."
                    raise UserError(f"line {line}: {numbers!r} is not a number", where=where, right=right)
                channels = channels or len(cells)
                if len(cells) != channels:
                    what = f"line {line} has {len(cells)} cells, the first one has {channels}"
                    raise UserError(what, where=where, right="Every line has a cell for each channel.")
                values.extend(numbers)
                if len(values) > max_values:
                    break
    except (UnicodeDecodeError, csv.Error):
        raise UserError("not a series", where=where, right=f"Series are {file_formats()}.") from None
    check(len(values) // max(channels, 1), channels or 1)
    return np.frombuffer(values, np.float64).reshape(-1, channels)


def file_formats() -> str:
    """What may be read, in words."""
    return ".npy, .npz, or .csv and .tsv of numbers"


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line and its number; blank lines and those that begin with # are passed over."""
    at = 0

    def kept() -> Iterator[str]:
        nonlocal at
        for line in lines:
            at += 1
            if line.strip() and line[0] != "#":
                yield line

    source = kept()
    first = next(source, None)
    if first is None:
        return
    mark = next((mark for mark in "\t,;" if mark in first), None)
    whole = chain([first], source)
    for cells in csv.reader(whole, delimiter=mark) if mark else map(str.split, whole):
        yield at, cells


def _numbers(cells: list[str]) -> list[float] | str:
    """The numbers of a line, or the first cell that is none."""
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        pass
    found: list[float] = []
    for cell in cells:
        text = cell.strip()
        try:
            found.append(math.nan if text.lower() in MISSING else float(text))
        except ValueError:
            return text[:60]
    return found
