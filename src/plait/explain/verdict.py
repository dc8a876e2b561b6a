"""What follows from the figures, in sentences.

In: the figures of one segment.
Out: one `Verdict` per modality.
Invariant: "used" is said only where the credit and its control, what another sample's input would cost, both lie above 0, and the
control is not a small part of the credit (then: "present, hardly used"); "not measurably used" always with the effect that this
many samples could have seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from plait.evaluate.statistics import Figure
from plait.explain.result import Interaction, ModalityCredit, SegmentResult, Verdict
from plait.types import Modality

Z, POWER = 1.96, 0.84
"""Normal quantiles of a two-sided 5 % test and of 80 % power."""

HARDLY = 0.05
"""The part of its credit below which what a modality's own input saves is hardly use: any sample's input would earn the rest."""


def standard_error(found: Figure) -> float | None:
    """The bootstrap standard error that a 95 % interval holds: half its width over 1.96."""
    return None if found.low is None or found.high is None else (found.high - found.low) / (2 * Z)


def smallest_detectable(found: Figure) -> float | None:
    """The effect that four of five samples of this size would tell from 0: (1.96 + 0.84) × SE."""
    error = standard_error(found)
    return None if error is None else (Z + POWER) * error


def is_above(found: Figure | None) -> bool:
    """Whether the interval lies above 0."""
    return found is not None and found.low is not None and found.low > 0


def is_below(found: Figure | None) -> bool:
    """Whether the interval lies below 0."""
    return found is not None and found.high is not None and found.high < 0


def verdicts(
    segment: SegmentResult, modalities: Sequence[Modality], present: Bool[np.ndarray, "n M"]
) -> tuple[Verdict, ...]:
    """One verdict per modality, of credit where there is credit, of reliance otherwise."""
    found = []
    for k, modality in enumerate(modalities):
        name = modality.value
        if not present[:, k].any():
            found.append(Verdict(name, "unknown", f"{name}: no sample of this split has it", None))
        elif segment.credits:
            found.append(of_credit(name, segment))
        elif name in segment.reliance:
            found.append(of_reliance(name, segment, segment.reliance[name]))
    return tuple(found)


def of_reliance(name: str, segment: SegmentResult, found: Figure) -> Verdict:
    """What shuffling says: whether the model looks at the modality, not how much is in it."""
    least = smallest_detectable(found)
    if is_above(found):
        text = (
            f"{name}: relied on for `{segment.segment}`: with that of another sample the loss grows by {bits(found)} "
            "(reliance, not bits of credit)"
        )
        return Verdict(name, "used", text, least)
    return without_effect(name, segment, found)


def of_credit(name: str, segment: SegmentResult) -> Verdict:
    """What the credit says, with what stands in for the modality where something does."""
    own = segment.credits[name]
    least, for_segment = smallest_detectable(own.credit), where(segment)
    partners = redundant_partners(name, segment)
    redundant = is_above(own.alone) and not is_above(own.marginal) and len(segment.credits) > 1
    if (redundant or is_above(own.credit)) and not is_above(own.own):
        return without_effect(name, segment, own.own, " of what its own input saves against another sample's")
    if (redundant or is_above(own.credit)) and is_hardly(own):
        text = (
            f"{name}: present, hardly used for {for_segment}: its own input saves only {bits(own.own)} against another "
            f"sample's, less than {HARDLY:.0%} of its credit of {bits(own.credit)}, which nearly any input would earn"
        )
        return Verdict(name, "present", text, smallest_detectable(own.own))
    if redundant:
        other = " and ".join(i.members[i.members[0] == name] for i in partners) or "the other inputs"
        text = f"{name}: redundant with {other} for {for_segment}: alone {bits(own.alone)}, beside the others {bits(own.marginal)}"
        return Verdict(name, "redundant", text, least)
    if not is_above(own.credit):
        return without_effect(name, segment, own.credit)
    text = f"{name}: {number(own.credit.value)} bits per token of {for_segment} {interval(own.credit)}"
    text += f"; its own input saves {number(own.own.value)} {interval(own.own)} against another sample's"
    for partner in partners:
        if partner.pair is not None:
            other = partner.members[partner.members[0] == name]
            text += f"; partly redundant with {other} ({number(partner.pair.value)} where both are given)"
    return Verdict(name, "used", text, least)


def is_hardly(own: ModalityCredit) -> bool:
    """Whether the control is only a small part of the credit."""
    return own.own.value is not None and own.credit.value is not None and own.own.value < HARDLY * own.credit.value


def without_effect(name: str, segment: SegmentResult, found: Figure, what: str = "") -> Verdict:
    """Where the interval is not above 0; `what` it is of."""
    least, for_segment = smallest_detectable(found), where(segment)
    if least is None:
        why = found.note or "no interval"
        return Verdict(name, "unknown", f"{name}: not known for {for_segment} ({why})", None)
    if is_below(found):
        return Verdict(name, "harmful", f"{name}: harms rather than helps {for_segment}: {bits(found)}", least)
    text = (
        f"{name}: not measurably used for {for_segment} (interval {interval(found)}{what} includes 0; "
        f"this sample size could have seen {number(least)} bits per token)"
    )
    return Verdict(name, "unused", text, least)


def redundant_partners(name: str, segment: SegmentResult) -> list[Interaction]:
    """The pairs with this modality whose interaction lies below 0, the strongest first."""
    pairs = [i for i in segment.interactions if len(i.members) == 2 and name in i.members and is_below(i.pair)]
    return sorted(pairs, key=lambda i: i.pair.value if i.pair is not None and i.pair.value is not None else 0.0)


def where(segment: SegmentResult) -> str:
    """The segment, and in which context."""
    own = "" if segment.context == "true" else ", after what the model wrote from the same inputs"
    return f"`{segment.segment}`{own}"


def bits(found: Figure) -> str:
    """`2.31 bits per token [2.20, 2.42]`."""
    return f"{number(found.value)} bits per token {interval(found)}".rstrip()


def interval(found: Figure) -> str:
    """`[2.20, 2.42]`, nothing where there is none."""
    return "" if found.low is None else f"[{number(found.low)}, {number(found.high)}]"


def number(value: float | None) -> str:
    """Two digits behind the point, three where the value is small."""
    if value is None:
        return "—"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{round(value, 3) + 0.0:.3f}"
