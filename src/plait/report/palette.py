"""The page's colours, in the light and in the dark.

In: nothing.
Out: `PALETTE`: name → (light, dark); the page has a CSS variable for each, and a plot drawn in the light colour follows it.
Invariant: no light colour has two names. An input has the colour that it has in the pictures of `plait explain`. What the colours
tell apart is told apart by form or words too; the arms' come from Okabe and Ito's palette for the colour-blind.
"""

from __future__ import annotations

from plait.compare.result import Role
from plait.explain.looks import shades

PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#f5f6f8", "#0f1318"),
    "surface": ("#fefefe", "#171c23"),
    "raised": ("#eef1f5", "#202732"),
    "line": ("#d8dde4", "#333d4a"),
    "faint": ("#c3cad3", "#4a5563"),
    "axis": ("#5c6775", "#94a1b2"),
    "muted": ("#566170", "#a3afbe"),
    "ink": ("#1a2029", "#e8ecf2"),
    "accent": ("#0b6a8a", "#6fc6e4"),
    "right": ("#1d7a3e", "#6fcf8e"),
    "wrong": ("#b3261e", "#ff9d94"),
    "warn": ("#8a5a00", "#e8b65a"),
    **shades(),
    "candidate": ("#0072b2", "#56b4e9"),
    "unimodal": ("#b84d00", "#f0914a"),
    "textonly": ("#8a5a83", "#d69acb"),
    "allbutone": ("#7a6a00", "#d6c25a"),
    "noinput": ("#6b7077", "#a9b0b9"),
    "constant": ("#45494e", "#c6ccd4"),
    "damage2": ("#d95f02", "#f58b3c"),
    "damage3": ("#2a9d55", "#5cc987"),
    "damage4": ("#8e5cc2", "#bb96dd"),
    "damage5": ("#8c564b", "#c79186"),
    "damage6": ("#e377c2", "#f0a3db"),
}


def colours() -> dict[str, tuple[str, str]]:
    """All colours of the page as it is now: a modality may be registered at any time."""
    return {**PALETTE, **shades()}


COLOURS = {name: light for name, (light, _) in PALETTE.items()}
"""What plots are drawn in."""

ROLE: dict[Role, tuple[str, str, str]] = {
    "candidate": ("candidate", "o", "candidate"),
    "unimodal": ("unimodal", "s", "one input only"),
    "text only": ("textonly", "^", "text only"),
    "all but one": ("allbutone", "v", "all inputs but one"),
    "no input": ("noinput", "D", "no input"),
    "constant": ("constant", "X", "constant answer"),
}
"""Role → colour, marker, and what it is called."""


def role_colour(role: Role) -> str:
    """What an arm of this role is drawn in."""
    return COLOURS[ROLE[role][0]]
