"""Which module a kind of one's own may import, and that it is exactly the file that was looked at."""

from __future__ import annotations

import importlib
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from plait import trust
from plait.choices import code_of
from plait.config import RunConfig, make_config, read_config
from plait.errors import UserError
from plait.fusion.concat import ConcatConfig

PART = """
from typing import Literal
from plait.fusion.concat import ConcatConfig

class Mine(ConcatConfig):
    kind: Literal[{kind!r}] = {kind!r}
    said: str = {said!r}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test in a folder of its own; what it imports is forgotten."""
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.startswith("t_"):
            del sys.modules[name]
    trust._loaded.clear()
    trust._carried.clear()


def write(path: str, *, kind: str = "t_mine:Mine", said: str = "here") -> Path:
    """A module with a part of one's own."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(PART.format(kind=kind, said=said), encoding="utf-8")
    return file.resolve()


def config(kind: str = "t_mine:Mine") -> RunConfig:
    """A configuration that names it."""
    return make_config({"data": {"manifest": "m.jsonl"}, "fusion": {"kind": kind}})


def refused(kind: str = "t_mine:Mine") -> str:
    """Why it is refused."""
    with pytest.raises(UserError) as caught:
        config(kind)
    return str(caught.value)


@pytest.mark.parametrize("path", ["t_mine.py", "t_mine/__init__.py"])
def test_a_file_or_a_package_directly_in_the_working_directory(path: str):
    file = write(path)
    assert config().fusion.said == "here"  # pyright: ignore[reportAttributeAccessIssue]
    assert [Path(code.path) for code in code_of(config())] == [file]


def test_a_module_may_import_what_lies_beside_it():
    Path("t_beside.py").write_text("SAID = 'beside'", encoding="utf-8")
    file = write("t_mine.py")
    file.write_text(file.read_text(encoding="utf-8").replace("'here'", "__import__('t_beside').SAID"), encoding="utf-8")
    assert config().fusion.said == "beside"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("this:Mine", "the module this (*this.py) is Python's own"),
        ("os:Mine", "the module os (*os.py) is Python's own"),
        ("sys:Mine", "the module sys (built into Python) is Python's own"),
        ("os.path:Mine", "is Python's own"),
        ("t_folder:Mine", "t_folder, a folder without __init__.py) is not loaded"),
        ("t_outer.inner:Mine", "t_outer/inner.py) is not loaded"),
        ("t_nowhere:Mine", "the module t_nowhere (no such file) is not loaded"),
        ("scipy.misc.nothing:Mine", "the module scipy.misc.nothing ("),
        ("sacrebleu.sacrebleu:Mine", "sacrebleu/sacrebleu.py) is not loaded"),
        ("../t_up:Mine", "is not MODULE:CLASS"),
        ("t_mine:Mine.kind", "is not MODULE:CLASS"),
        (":Mine", "is not MODULE:CLASS"),
        ("t_mine:", "is not MODULE:CLASS"),
        ("t_mine:Other", "the module t_mine has no Other"),
        ("t_mine:Literal", "is not a plait.choices.Config"),
    ],
)
def test_what_is_not_loaded_is_told_with_its_file(kind: str, said: str):
    write("t_mine.py")
    for path in ("t_outer/__init__.py", "t_outer/inner.py", "t_folder/inner.py"):
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("raise SystemExit('this code was run')", encoding="utf-8")
    for name in ("sacrebleu.sacrebleu",):
        sys.modules.pop(name, None)
    message, rest = refused(kind), said.split("*")
    assert all(part in message for part in rest), message


def test_a_module_that_fails_is_told_with_its_file():
    Path("t_mine.py").write_text("import t_missing_library", encoding="utf-8")
    assert "t_mine.py: the module t_mine cannot be imported: ModuleNotFoundError" in refused()
    assert "t_mine" not in sys.modules


def test_a_module_of_the_same_name_elsewhere_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously, an installed module of that name was taken for the user's own file, without a word."""
    write("t_mine.py")
    write("elsewhere/t_mine.py", said="elsewhere")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert (
        f"two modules are called t_mine: {tmp_path / 't_mine.py'} and {tmp_path / 'elsewhere' / 't_mine.py'}"
        in refused()
    )
    importlib.import_module("t_mine")
    assert "two modules are called t_mine" in refused()


def test_what_the_program_has_imported_itself_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """In Python a part may come from anywhere: importing it is the program's own decision."""
    write("library/t_lib/parts.py", kind="t_lib.parts:Mine")
    monkeypatch.syspath_prepend(tmp_path / "library")
    assert "is not loaded" in refused("t_lib.parts:Mine")
    importlib.import_module("t_lib.parts")
    assert type(config("t_lib.parts:Mine").fusion).__name__ == "Mine"


