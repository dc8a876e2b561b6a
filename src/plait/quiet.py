"""What decoders written in C, and Pillow, would say of a damaged file themselves never reaches the user: the message is ours.

In: a piece of code that decodes (`with quiet():`), in any number of threads.
Out: nothing on the terminal from libmpg123, libtiff, libjpeg, FFmpeg; no warning of Pillow's, whatever the warning filters are.
Invariant: nothing else is lost: file descriptor 2 and `sys.stderr` stay as they are, so other threads write as ever; what C code
printed outside of such a piece is printed.

Those libraries print with `fprintf(stderr, …)`. The C library's variable `stderr` is made to mean another stream while at least one
thread decodes. Exchanging descriptor 2 instead would lose what other threads print. Where the variable cannot be written
(musl, Windows) it is left alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_here = threading.local()


class _Streams:
    """The C library's variable `stderr`, and how many threads want it to mean nothing."""

    def __init__(self) -> None:
        self.num_quiet = 0
        self.variable, self.nowhere = _variable_and_nowhere()
        self.usual = self.variable.value if self.variable is not None else None

    def enter(self) -> None:
        with _lock:
            self.num_quiet += 1
            if self.num_quiet == 1 and self.variable is not None:
                self.usual = self.variable.value
                self.variable.value = self.nowhere

    def leave(self) -> None:
        with _lock:
            self.num_quiet -= 1
            if self.num_quiet == 0 and self.variable is not None:
                self.variable.value = self.usual

    def after_fork(self) -> None:
        """In a child only the thread that forked goes on: what others had asked for is over."""
        global _lock
        _lock = threading.Lock()
        self.num_quiet = getattr(_here, "depth", 0)
        if self.num_quiet == 0 and self.variable is not None:
            self.variable.value = self.usual


def _variable_and_nowhere() -> tuple[ctypes.c_void_p | None, int | None]:
    """`stderr` of glibc or macOS, and a stream that leads nowhere."""
    name = {"linux": "stderr", "darwin": "__stderrp"}.get(sys.platform)
    if name is None:
        return None, None
    try:
        library = ctypes.CDLL(None)
        if sys.platform == "linux":
            library.gnu_get_libc_version  # noqa: B018 - musl has none, and its stderr is constant
        library.fopen.restype = ctypes.c_void_p
        library.fopen.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
        nowhere = library.fopen(os.devnull.encode(), b"w")
        return (ctypes.c_void_p.in_dll(library, name), nowhere) if nowhere else (None, None)
    except (OSError, AttributeError, ValueError):
        return None, None


class _WhileQuiet:
    """Stands for a pattern of a module's name in a warning filter: it fits while this thread decodes."""

    def match(self, _: str) -> bool:
        return getattr(_here, "depth", 0) > 0


_FILTER = ("ignore", None, Warning, _WhileQuiet(), 0)
_streams: _Streams | None = None


def _mute_warnings() -> None:
    """Put the filter first, anew where something has replaced the filters (`warnings.catch_warnings`)."""
    if not warnings.filters or warnings.filters[0] is not _FILTER:
        warnings.simplefilter("ignore", _Never)  # tells `warnings` that its filters have changed
        filters: list[object] = warnings.filters  # pyright: ignore[reportAssignmentType]
        filters[:] = [_FILTER, *(one for one in filters if one is not _FILTER and one[2] is not _Never)]  # pyright: ignore[reportIndexIssue]


class _Never(Warning):
    """No one warns so."""


@contextmanager
def quiet() -> Iterator[None]:
    """No message of a decoder, in this thread, reaches the terminal; may be nested."""
    global _streams
    depth = getattr(_here, "depth", 0)
    if depth:
        yield
        return
    with _lock:
        if _streams is None:
            _streams = _Streams()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_streams.after_fork)
        _mute_warnings()
    _here.depth = 1
    _streams.enter()
    try:
        yield
    finally:
        _streams.leave()
        _here.depth = 0
