"""An explanation as text that fits 80 columns.

In: an `Explanation`.
Out: aligned plain text: what each modality brings, also by the samples' tags, interactions, losses, reliance; then the verdicts
and the notes.
Invariant: no line of a table is wider than `width`; a star marks what a note explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plait.evaluate.render import WIDTH, align, gathered, without_counts, wrap
from plait.evaluate.statistics import ALONE, CROSS, Figure
from plait.explain.losses import NO_INPUT
from plait.explain.result import Explanation
from plait.explain.verdict import HARDLY, number

OWN = (
    "own: the loss that a modality's own input saves against another sample's, alone and beside the others, on average; a modality "
    "is called used where both its credit and this lie measurably above 0, and this is not a mere "
    f"{HARDLY:.0%} of the credit"
)


def render(found: Explanation, *, width: int = WIDTH) -> str:
    """The tables, then the sentences, then the notes."""
    notes: list[str] = []
    tables = [
        credit_rows(found, notes),
        pattern_rows(found, notes),
        interaction_rows(found, notes),
        loss_rows(found, notes),
        reliance_rows(found, notes),
    ]
    lines = heading(found, width)
    for rows in tables:
        if len(rows) > 1:
            lines += ["", *align(rows, width)]
    lines += ["", *(line for s in found.segments for v in s.verdicts for line in wrap(v.sentence, width))]
    said = dict.fromkeys(sign.sentence for sign in found.training if sign.status != "not judged")
    lines += ["", *(line for sentence in said for line in wrap(sentence, width))] if said else []
    notes = [*found.notes, *unjudged(found), *notes]
    if any(c.credit.n != c.where_present.n for s in found.segments for c in s.credits.values()):
        notes.append("credits are means over all samples; their n counts the samples that have the modality")
    if any(s.context == "own" for s in found.segments):
        notes.append("(own): after the earlier segments that the model itself wrote, greedily, from the same inputs")
    lines += ["", *(line for note in gathered(notes) for line in wrap(f"* {note}", width))] if notes else []
    return "\n".join(line.rstrip() for line in lines) + "\n"


def unjudged(found: Explanation) -> list[str]:
    """Why it is not known whether a modality was left behind, once for all of them."""
    why = dict.fromkeys(s.sentence.partition(": ")[2] for s in found.training if s.status == "not judged")
    return [f"training: {reason}" for reason in why]


def heading(found: Explanation, width: int) -> list[str]:
    """What the figures are."""
    figures = [f for s in found.segments for f in s.losses.values()]
    names = sorted({name for f in figures if f.grouping for name in f.grouping.split(CROSS)} - {ALONE})
    over = f" over {CROSS.join(names)}" if names else ""
    of = "" if found.manifest is None else f" of {Path(found.manifest).name}"
    text = f"{found.split}{of}: {found.n:,} samples; bits per token, {100 * found.confidence:g} % intervals{over}"
    return [line.removeprefix("  ") for line in wrap(text, width)]


def numbers(found: Figure, what: str, notes: list[str]) -> list[str]:
    """Value, interval and n; a note where something is missing."""
    star = "*" if found.note else ""
    if found.note:
        said = without_counts(found.note)
        notes.append(said if said != found.note or found.of_these is not None else f"{what}: {found.note}")
    shown = star if found.low is None else f"{number(found.low)} – {number(found.high)}{star}"
    return [number(found.value), shown, f"{found.n:,}"]


def credit_rows(found: Explanation, notes: list[str]) -> list[list[str]]:
    """Credits, and the sum that they add up to."""
    rows = [["segment", "credit of", "value", "interval", "n", "alone", "marginal", "own"]]
    for segment in found.segments:
        title = segment.title
        for name, credit in segment.credits.items():
            have = f"{credit.where_present.n:,}"
            cells = numbers(credit.credit, f"{title} {name}", notes)[:2]
            parts = [number(one.value) for one in (credit.alone, credit.marginal, credit.own)]
            rows.append([title, name, *cells, have, *parts])
            title = ""
        if segment.together is not None and len(segment.credits) > 1:
            rows.append([title, "together", *numbers(segment.together, f"{segment.title} all", notes), "", "", ""])
    if len(rows) > 1:
        notes.append(OWN)
    return rows


def pattern_rows(found: Explanation, notes: list[str]) -> list[list[str]]:
    """The credits (or reliance) of each tag's values, one column per modality."""
    rows = [["segment", "samples", *(f"{m} ±" for m in found.modalities), "n"]]
    for segment in found.segments:
        title = segment.title
        for pattern, one in segment.by.items():
            cells = [half_width(one.credits[m], f"{segment.title} {pattern} {m}", notes) for m in found.modalities]
            rows.append([title, pattern, *cells, f"{one.num_samples:,}"])
            title = ""
    if len(rows) > 1:
        what = "credit" if found.kind == "credit" else "reliance"
        notes.append(f"by samples: {what} ± half of its interval")
    return rows


def half_width(found: Figure, what: str, notes: list[str]) -> str:
    """`0.81 ±0.03`."""
    if found.value is None:
        return "—"
    if found.low is None or found.high is None:
        notes += [f"{what}: {found.note}"] if found.note else []
        return f"{number(found.value)}*" if found.note else number(found.value)
    return f"{number(found.value)} ±{number((found.high - found.low) / 2)}"


def interaction_rows(found: Explanation, notes: list[str]) -> list[list[str]]:
    """Pairs, and the Shapley interaction index of three and more."""
    rows = [["segment", "interaction", "value", "interval", "n", "index"]]
    for segment in found.segments:
        title = segment.title
        for one in segment.interactions:
            name, shown = " × ".join(one.members), one.pair or one.index
            if shown is None:
                notes.append(f"{name}: {one.note}")
                rows.append([title, name, "—", "*", "0", ""])
            else:
                index = "—" if one.index is None else number(one.index.value)
                rows.append([title, name, *numbers(shown, f"{segment.title} {name}", notes), index])
            title = ""
    return rows


def loss_rows(found: Explanation, notes: list[str]) -> list[list[str]]:
    """What is lost with which inputs, and by the best constant answer."""
    rows = [["segment", "loss with", "value", "interval", "n"]]
    for segment in found.segments:
        title = segment.title
        baselines: Sequence[tuple[str, Figure | None]] = [("constant answer", segment.constant)]
        for name, loss in [*baselines, *segment.losses.items()]:
            if loss is not None:
                shown = "no input" if name == NO_INPUT else name
                rows.append([title, shown, *numbers(loss, f"{segment.title} {shown}", notes)])
                title = ""
    return rows


def reliance_rows(found: Explanation, notes: list[str]) -> list[list[str]]:
    """How much the loss grows when a modality is shuffled."""
    rows = [["segment", "reliance on", "value", "interval", "n"]]
    for segment in found.segments:
        title = segment.title
        for name, reliance in segment.reliance.items():
            rows.append([title, name, *numbers(reliance, f"{segment.title} {name} shuffled", notes)])
            title = ""
    return rows
