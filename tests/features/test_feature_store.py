"""Blocks and stores: whole or not there, whatever happens to their processes, their disk or their files."""

from __future__ import annotations

import pickle
import re
import resource
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plait.errors import UserError
from plait.features import block
from plait.features.block import CacheUnwritable, open_block, read_header, write_block
from plait.features.store import FeatureStore, features_folder

ID = "0123456789abcdef"


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def values(number: int, length: int | None = None) -> Tensor:
    """Features that tell their number: as many tokens as it says."""
    return torch.full((number % 5 + 1 if length is None else length, 4), float(number))


def store() -> FeatureStore:
    return FeatureStore(ID, {"modality": "image", "kind": "vit", "width": 4})


def fill(numbers: range) -> FeatureStore:
    """A store with one block of these items."""
    found = store()
    found.add([key(n) for n in numbers], [values(n) for n in numbers], [10 * n for n in numbers])
    return found


def test_what_is_written_is_read(tmp_path: Path) -> None:
    numbers = [3, 0, 7]
    path = write_block(tmp_path, [key(n) for n in numbers], [values(n) for n in numbers], [10 * n for n in numbers])
    block = open_block(path)
    assert block is not None
    assert block.keys == tuple(key(n) for n in numbers)
    assert block.frames == (30, 0, 70)
    for place, number in enumerate(numbers):
        assert torch.equal(block.item(place), values(number))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9, 0.999])
