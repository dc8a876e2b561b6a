"""Tasks in processes of their own: every way in which one can end, and that nothing outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from plait.compare.drive import Outcome, Task, Watcher, run_tasks
from plait.errors import UserError


def doubled(tell: Any, number: int) -> int:
    tell({"state": "doubling", "step": number})
    return 2 * number


def fails(tell: Any, how: str) -> None:
    match how:
        case "user":
            raise UserError("the picture is broken", where="row 3")
        case "error":
            raise RuntimeError("shapes do not fit\nand a long explanation")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "memory":
            raise MemoryError


def alone(tell: Any, folder: Path, name: str) -> int:
    """How many ran at once."""
    (folder / name).touch()
    time.sleep(0.3)
    number = len(list(folder.iterdir()))
    (folder / name).unlink()
    return number


def test_values_come_back_under_their_names_and_news_are_told():
    told: list[tuple[str, Mapping[str, Any]]] = []

    class Listening(Watcher):
        def update(self, task: Task, news: Mapping[str, Any]) -> None:
            told.append((task.name, news))

    tasks = [Task(f"double {n}", doubled, {"number": n}) for n in range(5)]
    outcomes = run_tasks(tasks, jobs=2, watcher=Listening())
    assert outcomes == {f"double {n}": Outcome(2 * n) for n in range(5)}
    assert sorted(told) == [(f"double {n}", {"state": "doubling", "step": n}) for n in range(5)]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("user", "row 3: the picture is broken"),
        ("error", "RuntimeError: shapes do not fit"),
        ("killed", "the process was killed (SIGKILL): perhaps the memory did not do"),
        ("exit", "the process ended with exit code 7; see "),
        ("memory", "the memory did not do"),
    ],
)
def test_a_task_that_fails_says_why_and_the_others_go_on(how: str, reason: str, tmp_path: Path):
    log = tmp_path / "logs" / "fails.log"
    tasks = [Task("fails", fails, {"how": how}, log), Task("works", doubled, {"number": 4})]
    outcomes = run_tasks(tasks, jobs=1)
    assert outcomes["works"] == Outcome(8)
    assert not outcomes["fails"].done
    assert outcomes["fails"].failure.startswith(reason)
    assert ("Traceback" in log.read_text(encoding="utf-8")) == (how == "error")


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_more_run_at_once_than_was_said(jobs: int, tmp_path: Path):
    tasks = [Task(str(n), alone, {"folder": tmp_path, "name": str(n)}) for n in range(2 * jobs)]
    most = max(outcome.value for outcome in run_tasks(tasks, jobs=jobs).values())
    assert most <= jobs


PARENT = """
import os, sys, time
sys.path.insert(0, {folder!r})
from pathlib import Path
from plait.compare.drive import Stopped, Task, run_tasks
from waiting import waits
try:
    run_tasks([Task(str(n), waits, {{"path": Path({place!r}) / str(n)}}) for n in range(6)], jobs=2)
except Stopped as stopped:
    print("stopped", stopped.exit_code, flush=True)
"""
WAITING = """
import os, time
def waits(tell, path):
    path.write_text(str(os.getpid()))
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(number: signal.Signals, tmp_path: Path):
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    place = tmp_path / "place"
    place.mkdir()
    code = PARENT.format(folder=str(tmp_path), place=str(place))
    printed = tmp_path / "printed"
    with printed.open("w", encoding="utf-8") as file:
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=file, stderr=file, start_new_session=True)
        try:
            children = waited(
                lambda: [int(p.read_text(encoding="utf-8")) for p in place.iterdir() if p.read_text(encoding="utf-8")],
                2,
            )
            parent.send_signal(number)
            parent.wait(timeout=30)
            assert waited(lambda: [c for c in children if not is_alive(c)], 2), "a task outlived its parent"
        finally:
            parent.kill()
            parent.wait()
    if number != signal.SIGKILL:
        assert f"stopped {128 + number}" in printed.read_text(encoding="utf-8")
    assert len(list(place.iterdir())) == 2, "a task began after the signal"


def test_what_a_signal_to_the_whole_group_ends_is_stopped_and_not_failed(tmp_path: Path):
    """The server of the processes dies by it as well, and with it their exit codes."""
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    place = tmp_path / "place"
    place.mkdir()
    told = "class W(Watcher):\n    def end(self, task, outcome): print(outcome.failure, flush=True)\n"
    code = PARENT.format(folder=str(tmp_path), place=str(place)).replace("jobs=2", "jobs=2, watcher=W()")
    code = code.replace("from waiting", f"from plait.compare.drive import Watcher\n{told}from waiting")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as parent:
        waited(
            lambda: [int(p.read_text(encoding="utf-8")) for p in place.iterdir() if p.read_text(encoding="utf-8")], 2
        )
        os.killpg(parent.pid, signal.SIGTERM)
        printed = parent.communicate(timeout=30)[0].decode().splitlines()
    assert len(printed) == 3
    assert all(line.startswith("stopped") for line in printed)


def waited(found: Any, number: int, seconds: float = 40.0) -> list[int]:
    """What is found once there are so many."""
    until = time.monotonic() + seconds
    while len(values := found()) < number:
        assert time.monotonic() < until
        time.sleep(0.05)
    return values


def is_alive(process: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
