"""Kinds of input, each a folder that holds all that knows it.

In: the name of a modality.
Out: the `Modality` of that name.
Invariant: the registry below is the only list of modalities; a new one is one folder beside these and one line in it.
"""

from __future__ import annotations

from collections.abc import Mapping

from plait import trust
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


OWN: dict[str, Modality] = {}
"""Modalities of a user's own, by `my_module:MyModality`."""


def own_modality(name: str) -> Modality:
    """The modality that `my_module:MyModality` names, once its module may be loaded (`plait.trust`)."""
    found = trust.find_class(name)
    module, _, of = name.partition(":")
    if found is None:
        raise UserError(f"cannot load the modality {name!r}: the module {module} has no {of}")
    if not (isinstance(found, type) and issubclass(found, Modality)):
        raise UserError(f"{name!r} is not a plait.modalities.Modality")
    if name not in OWN:
        OWN[name] = found()
    return OWN[name]


def modality_of(name: str, *, where: str | None = None) -> Modality:
    """The modality of this name, or the nearest right one in words."""
    if ":" in name:
        return OWN[name] if name in OWN else own_modality(name)
    if name not in MODALITIES:
        raise UserError(f"unknown modality {name!r}", where=where, right=did_you_mean(name, MODALITIES))
    return MODALITIES[name]


def modalities_of(inputs: Mapping[str, str]) -> dict[str, Modality]:
    """Input name → its modality."""
    return {name: modality_of(of) for name, of in inputs.items()}


__all__ = ["MODALITIES", "Modality", "modalities_of", "modality_of", "register"]
