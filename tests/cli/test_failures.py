"""What the system refuses, in every command: one message with the file, the right exit code, no traceback."""

from __future__ import annotations

import builtins
import errno
import fcntl
import importlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_helpers import Outcome, Shell

from plait.cli.failures import failure
from plait.errors import UserError
from tiny_data import make_manifest, tiny_tree

NUM_TEST = 8


@pytest.fixture(scope="session")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that every command can be asked of, its configuration and its data."""
    from plait.config import make_config
    from plait.train import fit

    folder = tmp_path_factory.mktemp("linked")
    manifest = make_manifest(folder / "data")
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["split"] = ("test", "train", "tune")[number // 8 % 3]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree = tiny_tree(manifest)
    tree["evaluate"] = {"num_resamples": 100}
    tree["train"] |= {"alignment": {"weight": 0.5}, "modality_dropout": 0.2, "evaluate_every": 1}
    fit(make_config(tree), folder / "run")
    (folder / "run.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return folder


@pytest.fixture
def work(linked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one's own, as the working directory."""
    folder = tmp_path / "work"
    shutil.copytree(linked, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("plait.cli.demo.cache_folder", lambda: folder / "cache")
    return folder


Refuse = Callable[..., Any]


def refusing(monkeypatch: pytest.MonkeyPatch, folder: Path, number: int) -> None:
    """Nothing below the folder can be opened to be written, made, renamed or deleted: the system answers with this error."""

    def inside(path: object) -> bool:
        return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).absolute().is_relative_to(folder)

    def no(path: object) -> OSError:
        return OSError(number, os.strerror(number), os.fspath(path))  # pyright: ignore

    def opening(real: Refuse) -> Refuse:
        def opened(file: object, mode: str = "r", *rest: Any, **options: Any) -> Any:
            if set(mode) & set("wax+") and inside(file):
                raise no(file)
            return real(file, mode, *rest, **options)

        return opened

    def low(real: Refuse) -> Refuse:
        def opened(path: object, flags: int, *rest: Any, **options: Any) -> Any:
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and inside(path):
                raise no(path)
            return real(path, flags, *rest, **options)

        return opened

    def acting(real: Refuse) -> Refuse:
        def acted(path: object, *rest: Any, **options: Any) -> Any:
            if inside(path):
                raise no(path)
            return real(path, *rest, **options)

        return acted

    monkeypatch.setattr(io, "open", opening(io.open))
    monkeypatch.setattr(builtins, "open", opening(builtins.open))
    monkeypatch.setattr(os, "open", low(os.open))
    for name in ("mkdir", "replace", "rename", "unlink", "link", "chmod", "utime"):
        monkeypatch.setattr(os, name, acting(getattr(os, name)))


def is_one_message(outcome: Outcome, *words: str) -> None:
    """One message that holds all these words, and nothing else on standard error but what a command tells."""
    assert outcome.code == 2, outcome
    said = [line for line in outcome.err.splitlines() if line.startswith("plait: ")]
    assert len(said) == 1, outcome.err
    assert "Traceback" not in outcome.out + outcome.err
    assert "fault in Plait" not in said[0]
    for word in words:
        assert word in said[0], said


