"""What a person sees while arms are trained.

In: the tasks, and what they say of themselves.
Out: on a terminal a live table (arm, seed, state, step, loss) with the time that is left; elsewhere a line per finished task.
Invariant: it writes to one stream only.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from plait.compare.drive import Outcome, Task, Watcher
from plait.terminal import printable
from plait.train.progress import clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.live import Live
    from rich.table import Table

LATEST = 8
"""Finished tasks that are shown below the running ones."""


class Board(Watcher):
    """See the module; `num_done` tasks of an earlier try need not be done."""

    def __init__(self, tasks: Sequence[Task], *, jobs: int, num_done: int = 0, stream: IO[str] | None = None) -> None:
        self.tasks, self.jobs, self.num_before = tasks, jobs, num_done
        self.stream = stream or sys.stderr
        self.began: dict[str, float] = {}
        self.news: dict[str, Mapping[str, Any]] = {}
        self.ended: dict[str, tuple[float, Outcome]] = {}
        self.live: Live | None = None

    def begin(self, task: Task) -> None:
        """A task starts."""
        self.began[task.name], self.news[task.name] = time.monotonic(), {"state": "starting"}

    def update(self, task: Task, news: Mapping[str, Any]) -> None:
        """A task says how far it is."""
        self.news[task.name] = {**self.news[task.name], **news}

    def end(self, task: Task, outcome: Outcome) -> None:
        """A task has ended."""
        seconds = time.monotonic() - self.began[task.name]
        self.ended[task.name] = (seconds, outcome)
        if self.live is None:
            self.say(f"{task.name}: {self.what(task.name)}  ({self.summary()})")

    def tick(self) -> None:
        """Draw."""
        if self.live is not None:
            self.live.update(self.table())

    def say(self, text: str) -> None:
        """A line."""
        print(printable(text), file=self.stream, flush=True)

    def what(self, name: str) -> str:
        """How a task ended, or how far it is."""
        if name in self.ended:
            seconds, outcome = self.ended[name]
            bits = outcome.value.get("best_bits") if isinstance(outcome.value, dict) else None
            told = f", held-out loss {bits:.3f} bits per token" if bits is not None else ""
            if outcome.done:
                return f"done in {clock(seconds)}{told}"
            return outcome.failure if outcome.failure.startswith("stopped") else f"failed: {outcome.failure}"
        news = self.news[name]
        step = f" {news['step']}/{news['steps']}" if "step" in news else ""
        return f"{news['state']}{step}"

    def summary(self) -> str:
        """How many are done, and how long the rest will take."""
        done, total = self.num_before + len(self.ended), self.num_before + len(self.tasks)
        left = self.seconds_left()
        return f"{done} of {total}" + (f", about {clock(left)} left" if left else "")

    def seconds_left(self) -> float | None:
        """From the tasks that are done; None before the first."""
        took = [seconds for seconds, outcome in self.ended.values() if outcome.done]
        if not took or len(self.ended) == len(self.tasks):
            return None
        each, now = statistics.mean(took), time.monotonic()
        running = [name for name in self.began if name not in self.ended]
        waiting = len(self.tasks) - len(self.began)
        rest = sum(max(0.1 * each, each - (now - self.began[name])) for name in running)
        return (waiting * each + rest) / self.jobs

    def table(self) -> Table:
        """Running tasks, then the latest that ended."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, title=f"{self.summary()}", title_justify="left")
        for title in ("", "state", "bits per token", "time"):
            table.add_column(title, justify="right" if title in ("bits per token", "time") else "left")
        now = time.monotonic()
        for name in self.began:
            if name not in self.ended:
                bits = self.news[name].get("bits")
                table.add_row(
                    Text(printable(name)),
                    Text(printable(self.what(name))),
                    f"{bits:.3f}" if bits else "",
                    clock(now - self.began[name]),
                )
        for name in list(self.ended)[-LATEST:][::-1]:
            seconds, outcome = self.ended[name]
            style = "dim" if outcome.done else "red"
            table.add_row(Text(printable(name)), Text(printable(self.what(name))), "", clock(seconds), style=style)
        return table


@contextmanager
def shown(board: Board) -> Iterator[Board]:
    """The live table for the block, on a terminal."""
    if not board.stream.isatty():
        yield board
        return
    from rich.console import Console
    from rich.live import Live

    with Live(board.table(), console=Console(file=board.stream), refresh_per_second=4, transient=True) as board.live:
        yield board
    board.live = None
