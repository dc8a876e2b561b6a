"""The lines of `metrics.jsonl`, and the same figures for TensorBoard.

In: one mapping of figures per line.
Out: a line appended to the file, and scalars under `tensorboard/` if asked for.
Invariant: after a resume the file holds exactly the lines up to the checkpoint, so no step stands in it twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plait.errors import UserError

METRICS = "metrics.jsonl"
Line = Mapping[str, Any]


class MetricsLog:
    """An open `metrics.jsonl`, cut back to its first `num_bytes` bytes."""

    def __init__(self, folder: Path, *, num_bytes: int, step: int, tensorboard: bool) -> None:
        self.file = (folder / METRICS).open("ab")
        if self.file.tell() > num_bytes:
            self.file.truncate(num_bytes)
            self.file.seek(num_bytes)
        self.board = open_board(folder / "tensorboard", step) if tensorboard else None

    def write(self, line: Line) -> None:
        """Append one line; it must have a `step`."""
        self.file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        self.file.flush()
        if self.board is not None:
            for name, value in flat(line):
                self.board.add_scalar(name, value, line["step"])

    def sync(self) -> int:
        """Everything on the disk; the file's length."""
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()

    def close(self) -> None:
        """No more lines."""
        self.file.close()
        if self.board is not None:
            self.board.close()


def flat(line: Line, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a line, names of nested ones joined by a slash."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield prefix + name, float(value)


def open_board(folder: Path, step: int) -> Any:
    """A TensorBoard writer that drops what an earlier try wrote after `step`."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UserError("train.tensorboard needs TensorBoard", right="pip install 'plait[track]'") from error
    return SummaryWriter(str(folder), purge_step=step + 1)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
