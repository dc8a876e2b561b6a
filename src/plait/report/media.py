"""Pictures and sounds in a page: small, as data, and no more of them than the page may hold.

In: the items of samples, and the modality of each; or the files of a run's pictures.
Out: `Shown`: what a template needs.
<<<<<<< HEAD
Invariant: nothing that a file holds beside what is seen or heard in it (where a photograph was taken) travels with the page;
what the page holds stays under the limit; what was left out is counted and named.
=======
Invariant: nothing that a file holds beside what is seen or heard in it (where a photograph was taken) travels with the page; what
the page holds stays under the limit; what was left out is counted and named.
>>>>>>> 2f5d8a8 (README: players, sampled orders, baselines of many inputs)
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from plait.errors import UserError
from plait.modalities import MODALITIES, Modality
from plait.modalities.image.view import MAX_SIDE, small_picture
from plait.modalities.view import Small
from plait.report.words import several, size

LIMIT = 3_000_000
"""Bytes of all pictures and sounds of a page, as they stand in it."""


@dataclass(frozen=True)
class Shown:
    """An item: its `uri` (a picture or a sound), or what it says as `text`, or the `reason` why there is none.

    `form`: picture, sound or text. `input`: what it is called; `note`: what was done to it.
    """

    name: str
    uri: str = ""
    reason: str = ""
    note: str = ""
    width: int = 0
    height: int = 0
    form: str = "picture"
    text: str = ""
    input: str = ""


@dataclass
class Media:
    """All pictures and sounds of one page."""

    limit: int = LIMIT
    num_bytes: int = 0
    over: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def picture(self, path: str | Path, *, most: int = MAX_SIDE) -> Shown:
        """A picture, upright, its longer side at most so many pixels."""
        try:
            small = small_picture(Path(path), most)
        except Exception as error:
            return self._cannot(Path(path), "picture", error)
        return self._counted(Path(path).name, small, "picture")

    def sound(self, path: str | Path) -> Shown:
        """A sound, its first 20 seconds, one channel."""
        return self.item(MODALITIES["audio"], Path(path))

    def item(self, modality: Modality, item: Hashable, *, input: str = "") -> Shown:
        """An item of a sample, as its modality shows it."""
        name = item.name if isinstance(item, Path) else str(item)[:60]
        try:
            small = modality.small(item)
        except Exception as error:
            return self._cannot(item, WORDS.get(modality.one, modality.one), error, input)
        if small.form == "text":
            return Shown(name, form="text", text=small.text, note=small.note, input=input)
        return self._counted(name, small, WORDS.get(modality.one, modality.one), input)

    @property
    def notes(self) -> list[str]:
        """What was left out, and why."""
        over = [several(number, kind) for kind, number in sorted(self.over.items())]
        words = [
            f"Left out: {' and '.join(over)}, because the page would hold more than {size(self.limit)} of pictures and sounds."
        ]
        return [*(words if over else []), *(f"Not shown: {one}" for one in self.failed)]

    def _counted(self, name: str, small: Small, what: str, input: str = "") -> Shown:
        uri = f"data:{small.mime};base64,{base64.b64encode(small.data).decode()}"
        if self.num_bytes + len(uri) > self.limit:
            self.over[what] += 1
            why = f"left out: the page holds at most {size(self.limit)} of pictures and sounds"
            return Shown(name, reason=why, form=small.form, input=input)
        self.num_bytes += len(uri)
        width, height = small.size
        return Shown(name, uri, note=small.note, width=width, height=height, form=small.form, input=input)

    def _cannot(self, item: Hashable, what: str, error: Exception, input: str = "") -> Shown:
        said = error.what if isinstance(error, UserError) else error
        is_there = not isinstance(item, Path) or item.exists()
        why = f"it cannot be read ({said})" if is_there else "the file is not there any more"
        self.failed.append(f"the {what} {item}: {why}")
        form = "sound" if what == "sound" else "picture"
        return Shown(item.name if isinstance(item, Path) else str(item)[:60], reason=why, form=form, input=input)


WORDS = {"recording": "sound"}
"""What a page calls an item, where that is shorter."""
