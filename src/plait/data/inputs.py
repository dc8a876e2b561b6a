"""The names of a run's inputs, and what may not be one.

In: `data.inputs`: a list of modalities, or a mapping from names to them.
Out: name → modality, in the run's order.
Invariant: a name is an identifier, no field of a manifest, no key of `encoders`, and called as a modality only if it is one of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plait.errors import UserError, did_you_mean
from plait.modalities import MODALITIES, own_modality
from plait.named import PAIR
from plait.types import in_order

RESERVED = {
    **dict.fromkeys(("id", "split", "group", "tags", "target"), "a field of the manifest is called so"),
    **dict.fromkeys(("freeze", "cache", "start_from"), "a key of encoders is called so"),
    **dict.fromkeys(("no_input", "none", "all"), "it would be taken for a set of inputs"),
}
"""What no input is called, and why."""


def as_mapping(inputs: Any) -> dict[str, str]:
    """Name → modality: a mapping as it is written, a list in the order of modalities; nothing for None and for what is neither."""
    if isinstance(inputs, Mapping):
        return {str(name): str(of) for name, of in inputs.items()}
    if isinstance(inputs, Sequence) and not isinstance(inputs, str):
        return {name: name for name in in_order(str(name) for name in inputs)}
    return {}


def check_names(inputs: Mapping[str, str] | Sequence[str]) -> None:
    """`ValueError` for a name that cannot be one, or a modality that is none."""
    if not isinstance(inputs, Mapping):
        for name in inputs:
            if name not in MODALITIES and name != "video":
                right = (
                    f"{did_you_mean(name, MODALITIES)} Inputs with names of your own are a mapping: {{{name}: image}}."
                )
                raise ValueError(f"unknown modality {name!r}. {right}")
        return
    for name, of in inputs.items():
        if ":" in of:
            try:
                own_modality(of)
            except UserError as error:
                raise ValueError(str(error)) from error
        elif of not in MODALITIES:
            raise ValueError(f"unknown modality {of!r} of the input {name}. {did_you_mean(of, MODALITIES)}")
        if not name.isidentifier() or name.startswith("_") or PAIR in name:
            right = "A name is letters, digits and single '_', and begins with a letter: before, left_eye."
            raise ValueError(f"{name!r} cannot name an input. {right}")
        if name in RESERVED:
            raise ValueError(f"{name!r} cannot name an input: {RESERVED[name]}. Take another, such as {name}_{of}.")
        if name != of and name in MODALITIES:
            right = f"Call it {name}_{of}, or give data.columns: {{{name}_{of}: {name}}} where the column is called so."
            raise ValueError(f"the input {name!r} of modality {of} is called as another modality. {right}")
