"""The summary of a record as text that fits 80 columns.

In: a `Summary`.
Out: aligned plain text.
Invariant: no line is wider than `width`; what has no value says why below the table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from plait.evaluate.metrics import LOSS_SCORES, METRIC_NAMES, build_metrics
from plait.evaluate.metrics.base import Score
from plait.evaluate.patterns import parts_of
from plait.evaluate.record import Figures, Retrieval, Summary
from plait.evaluate.statistics import ALONE, CROSS, Figure

WIDTH = 80
MOST_NAMED = 4
"""Figures that a note names; of more it says how many there are."""
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
SCORES: dict[str, Score] = {
    score.name: score for score in (*build_metrics(METRIC_NAMES, normalisation="folded", references=[]), *LOSS_SCORES)
}
"""By name; what is shown does not depend on the references."""


def render(summary: Summary, *, width: int = WIDTH, patterns: bool = True) -> str:
    """The figures of the split, then those of each pattern (the first metric of each segment), then the notes.

    A star marks an interval or a dash that a note explains.
    """
    notes: list[str] = []
    lines = [*_heading(summary, width), "", *align(_split_rows(summary.metrics, notes), width)]
    if patterns and summary.by:
        lines += ["", *align(_pattern_rows(summary.by, notes), width)]
    if summary.retrieval:
        lines += [
            "",
            *_retrieval_heading(summary.retrieval, width),
            "",
            *align(_retrieval_rows(summary.retrieval, notes), width),
        ]
    for segment, reasons in summary.unscored.items():
        notes += [f"{segment}: {count} not scored, {reason}" for reason, count in reasons_alike(reasons).items()]
    notes += summary.notes
    if notes:
        lines += ["", *(line for note in gathered(notes) for line in wrap(f"* {note}", width))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def reasons_alike(reasons: Mapping[str, int]) -> dict[str, int]:
    """The reasons without the metric's name, once where they hold for several metrics with one count."""
    metrics: dict[tuple[str, int], list[str]] = {}
    for reason, count in reasons.items():
        metric, _, why = reason.partition(": ")
        key = (why, count) if metric in _TITLES and why else (reason, count)
        metrics.setdefault(key, []).append(_TITLES.get(metric, metric))
    return {why if len(of) > 1 or why in reasons else f"{of[0]}: {why}": count for (why, count), of in metrics.items()}


def without_counts(note: str) -> str:
    """A figure's note without how many groups there are: it is said of nearly every row, with other counts."""
    return re.sub(
        r"(too few groups for an interval over them):[^)]*|(?<=with )\d+ groups",
        lambda m: m[1] or "so few groups",
        note,
    )


def gathered(notes: Sequence[str]) -> list[str]:
    """Each note once; what is said of several figures stands once behind their names."""
    names: dict[str, list[str]] = {}
    for note in dict.fromkeys(notes):
        name, _, said = note.partition(": ")
        names.setdefault(said or note, []).append(name)
    found = []
    for said, of in names.items():
        named = (
            ", ".join(of)
            if len(of) <= MOST_NAMED
            else f"{', '.join(of[: MOST_NAMED - 1])} and {len(of) - MOST_NAMED + 1} more"
        )
        found.append(said if of == [said] else f"{named}: {said}")
    return found


def _heading(summary: Summary, width: int) -> list[str]:
    inputs = "" if summary.inputs is None else f" with {'+'.join(summary.inputs) or 'no input'}"
    percent = f"{100 * float(summary.config.get('confidence', 0.95)):g} %"
    found = [f for metrics in summary.metrics.values() for f in metrics.values() if f.low is not None and f.grouping]
    names = sorted({name for f in found for name in (f.grouping or "").split(CROSS)} - {ALONE})
    over = f" over {CROSS.join(names)}" if names else ""
    of = "" if summary.manifest is None else f" of {Path(summary.manifest).name}"
    text = f"{summary.split}{of}: {summary.n:,} samples{inputs}; {percent} intervals{over}; constant: "
    text += "the best single answer"
    return [line.removeprefix("  ") for line in wrap(text, width)]


def _split_rows(figures: Figures, notes: list[str]) -> list[list[str]]:
    rows = [["segment", "metric", "value", "interval", "n", "constant"]]
    for segment, metrics in figures.items():
        for name, found in metrics.items():
            constant = found.constant
            said = "" if constant is None else f"{_value(SCORES[name], constant.value)} “{constant.text}”"
            rows.append([segment, title(name), *_numbers(name, found), said])
            if found.note:
                notes.append(f"{segment} {_TITLES[name]}: {found.note}")
    return rows


