"""How the inputs of a run are told apart in pictures: a hue for each modality, then lightness and dashes.

In: names of inputs (or of players) with their modalities.
Out: a `Look` for each.
Invariant: the first input of a modality looks the same in every picture; up to twelve inputs of one modality look different, and
none is told by its colour alone: a second one has other dashes too, and names stand beside all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from colorsys import hls_to_rgb, rgb_to_hls
from typing import NamedTuple

from plait.explain.result import Explanation
from plait.modalities import MODALITIES

Shade = tuple[str, str]
"""A colour in the light and in the dark."""

MIXED, FIRST_OF_MIXED = "mixed", ("#6e747c", "#a8aeb6")
"""Players of several modalities are grey."""
VIDEO = "video"
BEFORE: dict[str, Shade] = {VIDEO: ("#d62728", "#f07170")}
"""What has a colour and is not read yet."""
NUM_SHADES = 3
DASHES = ("-", "--", ":", "-.")


class Look(NamedTuple):
    """A colour (that in the light), its name in the page, and the dashes of a line."""

    colour: str
    name: str
    dashes: str = "-"


def looks(modalities: Mapping[str, str | None]) -> dict[str, Look]:
    """Name → its look; `modalities`: None for a player of several."""
    seen: Counter[str] = Counter()
    found: dict[str, Look] = {}
    for name, modality in modalities.items():
        hue = modality if modality in MODALITIES or modality == VIDEO else MIXED
        number, seen[hue] = seen[hue], seen[hue] + 1
        shade, dash = number % NUM_SHADES, number % len(DASHES)
        found[name] = Look(shades_of(hue)[shade][0], shade_name(hue, shade), DASHES[dash])
    return found


def shades() -> dict[str, Shade]:
    """The name of every shade of every modality → its colour in the light and in the dark."""
    hues = [*MODALITIES, *([VIDEO] if VIDEO not in MODALITIES else []), MIXED]
    return {shade_name(hue, k): shade for hue in hues for k, shade in enumerate(shades_of(hue))}


def shades_of(hue: str) -> tuple[Shade, ...]:
    """A modality's colour for its first input, darker for the second; for the third between in the light, paler in the dark."""
    light, dark = MODALITIES[hue].hue if hue in MODALITIES else BEFORE.get(hue, FIRST_OF_MIXED)
    return (
        (light, dark),
        (lightened(light, -0.5), lightened(dark, -0.27)),
        (lightened(light, -0.25), lightened(dark, 0.35)),
    )


def lightened(colour: str, by: float) -> str:
    """A colour whose lightness is so much of the way to white, or below 0 to black."""
    red, green, blue = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    hue, light, saturation = rgb_to_hls(red, green, blue)
    light += by * ((1 - light) if by > 0 else light)
    return "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, light, saturation))


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
