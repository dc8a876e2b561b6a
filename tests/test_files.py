"""Files that data name: ordinary files only, bounded, never waited for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plait.errors import UserError
from plait.files import open_regular, read_bytes, refuse_devices, state_of
from plait.writing import read_json


def test_what_is_no_ordinary_file_is_refused_without_waiting(tmp_path: Path):
    """A pipe without a writer blocked for ever; /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe")
    for path, what in (
        (tmp_path / "pipe", "not an ordinary file"),
        ("/dev/zero", "not an ordinary"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(UserError, match=what):
            read_bytes(path, max_bytes=100)
    with pytest.raises(UserError, match="No such file"):
        open_regular(tmp_path / "none")


def test_no_more_than_the_bound_is_read(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bytes(path, max_bytes=5) == b"12345"
    with pytest.raises(UserError, match="more than 4 bytes"):
        read_bytes(path, max_bytes=4)


def test_an_exchange_that_keeps_size_and_time_is_seen(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    before, times = state_of(path), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert state_of(path) != before


def test_a_pipe_anywhere_in_a_folder_is_refused(tmp_path: Path):
    """Previously, a pipe in the place of a run's weights (its metrics, a record) made every command on the run wait for ever."""
    (tmp_path / "training" / "step-1").mkdir(parents=True)
    (tmp_path / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "b.json").symlink_to("a.json")
    (tmp_path / "c.json").symlink_to("nowhere")
    refuse_devices(tmp_path)
    for path, make in (
        (tmp_path / "training" / "step-1" / "state.json", os.mkfifo),
        (tmp_path / "model.safetensors", lambda path: path.symlink_to("/dev/zero")),
    ):
        make(path)
        with pytest.raises(UserError, match=rf"{path.name}: is not an ordinary file"):
            refuse_devices(tmp_path)
        path.unlink()


def test_a_file_of_ours_that_is_a_pipe_is_refused(tmp_path: Path):
    """Previously, a comparison whose result.json is a pipe waited for ever."""
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(UserError, match="not an ordinary file"):
        read_json(tmp_path / "a.json", right="")