def _pattern_rows(by: Mapping[str, Figures], notes: list[str]) -> list[list[str]]:
    rows = [["samples", "metric", "value", "interval", "n", "constant "]]
    for pattern, figures in by.items():
        shown = _short(pattern)
        for segment, metrics in figures.items():
            for name, found in list(metrics.items())[:1]:
                constant = "" if found.constant is None else _value(SCORES[name], found.constant.value)
                rows.append([shown, f"{segment} {title(name)}", *_numbers(name, found), constant])
                shown = ""
                if found.note:
                    notes.append(without_counts(found.note))
    return rows


def _retrieval_heading(found: Sequence[Retrieval], width: int) -> list[str]:
    sizes = {one.gallery: one.num_entries for one in found}
    among = ", ".join(f"{side} {size:,}" for side, size in sorted(sizes.items(), key=lambda item: item[0] == "target"))
    text = f"retrieval among the distinct items of the split ({among}); R@k in %; chance: R@1 and median rank of a random order"
    return [line.removeprefix("  ") for line in wrap(text, width)]


def _retrieval_rows(found: Sequence[Retrieval], notes: list[str]) -> list[list[str]]:
    rows = [["search", "R@1", "interval", "R@5", "R@10", "median", "interval", "by chance"]]
    for one in found:
        recalls, rank = [one.figures[f"recall_at_{k}"] for k in (1, 5, 10)], one.figures["median_rank"]
        first, *others = (("—" if f.value is None else f"{100 * f.value:.1f}") for f in recalls)
        chance, by_chance = one.chance["recall_at_1"], one.chance["median_rank"]
        rows.append(
            [
                f"{one.query} → {one.gallery}",
                first,
                _bounds(recalls[0], lambda value: f"{100 * value:.1f}"),
                *others,
                "—" if rank.value is None else _rank(rank.value),
                _bounds(rank, _rank),
                "—" if chance is None else f"{100 * chance:.1f} {by_chance:g}",
            ]
        )
        notes += [f"{one.query} → {one.gallery}: {f.note}" for f in (recalls[0], rank) if f.note]
    return rows


def _rank(value: float) -> str:
    return f"{round(value, 1):g}" if value < 100 else f"{value:.0f}"


def _bounds(found: Figure, form: Callable[[float], str]) -> str:
    if found.low is None or found.high is None:
        return "*" if found.note else ""
    return f"{form(found.low)}–{form(found.high)}" + "*" * bool(found.note)


def _short(pattern: str) -> str:
    """`spoken, unheard` for a pair of tags: their names stand in the rows of the single ones."""
    parts = parts_of(pattern)
    return pattern if len(parts) == 1 else ", ".join(part.partition("=")[2] for part in parts)


def title(name: str) -> str:
    """The metric's name with an arrow to where it is better."""
    return f"{_TITLES[name]} {'↑' if SCORES[name].higher_is_better else '↓'}"


def _numbers(name: str, found: Figure) -> list[str]:
    score, star = SCORES[name], "*" if found.note else ""
    if found.low is None or found.high is None:
        return [_value(score, found.value), star, f"{found.n:,}"]
    return [
        _value(score, found.value),
        f"{score_number(score, found.low)} – {score_number(score, found.high)}{star}",
        f"{found.n:,}",
    ]


def _value(score: Score, value: float | None) -> str:
    if value is None:
        return "—"
    return score_number(score, value) + (" %" if score.percent else "")


def score_number(score: Score, value: float | None) -> str:
    """The value as it is shown, without the per cent sign."""
    if value is None:
        return "—"
    if score.percent:
        return f"{100 * value:.1f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def align(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Columns parted by two spaces; numbers to the right; the last and then the widest column of words are cut until it fits."""
    widths = [max(_width(row[k]) for row in rows) for k in range(len(rows[0]))]
    minimum = [4] * len(widths)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        cuttable = [k for k, name in enumerate(rows[0]) if not is_number(name) and widths[k] > minimum[k]]
        if not cuttable:
            break
        last = len(widths) - 1
        k = last if last in cuttable and widths[last] > 14 else max(cuttable, key=lambda c: widths[c])
        widths[k] -= 1

    def cell(text: str, k: int) -> str:
        text = _cut(text, widths[k])
        padding = " " * (widths[k] - _width(text))
        return padding + text if is_number(rows[0][k]) else text + padding

    lines = ["  ".join(cell(text, k) for k, text in enumerate(row)) for row in rows]
    return [lines[0], "-" * min(width, max(map(_width, lines))), *lines[1:]]


NUMERIC = {
    *("value", "interval", "n", "constant ", "alone", "marginal", "own", "index"),
    *("R@1", "R@5", "R@10", "median", "by chance"),
}


def is_number(column: str) -> bool:
    """Whether a column of this name holds numbers."""
    return column in NUMERIC or column.endswith(" ±")


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    text = " ".join(text.split())
    if _width(text) <= width:
        return text
    while text and _width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        word = _cut(word, width - 2)
        if line and _width(line) + 1 + _width(word) > width:
            lines.append(line)
            line = " "
        line = f"{line} {word}" if line else word
    return [*lines, line]
