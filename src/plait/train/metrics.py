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
from plait.files import split_lines
from plait.run import unwritable

METRICS = "metrics.jsonl"
Line = Mapping[str, Any]


class MetricsLog:
    """An open `metrics.jsonl`, cut back to its first `num_bytes` bytes."""

    def __init__(self, folder: Path, *, num_bytes: int, step: int, tensorboard: bool) -> None:
        self.path = folder / METRICS
        self.board = open_board(folder / "tensorboard", step) if tensorboard else None
        self.file = self.path.open("ab", buffering=0)
        if self.file.tell() > num_bytes:
            self.file.truncate(num_bytes)
            self.file.seek(num_bytes)

    def write(self, line: Line) -> None:
        """Append one line; it must have a `step`."""
        try:
            self.file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise unwritable(self.path, error) from error
        if self.board is not None:
            for name, value in flat(line):
                self.board.add_scalar(name, value, line["step"])

    def sync(self) -> int:
        """Everything on the disk; the file's length."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error
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
        elif isinstance(value, int | float) and name != "step" and not (name == "format" and isinstance(value, int)):
            yield prefix + name, float(value)


def open_board(folder: Path, step: int) -> Any:
    """A TensorBoard writer that drops what an earlier try wrote after `step`."""
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def check_tensorboard() -> None:
    """One line where TensorBoard is asked for and not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise UserError("train.tensorboard needs TensorBoard", right="pip install 'plait[track]'") from error


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All lines of a run."""
    return [json.loads(line) for line in split_lines((folder / METRICS).read_text(encoding="utf-8"))]


def tune_figures(bits: float, by_segment: Mapping[str, float]) -> dict[str, Any]:
    """The held-out loss as a line holds it: `bits` and, beside it, each segment's; under `segments` where a name would collide."""
    if {"bits", "segments", "format"} & set(by_segment):
        return {"format": 2, "bits": bits, "segments": dict(by_segment)}
    return {"bits": bits, **by_segment}


def tune_segments(tune: Mapping[str, Any]) -> dict[str, float]:
    """Segment → held-out bits per token, of either form of `tune_figures`."""
    nested = tune.get("segments")
    if isinstance(nested, Mapping):
        return dict(nested)
    return {name: bits for name, bits in tune.items() if name != "bits"}
