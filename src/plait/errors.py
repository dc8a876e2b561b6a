"""One error for everything that a user can mend.

In: what is wrong, where it stands, and what would be right.
Out: an exception whose text is one clear message; the command line prints it without a traceback and leaves with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """The user's mistake: `what` is wrong, at `where` (file:line, key or option), and `right` says what would be right."""

    def __init__(self, what: str, *, where: str | None = None, right: str | None = None) -> None:
        self.what, self.where, self.right = what, where, right
        text = f"{where}: {what}" if where else what
        super().__init__(f"{text.rstrip('.')}. {right}" if right else text)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, or None where nothing is near."""
    matches = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """'did you mean X? Known: …' for a message about an unknown name."""
    known = sorted(map(str, candidates))
    near = nearest(name, known)
    return (f"Did you mean {near!r}? " if near else "") + f"Known: {', '.join(known)}."
