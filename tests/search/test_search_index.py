"""The saved index: made once, reused only while everything is as it was, whole at every instant; the search is exact."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import plait
from plait.errors import UserError
from plait.run import Run
from plait.search import index as module
from plait.search.index import Gallery, find, open_index
from tiny_data import draw


@pytest.fixture
def data(linked_folder: Path, tmp_path: Path) -> Path:
    """A manifest that may be changed."""
    shutil.copytree(linked_folder / "data", tmp_path / "data")
    return tmp_path / "data" / "manifest.jsonl"


def test_it_is_reused_until_something_changes(run: Run, data: Path, tmp_path: Path):
    path = tmp_path / "kept.safetensors"

    def state() -> str:
        return open_index(run, data, path, batch_size=8).state

    assert [state(), state()] == ["built", "reused"]
    data.write_text(
        data.read_text(encoding="utf-8") + json.dumps({"id": "new", "split": "test", "text": "a new row"}) + "\n",
        encoding="utf-8",
    )
    assert [state(), state()] == ["rebuilt", "reused"]
    draw(data.parent / "0.png", "white", side=40)
    assert [state(), state()] == ["rebuilt", "reused"]
    with torch.no_grad():
        run.model.links.log_scale += 1
    assert [state(), state()] == ["rebuilt", "reused"]
    run.config = run.config.model_copy(
        update={
            "data": run.config.data.model_copy(update={"image": run.config.data.image.model_copy(update={"size": 48})})
        }
    )
    assert [state(), state()] == ["rebuilt", "reused"]


def test_files_that_were_exchanged_are_seen(run: Run, data: Path, tmp_path: Path):
    """The same size and time of change, as tar, rsync -t and cp -p leave them: previously the old vectors were shown."""
    path, files = tmp_path / "kept.safetensors", [data.parent / f"{n}.bmp" for n in "ab"]
    for file, colour in zip(files, ("red", "blue"), strict=True):
        draw(file, colour)
        os.utime(file, ns=(1, 1))
    rows = [{"id": f.stem, "split": "test", "image": f.name} for f in files]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    before = open_index(run, data, path, batch_size=8).galleries["image"]
    contents = [file.read_bytes() for file in files]
    assert len(contents[0]) == len(contents[1])
    for file, content in zip(files, reversed(contents), strict=True):
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))
    again = open_index(run, data, path, batch_size=8)
    assert again.state == "rebuilt"
    assert torch.allclose(again.galleries["image"].vectors, before.vectors.flip(0), atol=1e-5)


def test_an_index_of_before_is_made_anew(run: Run, data: Path, tmp_path: Path):
    """It knew less of the files; one that the user named is no stranger's file."""
    path = tmp_path / "kept.safetensors"
    save_file({"entries": torch.zeros(2, dtype=torch.uint8)}, path, {"format": "plait-index-2", "digest": "x"})
    assert [open_index(run, data, path, batch_size=8).state for _ in range(2)] == ["rebuilt", "reused"]


def test_what_is_read_back_is_what_was_built(run: Run, data: Path, tmp_path: Path):
    built = open_index(run, data, tmp_path / "kept.safetensors", batch_size=8)
    again = open_index(run, data, tmp_path / "kept.safetensors", batch_size=8)
    assert (again.num_rows, again.path) == (24, built.path)
    for side, gallery in built.galleries.items():
        other = again.galleries[side]
        assert torch.equal(gallery.vectors, other.vectors)
        assert (gallery.items, gallery.ids, gallery.num_without) == (other.items, other.ids, other.num_without)
    assert built.galleries["image"].items[0] == ("0.png",)
    assert built.galleries["image"].num_without == 12
    assert sorted(i for ids in built.galleries["text"].ids for i in ids) == sorted(
        f"row{n}" for n in range(24) if n % 8 & 4 == 0
    )


def test_data_and_run_may_be_moved(linked_folder: Path, data: Path, tmp_path: Path):
    """The default file lies in the run and its paths are those of the manifest."""
    shutil.copytree(linked_folder / "run", tmp_path / "run")
    model = plait.load(tmp_path / "run")
    first = model.search("red", manifest=data)
    assert first.index.path.parent == tmp_path / "run" / "search"
    assert [p.name for p in first.index.path.parent.iterdir()] == [first.index.path.name]
    (tmp_path / "run").rename(tmp_path / "moved")
    second = plait.load(tmp_path / "moved").search("red", manifest=data)
    assert second.index.state == "reused"
    for side, hits in first.hits.items():
        assert [hit.ids for hit in second.hits[side]] == [hit.ids for hit in hits]
        assert [hit.likeness for hit in second.hits[side]] == pytest.approx([hit.likeness for hit in hits], abs=1e-6)


