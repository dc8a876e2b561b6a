"""What the metrics of a training say of each modality: whether it was left behind.

In: the lines of `metrics.jsonl` (each encoder's gradient norm, the loss with each modality alone), and the run.
Out: one `TrainingSign` per trained encoder, with a sentence.
Invariant: "under-trained" is said by one rule, stated here, and only of a run that was trained with inputs missing; where too
little was measured it is said that nothing is known. It is a sign to look at, no proof: a run on that modality alone, or
`balance`, tells.

The rule, for modality m. (1) Its gradient dried up: over the last third of the lines the median of (norm of m ÷ the largest norm of
the other encoders) is at most `DRY`, and at most a third of what it was over the first third: an encoder whose gradients are
small by its form has not dried up. (2) It is not finished all the same: over the last half of the measurements the loss with m
alone falls along a line by at least `FALL` bits per token and a tenth of itself, at `TREND` standard errors or more.
(3) It has something left to learn: m alone is at the end at least `FALL` bits worse than all inputs together.

An encoder that has learnt all it can has small gradients too, but its loss alone is level; one that has nothing to say
likewise; a run that was stopped early falls with large gradients. None of these is called under-trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float

from plait.explain.result import TrainingSign
from plait.run import Run
from plait.train.metrics import METRICS, read_metrics

DRY = 0.1
"""Of the largest gradient norm of the other encoders."""
FALL = 0.03
"""Bits per token."""
TREND = 3.0
"""Standard errors of the slope: with eight measurements chance alone passes it in 1 of 80."""
MIN_LINES, MIN_MEASURED = 12, 6


def training_signs(run: Run, used: Mapping[str, bool]) -> tuple[TrainingSign, ...]:
    """One for each trained encoder; none where the run has one input, or no such metrics."""
    path = run.folder / METRICS
    lines = read_metrics(run.folder) if len(run.inputs) > 1 and path.is_file() else []
    seen = {m: bool(run.config.highest_dropout(m)) or run.config.balance.trains_alone for m in run.inputs}
    return signs(lines, seen, used)


def signs(
    lines: Sequence[Mapping[str, Any]], seen_alone: Mapping[str, bool], used: Mapping[str, bool]
) -> tuple[TrainingSign, ...]:
    """By the rule above. `seen_alone`: whether training left out the others; `used`: what `explain` found."""
    with_norms = [line for line in lines if len(line.get("encoder_norms", {})) > 1]
    names = list(with_norms[-1]["encoder_norms"]) if with_norms else []
    return tuple(sign(name, with_norms, seen_alone, used.get(name, True)) for name in names)


def sign(name: str, lines: Sequence[Mapping[str, Any]], seen_alone: Mapping[str, bool], used: bool) -> TrainingSign:
    """What is found of one modality."""
    measured = [line for line in lines if name in line.get("alone", {})]
    if not all(seen_alone.values()):
        missing = ", ".join(other for other, seen in seen_alone.items() if not seen)
        why = f"{missing} was never left out in training, so the loss with one modality alone is not what it knows"
        return unjudged(name, why)
    if len(lines) < MIN_LINES or len(measured) < MIN_MEASURED:
        why = (
            f"{len(lines)} lines with gradient norms and {len(measured)} with losses alone, {MIN_LINES} and {MIN_MEASURED} "
            "are needed: lower train.log_every or train.alone_every"
        )
        return unjudged(name, why)
    first, last, rival = dryness(name, lines)
    steps, alone = (np.array([pick(line) for line in measured]) for pick in (step_of, lambda line: line["alone"][name]))
    half = len(alone) // 2
    fall, errors = fall_of(steps[half:], alone[half:])
    now, everything = float(median(alone[-3:])), float(median(line["bits"] for line in lines[-3:]))
    dry = last <= DRY and last <= first / 3
    falling = fall >= max(FALL, 0.1 * now) and errors >= TREND
    if dry and falling and now - everything >= FALL:
        text = (
            f"{name} is under-trained: its encoder's gradient norm fell to {last:.0%} of that of {rival} ({first:.0%} at first), "
            f"and its loss alone is still falling (by {fall:.2f} bits per token over the second half, now {now:.2f}; all inputs "
            f"{everything:.2f}); try more steps, or balance.kind"
        )
        return TrainingSign(name, "under-trained", text, first, last, fall, now)
    text = f"{name}: no sign of under-training"
    if not used:
        text += (
            " in the metrics, but they cannot tell an input that says nothing from one that was never learnt: train on it "
            f"alone (data.inputs=[{name}]) to see"
        )
    return TrainingSign(name, "no sign", text, first, last, fall, now)


def unjudged(name: str, why: str) -> TrainingSign:
    """Where nothing can be said."""
    return TrainingSign(name, "not judged", f"{name}: whether it is under-trained is not judged ({why})")


def step_of(line: Mapping[str, Any]) -> float:
    """The step of a line."""
    return float(line["step"])


def dryness(name: str, lines: Sequence[Mapping[str, Any]]) -> tuple[float, float, str]:
    """The median share of the largest other norm in the first and in the last third of the lines, and whose that mostly is."""
    third = len(lines) // 3
    shares: list[float] = []
    rivals: list[str] = []
    for line in lines:
        others = {other: norm for other, norm in line["encoder_norms"].items() if other != name}
        rivals.append(max(others, key=lambda other: others[other]))
        shares.append(line["encoder_norms"][name] / max(others[rivals[-1]], 1e-30))
    late = rivals[-third:]
    return float(median(shares[:third])), float(median(shares[-third:])), max(late, key=late.count)


def fall_of(steps: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """How far a fitted line falls from the first to the last step, and in how many of its standard errors."""
    centred = steps - steps.mean()
    spread = float((centred**2).sum())
    slope = float((centred * values).sum()) / spread
    left = values - values.mean() - slope * centred
    error = float(np.sqrt((left**2).sum() / max(len(values) - 2, 1) / spread))
    fall = -slope * float(steps[-1] - steps[0])
    return fall, -slope / error if error > 0 else float(np.sign(-slope)) * np.inf