def test_a_ready_configuration_needs_no_leave():
    class Ready(ConcatConfig):
        """Of the program itself."""

    assert type(RunConfig.model_validate({"data": {"manifest": "m"}, "fusion": Ready()}).fusion) is Ready


def test_the_very_bytes_are_executed():
    """An older compiled file that Python would take (same time and size) is not."""
    file = write("t_mine.py", said="evil")
    py_compile.compile(str(file))
    before = file.stat()
    write("t_mine.py", said="good")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert config().fusion.said == "good"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("where", ["run", "run/records", "link"])
def test_nothing_in_a_run_is_loaded_even_for_a_configuration_of_ones_own(where: str, monkeypatch: pytest.MonkeyPatch):
    Path("run/records").mkdir(parents=True)
    for name in trust.OF_A_RUN:
        (Path("run") / name).write_text("{}", encoding="utf-8")
    if where == "link":
        write("run/t_mine.py")
        Path("t_mine.py").symlink_to("run/t_mine.py")
    else:
        monkeypatch.chdir(where)
        write("t_mine.py")
    assert "lies in the folder of a run" in refused()
    assert "t_mine" not in sys.modules


def test_a_file_in_a_run_is_no_configuration_of_ones_own():
    """`plait train runs/other/config.yaml` reads what came with the run, also through a link."""
    write("t_mine.py")
    Path("run").mkdir()
    Path("run/environment.json").write_text("{}", encoding="utf-8")
    Path("run/config.yaml").write_text("data: {manifest: m.jsonl}\nfusion: t_mine:Mine\n", encoding="utf-8")
    Path("mine.yaml").symlink_to("run/config.yaml")
    for path in ("run/config.yaml", "mine.yaml"):
        with pytest.raises(UserError, match=r"module t_mine, file .*t_mine\.py.*--trust-code"):
            read_config(Path(path))
    assert "t_mine" not in sys.modules
    assert read_config(Path("mine.yaml"), trust_code=True).fusion.kind == "t_mine:Mine"


def test_a_package_is_known_by_all_its_files():
    file = write("t_mine/__init__.py")
    before = trust.digest_of(file)[0]
    (file.parent / "more.py").write_text("X = 1", encoding="utf-8")
    assert trust.digest_of(file)[0] != before


def test_a_process_loads_what_the_one_before_it_had_loaded_and_nothing_else(tmp_path: Path):
    """A comparison's processes: the file may not have changed in between."""
    write("there/t_mine.py")
    digest = trust.digest_of(Path("there/t_mine.py"))[0]
    code = trust.Code("t_mine", str(tmp_path / "there" / "t_mine.py"), digest)
    trust.carry([code])
    assert config().fusion.said == "here"  # pyright: ignore[reportAttributeAccessIssue]
    del sys.modules["t_mine"]
    trust.carry([code._replace(digest="0" * 64)])
    assert "changed while the command ran" in refused()


# -- parts of installed packages --


def install(site: Path, *, name: str, value: str) -> None:
    """A distribution that offers a part."""
    info = site / "t_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t-parts\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{trust.PARTS}]\n{name} = {value}\n", encoding="utf-8")


def test_an_installed_package_offers_a_part_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    site = tmp_path / "site"
    write(str(site / "t_parts/fusions.py"), kind="t-fusion", said="installed")
    install(site, name="t-fusion", value="t_parts.fusions:Mine")
    assert "unknown fusion kind 't-fusion'" in refused("t-fusion")
    monkeypatch.syspath_prepend(site)
    assert config("t-fusion").fusion.said == "installed"  # pyright: ignore[reportAttributeAccessIssue]
    assert "t-fusion" in refused("t-fusio")


@pytest.mark.parametrize("run", [False, True])
def test_what_only_lies_in_the_working_directory_or_in_a_run_is_not_installed(
    run: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With `python -m` and in a notebook the working directory is on Python's path, with whatever was unpacked there."""
    if run:
        for name in trust.OF_A_RUN:
            (tmp_path / name).write_text("{}", encoding="utf-8")
        (tmp_path / "inner").mkdir()
    write(str(tmp_path / "t_parts.py"), kind="t-fusion")
    install(tmp_path, name="t-fusion", value="t_parts:Mine")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path / "inner" if run else tmp_path)
    assert "unknown fusion kind 't-fusion'" in refused("t-fusion")
    assert "t_parts" not in sys.modules


def test_a_module_without_a_file_is_not_taken_for_ones_own():
    write("t_mine.py")
    sys.modules["t_mine"] = ModuleType("t_mine")
    assert "two modules are called t_mine" in refused()
