"""What follows from the figures, in sentences.

In: the figures of one segment.
Out: one `Verdict` per modality.
Invariant: a claim needs a measurable effect of a size worth a word; a claim of absence has its power in the same sentence.

The rules. An effect is a credit (of a model without credit: a reliance); its *worth* is the size from which it matters, `WORTH`
percent of the segment's loss without inputs unless the user says otherwise. For a modality that only some samples have it is
that share of it, as is its credit.

- |effect| below the worth: nothing is claimed, whatever the interval says. The whole interval within ± worth: "negligible", no
  difference that matters. It reaches further: "unused", with the size that the effect could have.
- Effect at or above the worth: "used" where the credit and its control, what another sample's input would cost, both lie above
  0; "redundant" where it helps alone and not beside the others; "present, hardly used" where the control is below the worth or
  a small part of the credit.
- Effect at or below −worth: "harmful" where the interval lies below 0, also as it is shown: one that touches 0 harms nothing.
- Otherwise "unused", not measurably used, with what this many samples could have seen; without an interval "unknown".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.stats import t as student

from plait.errors import UserError
from plait.evaluate.statistics import ALONE, CROSS, Figure
from plait.explain.losses import NO_INPUT
from plait.explain.result import Interaction, ModalityCredit, SegmentResult, Status, Verdict, Worth

POWER = 0.8

FEW_GROUPS = 20
"""Fewer effective groups are named in the verdict."""

WORTH = 1.0
"""Percent of the loss without inputs: a smaller effect is none that matters."""

HARDLY = 0.05
"""The part of its credit below which what a modality's own input saves is hardly use: any sample's input would earn the rest."""

CLAIMS: tuple[Status, ...] = ("used", "redundant", "present", "harmful")
"""What is said only of an effect that is worth a word."""

CONTROL = " against another sample's"


def smallest_detectable(found: Figure) -> float | None:
    """The effect that four of five samples of this size would tell from 0: (t.975 + t.8) standard errors, of which a 95 % interval
    is 2 t.975 wide.
    """
    if found.low is None or found.high is None:
        return None
    df = np.inf if found.df is None else found.df
    return (found.high - found.low) / 2 * float(1 + student.ppf(POWER, df) / student.ppf(0.975, df))


def bounds_of(found: Figure | None) -> tuple[float, float] | None:
    """What a claim rests on: the interval; where groups are too few for one over them, also what those few allow."""
    if found is None or found.low is None or found.high is None:
        return None
    if found.over_few is None:
        return found.low, found.high
    return min(found.low, found.over_few[0]), max(found.high, found.over_few[1])


def is_above(found: Figure | None) -> bool:
    """Whether the interval lies above 0."""
    bounds = bounds_of(found)
    return bounds is not None and bounds[0] > 0


def is_below(found: Figure | None) -> bool:
    """Whether the interval lies below 0."""
    bounds = bounds_of(found)
    return bounds is not None and bounds[1] < 0


def reaches(found: Figure, worth: float) -> bool:
    """Whether the value is an effect worth a word, above 0."""
    return found.value is not None and found.value >= worth


def is_within(found: Figure, worth: float) -> bool:
    """Whether the whole interval, and the value in it, is too small to matter."""
    bounds = bounds_of(found)
    return worth > 0 and bounds is not None and max(map(abs, bounds)) <= worth


def is_negative(found: Figure, worth: float) -> bool:
    """Whether it is an effect worth a word that lies below 0 with its whole interval, also in the digits that are shown."""
    if found.value is None or found.high is None or not is_below(found):
        return False
    return found.value <= -worth and float(number(found.high)) < 0


def checked_worth(percent: float | int) -> float:
    """The percentage, if it is one."""
    if not (math.isfinite(percent) and 0 <= percent <= 100):
        raise UserError(f"{percent:g} is not a percentage", where="--worth", right="Give a number from 0 to 100")
    return float(percent)


def worth_of(segment: SegmentResult, percent: float) -> Worth | None:
    """The smallest effect worth a word: of the loss without inputs; of a model without credit, of the constant answer's loss, or
    of the loss with all inputs where there is no constant answer.
    """
    if NO_INPUT in segment.losses:
        loss, of = segment.losses[NO_INPUT], "the loss without inputs"
    elif segment.constant is not None and segment.constant.value is not None:
        loss, of = segment.constant, "the constant answer's loss"
    else:
        loss, of = next(iter(segment.losses.values()), None), "the loss with all inputs"
    return None if loss is None or loss.value is None else Worth(percent, percent / 100 * loss.value, of)


@dataclass(frozen=True)
class Question:
    """Whether one modality is used for one segment. `where`: the segment in words; `worth`: bits that matter; `share`: of the
    samples that have the modality; `rarely`: what it is worth among them, where only that shows that it matters.
    """

    name: str
    segment: SegmentResult
    where: str
    worth: float
    share: float = 1.0
    rarely: str = ""

    @classmethod
    def of(cls, name: str, segment: SegmentResult, where: str) -> Question:
        """About a modality of a segment with or without credit."""
        worth = 0.0 if segment.worth is None else segment.worth.bits
        if name not in segment.credits:
            return cls(name, segment, where, worth)
        over_all, among = segment.credits[name].credit, segment.credits[name].where_present
        share = among.n / over_all.n if over_all.n and among.n else 1.0
        matters_rarely = share < 1 and over_all.value is not None and worth * share <= abs(over_all.value) < worth
        rarely = f"; {bits(among)} in the {100 * share:.2g} % of samples that have it" if matters_rarely else ""
        return cls(name, segment, where, worth * share, share, rarely)

    def answer(self, status: Status, said: str, found: Figure, *, worth: float | None = None) -> Verdict:
        """The verdict, from the figure that decided it."""
        caveat = None if status == "unknown" else few_groups(found)
        said += self.rarely if status in CLAIMS else ""
        sentence = f"{self.name}: {said}" + (f" ({caveat})" if caveat else "")
        least = None if status == "unknown" else smallest_detectable(found)
        return Verdict(self.name, status, sentence, least, self.worth if worth is None else worth, caveat)


def verdicts(
    segment: SegmentResult,
    modalities: Sequence[str],
    present: Bool[np.ndarray, "n M"],
    *,
    before: Sequence[str] = (),
) -> tuple[Verdict, ...]:
    """One verdict per modality, of credit where there is credit, of reliance otherwise. `before`: the segments before this one."""
    found: list[Verdict] = []
    place = where(segment, before)
    for k, modality in enumerate(modalities):
        name = modality
        if not present[:, k].any():
            found.append(Verdict(name, "unknown", f"{name}: no sample of this split has it", None))
        elif segment.credits:
            found.append(of_credit(Question.of(name, segment, place), segment.credits[name]))
        elif name in segment.reliance:
            found.append(of_reliance(Question.of(name, segment, place), segment.reliance[name]))
    return tuple(found)


def of_reliance(asked: Question, found: Figure) -> Verdict:
    """What shuffling says: whether the model looks at the modality, not how much is in it."""
    if is_above(found) and reaches(found, asked.worth):
        said = (
            f"relied on for {asked.where}: with that of another sample the loss grows by {bits(found)} "
            "(reliance, not bits of credit)"
        )
        return asked.answer("used", said, found)
    return without_effect(asked, found, "a reliance of ")


def of_credit(asked: Question, own: ModalityCredit) -> Verdict:
    """What the credit says, with what stands in for the modality where something does."""
    partners = redundant_partners(asked)
    is_redundant = (
        is_above(own.alone)
        and reaches(own.alone, asked.worth)
        and own.marginal.low is not None
        and not is_above(own.marginal)
        and len(asked.segment.credits) > 1
    )
    if not (is_redundant or is_above(own.credit)) or not reaches(own.credit, asked.worth):
        return without_effect(asked, own.credit)
    if not is_above(own.own):
        return unearned(asked, own.own)
    if is_hardly(asked, own):
        said = (
            f"present, hardly used for {asked.where}: its own input saves only {bits(own.own)}{CONTROL}, of a credit of "
            f"{bits(own.credit)}, which nearly any input would earn"
        )
        return asked.answer("present", said, own.own)
    if is_redundant:
        other = listed(partners) or "the other inputs"
        said = (
            f"redundant with {other} for {asked.where}: alone {bits(own.alone)}, beside the others {bits(own.marginal)}"
        )
        least = smallest_detectable(own.marginal)
        seen = "" if least is None else f", where this sample size could have seen {number(least)} bits"
        return asked.answer("redundant", f"{said}{seen}", own.credit)
    said = f"used for {asked.where}: {bits(own.credit)}"
    return asked.answer("used", said + (f"; overlaps with {listed(partners)}" if partners else ""), own.credit)


def is_hardly(asked: Question, own: ModalityCredit) -> bool:
    """Whether the control, which is a mean over the samples that have the modality, is too small to matter or only a small part
    of the credit.
    """
    if own.own.value is None or own.credit.value is None:
        return False
    return own.own.value < max(HARDLY * own.credit.value, asked.worth / asked.share)


def unearned(asked: Question, found: Figure) -> Verdict:
    """Where the model is better with an input than without, but no better than with another sample's."""
    if is_below(found):
        said = f"not measurably used for {asked.where}: its own input serves no better than another sample's, {bits(found)}"
        least = smallest_detectable(found)
        seen = "" if least is None else f"; this sample size could have seen {number(least)} bits"
        return asked.answer("unused", said + seen, found)
    return without_effect(asked, found, "its own input saves ", CONTROL, asked.worth / asked.share)