WRITING: dict[str, list[str]] = {
    "train": ["train", "run.yaml", "--out", "new"],
    "resume": ["train", "--resume", "run", "train.steps=3"],
    "evaluate": ["evaluate", "run"],
    "explain": ["explain", "run"],
    "sample": ["explain", "run", "--sample", "row1"],
    "curves": ["explain", "run", "--curves", "--limit", "1"],
    "report": ["report", "run"],
    "schema": ["schema", "--out", "schema.json"],
    "search": ["search", "run", "red", "--in", "data/manifest.jsonl"],
    "generate": ["generate", "run", "--manifest", "data/manifest.jsonl", "--out", "answers.jsonl"],
    "init": ["init", "data", "--out", "first.yaml"],
    "compare": ["compare", "run.yaml", "--arms", "fusion.kind=sum,concat", "--folder", "compared"],
    "check": ["data", "check", "data", "--write-clean", "data/clean.jsonl"],
    "lab": ["lab", "--tasks", "xor", "--folder", "lab"],
    "demo": ["demo", "--out", "demo"],
}


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_cannot_be_written(command: str, work: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    """Previously, train, resume, evaluate, explain, report and schema ended with a traceback on a read-only file system."""
    refusing(monkeypatch, work, errno.EROFS)
    outcome = shell(*WRITING[command])
    is_one_message(outcome, "Read-only file system")
    if command in ("evaluate", "explain", "sample", "curves"):
        assert len(outcome.out.splitlines()) > 10, "what was measured is shown, although it cannot be kept"


@pytest.mark.parametrize("command", ["train", "evaluate", "report", "schema", "generate", "check"])
def test_a_disk_that_is_full(command: str, work: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    """Previously, a full disk was a traceback in evaluate and schema; what stood there before stays whole in every command."""
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    refusing(monkeypatch, work, errno.ENOSPC)
    is_one_message(shell(*WRITING[command]), "No space left on device")
    monkeypatch.undo()
    changed = [p for p in before if p.read_bytes() != before[p] and p.name not in ("metrics.jsonl", ".lock")]
    assert changed == []


@pytest.mark.parametrize("command", ["train", "schema", "init", "generate", "compare", "lab", "demo", "report"])
def test_a_path_below_a_file(command: str, work: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    """A regular file where a folder should be, which no right of root can write below."""
    (work / "file").write_text("", encoding="utf-8")
    monkeypatch.setattr("plait.cli.demo.cache_folder", lambda: work / "file" / "cache")
    words = WRITING["report"] + ["--out", "x"] if command == "report" else WRITING[command]
    name = "report.html" if command == "report" else words[-1]
    is_one_message(shell(*words[:-1], f"file/below/{name}"), "Not a directory")


def test_a_file_that_is_written_over_stays_where_the_disk_is_full(
    work: Path, monkeypatch: pytest.MonkeyPatch, shell: Shell
):
    """Previously, `init --force` and `schema --out` cut the old file off before they wrote."""
    (work / "first.yaml").write_text("mine", encoding="utf-8")
    real = Path.write_text

    def full(path: Path, *rest: Any, **options: Any) -> int:
        real(path, "half", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    is_one_message(shell("init", "data", "--out", "first.yaml", "--force"), "first.yaml: No space left on device")
    is_one_message(shell("schema", "--out", "first.yaml"), "first.yaml: No space left on device")
    assert (work / "first.yaml").read_text(encoding="utf-8") == "mine"
    assert not list(work.glob(".*part*"))


def test_a_device_is_written_to_and_not_replaced(work: Path, shell: Shell):
    fifo = work / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 2**20)
    assert shell("schema", "--out", fifo).code == 0
    assert fifo.is_fifo()
    assert os.read(reader, 1) == b"{"
    is_one_message(shell("init", "data", "--out", fifo, "--force"), "is not an ordinary file")
    os.close(reader)
    os.close(writer)


# The last resort


COMMANDS = [*WRITING.values(), ["cache"], ["fusions"], ["generate", "run", "--text", "hi"], ["data", "check", "data"]]
UNFORESEEN = [
    (OSError(errno.EIO, "Input/output error", "some/file"), 2, "some/file: Input/output error"),
    (OSError(errno.EMFILE, "Too many open files", "x"), 2, "x: Too many open files. Allow more open files: ulimit -n"),
    (UnicodeDecodeError("utf-8", b"a\xe4", 1, 2, "invalid"), 2, "not UTF-8: byte 0xe4 at position 1"),
    (UnicodeEncodeError("latin-1", "a\u2191", 1, 2, "no"), 2, "'\\u2191' cannot be written as LATIN-1"),
    (MemoryError(), 2, "out of memory"),
    (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
    (KeyError("x"), 70, "a fault in Plait: KeyError: 'x' (in plait/"),
    (AssertionError(), 70, "a fault in Plait: AssertionError"),
    (KeyboardInterrupt(), 130, "interrupted"),
]


@pytest.mark.parametrize(("error", "code", "message"), UNFORESEEN, ids=[type(e).__name__ for e, _, _ in UNFORESEEN])
def test_whatever_comes_out_of_a_command_is_one_line(
    error: BaseException, code: int, message: str, shell: Shell, monkeypatch: pytest.MonkeyPatch
):
    """Previously, only mistakes that Plait had foreseen were told in words."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("plait.features.listing.listing", fails)
    outcome = shell("cache")
    assert outcome.code == code
    assert outcome.err.startswith("plait: ")
    assert outcome.err.count("\n") == 1
    assert message in outcome.err
    as_json = shell("cache", "--json").json
    assert (as_json["exit_code"], message in as_json["error"]) == (code, True)


def test_a_fault_says_how_to_see_the_traceback(shell: Shell, monkeypatch: pytest.MonkeyPatch):
    def fails() -> None:
        raise KeyError("x\x1b[31m")

    monkeypatch.setattr("plait.features.listing.listing", fails)
    quiet = shell("cache")
    assert "PLAIT_DEBUG=1" in quiet.err
    assert "Traceback" not in quiet.err
    monkeypatch.setenv("PLAIT_DEBUG", "1")
    loud = shell("cache")
    assert loud.err.startswith("Traceback (most recent call last)")
    assert "\x1b" not in loud.err
    assert loud.code == quiet.code == 70
    monkeypatch.setenv("PLAIT_DEBUG", "0")
    assert shell("cache").err == quiet.err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_ctrl_c_in_every_command(words: list[str], work: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch):
    """One line, exit code 130, and nothing that is half written."""
    before = sorted(work.rglob("*"))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in (
        *("plait.api.read_manifest", "plait.data.reading.read_manifest", "plait.cli.found.read_manifest"),
        *("plait.data.manifest.read_manifest", "plait.demo.make.make_demo_data", "plait.features.listing.listing"),
        *("plait.build.fusion_costs", "plait.api.RunAnswerer", "plait.report.folder.find", "plait.lab.make.write_rows"),
        *("plait.config.json_schema", "plait.compare.run.read_data", "plait.api.find_sample", "plait.api.open_index"),
    ):
        module, _, name = place.rpartition(".")
        monkeypatch.setattr(importlib.import_module(module), name, stop)
    outcome = shell(*words)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "plait: interrupted"), outcome
    assert "Traceback" not in outcome.err
    assert [path for path in sorted(work.rglob("*")) if path not in before and path.is_file()] == []


def test_python_keeps_exceptions(work: Path, monkeypatch: pytest.MonkeyPatch):
    """The last resort is the command line's: a program gets the exception."""
    import plait

    with pytest.raises(UserError, match="no run folder"):
        plait.load(work / "nowhere")
    assert failure(ValueError("a\nb")).message.startswith("a fault in Plait: ValueError: a.")


# Words that no command takes


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate"],
        ["evaluate", "run", "--nope"],
        ["nope"],
        ["trian"],
        ["fusions", "--positions", "0"],
        ["evaluate", "a", "b"],
    ],
)
def test_misused_words_are_one_line_too(words: list[str], shell: Shell):
    """Previously, they were a box of lines, and with --json there was no JSON at all."""
    outcome = shell(*words, "--json")
    assert outcome.code == 2
    assert outcome.err.startswith("plait: ")
    assert outcome.err.count("\n") == 1
    assert "--help shows what there is" in outcome.err
    assert "?." not in outcome.err
    assert outcome.json["exit_code"] == 2


def test_strange_paths_are_refused_in_words(work: Path, shell: Shell):
    """Too long, with NUL, not UTF-8, a loop of links, a file for a folder."""
    (work / "loop").symlink_to(work / "loop")
    strange = ["x" * 5000, "a\0b", os.fsdecode(b"a\xff"), "loop", "loop/x", "run.yaml", "data", "", "~", "-"]
    for path in strange:
        for words in (
            ["evaluate", "--", path],
            ["train", "--", path],
            ["report", "--", path],
            ["fusions", "--", path],
            ["data", "check", "--", path],
            ["init", "--out", "new.yaml", "--", path],
            ["generate", "run", "--image", path],
            ["generate", "run", "--manifest", path, "--out", "answers.jsonl"],
            ["search", "run", "red", "--in", path],
            ["evaluate", "run", "--manifest", path],
            ["schema", "--out", path],
            ["compare", "--from", path, "--from", "run"],
            ["train", "--resume", path],
        ):
            outcome = shell(*words)
            assert outcome.code in (0, 1, 2), (words, outcome)
            assert "Traceback" not in outcome.err, (words, outcome)


def test_a_run_behind_a_link(work: Path, shell: Shell):
    (work / "link").symlink_to(work / "run")
    assert shell("evaluate", "link").code == 0
    assert (work / "run" / "records" / "test.json").is_file()
    assert (work / "link").is_symlink()
