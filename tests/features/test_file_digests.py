"""A digest is that of the file as it is; what is remembered is used only while nothing changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from plait.features import digests
from plait.features.digests import MEMORY, FileDigests, digest_of


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a moment ago count as old: their time of change of status cannot be set."""
    monkeypatch.setattr(digests, "FRESH_NS", 0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    read: list[Path] = []

    def counted(path: Path) -> bytes | None:
        read.append(path)
        return digest_of(path)

    monkeypatch.setattr(digests, "digest_of", counted)
    return read


def files(folder: Path, number: int = 3) -> list[Path]:
    paths = [folder / f"{k}.bin" for k in range(number)]
    for k, path in enumerate(paths):
        path.write_bytes(bytes([k]) * 100)
    return paths


def test_it_is_blake2_of_the_content(tmp_path: Path) -> None:
    (path,) = files(tmp_path, 1)
    assert FileDigests(tmp_path).of(path) == hashlib.blake2b(bytes(100), digest_size=16).digest()
    path.write_bytes(os.urandom(3 * 2**20))
    assert FileDigests(tmp_path).of(path) == hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def test_a_file_is_read_once_for_all_processes(tmp_path: Path, reads: list[Path]) -> None:
    paths = files(tmp_path)
    first = FileDigests(tmp_path / "cache")
    first.learn(paths)
    assert reads == paths
    second = FileDigests(tmp_path / "cache")
    second.learn([*paths, *paths])
    assert reads == paths
    assert [second.of(p) for p in paths] == [first.of(p) for p in paths]
    assert reads == paths


def test_another_name_has_the_same_digest(tmp_path: Path) -> None:
    (path,) = files(tmp_path, 1)
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    known = FileDigests(tmp_path / "cache")
    known.learn([path, copy])
    assert known.of(path) == known.of(copy)


def test_a_file_of_the_same_size_and_time_is_seen_to_be_another(tmp_path: Path) -> None:
    """Replaced by one of the same size whose time of change was put back: the system's own note of the change tells."""
    (path,) = files(tmp_path, 1)
    known = FileDigests(tmp_path / "cache")
    known.learn([path])
    before, state = known.of(path), path.stat()
    time.sleep(0.02)
    path.write_bytes(bytes([9]) * 100)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert path.stat().st_mtime_ns == state.st_mtime_ns
    assert known.of(path) == digest_of(path) != before
    later = FileDigests(tmp_path / "cache")
    later.learn([path])
    assert later.of(path) == digest_of(path)


def test_a_file_of_this_very_moment_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "FRESH_NS", 2_000_000_000)
    FileDigests(tmp_path / "cache").learn(files(tmp_path))
    assert not (tmp_path / "cache" / MEMORY).exists()


def test_what_cannot_be_read_has_none(tmp_path: Path) -> None:
    known = FileDigests(tmp_path / "cache")
    missing = tmp_path / "missing.png"
    known.learn([missing, tmp_path])
    assert known.of(missing) is None
    assert known.of(tmp_path) is None


@pytest.mark.parametrize("damage", [b"not a database at all " * 100, b""])
def test_a_damaged_memory_is_made_anew(tmp_path: Path, damage: bytes, reads: list[Path]) -> None:
    paths = files(tmp_path)
    FileDigests(tmp_path / "cache").learn(paths)
    (tmp_path / "cache" / MEMORY).write_bytes(damage)
    FileDigests(tmp_path / "cache").learn(paths)
    assert reads == [*paths, *paths]
    FileDigests(tmp_path / "cache").learn(paths)
    assert reads == [*paths, *paths]


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path, reads: list[Path]) -> None:
    paths = files(tmp_path)
    (tmp_path / "cache").write_text("a file in the way", encoding="utf-8")
    for _ in range(2):
        known = FileDigests(tmp_path / "cache")
        known.learn(paths)
        assert known.of(paths[0]) == digest_of(paths[0])
    assert reads == [*paths, *paths]
