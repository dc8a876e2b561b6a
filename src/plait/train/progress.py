"""What the user sees while training.

In: the number of steps, and each step's figures.
Out: a bar with loss, samples per second and remaining time on a terminal; a plain line now and then elsewhere.
Invariant: it writes to one stream only (standard error unless told otherwise), at most a line every few seconds.
"""

from __future__ import annotations

import sys
import time
from io import TextIOBase
from typing import IO, Any, Protocol, TextIO, cast, runtime_checkable

from plait.terminal import printable

Stream = TextIO | TextIOBase


@runtime_checkable
class Progress(Protocol):
    """What the loop tells. `start` once, `update` after every step, `say` for everything else, `finish` once."""

    def start(self, step: int, steps: int) -> None: ...

    def update(self, step: int, *, bits: float, num_samples: int) -> None: ...

    def say(self, message: str) -> None: ...

    def finish(self) -> None: ...


class Quiet:
    """Nothing at all."""

    def start(self, step: int, steps: int) -> None:
        """Nothing."""

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        """Nothing."""

    def say(self, message: str) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class Rates:
    """Samples per second and remaining time, over the steps since `start`; the loss smoothed over about 20 steps."""

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps, self.began = step, steps, time.monotonic()
        self.num_samples, self.bits = 0, 0.0

    def update(self, bits: float, num_samples: int) -> None:
        """One more step."""
        self.bits = bits if not self.num_samples else 0.95 * self.bits + 0.05 * bits
        self.num_samples += num_samples

    def samples_per_second(self) -> float:
        """So far."""
        return self.num_samples / max(time.monotonic() - self.began, 1e-9)

    def remaining(self, step: int) -> float:
        """Seconds that the remaining steps will take at the pace so far."""
        return (self.steps - step) * (time.monotonic() - self.began) / max(step - self.first, 1)


class Lines:
    """A line every few seconds, first often and then more rarely."""

    def __init__(self, stream: Stream | None = None, *, every: float = 5.0) -> None:
        self.stream, self.every = stream or sys.stderr, every
        self.rates, self.next = Rates(0, 0), 0.0

    def start(self, step: int, steps: int) -> None:
        """Begin to measure."""
        self.rates, self.next = Rates(step, steps), time.monotonic()

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        """A line, if one is due."""
        rates = self.rates
        rates.update(bits, num_samples)
        now = time.monotonic()
        if now < self.next and step != rates.steps:
            return
        self.next = now + max(self.every, 0.1 * (now - rates.began))
        self.say(
            f"step {step}/{rates.steps}  loss {rates.bits:.3f} bits  {rates.samples_per_second():.0f} samples/s  "
            f"{clock(rates.remaining(step))} left"
        )

    def say(self, message: str) -> None:
        """One line."""
        print(printable(message), file=self.stream, flush=True)

    def finish(self) -> None:
        """Nothing is left to close."""


class Bar:
    """A bar on a terminal."""

    def __init__(self, stream: Stream | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar: Any = Progress(
            TextColumn("{task.completed}/{task.total} steps"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            console=Console(file=cast(IO[str], stream or sys.stderr)),
        )
        self.task: Any = None
        self.rates = Rates(0, 0)

    def start(self, step: int, steps: int) -> None:
        """Show the bar."""
        self.rates = Rates(step, steps)
        self.task = self.bar.add_task("", total=steps, completed=step, figures="")
        self.bar.start()

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        """Move it."""
        rates = self.rates
        rates.update(bits, num_samples)
        figures = f"loss {rates.bits:.3f} bits · {rates.samples_per_second():.0f} samples/s · {clock(rates.remaining(step))} left"
        self.bar.update(self.task, completed=step, figures=figures)

    def say(self, message: str) -> None:
        """One line above the bar."""
        self.bar.console.print(printable(message), markup=False, highlight=False)

    def finish(self) -> None:
        """Leave the bar as it stands."""
        self.bar.stop()


def progress_for(*, quiet: bool = False, to_stderr: bool = True) -> Progress:
    """A bar on a terminal, plain lines elsewhere, nothing if `quiet`."""
    if quiet:
        return Quiet()
    stream = sys.stderr if to_stderr else sys.stdout
    return Bar(stream) if stream.isatty() else Lines(stream)


def clock(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s" if seconds >= 10 else f"{seconds:.1f} s"
