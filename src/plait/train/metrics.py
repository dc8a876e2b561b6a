"""The lines of `metrics.jsonl`, and the same figures for TensorBoard.

In: one mapping of figures per line.
Out: a line appended to the file, and scalars under `tensorboard/` if asked for.
Invariant: after a resume the file holds exactly the lines up to the checkpoint, so no step stands in it twice; fewer
are said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plait.errors import UserError
from plait.writing import reason, unwritable

METRICS = "metrics.jsonl"
Line = Mapping[str, Any]


class MetricsLog:
    """An open `metrics.jsonl`, cut back to its first `num_bytes` bytes; `say` is told where it has fewer."""

    def __init__(
        self,
        folder: Path,
        *,
        num_bytes: int,
        step: int,
        tensorboard: bool,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = folder / METRICS
        self.board = open_board(folder / "tensorboard", step) if tensorboard else None
        self.file = self.path.open("ab", buffering=0)
        size = self.file.tell()
        if size < num_bytes:
            say(
                f"{self.path} has {size:,} bytes, the checkpoint of step {step} says {num_bytes:,}: lines are missing, "
                "the training itself is whole and goes on"
            )
        self.cut(min(size, num_bytes))

    def cut(self, num_bytes: int) -> None:
        """Keep so many bytes, less what is half a line at their end."""
        kept = self.path.read_bytes()[:num_bytes]
        whole = kept.rfind(b"\n") + 1
        self.file.truncate(whole)
        self.file.seek(whole)

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
    """All lines of a run. A last line without its end is being written, or was when its writer died: it does not count yet."""
    path, found = folder / METRICS, []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot be read: {reason(error)}", where=str(path), right="Copy the run again.") from error
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            if not isinstance(line["step"], int):
                raise ValueError(f"its step is {line['step']!r}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            right = "Copy the run again, or remove the line."
            raise UserError(f"is no line of metrics: {error}", where=f"{path}:{number}", right=right) from error
        found.append(line)
    return found


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
