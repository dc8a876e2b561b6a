"""Many tasks in parallel processes, each with its own memory: what one breaks, breaks nothing else.

In: tasks (a function of a module and its arguments), how many run at once, and who is told.
Out: one outcome per task: its value, or in words why there is none.
Invariant: a process ends with its task; none outlives this one by more than a second or two, whatever ends it. After SIGINT or
SIGTERM no task begins, those that run are asked to stop and waited for.

Processes are forked from a server that has imported everything once (`forkserver`), so a task starts in milliseconds, without
threads or memory of another task.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from plait import trust
from plait.errors import UserError

PRELOADED = ["plait.compare.tasks"]
WATCH_SECONDS = 1.0
Tell = Callable[[Mapping[str, Any]], None]
"""What a task calls to say how far it is."""


@dataclass(frozen=True)
class Task:
    """`function(tell, **arguments)` in a process of its own, which writes what it prints to `log`."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    log: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What a task returned, or why it did not."""

    value: Any = None
    failure: str = ""

    @property
    def done(self) -> bool:
        """Whether it returned."""
        return not self.failure


class Stopped(Exception):
    """A signal ended the tasks before all were done; what they had saved is saved. `exit_code` follows the shell's 128 + signal."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}")


class Watcher:
    """Is told what happens; this one keeps silent."""

    def begin(self, task: Task) -> None:
        """A task starts."""

    def update(self, task: Task, news: Mapping[str, Any]) -> None:
        """A task says how far it is."""

    def end(self, task: Task, outcome: Outcome) -> None:
        """A task has ended."""

    def tick(self) -> None:
        """A moment has passed."""


@dataclass
class _Running:
    task: Task
    process: BaseProcess
    connection: Connection
    outcome: Outcome | None = None
    asked: bool = False


@dataclass
class _Signals:
    """The signal that came, if one came."""

    number: int = 0
    before: dict[int, Any] = field(default_factory=dict)

    def __call__(self, number: int, _frame: object) -> None:
        self.number = self.number or number


def run_tasks(tasks: Sequence[Task], *, jobs: int, watcher: Watcher | None = None) -> dict[str, Outcome]:
    """Run all tasks, at most `jobs` at once, in their order; `Stopped` after a signal."""
    watcher, waiting = watcher or Watcher(), list(reversed(tasks))
    running: list[_Running] = []
    outcomes: dict[str, Outcome] = {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with _heard() as heard:
        while waiting or running:
            if heard.number:
                _ask_to_stop(running, heard.number)
                waiting.clear()
            while waiting and len(running) < jobs:
                running.append(_start(context, waiting.pop()))
                watcher.begin(running[-1].task)
            _listen(running, watcher)
            for one in [one for one in running if not one.process.is_alive()]:
                running.remove(one)
                outcomes[one.task.name] = outcome = _end(one, watcher, stopping=bool(heard.number))
                watcher.end(one.task, outcome)
            watcher.tick()
        if heard.number:
            raise Stopped(heard.number)
    return outcomes


def _start(context: Any, task: Task) -> _Running:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(task, there, dict(os.environ), trust.carried()), name=task.name)
    process.start()
    there.close()
    return _Running(task, process, here)


def _listen(running: Sequence[_Running], watcher: Watcher) -> None:
    """Take what the tasks have said; at most a moment."""
    by_connection = {one.connection: one for one in running if not one.connection.closed}
    wait([*by_connection, *(one.process.sentinel for one in running)], timeout=0.5)
    for connection, one in by_connection.items():
        _hear(connection, one, watcher)


def _hear(connection: Connection, one: _Running, watcher: Watcher) -> None:
    with contextlib.suppress(EOFError, OSError):
        while connection.poll():
            kind, value = connection.recv()
            if kind == "news":
                watcher.update(one.task, value)
            else:
                one.outcome = Outcome(value) if kind == "done" else Outcome(failure=value)


def _end(one: _Running, watcher: Watcher, *, stopping: bool) -> Outcome:
    """The outcome of a process that has ended; a signal to the whole group may reach it before it listens."""
    one.process.join()
    _hear(one.connection, one, watcher)
    one.connection.close()
    code = one.process.exitcode or 0
    if one.outcome is not None:
        return one.outcome
    if stopping:
        return Outcome(failure="stopped")
    if code == -signal.SIGKILL:
        return Outcome(failure="the process was killed (SIGKILL): perhaps the memory did not do")
    why = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return Outcome(failure=f"the process ended {why}" + (f"; see {one.task.log}" if one.task.log else ""))


def _ask_to_stop(running: Sequence[_Running], number: int) -> None:
    """At a terminal Ctrl-C reaches every process by itself; a second one would end a training without saving."""
    for one in running:
        if not one.asked:
            one.asked = True
            if (number != signal.SIGINT or not _at_terminal()) and one.process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.process.pid, signal.SIGTERM)


def _at_terminal() -> bool:
    """Whether this process is in a terminal's foreground, so that Ctrl-C went to all of its group."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def _heard() -> Iterator[_Signals]:
    """Listen for SIGINT and SIGTERM, where this thread can."""
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    signals.before = {number: signal.signal(number, signals) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in signals.before.items():
            signal.signal(number, handler)


def _work(task: Task, connection: Connection, environ: Mapping[str, str], codes: Sequence[trust.Code]) -> None:
    """What a task's process does. The server that it is forked from may be older than this process's environment.

    `codes`: the modules of one's own that the asking process has loaded; the same files may be loaded here.
    """
    trust.carry(codes)
    os.environ.clear()
    os.environ.update(environ)
    _end_with_reader(connection)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    if task.log is not None:
        _print_to(task.log)
    try:
        value = task.function(lambda news: connection.send(("news", dict(news))), **task.arguments)
        connection.send(("done", value))
    except UserError as error:
        connection.send(("failed", str(error)))
    except (KeyboardInterrupt, SystemExit) as stop:
        connection.send(("failed", f"stopped{f': {stop}' if str(stop) else ''}"))
    except MemoryError:
        connection.send(("failed", "the memory did not do"))
    except BaseException as error:
        traceback.print_exc()
        connection.send(("failed", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"))
    connection.close()


def _terminate(_number: int, _frame: object) -> None:
    raise SystemExit("SIGTERM")


def _end_with_reader(connection: Connection) -> None:
    """End when nobody is left to take the result. (The process that forked this one lives on as long as any task does.)"""

    def watch() -> None:
        poll = select.poll()
        poll.register(connection.fileno(), 0)  # only errors: the other end is closed
        while not poll.poll(1000 * WATCH_SECONDS):
            pass
        if not connection.closed:
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _print_to(log: Path) -> None:
    """Everything that is printed goes to the end of a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = log.open("a", encoding="utf-8", buffering=1, newline="\n")
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = file
