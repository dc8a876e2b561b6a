"""Every text file says its encoding, and where bytes matter its line ends: files are the same everywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import plait

SOURCE = Path(plait.__file__).parent
MODES = ("open", "fdopen", "TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile")
SUBPROCESS = ("run", "Popen", "check_output", "check_call", "call")


class Found(NamedTuple):
    where: str
    call: str


def calls(path: Path) -> Iterator[tuple[ast.Call, str, str]]:
    """Each call, the name that is called, and what it is an attribute of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node, node.func.attr, ast.unparse(node.func.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node, node.func.id, ""


def options(call: ast.Call) -> dict[str, object]:
    """Keyword → its constant."""
    return {k.arg or "**": k.value.value if isinstance(k.value, ast.Constant) else ... for k in call.keywords}


def mode_of(call: ast.Call, name: str, owner: str) -> str | None:
    """The mode in which a file is opened; None where no file of text or bytes is opened by it."""
    given = options(call)
    if "mode" in given:
        return str(given["mode"])
    place = 0 if (name == "open" and owner not in ("", "io", "gzip", "bz2", "lzma", "tokenize", "codecs")) else 1
    place = 0 if name.endswith("File") else place
    word = call.args[place] if len(call.args) > place else None
    default = "w+b" if name.endswith("File") else "rb" if owner in ("gzip", "bz2", "lzma") else "r"
    return word.value if isinstance(word, ast.Constant) and isinstance(word.value, str) else default


def without_encoding(path: Path) -> list[Found]:
    """The calls that leave the encoding to the locale."""
    found = []
    for call, name, owner in calls(path):
        given, where = options(call), f"{path.name}:{call.lineno}"
        if owner in ("os", "webbrowser", "Image", "av", "archive") and name == "open":  # an archive's members are bytes
            continue
        if name in ("read_text", "write_text"):
            place = 0 if name == "read_text" else 1
            missing = "encoding" not in given and len(call.args) <= place
        elif name in MODES:
            missing = "b" not in (mode_of(call, name, owner) or "b") and "encoding" not in given
        elif owner == "subprocess" and name in SUBPROCESS:
            missing = bool(given.get("text") or given.get("universal_newlines")) and "encoding" not in given
        elif name in ("FileHandler", "RotatingFileHandler", "basicConfig") and (
            name != "basicConfig" or "filename" in given
        ):
            missing = "encoding" not in given
        elif name == "TextIOWrapper" and owner in ("io", ""):
            missing = "encoding" not in given and len(call.args) < 2
        else:
            continue
        if missing:
            found.append(Found(where, ast.unparse(call)))
    return found


def without_line_ends(path: Path) -> list[Found]:
    """The calls that write text and leave line ends to the system."""
    found = []
    for call, name, owner in calls(path):
        given = options(call)
        writes = name == "write_text" or (
            name in MODES and owner not in ("os", "av") and set(mode_of(call, name, owner) or "") & set("wax+")
        )
        binary = name in MODES and "b" in (mode_of(call, name, owner) or "")
        if writes and not binary and "newline" not in given:
            found.append(Found(f"{path.name}:{call.lineno}", ast.unparse(call)))
    return found


ALL = sorted(SOURCE.rglob("*.py"))


def test_every_text_file_says_its_encoding():
    """Previously, a run with a segment `antwört`, trained under a Latin-1 locale, could never be read again."""
    assert [found for path in ALL for found in without_encoding(path)] == []


def test_every_text_file_that_is_written_says_its_line_ends():
    """On Windows `\\n` would become `\\r\\n`: other bytes under the same digests and positions."""
    allowed = ("os.devnull", "clear_refs", "TemporaryFile", "LOCK", ".lock")
    found = [one for path in ALL for one in without_line_ends(path)]
    assert [one for one in found if not any(word in one.call for word in allowed)] == []


WRONG = """
from pathlib import Path
import gzip, io, logging, os, subprocess, tempfile
open("x"); open("x", "w"); Path("x").open(); Path("x").open("a"); io.open("x", mode="w")
Path("x").read_text(); Path("x").write_text("y"); os.fdopen(3, "w"); gzip.open("x", "rt")
tempfile.NamedTemporaryFile("w"); tempfile.TemporaryFile(mode="w+")
subprocess.run(["x"], text=True); subprocess.Popen(["x"], universal_newlines=True)
logging.FileHandler("x"); io.TextIOWrapper(b)
"""
RIGHT = """
open("x", "rb"); open("x", encoding="utf-8"); Path("x").open("wb"); Path("x").open("w", encoding="utf-8")
Path("x").read_text("utf-8"); Path("x").write_text("y", "utf-8"); os.open("x", 0); gzip.open("x"); os.fdopen(3, "rb")
tempfile.NamedTemporaryFile(); subprocess.run(["x"], capture_output=True); subprocess.run(["x"], text=True, encoding="utf-8")
Path("x").read_bytes(); Image.open("x"); io.TextIOWrapper(b, "utf-8")
"""


@pytest.mark.parametrize(("source", "number"), [(WRONG, 15), (RIGHT, 0)])
def test_the_search_finds_each_way(source: str, number: int, tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert len(without_encoding(path)) == number, without_encoding(path)
