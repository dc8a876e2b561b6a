"""Ctrl-C and SIGTERM during training: finish the step, save, leave.

In: a signal.
Out: a flag that the loop reads between steps; a second Ctrl-C leaves at once.
Invariant: the handlers that were there before come back afterwards.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


class Interrupted(Exception):
    """Training was asked to stop, has saved its state and can go on from it. `exit_code` follows the shell's 128 + signal."""

    def __init__(self, folder: Path, step: int, number: int) -> None:
        self.folder, self.step, self.signal = folder, step, number
        self.exit_code = 128 + number
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}; everything is saved in {folder}. "
            f"Go on with: plait train --resume {folder}"
        )


class Listener:
    """Holds the signal that came, if one came."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.process = os.getpid()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        if os.getpid() != self.process:  # a forked loader worker: Ctrl-C is not meant for it, SIGTERM ends it
            if number == signal.SIGTERM:
                os._exit(0)
            return
        if self.number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen for SIGINT and SIGTERM; in a thread that cannot, nothing is ever heard."""
    listener = Listener()
    if threading.current_thread() is not threading.main_thread():
        yield listener
        return
    before = {number: signal.signal(number, listener) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield listener
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
