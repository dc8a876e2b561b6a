"""Where the cache of features lies on this machine.

In: the environment: `PLAIT_CACHE`, else `XDG_CACHE_HOME`, else the home folder.
Out: the folder; nothing is made.
Invariant: every process of a user finds the same folder; what is in it can be computed again, so all of it may be deleted.
"""

from __future__ import annotations

import os
from pathlib import Path

from plait.errors import UserError

VARIABLE = "PLAIT_CACHE"


def cache_folder() -> Path:
    """`$PLAIT_CACHE`, `$XDG_CACHE_HOME/plait` or `~/.cache/plait`; a relative XDG_CACHE_HOME is ignored, as its standard says."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser().absolute()
    if (given := os.environ.get("XDG_CACHE_HOME")) and Path(given).is_absolute():
        return Path(given) / "plait"
    try:
        return Path.home() / ".cache" / "plait"
    except RuntimeError:
        right = f"Say where the cache may lie: {VARIABLE}=/some/folder."
        raise UserError("this user has no home folder, so there is no place for a cache", right=right) from None
