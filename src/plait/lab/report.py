"""The laboratory's findings as rows for a program and as tables for a person.

In: what was measured on tasks and fusions.
Out: plain rows, one per task, seed and quantity; two tables of text.
Invariant: a row's error is measured − truth; the largest error is over v(S) alone, from which the rest follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from plait.lab.measure import FusionRow, TaskRow
from plait.lab.truth import Game, Subset

QUANTITIES = ("information", "shapley", "interaction", "shapley_interaction")
CANNOT = ("concat", "sum", "attention", "film")
"""Kinds whose logits add up what each modality says: with a linear head behind them they cannot represent XOR."""
CAN = ("product", "low_rank", "tensor", "bilinear")


def values_of(game: Game) -> dict[tuple[str, Subset], float]:
    """All figures of a game by quantity and modalities; v of no input, which is 0, is left out."""
    found: dict[tuple[str, Subset], float] = {}
    for quantity in QUANTITIES:
        values: Mapping[Any, float] = getattr(game, quantity)
        for key, value in values.items():
            names = (key,) if isinstance(key, str) else key
            if names and (quantity != "shapley_interaction" or len(game.shapley) > 2):
                found[quantity, names] = value
    return found


def task_rows(found: Iterable[TaskRow]) -> list[dict[str, Any]]:
    """One row per task, seed and quantity."""
    rows: list[dict[str, Any]] = []
    for row in found:
        measured = values_of(row.measured)
        for (quantity, names), known in values_of(row.truth).items():
            value = measured[quantity, names]
            rows.append(
                {
                    "task": row.task,
                    "seed": row.seed,
                    "quantity": quantity,
                    "modalities": list(names),
                    "truth": known,
                    "measured": value,
                    "error": value - known,
                }
            )
    return rows


def fusion_rows(found: Iterable[FusionRow]) -> list[dict[str, Any]]:
    """One row per fusion and seed; `expected` is None where nothing is claimed."""
    return [{**asdict(row), "expected": expected(row.fusion)} for row in found]


def expected(kind: str) -> str | None:
    """What is known of a kind."""
    return "solves" if kind in CAN else "cannot" if kind in CANNOT else None


def largest_error(found: Sequence[TaskRow]) -> float:
    """The largest distance of a v(S) from the truth."""
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
    """Right answers on XOR and the bits behind them: the worst and the best seed of each kind."""
    groups: dict[str, list[FusionRow]] = {}
    for row in found:
        groups.setdefault(row.fusion, []).append(row)
    lines = [f"{'fusion':<12}{'right':>16}{'bits':>18}  known"]
    for kind, rows in groups.items():
        right, bits = [row.accuracy for row in rows], [row.bits for row in rows]
        spread = f"{min(right):>7.1%} –{max(right):>7.1%}{min(bits):>9.3f} –{max(bits):>7.3f}"
        lines.append(f"{kind:<12}{spread}  {expected(kind) or ''}")
    return "\n".join(lines)
