"""An explanation as text that fits 80 columns: the conclusion first.

In: an `Explanation`.
Out: what holds for all verdicts, a line for each verdict, one table of the figures behind them, and the notes that belong to it;
with `verbose` all other figures too.
Invariant: no line of a table is wider than `width`; a star marks what a note explains; what is not shown is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plait.evaluate.render import WIDTH, align, gathered, wrap
from plait.evaluate.statistics import ALONE, CROSS
from plait.explain import render_tables
from plait.explain.result import Explanation, SegmentResult
from plait.explain.verdict import HARDLY, listed

CREDIT = (
    "value: the bits that an input saves, its fair share beside the others (its credit, a Shapley value); alone: with nothing else "
    "given; marginal: beside all others; own: against another sample's input; n: the samples that have it"
)
RELIANCE = (
    "value: how much the loss grows when the input is another sample's (reliance); no measure of how much is in it"
)
OWN = (
    "own: the loss that a sample's own input saves against another sample's, alone and beside the others, on average; an input "
    "is called used where both its credit and this lie measurably above 0 and are large enough to matter, and this is not a mere "
    f"{HARDLY:.0%} of the credit"
)


def render(found: Explanation, *, width: int = WIDTH, verbose: bool = False) -> str:
    """The verdicts, then the table behind them, then the notes; `verbose`: all that the explanation holds."""
    notes: list[str] = []
    primary = found.primary
    first = render_tables.credit_rows if found.kind == "credit" else render_tables.reliance_rows
    rows = first(found, primary, notes)
    lines = [*conclusion(found, width), "", *heading(found, width), *(align(rows, width) if len(rows) > 1 else [])]
    if verbose:
        lines += aligned(further_tables(found, primary, notes), width)
        if found.details:
            lines += ["", *flush(f"{gloss(found)}:", width), *verdict_lines(found.details, width)]
            tables = [render_tables.credit_rows(found, found.details, notes)]
            lines += aligned([*tables, *further_tables(found, found.details, notes)], width)
        said = dict.fromkeys(sign.sentence for sign in found.training if sign.status == "no sign")
        lines += ["", *(line for sentence in said for line in wrap(sentence, width))] if said else []
    notes = [*notes_shown(found, verbose=verbose), *notes]
    lines += ["", *(line for note in gathered(notes) for line in wrap(f"* {note}", width))] if notes else []
    lines += [] if verbose else ["", *flush(f"-v adds {', '.join(hidden(found))}", width)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def conclusion(found: Explanation, width: int) -> list[str]:
    """What holds for all verdicts, then each; a sign that a modality is under-trained stands behind the last one about it."""
    caveats = [line for caveat in general_caveats(found) for line in flush(capital(caveat), width)]
    return [*caveats, *(line for said in listed_verdicts(found) for line in wrap(said, width))]


def listed_verdicts(found: Explanation) -> list[str]:
    """A sentence per verdict, without what holds for all; a sign of under-training stands behind the last one about a modality."""
    shared, said = shared_caveat(found), {}
    verdicts = [verdict for segment in found.primary for verdict in segment.verdicts]
    last = {verdict.modality: place for place, verdict in enumerate(verdicts)}
    for place, verdict in enumerate(verdicts):
        said[verdict.plain if verdict.caveat == shared else verdict.sentence] = None
        if last[verdict.modality] == place:
            said |= dict.fromkeys(under_trained(found, verdict.modality))
    return list(said)


def general_caveats(found: Explanation) -> list[str]:
    """What holds for the whole explanation, and what all of its verdicts share."""
    shared = shared_caveat(found)
    return [*found.caveats, *([f"all verdicts rest on few groups: {shared}"] if shared else [])]


def shared_caveat(found: Explanation) -> str | None:
    """The caveat of every verdict, where there are several and it is the same one."""
    judged = [v.caveat for segment in found.primary for v in segment.verdicts if v.status != "unknown"]
    return judged[0] if len(judged) > 1 and len(set(judged)) == 1 else None


def under_trained(found: Explanation, modality: str) -> list[str]:
    """The sentence that says so, where there is one."""
    return [s.sentence for s in found.training if s.modality == modality and s.status == "under-trained"]


def verdict_lines(segments: Sequence[SegmentResult], width: int) -> list[str]:
    """One paragraph per verdict."""
    return [line for segment in segments for verdict in segment.verdicts for line in wrap(verdict.sentence, width)]


def further_tables(found: Explanation, segments: Sequence[SegmentResult], notes: list[str]) -> list[list[list[str]]]:
    """All tables but that of the verdicts."""
    wide = [render_tables.pattern_rows, render_tables.position_rows]
    tables = [render_tables.interaction_rows, render_tables.loss_rows]
    if found.kind == "credit":
        tables.append(render_tables.reliance_rows)
    names, most = found.modalities, render_tables.MOST_COLUMNS
    parts = [names[start : start + most] for start in range(0, len(names), most)]
    return [
        *(rows(found, segments, notes, part) for rows in wide for part in parts),
        *(rows(found, segments, notes) for rows in tables),
    ]


def aligned(tables: Sequence[list[list[str]]], width: int) -> list[str]:
    """Those that have rows, with an empty line before each."""
    return [line for rows in tables if len(rows) > 1 for line in ("", *align(rows, width))]


def hidden(found: Explanation) -> list[str]:
    """What only `verbose` shows of this explanation."""
    parts = {
        "figures by tag": any(segment.by for segment in found.segments),
        "by token": any(segment.positions for segment in found.segments),
        "interactions": any(segment.interactions for segment in found.segments),
        "losses": True,
        "reliance": found.kind == "credit",
        "signs of the training": bool(found.training),
        f"figures with {true_segments(found)} given": bool(found.details),
    }
    return [name for name, shown in parts.items() if shown]


def notes_shown(found: Explanation, *, verbose: bool) -> list[str]:
    """The explanation's notes that belong to what is shown and were not said above, and what the tables' columns are."""
    credit = any(segment.credits for segment in found.segments)
    left = {*found.caveats, *(() if verbose else found.side_notes)}
    notes = [note for note in found.notes if note not in left]
    for segment in found.primary:
        if segment.context == "own":
            names = listed([f"`{name}`" for name in found.before(segment)])
            how = ", greedily, from the same inputs" if verbose else ""
            notes.append(f"`{segment.segment}`: after the {names} that the model wrote itself{how}")
    small = any(v.status in ("negligible", "unused") for s in found.primary for v in s.verdicts)
    notes += [line for line in [worth_line(found)] if line and (small or verbose)]
    notes += unjudged(found) if verbose else []
    notes.append(CREDIT if credit else RELIANCE)
    if verbose and credit:
        notes.append(OWN)
    if verbose and any(c.credit.n != c.where_present.n for s in found.segments for c in s.credits.values()):
        notes.append("credits are means over all samples; their n counts the samples that have the input")
    return notes


def worth_line(found: Explanation) -> str:
    """What counts as an effect that matters; nothing of an explanation that was made before there was such a size."""
    known = {segment.segment: segment.worth for segment in found.primary if segment.worth is not None}
    if not known or not found.worth:
        return ""
    sizes = ", ".join(f"{worth.bits:.2g} of `{name}`" for name, worth in known.items())
    some = any(c.where_present.n < c.credit.n for s in found.primary for c in s.credits.values())
    less = "; of an input that only some samples have, that share of it" if some else ""
    of = listed(list(dict.fromkeys(worth.of for worth in known.values())))
    return f"what matters (--worth): from {found.worth:g} % of {of}, in bits per token {sizes}{less}"


def true_segments(found: Explanation) -> str:
    """What the details were given."""
    names = {name for segment in found.details for name in found.before(segment)}
    return f"the true `{names.pop()}`" if len(names) == 1 else "the true earlier segments"


def gloss(found: Explanation) -> str:
    """What the details are: a heading for them."""
    return f"With {true_segments(found)} already given (a detail: in use the model has only what it wrote itself)"


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
    return flush(
        f"{found.split}{of}: {found.n:,} samples; bits per token, {100 * found.confidence:g} % intervals{over}", width
    )


def flush(text: str, width: int) -> list[str]:
    """Wrapped, and not indented."""
    return [line.removeprefix("  ") for line in wrap(text, width)]


def capital(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]
