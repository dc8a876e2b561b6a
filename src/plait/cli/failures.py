"""What ends a command, in one line and an exit code; the last resort for what nobody foresaw.

In: an exception.
Out: a message and an exit code: 2 = something that the user can mend, 70 = a fault in Plait, 130 = Ctrl-C.
Invariant: no traceback, unless PLAIT_DEBUG=1 asks for it.
"""

from __future__ import annotations

import errno
import os
import traceback
from typing import NamedTuple

from plait.errors import UserError

DEBUG = "PLAIT_DEBUG"
FAULT, MISTAKE, INTERRUPTED, READER_GONE = 70, 2, 130, 141

REMEDIES = {
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "Give a place that may be read and written"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "Make room on the disk and give the command again"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Allow more open files: ulimit -n 4096"),
    errno.ENAMETOOLONG: "Give it a shorter name",
}


class Failure(NamedTuple):
    """What is said, and the exit code."""

    message: str
    exit_code: int


def debugging() -> bool:
    """Whether the user wants to see tracebacks."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def failure(error: BaseException) -> Failure:
    """The message for any exception."""
    if isinstance(error, UserError):
        return Failure(str(error), MISTAKE)
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", INTERRUPTED)
    if isinstance(error, OSError):
        return Failure(of_system(error), MISTAKE)
    if isinstance(error, UnicodeDecodeError):
        what = (
            f"a text is not {error.encoding.upper()}: byte 0x{error.object[error.start]:02x} at position {error.start}"
        )
        return Failure(f"{what}{place(error)}. Save the file as UTF-8", MISTAKE)
    if isinstance(error, UnicodeEncodeError):
        character = ascii(error.object[error.start : error.start + 1])
        return Failure(
            f"the character {character} cannot be written as {error.encoding.upper()}{place(error)}", MISTAKE
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure("out of memory. Smaller batches or shorter inputs need less", MISTAKE)
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):  # an OSError from Python 3.13 on
        return Failure(f"{first_line(error)}: a link that leads to itself", MISTAKE)
    if isinstance(error, RecursionError):
        return Failure("something that was read is nested too deeply. Make it flatter", MISTAKE)
    return Failure(
        f"a fault in Plait: {type(error).__name__}: {first_line(error)}{place(error)}. With {DEBUG}=1 the same command shows "
        "where; please report that",
        FAULT,
    )


def of_system(error: OSError) -> str:
    """What the system refused, and for which file."""
    files = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)
    ]
    why = error.strerror or first_line(error)
    where = f"{' and '.join(files)}: " if files else ""
    right = REMEDIES.get(error.errno or 0)
    return f"{where}{why}{'' if files else place(error)}" + (f". {right}" if right else "")


def place(error: BaseException) -> str:
    """Where in Plait it was, for a report: ` (in plait/run.py:301)`."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        head, _, name = frame.filename.replace(os.sep, "/").rpartition("/plait/")
        if head:
            return f" (in plait/{name}:{frame.lineno})"
    return ""


def first_line(error: BaseException) -> str:
    """What an error says, without its explanations."""
    return (str(error).splitlines() or [""])[0]
