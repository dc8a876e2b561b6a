"""Kinds of input, each a folder that holds all that knows it.

In: the name of a modality.
Out: the `Modality` of that name.
Invariant: the registry below is the only list of modalities; a new one is one folder beside these and one line in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from plait.errors import UserError, did_you_mean
from plait.modalities.audio import Audio
from plait.modalities.base import Modality
from plait.modalities.image import Image
from plait.modalities.series import Series
from plait.modalities.text import Text

MODALITIES: dict[str, Modality] = {}


def register(modality: Modality) -> Modality:
    """Make a modality known under its name."""
    MODALITIES[modality.name] = modality
    return modality


for one in (Text(), Image(), Audio(), Series()):
    register(one)


def modality_of(name: str, *, where: str | None = None) -> Modality:
    """The modality of this name, or the nearest right one in words."""
    if name not in MODALITIES:
        raise UserError(f"unknown modality {name!r}", where=where, right=did_you_mean(name, MODALITIES))
    return MODALITIES[name]


def modalities_of(inputs: Mapping[str, str]) -> dict[str, Modality]:
    """Input name → its modality."""
    return {name: modality_of(of) for name, of in inputs.items()}


__all__ = ["MODALITIES", "Modality", "modalities_of", "modality_of", "register"]
