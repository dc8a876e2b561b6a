"""Taking the files of runs that were changed since they were written, before the runs are compared or built upon.

In: folders of runs; a configuration as plain data; the folder of a comparison.
Out: a line for every file that was taken, which is noted in its run.
Invariant: nothing is taken unless the user said so; what a run says of itself stays, so putting the old file back undoes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plait.run import CONFIG, accept


def accept_runs(runs: Iterable[Path], tree: Mapping[str, Any] | None, comparison: Path) -> list[str]:
    """Take the changed files of these runs, of those that encoders start from, and of what the comparison has trained."""
    encoders = (tree or {}).get("encoders")
    begun = encoders.get("start_from") if isinstance(encoders, Mapping) else None
    started = [Path(str(folder)) for folder in begun.values()] if isinstance(begun, Mapping) else []
    found = [*runs, *started, *sorted(comparison.glob("runs/*/seed-*"))]
    return [note for folder in dict.fromkeys(found) if (folder / CONFIG).is_file() for note in accept(folder)]
