"""Features that were computed before, as a preparation reads them in the place of files and texts.

In: a file or a text's ids.
Out: its features `(L, E)`, or None where they are not known.
Invariant: what is given is what the frozen encoder would compute of the file as it is now.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

Item = Hashable
"""The key of an item (`plait.modalities.base.Preparer.key`): a file, the ids of a text."""


@runtime_checkable
class KnownFeatures(Protocol):
    """One modality's features by item."""

    @property
    def width(self) -> int:
        """E."""
        ...

    def get(self, item: Item) -> Float[Tensor, "L E"] | None:
        """The features of an item; not to be changed in place."""
        ...

    def num_tokens(self, item: Item) -> int | None:
        """How many tokens they are."""
        ...

    def frames(self, item: Item) -> int | None:
        """The length of what has to be opened for it (the frames of a sound), as they were when it was encoded."""
        ...


def all_known(known: KnownFeatures, items: Sequence[Item]) -> dict[Hashable, Tensor] | None:
    """The features of all the items, or None if any is not known: a batch is made of features or of files, never of both."""
    found: dict[Hashable, Tensor] = {}
    for item in items:
        if item not in found:
            values = known.get(item)
            if values is None:
                return None
            found[item] = values
    return found
