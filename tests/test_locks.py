"""Locks go with their process and nobody else's; two writers never meet; what a dead one left is told from what is alive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plait.errors import UserError
from plait.locks import held_name, host, is_abandoned, temporary
from plait.train.lock import creating, locked
from plait.writing import remove_leftovers, replacing

pytest.importorskip("fcntl")

HOLDER = """
import os, sys, time
from pathlib import Path
from plait.train.lock import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:  # a loader's worker, which outlives its parent by some seconds
        time.sleep(60)
        os._exit(0)
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_worker_that_outlives_its_killed_parent_holds_no_lock(tmp_path: Path):
    """Previously workers inherited the lock: after kill -9 of a training, --resume was refused for five seconds."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    ) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(UserError, match="being trained by another process"), locked(tmp_path):
                pass
            holder.kill()
            holder.wait()
            with locked(tmp_path):
                pass
        finally:
            os.killpg(holder.pid, 9)


def test_two_writers_at_once_each_write_their_own(tmp_path: Path):
    """Previously both wrote to one temporary name: the first one's rename gave the second one's half the final name."""
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write_text("first", encoding="utf-8")
        with replacing(path) as second:
            assert second != first
            second.write_text("second", encoding="utf-8")
            assert first.exists()
        assert path.read_text(encoding="utf-8") == "second"
    assert path.read_text(encoding="utf-8") == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_the_dead_left_goes_and_what_the_living_write_stays(tmp_path: Path):
    """Previously one writer's start removed what another one was writing."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = {
        "dead": f".x.{host()}-{gone.pid}-00000000.part",
        "alive": f".x.{host()}-{os.getpid()}-00000000.part",
        "elsewhere": ".x.ffffff-1-00000000.part",
        "long ago": ".x.ffffff-2-00000000.part",
        "before": ".x.part",
        "mine": ".x.mine.part",
    }
    paths = {what: tmp_path / name for what, name in names.items()}
    for path in paths.values():
        path.write_text("half", encoding="utf-8")
    old = time.time() - 2 * 86_400
    os.utime(paths["long ago"], (old, old))
    remove_leftovers(tmp_path, "x")
    assert {what for what, path in paths.items() if path.exists()} == {"alive", "elsewhere", "mine"}
    assert not is_abandoned(temporary(tmp_path / "x"))


def test_the_name_of_a_folder_is_held_before_it_is_made(tmp_path: Path):
    folder = tmp_path / "runs" / "new"
    with creating(folder):
        with pytest.raises(UserError, match="being trained by another process"), creating(folder):
            pass
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_its_holder_removed_is_not_taken_for_the_one_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise two could hold the same name: one the removed file, one the new one."""
    path, real, opened = tmp_path / "lock", Path.open, []

    def open_late(self: Path, *words: object, **named: object):
        file = real(self, *words, **named)  # pyright: ignore
        if not opened:
            opened.append(self)
            self.unlink()  # between opening and locking its holder ended
        return file

    monkeypatch.setattr(Path, "open", open_late)
    with held_name(path) as is_held:
        assert is_held
        assert path.exists()
        with held_name(path) as again:
            assert not again
    assert not path.exists()