def without_effect(
    asked: Question, found: Figure, what: str = "", against: str = "", worth: float | None = None
) -> Verdict:
    """Where there is no effect above 0 that is worth a word; `what`, `against`: what the figure is of."""
    worth, place = asked.worth if worth is None else worth, asked.where
    least = smallest_detectable(found)
    if found.value is None or found.low is None or found.high is None or least is None:
        return asked.answer("unknown", f"not known for {place} ({found.note or 'no interval'})", found)
    shown = f"{what}{bits(found)}{against}"
    if is_within(found, worth):
        said = f"no difference that matters for {place}: {shown}, all within {matters(asked, worth)}"
        return asked.answer("negligible", said, found, worth=worth)
    if not against and is_negative(found, worth):
        return asked.answer("harmful", f"harms rather than helps {place}: {shown}", found)
    size = number(max(abs(found.low), abs(found.high)))
    if found.low > 0 or found.high < 0:
        said = f"too little to tell whether it matters for {place}: {shown}; up to {size} is possible"
        said += f", {matters(asked, worth)} would matter" if abs(found.value) < worth else ""
    else:
        said = f"not measurably used for {place}: {shown}; up to {size} is possible"
    said += f", this sample size could have seen {number(least)} bits"
    return asked.answer("unused", said, found, worth=worth)


