"""The laboratory's findings as rows for a program and as tables for a person.

In: what was measured on tasks and fusions.
Out: plain rows, one per task, seed and quantity; two tables of text.
Invariant: a row's error is measured − truth; the largest error is over all rows: v(S), Shapley values and interactions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from plait.lab.chance import FalseAlarms
from plait.lab.measure import FusionRow, TaskRow

ADDITIVE = ("concat", "sum", "film")
"""Kinds whose logits add up what each modality says: with a linear head behind them they stay at one half on XOR."""
WEIGHTED = ("attention",)
"""One head's logit is a weighted mean of what the modalities say: its sign is a sum's, right in three of four cases at most."""
CAN = ("product", "low_rank", "tensor", "bilinear")


def task_rows(found: Iterable[TaskRow]) -> list[dict[str, Any]]:
    """One row per task, seed and quantity, with the interval that `explain` gives."""
    return [
        {
            "task": row.task,
            "seed": row.seed,
            "quantity": quantity,
            "modalities": list(names),
            "truth": known,
            "measured": row.measured[quantity, names].value,
            "low": row.measured[quantity, names].low,
            "high": row.measured[quantity, names].high,
            "error": row.measured[quantity, names].value - known,
        }
        for row in found
        for (quantity, names), known in row.truth.items()
    ]


def fusion_rows(found: Iterable[FusionRow]) -> list[dict[str, Any]]:
    """One row per fusion and seed; `expected` and `agrees` are None where nothing is claimed."""
    return [{**asdict(row), "expected": expected(row.fusion), "agrees": agrees(row)} for row in found]


def expected(kind: str) -> str | None:
    """What is known of a kind."""
    return "solves" if kind in CAN else "cannot" if kind in (*ADDITIVE, *WEIGHTED) else None


def agrees(row: FusionRow) -> bool | None:
    """Whether what was measured is what is known: 99 % right; no more than 55 % of the probability on the right answer
    (`ADDITIVE`); no more than four of five right (`WEIGHTED`: three of four, and what the drawing of rows adds).

    Probability and not the share of right answers: the best that sums can say about XOR is one half for either answer; which of
    two halves is the larger is chance, and by cases a quarter, a half or three quarters come out right.
    """
    if row.fusion in CAN:
        return row.accuracy >= 0.99
    if row.fusion in ADDITIVE:
        return row.probability <= 0.55
    return row.accuracy <= 0.8 if row.fusion in WEIGHTED else None


def largest_error(found: Sequence[TaskRow]) -> float:
    """The largest distance of any figure of any model from the truth."""
    return max((row.error for row in found), default=0.0)


NAMES = {"information": "v", "shapley": "Shapley", "interaction": "interaction", "shapley_interaction": "Shapley index"}


def task_table(found: Sequence[TaskRow]) -> str:
    """Truth, mean over the seeds, and the largest error of a seed, in bits."""
    rows = task_rows(found)
    groups: dict[tuple[str, str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["quantity"], tuple(row["modalities"])), []).append(row)
    lines = [f"{'task':<12}{'bits':<34}{'truth':>8}{'measured':>10}{'error':>8}"]
    before = ""
    for (task, quantity, names), group in groups.items():
        measured = sum(row["measured"] for row in group) / len(group)
        error = max((row["error"] for row in group), key=abs)
        what = f"{NAMES[quantity]}({', '.join(names)})"
        shown = f"{round(group[0]['truth'], 9) + 0.0:>8.3f}{measured:>10.3f}{error:>+8.3f}"
        lines.append(f"{task if task != before else '':<12}{what:<34}{shown}")
        before = task
    return "\n".join(lines)


def fusion_table(found: Sequence[FusionRow]) -> str:
    """Right answers on XOR, the mean probability of the right one, and the bits gained; the worst and the best seed."""
    groups: dict[str, list[FusionRow]] = {}
    for row in found:
        groups.setdefault(row.fusion, []).append(row)
    lines = [f"{'fusion':<12}{'right':>18}{'p(right)':>10}{'bits':>18}  known"]
    for kind, rows in groups.items():
        right, bits = [row.accuracy for row in rows], [row.bits for row in rows]
        probability = sum(row.probability for row in rows) / len(rows)
        spread = f"{min(right):>8.1%} – {max(right):>6.1%}{probability:>10.1%}{min(bits):>9.3f} – {max(bits):>6.3f}"
        unlike = "" if all(agrees(row) in (True, None) for row in rows) else ", but here it is not so"
        lines.append(f"{kind:<12}{spread}  {expected(kind) or ''}{unlike}")
    return "\n".join(lines)


def alarm_line(found: FalseAlarms) -> str:
    """The false alarms in one sentence."""
    low, high = found.interval
    n = len(found.repetitions)
    share = f"{found.number} of {n} ({found.number / n:.1%}, 95 % interval {low:.1%} to {high:.1%})"
    return f"with shuffled answers something was called used in {share}"
