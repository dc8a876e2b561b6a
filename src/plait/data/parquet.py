"""The rows of a Parquet file.

In: the path of the file.
Out: one `Row` per row, in file order; their places are row numbers from 1.
Invariant: only the columns that a row may have are read; a value that cannot be made sense of stands as `Unreadable` in its row,
which is then that row's mistake and no other's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plait.data.row import Row, Unreadable, readable, refuse_columns
from plait.errors import UserError
from plait.files import open_regular

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 8192


def read_parquet(path: Path, *, notes: bool = False, fields: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a Parquet file; `notes`: with the columns whose names begin with '_', as texts where they are nothing simpler."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = readable(str(path))
    number = 0
    with open_regular(path, where=where) as opened:
        try:
            with pq.ParquetFile(opened) as file:
                names = list(file.schema_arrow.names)
                refuse_columns(names, where, fields)
                names = [name for name in names if notes or not name.startswith("_")]
                for batch in file.iter_batches(batch_size=BATCH, columns=names):
                    columns = [_values(batch.column(name), name) for name in names]
                    for place in range(batch.num_rows):
                        number += 1
                        values = {name: column[place] for name, column in zip(names, columns, strict=True)}
                        yield Row(f"{where}:row {number}", number, values)
        except (pa.ArrowException, OSError, ValueError, MemoryError, NotImplementedError) as error:
            if isinstance(error, UserError):
                raise
            message = next(iter(readable(str(error)).splitlines()), "") or type(error).__name__
            right = "Write it again, or give a .jsonl or .csv file."
            raise UserError(f"not readable as Parquet: {message}", where=where, right=right) from error


def _values(column: pa.Array, name: str) -> list[Any]:
    """A column as Python's values; where one of them cannot be one, each by itself."""
    try:
        return column.to_pylist()
    except Exception:  # pyarrow raises what it likes: of Unicode, of times that Python has not, of its own
        return [_value(scalar, name) for scalar in column]


def _value(scalar: pa.Scalar, name: str) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        unreadable = Unreadable("not-utf8", f"{name} is not UTF-8 (byte {error.start + 1})")
    except Exception as error:
        message = next(iter(readable(str(error)).splitlines()), "") or type(error).__name__
        unreadable = Unreadable("type", f"{name} is a value of the type {scalar.type}, which is not read: {message}")
    return _shown(scalar) if name.startswith("_") else unreadable


def _shown(scalar: pa.Scalar) -> str | None:
    """A note that Python has no value for, as a text."""
    import pyarrow as pa

    try:
        return str(scalar.cast(pa.string()))
    except (pa.ArrowException, ValueError):
        return None


__all__ = ["read_parquet"]