def test_a_crash_while_writing_leaves_what_was_there(run: Run, data: Path, tmp_path: Path, monkeypatch):
    path = tmp_path / "kept" / "index.safetensors"
    open_index(run, data, path, batch_size=8)
    before = path.read_bytes()
    data.write_text("\n".join(data.read_text(encoding="utf-8").splitlines()[:10]) + "\n", encoding="utf-8")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_tensors", full)
    with pytest.raises(UserError, match=r"No space left on device.*--index"):
        open_index(run, data, path, batch_size=8)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_stays(run: Run, data: Path, tmp_path: Path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        path = tmp_path / "kept" / "index.safetensors"
        path.parent.mkdir()
        for process in (gone.pid, living.pid):
            for name in (f".{path.name}.{process}", f"..{path.name}.{process}.part"):
                (path.parent / name).write_bytes(b"half")
        others = [path.parent / f".other.safetensors.{gone.pid}", path.parent / f".{path.name}.notes"]
        for other in others:
            other.write_bytes(b"mine")
        for _ in range(2):
            open_index(run, data, path, batch_size=8)
            assert {p.name for p in path.parent.iterdir()} == {
                path.name,
                f".{path.name}.{living.pid}",
                f"..{path.name}.{living.pid}.part",
                *(other.name for other in others),
            }
    finally:
        living.communicate(b"\n")


def test_a_writer_that_is_killed_leaves_nothing_that_stays(linked_folder: Path, data: Path, tmp_path: Path):
    shutil.copytree(linked_folder / "run", tmp_path / "run")
    child = multiprocessing.get_context("spawn").Process(target=killed_while_writing, args=(tmp_path / "run", data))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (left,) = (tmp_path / "run" / "search").iterdir()
    assert left.name.startswith(".")
    path = open_index(Run.load(tmp_path / "run"), data, batch_size=8).path
    assert list(path.parent.iterdir()) == [path]


def killed_while_writing(folder: Path, manifest: Path) -> None:
    """What another process does that is killed in the middle of it."""

    def half(_: object, path: Path, __: object) -> None:
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    module.save_tensors = half
    open_index(Run.load(folder), manifest, batch_size=8)


def test_a_damaged_file_of_its_own_is_made_anew_and_anothers_is_left_alone(
    linked_folder: Path, data: Path, tmp_path: Path
):
    shutil.copytree(linked_folder / "run", tmp_path / "run")
    run = Run.load(tmp_path / "run")
    path = open_index(run, data, batch_size=8).path
    path.write_bytes(path.read_bytes()[:100])
    assert open_index(run, data, batch_size=8).state == "built"
    assert open_index(run, data, batch_size=8).state == "reused"
    for other in (tmp_path / "run" / "model.safetensors", data):
        before = other.read_bytes()
        with pytest.raises(UserError, match="is no index that plait wrote"):
            open_index(run, data, other, batch_size=8)
        assert other.read_bytes() == before


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_search_is_exact_and_in_order(chunk: int, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    vectors = torch.nn.functional.normalize(torch.randn(50, 8), dim=1)
    vectors[30] = vectors[10]
    gallery = Gallery(vectors, tuple(map(str, range(50))), tuple((f"id{n}",) for n in range(50)), 0, 0)
    hits = find(gallery, vectors[10], 50)
    assert [hit.item for hit in hits[:2]] == ["10", "30"]
    assert [hit.rank for hit in hits] == list(range(1, 51))
    expected = sorted(range(50), key=lambda n: -float(vectors[n] @ vectors[10]))
    assert {hit.item for hit in hits[:10]} == {str(n) for n in expected[:10]}
    assert hits[0].likeness == pytest.approx(1.0)
    assert find(gallery, vectors[3], 3) == find(gallery, vectors[3], 50)[:3]
    empty = Gallery(torch.zeros(0, 8), (), (), 4, 0)
    assert find(empty, vectors[3], 3) == []


def test_rows_without_the_side_are_counted_and_targets_are_not_needed(run: Run, data: Path, tmp_path: Path):
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    data.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if k != "target"}) + "\n" for row in rows), encoding="utf-8"
    )
    index = open_index(run, data, tmp_path / "kept.safetensors", batch_size=8)
    assert {side: g.num_without for side, g in index.galleries.items()} == {
        "text": 12,
        "image": 12,
        "audio": 12,
        "target": 24,
    }


def test_a_folder_of_media_can_be_searched(run: Run, tmp_path: Path):
    folder = tmp_path / "media"
    folder.mkdir()
    for colour in ("red", "green"):
        draw(folder / f"{colour}.png", colour)
        (folder / f"{colour}.txt").write_text(colour, encoding="utf-8")
    kept = tmp_path / "kept.safetensors"
    index = open_index(run, folder, kept, batch_size=8)
    assert index.galleries["image"].items == (("green.png",), ("red.png",))
    assert open_index(run, folder, kept, batch_size=8).state == "reused"
    draw(folder / "blue.png", "blue")
    (folder / "blue.txt").write_text("blue", encoding="utf-8")
    assert open_index(run, folder, kept, batch_size=8).state == "rebuilt"