def matters(asked: Question, worth: float) -> str:
    """`1 % of the loss (0.014)`: of the loss that the segment names, among the samples that have the modality."""
    shown = number(worth) if worth >= 0.1 else f"{worth:.2g}"
    known = asked.segment.worth
    return shown if known is None else f"{known.percent:g} % of the loss ({shown})"


def redundant_partners(asked: Question) -> list[str]:
    """The modalities whose interaction with this one is an effect worth a word below 0, the strongest first."""
    worth = 0.0 if asked.segment.worth is None else asked.segment.worth.bits
    pairs = [(i, i.pair) for i in asked.segment.interactions if len(i.members) == 2 and asked.name in i.members]
    below = [
        (i, pair.value) for i, pair in pairs if pair is not None and pair.value is not None and is_negative(pair, worth)
    ]
    return [partner(asked.name, i) for i, _ in sorted(below, key=lambda one: one[1])]


def partner(name: str, pair: Interaction) -> str:
    """The other one of two."""
    return pair.members[pair.members[0] == name]


def listed(names: Sequence[str]) -> str:
    """`text and audio`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def where(segment: SegmentResult, before: Sequence[str] = ()) -> str:
    """The segment; where the true earlier ones were given, that too, since the model never has them in use."""
    if segment.context == "own" or not before:
        return f"`{segment.segment}`"
    return f"`{segment.segment}` with the true {listed([f'`{name}`' for name in before])} given"


def few_groups(found: Figure) -> str | None:
    """`only 4 speakers`, where there are so few groups that the interval is a rough one."""
    if found.num_groups is None or found.low is None:
        return None
    if found.of_these is not None:
        return f"too few {plural(found.of_these)} to tell about another: of these samples only"
    effective = found.effective_groups
    if (found.num_groups if effective is None else effective) >= FEW_GROUPS:
        return None
    groups = f"{found.num_groups} {plural(found.grouping)}"
    if effective is None or round(effective) >= found.num_groups:
        return f"only {groups}"
    return f"{groups} of uneven size count as only {effective:.0f}"


def plural(grouping: str | None) -> str:
    """`speakers`; `groups (clip_id)` of a name that is not a plain word."""
    if grouping is None or grouping == ALONE:
        return "samples"
    if CROSS in grouping or not re.fullmatch(r"[a-z]*[b-df-hj-np-rtvwz]|[a-z]*[aeiou]", grouping):
        return f"groups ({grouping})"
    return f"{grouping}s"


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
