"""The run's folder: whole at every instant, refused with one message where it is not what it should be."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from plait.errors import UserError
from plait.run import (
    ENVIRONMENT,
    FORMAT,
    check_folder,
    load_weights,
    read_metadata,
    refuse_existing,
    remove_leftovers,
    replacing,
    save_tensors,
    save_weights,
    weights_of,
)


class Tied(torch.nn.Module):
    """Two names for one matrix."""

    def __init__(self, size: int = 5) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(size, 3)
        self.head = torch.nn.Linear(3, size, bias=False)
        self.head.weight = self.embedding.weight


def tree(folder: Path) -> dict[str, bytes]:
    """Every file with its content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def write_file(path: Path, content: bytes) -> None:
    """A new content for a file."""
    with replacing(path) as part:
        part.write_bytes(content)


def write_folder(path: Path, content: bytes) -> None:
    """A folder with a plain file, a file of tensors and a folder in it."""
    with replacing(path) as part:
        part.mkdir()
        (part / "a").write_bytes(content)
        (part / "inner").mkdir()
        (part / "inner" / "b").write_bytes(content)
        save_tensors({"x": torch.full((300,), float(len(content)))}, part / "tensors", {"n": "1"})


def die_at_call(number: int, action: Callable[[], None]) -> bool:
    """Run `action` in a child process that dies, as by SIGKILL, before its `number`-th call of the system; whether it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        calls = 0

        def counted(function: Callable) -> Callable:
            def call(*words, **named):
                nonlocal calls
                calls += 1
                if calls == number:
                    os._exit(9)
                return function(*words, **named)

            return call

        for name in ("open", "fsync", "replace", "rename", "mkdir", "unlink", "close", "write", "rmdir"):
            setattr(os, name, counted(getattr(os, name)))
        import pathlib

        for name in ("open", "mkdir", "write_bytes", "touch", "chmod", "unlink", "stat", "is_dir", "iterdir"):
            setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
        try:
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


def deaths(action: Callable[[], None]) -> Iterator[int]:
    """Every call at which `action` can die."""
    for number in range(1, 200):
        if die_at_call(number, action):
            return
        yield number
    raise AssertionError("the action never ended")


def test_a_file_is_old_or_new_at_every_instant(tmp_path):
    path = tmp_path / "file"
    write_file(path, b"old")
    num_deaths = 0
    for _ in deaths(lambda: write_file(path, b"new and longer")):
        num_deaths += 1
        assert path.read_bytes() in (b"old", b"new and longer")
        write_file(path, b"old")
    assert num_deaths >= 5
    write_file(path, b"newest")
    assert tree(tmp_path) == {"file": b"newest"}


def test_a_folder_is_absent_or_whole_at_every_instant(tmp_path):
    write_folder(tmp_path / "reference", b"content")
    whole, num_deaths = tree(tmp_path / "reference"), 0
    for number in deaths(lambda: write_folder(tmp_path / "new" / "run", b"content")):
        num_deaths += 1
        run = tmp_path / "new" / "run"
        assert not run.exists() or tree(run) == whole, f"half a folder after call {number}"
        if run.exists():
            run.rename(tmp_path / f"done{number}")
    assert num_deaths >= 10


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_or_failing_disk_leaves_what_was_saved(tmp_path, monkeypatch, function, number):
    path = tmp_path / "file"
    write_file(path, b"old")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(
        UserError, match=f"cannot write file: {os.strerror(number)}.*What was saved before is whole"
    ) as caught:
        write_file(path, b"new")
    assert ("Make room" in str(caught.value)) == (number == errno.ENOSPC)
    assert tree(tmp_path) == {"file": b"old"}


def test_a_write_that_the_system_itself_cuts_off_leaves_what_was_saved(tmp_path):
    """The limit on a file's size stands in for the end of the disk, under Python's files and the tensors' library alike."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "tensors"
    with replacing(path) as part:
        save_tensors({"x": torch.zeros(4)}, part, {"n": "1"})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = tree(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        with (
            pytest.raises(UserError, match=r"cannot write tensors: .*File too large.*is whole\. Make room"),
            replacing(path) as part,
        ):
            save_tensors({"x": torch.zeros(4000)}, part, {"n": "1"})
        with pytest.raises(UserError, match="cannot write text: File too large"), replacing(tmp_path / "text") as part:
            part.write_text("x" * 5000, encoding="utf-8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert tree(tmp_path) == old


def test_an_error_of_the_writer_itself_passes_and_leaves_nothing(tmp_path):
    with pytest.raises(IndexError), replacing(tmp_path / "file") as part:
        part.write_text("half" * [2][1], encoding="utf-8")
    assert tree(tmp_path) == {}


def test_leftovers_are_removed(tmp_path):
    (tmp_path / "training" / ".step-1.part").mkdir(parents=True)
    (tmp_path / ".model.part").write_text("half", encoding="utf-8")
    (tmp_path / "model").write_text("whole", encoding="utf-8")
    remove_leftovers(tmp_path)
    assert tree(tmp_path) == {"model": b"whole"}
    assert not any((tmp_path / "training").iterdir())


def test_tied_weights_are_saved_once_and_filled_twice(tmp_path):
    model, other = Tied(), Tied()
    assert list(weights_of(model)) == ["embedding.weight"]
    save_weights(model, tmp_path / "weights", {"step": "4"})
    load_weights(other, tmp_path / "weights")
    assert torch.equal(other.head.weight, model.embedding.weight)
    assert other.head.weight is other.embedding.weight
    assert read_metadata(tmp_path / "weights") == {"step": "4"}


def test_weights_have_the_rights_of_other_files(tmp_path):
    (tmp_path / "plain").write_text("", encoding="utf-8")
    save_weights(Tied(), tmp_path / "weights", {"step": "4"})
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_weights_that_do_not_fit_are_refused(tmp_path):
    save_weights(Tied(6), tmp_path / "other", {"step": "4"})
    with pytest.raises(UserError, match=r"do not fit the model of config.yaml: embedding.weight"):
        load_weights(Tied(5), tmp_path / "other")
    save_file({"gone": torch.zeros(1)}, tmp_path / "names")
    with pytest.raises(UserError, match=r"embedding.weight, gone"):
        load_weights(Tied(5), tmp_path / "names")


def test_weights_that_are_cut_off_are_refused(tmp_path):
    save_weights(Tied(), tmp_path / "weights", {"step": "4"})
    content = (tmp_path / "weights").read_bytes()
    for length in (0, 3, 40, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cut: damaged: "):
            load_weights(Tied(), tmp_path / "cut")
    assert set(load_file(tmp_path / "weights")) == {"embedding.weight"}


def test_a_folder_that_exists_is_refused(tmp_path):
    refuse_existing(tmp_path / "free")
    refuse_existing(tmp_path)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match=r"exists already and is not a run. Take another name"):
        refuse_existing(tmp_path)
    (tmp_path / ENVIRONMENT).write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"exists already. Go on with it \(plait train --resume"):
        refuse_existing(tmp_path)
    with pytest.raises(UserError, match="exists already"):
        refuse_existing(tmp_path / "notes.txt")


def test_folders_that_are_no_whole_run_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run folder"):
        check_folder(tmp_path / "nowhere")
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"not a complete run: tokenizer.json, environment.json are missing"):
        check_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    (tmp_path / ENVIRONMENT).write_text('{"format":', encoding="utf-8")
    with pytest.raises(UserError, match=r"environment.json: half written"):
        check_folder(tmp_path)
    (tmp_path / ENVIRONMENT).write_text(json.dumps({"format": FORMAT + 1, "plait": "9.0"}), encoding="utf-8")
    with pytest.raises(
        UserError, match=rf"run format {FORMAT + 1} \(plait 9.0\); this plait reads formats up to {FORMAT}"
    ):
        check_folder(tmp_path)
    (tmp_path / ENVIRONMENT).write_text(json.dumps({"format": FORMAT}), encoding="utf-8")
    check_folder(tmp_path)
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"model.safetensors: is not an ordinary file"):
        check_folder(tmp_path)
    with pytest.raises(UserError, match=r"there is no run folder .* write the home folder in full"):
        check_folder(Path("~/nowhere"))


@pytest.mark.parametrize("folder", ["notes.txt", "notes.txt/deeper", "/proc/x"])
def test_a_place_where_nothing_can_be_written_is_told(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously, the advice was to mend "File exists" and to go on with --resume."""
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("notes", encoding="utf-8")
    with pytest.raises(UserError, match=r"Give a place that may be written"), replacing(Path(folder) / "a") as part:
        write_file(part, b"x")
