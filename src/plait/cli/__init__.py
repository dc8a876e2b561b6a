"""The command line. Nothing heavy is imported here, so that `plait --help` answers at once.

In: the arguments of the shell.
Out: the exit code of the process.
Invariant: whatever happens from the first import to the last flush, Ctrl-C included, nobody sees a traceback.
"""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run a command and leave with its exit code.

    The working directory may be a folder that came from anywhere: no module is imported from it, in this process and in those
    that Python's own libraries start, unless a configuration names it (`plait.trust`).
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        open_streams()
        quiet()
        from plait.cli.app import run

        code = run()
    except KeyboardInterrupt:
        print("plait: interrupted", file=sys.stderr)
        code = 130
    sys.exit(flushed(code))


def open_streams() -> None:
    """Input, output and errors that are not there lead nowhere; the next file that is opened must not take their numbers."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def quiet() -> None:
    """What libraries warn of is for programmers: only PLAIT_DEBUG=1 (or Python's own -W) shows it."""
    import logging
    import warnings

    from plait.cli.failures import debugging

    if debugging() or sys.warnoptions:
        return
    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"  # of processes that are started
    logging.getLogger().addHandler(logging.NullHandler())
    sys.unraisablehook = lambda _: None


def flushed(code: int) -> int:
    """The exit code, after what was printed has reached its reader; where there is none, Python must not try once more."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 2
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
    return code
