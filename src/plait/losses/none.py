"""No balance: the loss with all inputs, as it is.

In: a step.
Out: the same step.
Invariant: it is the training without this section, bit for bit.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from plait.losses.balance import BalanceOptions


class NoneConfig(BalanceOptions):
    """Nothing is balanced."""

    kind: Literal["none"] = "none"
    advice: ClassVar[str] = "what every other kind has to beat"
    num_modalities: ClassVar[int] = 0