def test_a_block_that_is_cut_off_is_none(tmp_path: Path, share: float) -> None:
    path = write_block(tmp_path, [key(1), key(2)], [values(1), values(2)], [0, 0])
    assert read_header(path) is not None
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert open_block(path) is None


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64, (20).to_bytes(8, "little") + b'{"values": 1}       '])
def test_a_file_that_is_something_else_is_no_block(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "other.block"
    path.write_bytes(damage)
    assert open_block(path) is None
    assert open_block(tmp_path / "nothing.block") is None


def test_a_damaged_block_is_removed_by_the_next_who_fills_and_hides_nothing(cache: Path) -> None:
    fill(range(3))
    damaged = features_folder() / ID / ("0" * 32 + ".block")
    damaged.write_bytes(b"torn")
    half = features_folder() / ID / ".1234.block.part"
    half.write_bytes(b"half")
    found = store()
    found.refresh()
    assert len(found) == 3
    with found.filling(lambda _: None):
        assert not damaged.exists()
        assert not half.exists()
        assert len(found) == 3


def test_what_another_process_is_writing_is_left_to_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Previously whoever held the lock deleted another one's half of `about.json`, or (after a clearing) of a block, and that
    process ended with "cannot write the cache".
    """
    found = store()
    found.make()
    theirs = found.folder / ".about.json.1.part"
    theirs.write_text("{", encoding="utf-8")
    with found.filling(lambda _: None):
        assert theirs.exists()
    taken: list[Path] = []

    def sync_and_lose(part: Path) -> None:
        if not taken:
            taken.append(part)
            part.unlink()

    monkeypatch.setattr(block, "sync", sync_and_lose)
    found.add([key(1)], [values(1)], [0])
    assert len(taken) == 1
    assert key(1) in found


def test_what_is_mapped_outlives_its_file_and_descriptors_are_not_held(cache: Path) -> None:
    found = store()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        found.add([key(number)], [values(number, 1000)], [0])
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for path in found.folder.glob("*.block"):
        path.unlink()
    for number in range(20):
        got = found.get(key(number))
        assert got is not None
        assert torch.equal(got, values(number, 1000))


def test_a_store_that_is_cleared_while_it_is_filled_is_made_again(cache: Path) -> None:
    from plait.features.listing import clear

    found = store()
    with found.filling(lambda _: None):
        found.add([key(1)], [values(1)], [0])
        assert [row.id for row in clear()] == [ID]
        found.add([key(2)], [values(2)], [0])
    other = store()
    other.refresh()
    assert key(2) in other
    assert key(1) not in other
    assert key(1) in found  # mapped before


def test_another_process_that_does_not_inherit_memory_maps_the_blocks_itself(cache: Path) -> None:
    found = fill(range(4))
    copy = pickle.loads(pickle.dumps(found))
    assert len(pickle.dumps(found)) < 1000
    assert torch.equal(copy.get(key(2)), values(2))
    assert copy.frames(key(2)) == 20
    assert copy.num_tokens(key(2)) == 3
    assert copy.get(key(9)) is copy.frames(key(9)) is copy.num_tokens(key(9)) is None


def child(target: Callable[[Path], None], report: Path) -> BaseProcess:
    """A real process that does this; what it has to say stands in the file."""
    process = get_context("fork").Process(target=target, args=(report,))
    process.start()
    return process


def compute(report: Path) -> None:
    """Add forty items, each of which takes a while, unless they are there."""
    found, computed = store(), 0
    with found.filling(lambda _: None):
        for number in range(40):
            if key(number) not in found:
                time.sleep(0.005)
                found.add([key(number)], [values(number, 500)], [number])
                computed += 1
    right = all(torch.equal(given(found, number), values(number, 500)) for number in range(40))
    report.write_text(f"{computed} {right}", encoding="utf-8")


def given(found: FeatureStore, number: int) -> Tensor:
    got = found.get(key(number))
    assert got is not None
    return got


def test_two_processes_that_fill_at_once_compute_everything_once(cache: Path, tmp_path: Path) -> None:
    processes = [child(compute, tmp_path / str(number)) for number in range(2)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted((tmp_path / str(number)).read_text(encoding="utf-8") for number in range(2)) == ["0 True", "40 True"]
    found = store()
    found.refresh()
    assert len(found) == len(list(found.folder.glob("*.block"))) == 40


def without_end(_: Path) -> None:
    """Add blocks without a pause."""
    found = store()
    with found.filling(lambda _: None):
        for number in range(100_000):
            found.add([key(number)], [values(number, 20_000)], [0])


def test_a_process_that_is_killed_leaves_whole_blocks_and_no_lock(cache: Path, tmp_path: Path) -> None:
    """SIGKILL while blocks are written: whatever stands there is whole, and another goes on at once."""
    folder = features_folder() / ID
    for pause in (0.03, 0.05, 0.08, 0.13):
        process, before = child(without_end, tmp_path / "none"), len(list(folder.glob("*.block")))
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*.block"))) <= before and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(pause)
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        assert all(open_block(path) is not None for path in folder.glob("*.block"))
        found = store()
        found.refresh()
        assert len(found) > 0
        for number in range(len(found)):
            assert torch.equal(given(found, number), values(number, 20_000))
        with found.filling(lambda line: pytest.fail(line)):
            assert not list(folder.glob(".*.part"))


def until_full(report: Path) -> None:
    """No file may grow beyond 300 kB: what a full disk looks like from inside."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    found = store()
    found.add([key(1)], [values(1, 100)], [0])
    try:
        found.add([key(2)], [values(2, 50_000)], [0])
    except UserError as error:
        report.write_text(str(error), encoding="utf-8")
    found.add([key(3)], [values(3, 100)], [0])


def test_a_full_disk_is_one_message_and_leaves_nothing_half_written(cache: Path, tmp_path: Path) -> None:
    process = child(until_full, tmp_path / "said")
    process.join(60)
    assert process.exitcode == 0
    said = (tmp_path / "said").read_text(encoding="utf-8")
    assert re.search("cannot write the cache of features: .*(File too large|os error 27)", said)
    assert str(features_folder() / ID) in said
    assert "plait cache --clear" in said
    found = store()
    found.refresh()
    assert [key(n) in found for n in (1, 2, 3)] == [True, False, True]
    assert not list(found.folder.glob(".*.part"))


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CacheUnwritable, match="PLAIT_CACHE"):
        fill(range(1))
