"""One error for everything that a user can mend.

In: what is wrong, where it stands, and what would be right.
Out: an exception whose text is one clear message; the command line prints it without a traceback and leaves with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from unicodedata import normalize


class UserError(ValueError):
    """The user's mistake: `what` is wrong, at `where` (file:line, key or option), and `right` says what would be right."""

    def __init__(self, what: str, *, where: str | None = None, right: str | None = None) -> None:
        self.what, self.where, self.right = what, where, right
        text = f"{where}: {what}" if where else what
        super().__init__(f"{text.rstrip('.')}. {right}" if right else text)


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `name`, or None where nothing is near."""
    known = list(candidates)
    alike = next((other for other in known if other != name and same_letters(name, other)), None)
    if alike is not None:
        return alike
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return matches[0] if matches else None


def same_letters(one: str, other: str) -> bool:
    """Whether two names differ in Unicode's form only: é may be one character or two (as macOS writes names of files)."""
    return not (one.isascii() and other.isascii()) and normalize("NFC", one) == normalize("NFC", other)


def other_form(name: str, near: str) -> str:
    """What to say of a name that looks like the one that is known, behind 'did you mean'."""
    if name == near or not same_letters(name, near):
        return ""
    form = "NFC" if normalize("NFC", near) == near else "NFD"
    return f" (the same letters in the other Unicode form, {form}: copy the name from there)"


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """'did you mean X? Known: …' for a message about an unknown name."""
    known = sorted(map(str, candidates))
    near = nearest(name, known)
    meant = f"Did you mean {near!r}{other_form(name, near)}? " if near else ""
    return f"{meant}Known: {', '.join(known)}."
