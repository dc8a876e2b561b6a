"""What `plait explain` found, as a run's report shows it: the verdicts, then the figures behind them, then the details.

In: an `Explanation`, of any version.
Out: sentences and tables.
Invariant: what the model does in use stands first; figures behind true earlier segments, which it never has in use, stand apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plait.evaluate import Figure
from plait.explain import Explanation, SegmentResult
from plait.explain.curves import Curves
from plait.explain.losses import NO_INPUT
from plait.explain.render import general_caveats, gloss, listed_verdicts, worth_line
from plait.explain.verdict import interval, number
from plait.report import run_plots, words

USED = {
    "used": "used",
    "redundant": "redundant",
    "present": "present, hardly used",
    "negligible": "no difference that matters",
    "unused": "not measurably used",
    "harmful": "harms",
    "unknown": "not known",
}


def sentences(found: Explanation) -> list[str]:
    """What holds for all verdicts, then each of them."""
    return [*general_caveats(found), *listed_verdicts(found)]


def explanation_view(found: Explanation) -> dict[str, Any]:
    """The sentences and tables of one explanation."""
    return {
        "split": rows_of(found),
        "n": found.n,
        "kind": found.kind,
        "sentences": sentences(found),
        "worth": words.sentence(worth_line(found)) if worth_line(found) else "",
        "own": [(s.segment, words.listed(found.before(s))) for s in found.primary if s.context == "own"],
        "names": list(found.modalities),
        "primary": part_view(found, found.primary),
        "gloss": words.quoted(gloss(found)) if found.details else "",
        "details": part_view(found, found.details),
        "said_of_details": [verdict.sentence for segment in found.details for verdict in segment.verdicts],
        "training": list(dict.fromkeys(sign.sentence for sign in found.training)),
    }


def part_view(found: Explanation, segments: Sequence[SegmentResult]) -> dict[str, Any]:
    """The plots and tables of some segments."""
    names = found.modalities
    return {
        "plot": run_plots.modalities(found, segments),
        "positions": run_plots.positions(found, segments),
        "rows": [row for segment in segments for row in modality_rows(segment)],
        "by": [
            (segment.segment, tag, *(bits(one.credits[m]) for m in names), f"{one.num_samples:,}")
            for segment in segments
            for tag, one in segment.by.items()
        ],
        "tokens": [
            (segment.segment, one.position, *(bits(one.credits[m]) for m in names), f"{one.num_samples:,}")
            for segment in segments
            for one in segment.positions
        ],
        "interactions": [
            (segment.segment, " × ".join(one.members), bits(one.pair or one.index), one.note or "")
            for segment in segments
            for one in segment.interactions
        ],
        "losses": [
            (segment.segment, "no input" if name == NO_INPUT else name, bits(one))
            for segment in segments
            for name, one in {
                **({"constant answer": segment.constant} if segment.constant else {}),
                **segment.losses,
            }.items()
        ],
        "reliance": [
            (segment.segment, m, bits(one))
            for segment in segments
            if segment.credits
            for m, one in segment.reliance.items()
        ],
    }


def modality_rows(segment: SegmentResult) -> list[tuple[str, ...]]:
    """Segment, modality, credit or reliance, own, alone, beside the others, verdict."""
    status = {v.modality: USED[v.status] for v in segment.verdicts}
    if segment.credits:
        return [
            (segment.segment, m, bits(c.credit), bits(c.own), bits(c.alone), bits(c.marginal), status.get(m, ""))
            for m, c in segment.credits.items()
        ]
    return [
        (segment.segment, m, bits(one), words.NONE, words.NONE, words.NONE, status.get(m, ""))
        for m, one in segment.reliance.items()
    ]


def bits(one: Figure | None) -> str:
    """`0.90 [0.87, 0.93]`."""
    if one is None or one.value is None:
        return words.NONE
    return words.signed(f"{number(one.value)} {interval(one)}".strip())


def rows_of(found: Explanation | Curves) -> str:
    """The split, and whose it is if not the run's own."""
    return found.split if found.manifest is None else f"{found.split} of {found.manifest}, not the run's own data"
