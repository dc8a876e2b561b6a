"""Numbers as a person reads them, each with its unit, and what the terms of statistics mean in one sentence.

In: numbers of a result.
Out: words.
Invariant: what is not known is a dash, never 0; a minus is a minus sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from plait.compare.result import Metric, Price
from plait.evaluate.render import SCORES, score_number, title

NONE = "—"

MEANING = {
    "interval": "The interval of a score holds the true value in {confidence} of such measurements.",
    "simultaneous interval": (
        "With {confidence} certainty the differences of all candidates lie in their intervals at once, the choice of the best arm "
        "on these same data included; a baseline's counts all arms. Where it includes 0, the arm cannot be told from the best."
    ),
    "adjusted p": (
        "How often chance alone would show so large a difference for at least one of the arms, if none differed; "
        "below {alpha} it is called measurable."
    ),
    "frontier": "The arms on the line: no other arm is both better and cheaper.",
    "bits per token": (
        "How many yes/no questions remain open about each word of the right answer: 0 = the model is certain and right, 1 = it "
        "would bet even money between two words. Less is better."
    ),
    "credit": (
        "How many of these bits an input takes away, in fair share with the others (its Shapley value); "
        "more means that it is used more."
    ),
    "own": (
        "What a sample's own input saves against another sample's: the part of the credit that only the right input earns. "
        "An input is called used where both lie measurably above 0; where this is a mere trace of the credit, it is hardly used."
    ),
    "points": "A point is one of a hundred: from 95 % to 96 % is one point.",
}


LOSSES = {"bits_per_token": "bits per token", "bits_per_character": "bits per character"}
"""Metrics that are called by their unit."""


class Cost(NamedTuple):
    """A price: how it is called, its unit on an axis with the factor to it, and whether less of it is better.

    `beside`: another price that stands under it, and what it is called there.
    """

    title: str
    unit: str
    factor: float
    less_is_better: bool = True
    beside: tuple[str, str] | None = None


COSTS: dict[str, Cost] = {
    "train_seconds": Cost("training time", "minutes", 1 / 60, beside=("step_seconds", "a step")),
    "latency_p50_ms": Cost("time for one answer", "ms", 1.0, beside=("latency_p95_ms", "95 of 100 within")),
    "parameters": Cost("parameters", "millions", 1e-6, beside=("fusion_parameters", "the fusion")),
    "flops": Cost("arithmetic per sample", "GFLOP", 1e-9),
    "peak_bytes": Cost("memory in training", "GB", 1e-9),
    "throughput": Cost("answers per second", "samples/s, 32 at a time", 1.0, less_is_better=False),
}
"""Prices by their name in `Price`, the one that a person feels first at the front."""


def meanings(names: Iterable[str], confidence: float | int) -> list[tuple[str, str]]:
    """Terms with their sentences."""
    values = {"confidence": f"{100 * confidence:g} %", "alpha": f"{1 - confidence:.3g}"}
    return [(name[0].upper() + name[1:], MEANING[name].format(**values)) for name in names]


def sentence(text: str) -> str:
    """With a capital and a full stop, quotation marks for `these` and minus signs."""
    text = quoted(text.strip())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")


def quoted(text: str) -> str:
    """With quotation marks for `these` and minus signs."""
    return re.sub(r"(?<![\w.])-(?=[\d.])", "−", re.sub(r"`([^`]*)`", r"“\1”", text))


def metric_title(name: str) -> str:
    """`accuracy`, `WER`."""
    if name in LOSSES:
        return LOSSES[name]
    return title(name)[:-2] if name in SCORES else name


def metric_unit(name: str, *, percent: bool) -> str:
    """The unit of a score."""
    if percent:
        return "%"
    return LOSSES.get(name, "")


def signed(text: str) -> str:
    """A number's minus as a minus sign."""
    return text.replace("-", "−")


def score(metric: Metric, value: float | int | None) -> str:
    """`96.9 %`, `0.123 bits per token`."""
    if value is None:
        return NONE
    return f"{plain(metric, value)} {metric_unit(metric.name, percent=metric.percent)}".rstrip()


def plain(metric: Metric, value: float | int) -> str:
    """A score or a difference without its unit."""
    return signed(f"{100 * value:.1f}" if metric.percent else f"{value:.3f}")


def gap(metric: Metric, value: float | int, *, sign: bool = True) -> str:
    """A difference of scores: `−1.2 points`."""
    text = f"{plain(metric, value)} {gap_unit(metric)}".rstrip()
    return f"+{text}" if sign and value > 0 else text


def gap_unit(metric: Metric) -> str:
    """The unit of a difference."""
    return "points" if metric.percent else metric_unit(metric.name, percent=False)


def named_score(name: str, value: float | int | None) -> str:
    """A score by its metric's name."""
    if value is None:
        return NONE
    if name not in SCORES:
        return signed(f"{value:.3f}")
    unit = metric_unit(name, percent=SCORES[name].percent)
    return f"{signed(score_number(SCORES[name], value))} {unit}".rstrip()


def below_name(name: str, value: float | int) -> str:
    """A score in a column that bears its metric's name: its unit stands there, but for per cent."""
    return named_score(name, value) if name in SCORES and SCORES[name].percent else signed(f"{value:.3f}")


def span(metric: Metric, low: float | int, high: float | int) -> str:
    """`−1.9 to +0.3`."""
    return " to ".join(("+" if value > 0 else "") + plain(metric, value) for value in (low, high))


def p_value(p: float | int) -> str:
    """`0.012`, `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(number: int | None) -> str:
    """`1,640,000`."""
    return NONE if number is None else f"{number:,}"


def millions(number: float | int | None) -> str:
    """`1.64 M`, `52,000`."""
    if number is None:
        return NONE
    return f"{number / 1e6:,.2f} M" if number >= 1e6 else f"{number:,.0f}"


def seconds(value: float | int | None) -> str:
    """`48 s`, `3 min 28 s`, `2 h 5 min`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.2g} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(num_bytes: float | int | None) -> str:
    """`3.4 MB`."""
    if num_bytes is None:
        return NONE
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes:.0f} bytes"


def flops(value: float | int | None) -> str:
    """`2.10 GFLOP`."""
    if value is None:
        return NONE
    for unit, factor in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:,.0f} FLOP"


def milliseconds(value: float | int | None) -> str:
    """`3.5 ms`."""
    return NONE if value is None else f"{value:.3g} ms" if value < 100 else f"{value:,.0f} ms"


def rate(value: float | int | None) -> str:
    """`120 per s`."""
    return NONE if value is None else f"{value:,.3g} per s" if value < 1000 else f"{value:,.0f} per s"


def prices(price: Price) -> dict[str, str]:
    """Every price in words, by its name in `Price`."""
    return {
        "train_seconds": seconds(price.train_seconds),
        "step_seconds": NONE if price.step_seconds is None else f"{price.step_seconds:.3g} s",
        "latency_p50_ms": milliseconds(price.latency_p50_ms),
        "latency_p95_ms": milliseconds(price.latency_p95_ms),
        "throughput": rate(price.throughput),
        "parameters": millions(price.parameters),
        "fusion_parameters": millions(price.fusion_parameters),
        "flops": flops(price.flops),
        "peak_bytes": size(price.peak_bytes),
    }


def several(number: int, one: str, many: str = "") -> str:
    """`1 seed`, `5 seeds`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: Iterable[str], word: str = "and") -> str:
    """`a, b and c`."""
    *first, last = list(names) or [NONE]
    return f"{', '.join(first)} {word} {last}" if first else last
