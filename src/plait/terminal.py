"""Text on its way to a terminal: what data hold is shown, never obeyed; what an encoding lacks is written otherwise.

In: text, and the stream that it goes to.
Out: text without control characters, which the stream's encoding can hold; or a `Screen`, a stream that sees to both.
Invariant: of what is written to a `Screen` only line ends and tabs control anything; a library that paints (rich) may also colour,
move the cursor and clear. JSON keeps its values: what must not or cannot be written stands there as `\\uXXXX`.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

CONTROLS = "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""C0 without tab and line feed, DEL, C1, what turns the direction of reading, and half characters (of names that are not UTF-8)."""

CONTROL = re.compile(f"[{CONTROLS}]")
PAINT = re.compile(rf"\x1b\[[0-9;?]*[A-HJKmhl]|\r|[{CONTROLS}]")
"""What rich writes to colour, to move the cursor and to clear; and every other control character."""

SIGNS = """
↑ ^  ↓ v  → ->  ← <-  ↔ <->  × x  − -  – -  — -  ‖ ||  “ "  ” "  „ "  ’ '  ‘ '  ‚ '  … ...  · .  ∘ o  ± +-  ≥ >=  ≤ <=  ≠ !=
Σ sum  Π prod  √ sqrt  ² ^2  ⊗ (x)  ★ *  ∝ ~  ÷ /  ∪ u  ∖ -  ₂ 2  ᵀ ^T  ℓ l  • *
α alpha  β beta  γ gamma  δ delta  ε eps  π pi  ρ rho  σ sigma  µ u
� ?  ⁄ /  ° o  ▁ _  ▂ .  ▃ -  ▄ :  ▅ =  ▆ +  ▇ *  █ #
"""
PLAIN = {pair.split()[0]: pair.split()[1] for pair in SIGNS.strip().replace("\n", "  ").split("  ")}
"""What stands for the signs that Plait itself prints, where an encoding lacks them."""


class ReaderGone(BaseException):
    """Nobody reads what is printed any more (`plait … | head -1`): the command ends without a word, as if it was told to."""


def printable(text: str) -> str:
    """The text with every control character as `\\x1b`: a terminal shows it and does nothing else."""
    return CONTROL.sub(lambda found: escaped(found[0]), text)


def painted(text: str) -> str:
    """What a library paints: its own sequences as they are, other control characters as in `printable`."""
    return PAINT.sub(lambda found: found[0] if len(found[0]) > 1 or found[0] == "\r" else escaped(found[0]), text)


def escaped(character: str) -> str:
    """`\\x1b`, `\\u202e`."""
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}" if number < 65536 else f"\\U{number:08x}"


def encodable(text: str, encoding: str | None) -> str:
    """The text in characters that the encoding has: `^` for `↑`, `\\u4f60` for a letter that has no stand-in."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.encode(encoding or "utf-8", "plait-plain").decode(encoding or "utf-8")
    except LookupError:
        pass
    return text


def json_text(value: object, encoding: str | None = None, *, indent: int | None = None) -> str:
    """JSON that keeps its values on the way through any stream: what a terminal would obey stands as `\\uXXXX`, and so does all
    that is not ASCII where the encoding is not Unicode's (in Shift JIS even `¥` would come back as a backslash).
    """
    ascii_only = encoding is not None and not encoding.lower().startswith("utf")
    text = json.dumps(value, ensure_ascii=ascii_only, default=str, indent=indent)
    return CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)  # such characters stand in strings only


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(PLAIN.get(character) or escaped(character) for character in found), error.end


codecs.register_error("plait-plain", _plain)


class Screen(io.TextIOBase):
    """A stream in front of another: see the module. `name` is what a failure calls it."""

    def __init__(self, stream: Any, name: str, *, paints: bool = False) -> None:
        self.stream, self.called, self.filter = stream, name, painted if paints else printable
        if not paints:
            self.rich_proxied_file = Screen(stream, name, paints=True)
            """Where rich writes that was given this stream; it asks every stream for one of this name."""

    def write(self, text: str) -> int:
        """Print."""
        with self.failing():
            self.stream.write(encodable(self.filter(text), self.encoding))
        return len(text)

    def flush(self) -> None:
        """Print what waits."""
        with self.failing():
            self.stream.flush()

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """A stream that is gone, or whose disk is full."""
        try:
            yield
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.called) from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """The number of the stream behind."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Nothing: the stream behind is not its own."""

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the stream behind."""
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Of the stream behind."""
        return getattr(self.stream, "errors", None)

    @property
    def buffer(self) -> Any:
        """Of the stream behind."""
        return self.stream.buffer


@contextlib.contextmanager
def screens() -> Iterator[None]:
    """Standard output and standard error behind a `Screen` each, for the block; one that is not there swallows what is printed."""
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        streams = [stream if stream is not None else nowhere for stream in before]
        sys.stdout, sys.stderr = Screen(streams[0], "standard output"), Screen(streams[1], "standard error")  # pyright: ignore
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before
