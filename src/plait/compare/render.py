"""A comparison as text.

In: a `ComparisonResult`.
Out: the verdict, the table of arms, what was equal, and what could not be told.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from plait.compare.match import short
from plait.compare.result import ArmResult, ComparisonResult, Metric

WIDTH = 120
NUM_SCORES = 5
"""So many columns of the table are about the score; the rest are prices."""


def render(result: ComparisonResult) -> str:
    """Everything, the verdict first and last."""
    metric, decided = result.metric, result.decision
    groups = ", ".join(f"{num:,} by {name}" for name, num in metric.num_groups.items())
    split = f", split {metric.split}" if metric.split else ""
    better = "higher is better" if metric.higher_is_better else "lower is better"
    title = (
        f"{metric.name} of `{metric.segment}` ({better}){split}, n = {metric.num_samples:,} ({groups}), "
        f"{len(result.seeds)} {'seed' if len(result.seeds) == 1 else 'seeds'}; differences to the best arm with "
        f"{metric.confidence:.0%} intervals over seeds × groups, simultaneous over the candidates, and for baselines over all arms"
    )
    parts = [wrapped(title), table(result), "equal terms", *(term_lines(result))]
    told = [credit_line(arm) for arm in result.arms if arm.credits]
    if told:
        parts += ["", "what the best arms use (bits per token; plait explain RUN says more)", *told]
    if result.saved:
        parts += ["", wrapped(result.saved)]
    parts += ["", wrapped(f"Verdict: {decided.sentence}."), *(wrapped(f"- {line}", 2) for line in decided.further)]
    return "\n".join([*parts, *(wrapped(f"- {note}", 2) for note in result.notes)])


def table(result: ComparisonResult) -> str:
    """The arms, the best first."""
    rows = [["arm", "score", "seeds", "difference", "p", "parameters", "FLOPs", "training", "latency", "samples/s"]]
    rows += [row(arm, result.metric) for arm in result.arms if arm.score is not None]
    if result.files:  # models that were not trained here have no price
        rows = [one[:NUM_SCORES] for one in rows]
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(r, widths, strict=True)))
        for r in rows
    ]
    failed = [wrapped(f"{arm.name}: {arm.standing}: {arm.reason}", 2) for arm in result.arms if arm.score is None]
    return "\n".join(line.rstrip() for line in [*lines, *failed, ""])


def row(arm: ArmResult, metric: Metric) -> list[str]:
    """One arm."""
    price, against = arm.price, arm.against
    each = [seed.score for seed in arm.seeds if seed.score is not None]
    spread = f"{number(min(each), metric)}–{number(max(each), metric)}" if len(set(each)) > 1 else ""
    beside = "best" if against is None else signed(against.value, metric)
    if against is not None:
        beside += f" [{signed(against.low, metric)}, {signed(against.high, metric)}]" + ("*" if against.worse else " ")
    return [
        arm.name + ("" if arm.role == "candidate" else f" ({arm.role})" if arm.role not in arm.name else ""),
        number(arm.score or 0.0, metric) + (" %" if metric.percent else ""),
        spread,
        beside,
        "" if against is None else ("< .001" if against.p < 0.001 else f"{against.p:.3f}".lstrip("0")),
        "" if price.parameters is None else short(price.parameters),
        "" if price.flops is None else short(round(price.flops)),
        "" if price.train_seconds is None else took(price.train_seconds),
        "" if price.latency_p50_ms is None else f"{price.latency_p50_ms:.1f} ms",
        "" if price.throughput is None else f"{price.throughput:,.0f}",
    ]


def took(seconds: float) -> str:
    """A training's seconds; of short ones two digits."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def number(value: float, metric: Metric) -> str:
    """A score in the unit that people use."""
    return f"{100 * value:.1f}" if metric.percent else f"{value:.3f}"


def signed(value: float, metric: Metric) -> str:
    """A difference with its sign."""
    return f"{100 * value:+.1f}" if metric.percent else f"{value:+.3f}"


def term_lines(result: ComparisonResult) -> list[str]:
    """What was equal, and what was not."""
    return [wrapped(f"{'=' if term.equal else '≠'} {term.name}: {term.detail}", 4) for term in result.terms]


def credit_line(arm: ArmResult) -> str:
    """What an arm uses."""
    parts = [f"{c.modality} {c.bits:.2f}" if c.bits is not None else f"{c.modality} ?" for c in arm.credits]
    unused = [c.modality for c in arm.credits if c.used is False]
    return f"  {arm.name}: {', '.join(parts)}" + (
        f" (hardly or not measurably used: {', '.join(unused)})" if unused else ""
    )


def wrapped(text: str, indent: int = 0) -> str:
    """Lines of a terminal's width; those after the first are indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def names(arms: Sequence[ArmResult]) -> str:
    """Their names in a row."""
    return ", ".join(arm.name for arm in arms)
