"""Text on its way to a terminal: nothing that data hold is obeyed, every encoding can be written, JSON keeps its values."""

from __future__ import annotations

import ast
import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait.terminal import PLAIN, ReaderGone, Screen, encodable, json_text, painted, printable, screens

SOURCE = Path(plait.__file__).parent
ENCODINGS = ["utf-8", "cp1252", "latin-1", "ascii", "cp437", "shift_jis"]


def controls(text: str) -> list[str]:
    """What a terminal may obey, by Unicode's own classes: Cc (C0, DEL, C1), Cs, and the bidirectional classes that turn text."""
    turns = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return [
        c
        for c in text
        if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or unicodedata.bidirectional(c) in turns
    ]


def test_every_control_character_is_shown():
    """Previously, an id with ESC in it coloured the terminal, cleared it, or set its title."""
    everything = "".join(map(chr, range(0x11000)))
    shown = printable(everything)
    assert not controls(shown)
    assert [c for c in everything if c not in shown] == controls(everything)
    assert printable("a\x1b[31m\x9b\u202e\x7f\r\n\tb") == "a\\x1b[31m\\x9b\\u202e\\x7f\\x0d\n\tb"
    assert printable("naïve 你好 👩‍👩‍👧 שלום") == "naïve 你好 👩‍👩‍👧 שלום"


@given(st.text(st.characters(codec=None), max_size=40))
def test_what_is_shown_stays_so(text: str):
    assert printable(printable(text)) == printable(text)
    assert not controls(printable(text))


def test_a_library_may_paint_and_nothing_else():
    paint = "\x1b[1;31mred\x1b[0m\x1b[2K\x1b[1A\r\x1b[?25l"
    assert painted(paint) == paint
    for not_paint in ("\x1b]0;title\x07", "\x1bc", "\x1b[5n", "\x9b31m", "\x1bP+q\x1b\\", "\x08", "\u202e"):
        assert "\x1b" not in painted(not_paint)
        assert not controls(painted(not_paint))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_can_be_written(encoding: str):
    """Previously, `plait evaluate RUN > out.txt` under cp1252 ended with UnicodeEncodeError: its arrows are not in it."""
    for text in ("Σ ↑ 你 — é \udcff 👍", "".join(PLAIN)):
        encodable(text, encoding).encode(encoding)
    if encoding == "ascii":
        assert encodable("accuracy ↑ “a” Σ 2 × 3 … 你", encoding) == 'accuracy ^ "a" sum 2 x 3 ... \\u4f60'
    assert encodable("plain", encoding) == "plain"
    assert encodable("Σ", "no-such-encoding") == "Σ"


def test_signs_of_our_own_have_a_plain_form():
    """What Plait prints in signs can be read where an encoding lacks them: none of them becomes a number."""
    printed = {c for path in SOURCE.rglob("*.py") for c in literals(path) if ord(c) > 127}
    letters = {c for c in printed if unicodedata.category(c).startswith(("Lo", "Ps", "Pe", "Po", "Pi", "Pf"))}
    assert {c for c in printed - letters if unicodedata.category(c) in ("Sm", "So")} <= set(PLAIN) | set("◀▶")
    assert all(plain.isascii() for plain in PLAIN.values())


def literals(path: Path) -> str:
    """All text of a module that is not a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return "".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(st.dictionaries(st.text(st.characters(codec=None), max_size=8), st.text(st.characters(codec=None), max_size=8)))
def test_json_keeps_its_values_in_every_encoding(encoding: str, value: dict[str, str]):
    text = json_text(value, encoding)
    assert not controls(text)
    assert json.loads(text.encode(encoding).decode(encoding)) == json.loads(json.dumps(value))


class Pipe(io.StringIO):
    """A stream that nobody reads."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


class Full(io.StringIO):
    """A stream into a full disk."""

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def test_a_screen_filters_and_names_itself():
    behind = io.StringIO()
    screen = Screen(behind, "standard output")
    print("a\x1b[31m", file=screen, flush=True)
    assert behind.getvalue() == "a\\x1b[31m\n"
    with pytest.raises(ReaderGone):
        print("a", file=Screen(Pipe(), "standard output"))
    with pytest.raises(OSError, match=r"No space left on device: 'standard error'"):
        print("a", file=Screen(Full(), "standard error"), flush=True)


def test_rich_paints_through_a_screen_and_data_do_not():
    """The one library that draws writes around the filter of data, into one that lets its own sequences pass."""
    from rich.console import Console
    from rich.text import Text

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    behind = Terminal()
    console = Console(file=Screen(behind, "standard error"), force_terminal=True, color_system="standard")  # pyright: ignore
    console.print(Text("red", "red"), Text("\x1b]0;title\x07\x9b31m"))
    assert "\x1b[31mred\x1b[0m" in behind.getvalue()
    assert controls(re.sub(r"\x1b\[\d+m", "", behind.getvalue())) == []


def test_streams_that_are_not_there_swallow_what_is_printed(monkeypatch: pytest.MonkeyPatch):
    """Previously, without standard error (`2>&-`) the first question whether it is a terminal was an AttributeError."""
    import sys

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with screens():
        assert not sys.stderr.isatty()
        print("a")
        print("b", file=sys.stderr)
    assert sys.stdout is None
