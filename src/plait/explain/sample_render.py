"""The explanation of one sample as text that fits 80 columns.

In: a `SampleExplanation`.
Out: aligned plain text: target and answer, what is needed of each modality, then the strongest cells, moments and words.
Invariant: the two measures are never mixed: shares in percent are where it looked, bits are what it needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from plait.evaluate.render import WIDTH, align, wrap
from plait.explain.sample_result import InputView, SampleExplanation
from plait.explain.verdict import number

STRONGEST = 3
LEAST_BITS = 0.01
"""Pieces whose hiding costs less are not named."""


def render_sample(found: SampleExplanation, *, width: int = WIDTH) -> str:
    """Target, answer, tables, notes."""
    lines = [*wrap(f"{found.id} ({found.split}): {', '.join(found.inputs)}", width), ""]
    for segment in found.words:
        answer, target = found.answer.get(segment, ""), found.target[segment]
        lines += wrap(f"{segment}: {target} ({number(found.bits[segment])} bits with all inputs)", width)
        if not found.from_answer:
            lines += wrap(f"  its own answer: {'the same' if answer == target else answer or '(nothing)'}", width)
    rows = [["segment", "all hidden of", "bits more"]]
    for segment in found.words:
        costs = [(name, cost[segment]) for name, cost in found.without.items()]
        rows += [
            [segment if not k else "", name, f"{round(cost, 2) + 0.0:+.2f}"] for k, (name, cost) in enumerate(costs)
        ]
    lines += ["", *align(rows, width)]
    for title, measure in {"looked at in": "attention", "needed of": "needed"}.items():
        rows = strongest_rows(found, title, measure)
        lines += ["", *align(rows, width)] if len(rows) > 1 else []
    lines += ["", *(line for note in notes_of(found) for line in wrap(f"* {note}", width))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def strongest_rows(found: SampleExplanation, title: str, measure: str) -> list[list[str]]:
    """One row per segment and input: its strongest pieces by one measure."""
    rows = [["segment", title, "strongest first"]]
    for segment in found.words:
        shown = segment
        for view in found.views:
            values = getattr(view, measure).get(segment)
            if values is not None:
                rows.append([shown, view.name, ", ".join(strongest(view, values, measure)) or "no piece alone"])
                shown = ""
    return rows


def strongest(view: InputView, values: Sequence[float], measure: str) -> list[str]:
    """The strongest pieces with their values."""
    order = np.argsort(-np.asarray(values), kind="stable")[:STRONGEST].tolist()
    if measure == "attention":
        return [f"{view.labels[k]} {100 * values[k]:.0f} %" for k in order]
    return [f"{view.labels[k]} {values[k]:+.2f}" for k in order if values[k] >= LEAST_BITS]


def notes_of(found: SampleExplanation) -> list[str]:
    """What the measures are, then the notes of the explanation."""
    if found.attention is None:
        looked = f"where it looked is not known: {found.no_attention}"
    else:
        compete = "all inputs" if found.attention == "joint" else "each input by itself"
        looked = f"looked at: the fusion's attention, which sums to one over {compete}, mean over the segment's words"
        outside = ", ".join(
            f"{segment} {100 * share:.0f} %" for segment, share in found.elsewhere.items() if share >= 0.005
        )
        looked += f"; went to no input: {outside}" if outside else ""
    hidden = "; ".join(dict.fromkeys(f"{view.modality}: {view.hidden}" for view in found.views))
    return [looked, f"needed: bits by which the segment's loss grows when a piece is hidden ({hidden})", *found.notes]
