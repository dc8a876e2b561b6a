"""The summary of a record as text that fits 80 columns.

In: a `Summary`.
Out: aligned plain text.
Invariant: no line is wider than `width`; what has no value says why below the table.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from plait.evaluate.metrics import LOSS_SCORES, METRIC_NAMES, build_metrics
from plait.evaluate.metrics.base import Score
from plait.evaluate.record import Figures, Summary
from plait.evaluate.statistics import ALONE, Figure

WIDTH = 80
_TITLES = {
    "accuracy": "accuracy",
    "wer": "WER",
    "cer": "CER",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge_l": "ROUGE-L",
    "cider_d": "CIDEr-D",
    "bits_per_token": "bits/token",
    "bits_per_character": "bits/character",
    "perplexity": "perplexity",
}
_SCORES: dict[str, Score] = {
    score.name: score for score in (*build_metrics(METRIC_NAMES, normalisation="folded", references=[]), *LOSS_SCORES)
}


def render(summary: Summary, *, width: int = WIDTH, patterns: bool = True) -> str:
    """The figures of the split, then those of each pattern (the first metric of each segment), then the notes."""
    notes: list[str] = []
    lines = [_heading(summary), ""]
    lines += _align(_table("segment", {"": summary.metrics}, notes, every=True), width)
    if patterns and summary.by:
        lines += ["", *_align(_table("samples", summary.by, notes, every=False), width)]
    for segment, reasons in summary.unscored.items():
        notes += [f"{segment}: {count} not scored, {reason}" for reason, count in reasons.items()]
    notes += summary.notes
    if notes:
        lines += ["", *(line for note in dict.fromkeys(notes) for line in _wrap(note, width))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _heading(summary: Summary) -> str:
    inputs = "" if summary.inputs is None else f", inputs {'+'.join(summary.inputs) or 'none'}"
    percent = f"{100 * float(summary.config.get('confidence', 0.95)):g} %"
    return f"{summary.split}: {summary.n:,} samples{inputs}; {percent} bootstrap intervals; ↑ more is better"


def _table(first: str, blocks: dict[str, Figures] | object, notes: list[str], *, every: bool) -> list[list[str]]:
    assert isinstance(blocks, dict)
    head = [first, "metric", "value", "interval", "by", "n", "constant"]
    rows = [head if every else [first, "segment", *head[1:]]]
    for pattern, figures in blocks.items():
        for segment, metrics in figures.items():
            shown = list(metrics.items()) if every else list(metrics.items())[:1]
            for name, found in shown:
                row = [segment, *_cells(name, found)]
                rows.append(row if every else [pattern, *row])
                if found.note:
                    notes.append(f"{pattern + ' ' if pattern else ''}{segment} {_TITLES[name]}: {found.note}")
    return rows


def _cells(name: str, found: Figure) -> list[str]:
    score = _SCORES[name]
    interval = "" if found.low is None else f"{_number(score, found.low)} – {_number(score, found.high)}"
    grouping = "" if found.low is None or found.grouping in (None, ALONE) else f"{found.num_groups} {found.grouping}"
    constant = "" if found.constant is None else f"{_value(score, found.constant.value)} “{found.constant.text}”"
    title = f"{_TITLES[name]} {'↑' if score.higher_is_better else '↓'}"
    return [title, _value(score, found.value), interval, grouping, f"{found.n:,}", constant]


def _value(score: Score, value: float | None) -> str:
    if value is None:
        return "—"
    return _number(score, value) + (" %" if score.percent else "")


def _number(score: Score, value: float | None) -> str:
    if value is None:
        return "—"
    if score.percent:
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _align(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns parted by two spaces; numbers to the right; the last and then the widest column are cut until it fits."""
    numeric = {"value", "interval", "n"}
    widths = [max(_width(row[k]) for row in rows) for k in range(len(rows[0]))]
    minimum = [4] * len(widths)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        cuttable = [k for k, name in enumerate(rows[0]) if name not in numeric and widths[k] > minimum[k]]
        if not cuttable:
            break
        last = len(widths) - 1
        k = last if last in cuttable and widths[last] > 14 else max(cuttable, key=lambda c: widths[c])
        widths[k] -= 1

    def cell(text: str, k: int) -> str:
        text = _cut(text, widths[k])
        padding = " " * (widths[k] - _width(text))
        return padding + text if rows[0][k] in numeric else text + padding

    lines = ["  ".join(cell(text, k) for k, text in enumerate(row)) for row in rows]
    return [lines[0], "-" * min(width, max(map(_width, lines))), *lines[1:]]


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def _wrap(text: str, width: int) -> list[str]:
    lines, line = [], "-"
    for word in text.split():
        word = _cut(word, width - 2)
        if _width(line) + 1 + _width(word) > width:
            lines.append(line)
            line = " "
        line += " " + word
    return [*lines, line]
