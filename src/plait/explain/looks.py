"""How the inputs of a run are told apart in pictures: a hue for each modality, then lightness, dashes and hatching.

In: names of inputs (or of players) with their modalities.
Out: a `Look` for each.
Invariant: the first input of a modality looks the same in every picture; up to twelve inputs of one modality look different, and
none is told by its colour alone: a second one has other dashes too, and names stand beside all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from plait.explain.result import Explanation

Shade = tuple[str, str]
"""A colour in the light and in the dark."""

HUES: dict[str, tuple[Shade, Shade, Shade]] = {
    "text": (("#1f77b4", "#69aede"), ("#0b3f66", "#b9dcf5"), ("#5f9fd1", "#3c82b5")),
    "image": (("#ff7f0e", "#ffa04d"), ("#9c4700", "#ffd0a3"), ("#e8a360", "#c46a1c")),
    "audio": (("#2ca02c", "#5fc75f"), ("#12591a", "#b3e6b3"), ("#6db56d", "#3d963d")),
    "video": (("#d62728", "#f07170"), ("#7d1113", "#f9bcbb"), ("#e27c7d", "#bf4344")),
    "fifth": (("#8348b5", "#b78be0"), ("#46206b", "#dcc6f2"), ("#a880cc", "#8a58b8")),
    "sixth": (("#0e8a94", "#57c4cd"), ("#05494f", "#aee4e8"), ("#55a9b0", "#2f8e96")),
    "seventh": (("#a3195b", "#e070a8"), ("#5c0a31", "#f3bdd8"), ("#c26294", "#a83a74")),
    "mixed": (("#6e747c", "#a8aeb6"), ("#3d4247", "#d5d9de"), ("#9196a0", "#7d838c")),
}
"""Modality → the shades of its first, second and third input. Those of other modalities take the spare ones in order; players
of several modalities are grey.
"""
SPARE = ("fifth", "sixth", "seventh", "video")
DASHES = ("-", "--", ":", "-.")
HATCHES = ("", "//", "..", "xx")


class Look(NamedTuple):
    """A colour (that in the light), its name in the page, dashes of a line, hatching of a bar."""

    colour: str
    name: str
    dashes: str = "-"
    hatch: str = ""


def looks(modalities: Mapping[str, str | None]) -> dict[str, Look]:
    """Name → its look; `modalities`: None for a player of several."""
    others = [m for m in dict.fromkeys(modalities.values()) if m is not None and m not in HUES]
    spare = [hue for hue in SPARE if hue not in modalities.values()]
    hues = {m: spare[k % len(spare)] for k, m in enumerate(others)} | {None: "mixed"}
    seen: Counter[str] = Counter()
    found: dict[str, Look] = {}
    for name, modality in modalities.items():
        hue = hues.get(modality, modality) or "mixed"
        number, seen[hue] = seen[hue], seen[hue] + 1
        shade, dash = number % len(HUES[hue]), number % len(DASHES)
        found[name] = Look(HUES[hue][shade][0], shade_name(hue, shade), DASHES[dash], HATCHES[dash])
    return found


def shade_name(hue: str, shade: int) -> str:
    """`image`, `image2`, `image3`."""
    return hue if shade == 0 else f"{hue}{shade + 1}"


def looks_of(found: Explanation) -> dict[str, Look]:
    """Of the players of an explanation, of any version."""
    return looks({name: player_modality(name, found.players, found.inputs) for name in found.modalities})


def player_modality(name: str, players: Mapping[str, Sequence[str]], inputs: Mapping[str, str]) -> str | None:
    """What a player's inputs are of; None where they are of several. Without any word about it, it is called as its modality."""
    found = {inputs.get(member, member) for member in players.get(name, (name,))}
    return found.pop() if len(found) == 1 else None
