"""The tables of an explanation, as rows of text.

In: an `Explanation` and some of its segments.
Out: rows of cells, the column names first; what a star in them means is added to the notes.
Invariant: nothing but the column names where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Sequence

from plait.evaluate.render import without_counts
from plait.evaluate.statistics import Figure
from plait.explain.losses import NO_INPUT
from plait.explain.result import Explanation, SegmentResult
from plait.explain.verdict import number

Segments = Sequence[SegmentResult]
MOST_COLUMNS = 4
"""Players that stand side by side; of more there are several tables."""
LONGEST = 12
"""Letters of a player's name at the head of its column."""


def column_name(name: str) -> str:
    """`image ±`; a long name is cut."""
    return f"{name if len(name) <= LONGEST else name[: LONGEST - 1] + '…'} ±"


def numbers(found: Figure, what: str, notes: list[str]) -> list[str]:
    """Value, interval and n; a note where something is missing."""
    star = "*" if found.note else ""
    if found.note:
        said = without_counts(found.note)
        notes.append(said if said != found.note or found.of_these is not None else f"{what}: {found.note}")
    shown = star if found.low is None else f"{number(found.low)} – {number(found.high)}{star}"
    return [number(found.value), shown, f"{found.n:,}"]


def credit_rows(found: Explanation, segments: Segments, notes: list[str]) -> list[list[str]]:
    """Credits, and the sum that they add up to."""
    rows = [["segment", "credit of", "value", "interval", "n", "alone", "marginal", "own"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        for name, credit in segment.credits.items():
            have = f"{credit.where_present.n:,}"
            cells = numbers(credit.credit, f"{whole} {name}", notes)[:2]
            parts = [number(one.value) for one in (credit.alone, credit.marginal, credit.own)]
            rows.append([title, name, *cells, have, *parts])
            title = ""
        if segment.together is not None and len(segment.credits) > 1:
            rows.append([title, "together", *numbers(segment.together, f"{whole} all", notes), "", "", ""])
    return rows


def pattern_rows(found: Explanation, segments: Segments, notes: list[str], names: Sequence[str]) -> list[list[str]]:
    """The credits (or reliance) of each tag's values, one column for each of these players."""
    rows = [["segment", "samples", *map(column_name, names), "n"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        for pattern, one in segment.by.items():
            cells = [half_width(one.credits[m], f"{whole} {pattern} {m}", notes) for m in names]
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


def interaction_rows(found: Explanation, segments: Segments, notes: list[str]) -> list[list[str]]:
    """Pairs, and the Shapley interaction index of three and more."""
    rows = [["segment", "interaction", "value", "interval", "n", "index"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        for one in segment.interactions:
            name, shown = " × ".join(one.members), one.pair or one.index
            if shown is None:
                notes.append(f"{name}: {one.note}")
                rows.append([title, name, "—", "*", "0", ""])
            else:
                index = "—" if one.index is None else number(one.index.value)
                rows.append([title, name, *numbers(shown, f"{whole} {name}", notes), index])
            title = ""
    return rows


def loss_rows(found: Explanation, segments: Segments, notes: list[str]) -> list[list[str]]:
    """What is lost with which inputs, and by the best constant answer."""
    rows = [["segment", "loss with", "value", "interval", "n"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        baselines: Sequence[tuple[str, Figure | None]] = [("constant answer", segment.constant)]
        for name, loss in [*baselines, *segment.losses.items()]:
            if loss is not None:
                shown = "no input" if name == NO_INPUT else name
                rows.append([title, shown, *numbers(loss, f"{whole} {shown}", notes)])
                title = ""
    return rows


def reliance_rows(found: Explanation, segments: Segments, notes: list[str]) -> list[list[str]]:
    """How much the loss grows when a modality is shuffled."""
    rows = [["segment", "reliance on", "value", "interval", "n"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        for name, reliance in segment.reliance.items():
            rows.append([title, name, *numbers(reliance, f"{whole} {name} shuffled", notes)])
            title = ""
    return rows


def position_rows(found: Explanation, segments: Segments, notes: list[str], names: Sequence[str]) -> list[list[str]]:
    """The credits token by token of the target, one column for each of these players."""
    rows = [["segment", "token", *map(column_name, names), "n"]]
    for segment in segments:
        title, whole = segment.segment, found.title_of(segment)
        for one in segment.positions:
            cells = [half_width(one.credits[m], f"{whole} token {one.position} {m}", notes) for m in names]
            rows.append([title, one.position, *cells, f"{one.num_samples:,}"])
            title = ""
    return rows
