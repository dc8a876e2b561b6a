"""The report of a comparison.

In: a `ComparisonResult`, and the media that its examples name.
Out: `report.html` in the comparison's folder.
Invariant: nothing is computed here that the result does not hold; an arm that failed or was dropped is a row with its reason, and
what the page leaves out is said in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from plait.compare.result import ArmResult, ComparisonResult, Credit, Example, ExampleInput
from plait.evaluate.metrics import METRIC_NAMES, build_metrics
from plait.evaluate.render import SCORES
from plait.modalities import modality_of
from plait.report import comparison_plots, words
from plait.report.cards import Card, answer, flat
from plait.report.media import Media, Shown
from plait.report.page import NAME, write_page
from plait.report.palette import ROLE
from plait.report.svg import INSTALL, can_plot

MAX_EXAMPLES = 12
WHOLE = ("present, hardly used", "no difference that matters", "too little to tell", "harms rather than helps")
"""How `plait explain` begins sentences that say all; of others the table says first whether the modality is used."""
BITS = re.compile(r"used for “.*”: -?[\d.]+ bits per token(?: \[[^]]*])?|-?[\d.]+ bits per token of [^;]*")
"""How it begins a sentence about a modality that is used: the bits and their interval; the second form is that of before."""

IN_TABLE = ("train_seconds", "parameters")
"""Prices that stand beside the score; all stand in a table of their own."""


class ArmRow(NamedTuple):
    """An arm in the table. `standing`: best, level, worse, or why it has no score."""

    number: int
    name: str
    role: str
    is_bar: bool
    overrides: tuple[str, ...]
    standing: str
    taken: bool
    reason: str
    score: str
    seeds: str
    difference: str
    interval: str
    p: str
    prices: Mapping[str, str]
    others: Mapping[str, str]
    notes: tuple[str, ...]


def comparison_report(
    result: ComparisonResult, folder: Path, *, out: Path | None = None, media: Media | None = None
) -> Path:
    """Write `folder/report.html` (or `out`); `media` counts what of the pictures and sounds is in it."""
    media = Media() if media is None else media
    rows = [arm_row(result, arm, number) for number, arm in enumerate(result.arms, 1)]
    examples = [card(result, example, media) for example in result.examples[:MAX_EXAMPLES]]
    costs = {n: cost for n, cost in words.COSTS.items() if any(row.prices[n] != words.NONE for row in rows)}
    return write_page(
        out or folder / NAME,
        "comparison.html",
        result=result,
        title=f"Comparison: {words.metric_title(result.metric.name)} of {result.metric.segment}",
        subtitle=subtitle(result),
        facts=facts(result),
        rows=rows,
        costs=costs,
        shown_costs={name: costs[name] for name in IN_TABLE if name in costs},
        others=list(dict.fromkeys(name for row in rows for name in row.others)),
        forest=comparison_plots.forest(result),
        frontiers=comparison_plots.frontiers(result),
        frontier={name: set(on) for name, on in result.frontier.items()},
        learning=comparison_plots.learning(result),
        learning_rows=learning_rows(result),
        credits=comparison_plots.credits(result),
        credit_rows=credit_rows(result),
        credit_modalities=modalities(result),
        examples=examples,
        num_more_examples=max(0, len(result.examples) - MAX_EXAMPLES),
        environment=list(flat(result.environment)),
        config=yaml.safe_dump(dict(result.config), sort_keys=False, allow_unicode=True),
        media_notes=media.notes,
        plots_missing="" if can_plot() else INSTALL,
        definition=definition(result),
        meanings=words.meanings(
            ("simultaneous interval", "adjusted p", *(["points"] if result.metric.percent else [])),
            result.metric.confidence,
        ),
        explained=dict(words.meanings(words.MEANING, result.metric.confidence)),
        seconds=words.seconds(result.seconds),
        kind="comparison",
    )


def definition(result: ComparisonResult) -> str:
    """What the metric counts, by the normalisation that scored it; one that states none is older and was folded."""
    if result.files:  # scored by another tool, by rules of its own
        return "Each arm's score is the mean of its samples' scores, as they stand in the files that were compared"
    name = result.metric.name
    if name not in METRIC_NAMES:
        return SCORES[name].definition if name in SCORES else ""
    normalisation = result.config.get("evaluate", {}).get("normalisation", "folded")
    return build_metrics([name], normalisation=normalisation, references=[])[0].definition


def subtitle(result: ComparisonResult) -> str:
    """What was compared on what."""
    metric, arms = result.metric, [arm for arm in result.arms if arm.role == "candidate"]
    groups = " × ".join(f"{name}: {num:,}" for name, num in metric.num_groups.items())
    better = "higher is better" if metric.higher_is_better else "lower is better"
    return (
        f"{words.several(len(arms), 'candidate')}, {words.several(len(result.arms) - len(arms), 'baseline')}, "
        f"{words.several(len(result.seeds), 'seed')} each; {metric.num_samples:,} samples"
        f"{f' of the split {metric.split}' if metric.split else ''}"
        f"{f' (groups: {groups})' if groups else ''}; {words.metric_title(metric.name)} of {metric.segment}, {better}"
    )


def facts(result: ComparisonResult) -> list[tuple[str, str, str]]:
    """The few numbers under the verdict: what, how much, and a word beside it."""
    taken, metric = result.arm(result.decision.take), result.metric
    found = [
        (
            f"score of {taken.name}",
            words.score(metric, taken.score),
            "the same at every seed"
            if taken.role == "constant"
            else f"mean of {words.several(len(result.seeds), 'seed')}",
        )
    ]
    baselines = [arm for arm in result.arms if arm.role != "candidate" and arm.score is not None]
    if baselines:
        found.append(
            (f"best baseline: {baselines[0].name}", words.score(metric, baselines[0].score), "what it has to beat")
        )
    least = result.decision.detectable
    if least is not None:
        found.append(
            ("smallest lead that would show", words.gap(metric, least, sign=False), "in 4 of 5 such comparisons")
        )
    if taken.price.train_seconds is not None:
        found.append(("one training takes", words.seconds(taken.price.train_seconds), "on the machine below"))
    if taken.price.latency_p50_ms is not None:
        found.append(("one answer takes", words.milliseconds(taken.price.latency_p50_ms), "the median, one at a time"))
    return found


def arm_row(result: ComparisonResult, arm: ArmResult, number: int) -> ArmRow:
    """One row of the tables."""
    metric, against = result.metric, arm.against
    scores = [seed.score for seed in arm.seeds if seed.score is not None]
    seeds = words.several(len(scores), "seed") if scores else ""
    if arm.role == "constant":
        seeds = ""  # it is not trained
    elif len(scores) > 1:
        seeds += f": {words.plain(metric, min(scores))} to {words.plain(metric, max(scores))}"
    if arm.status != "done":
        standing = arm.standing
    elif arm.score is None:
        standing = "not scored"
    elif against is None:
        standing = "best" if arm.name in result.decision.level[:1] else "not compared"
    else:
        standing = "worse" if against.worse else "level"
    return ArmRow(
        number,
        arm.name,
        ROLE[arm.role][2],
        arm.role != "candidate",
        arm.overrides,
        standing,
        arm.name == result.decision.take,
        arm.reason,
        words.score(metric, arm.score),
        seeds,
        "" if against is None else words.gap(metric, against.value),
        "" if against is None else words.span(metric, against.low, against.high),
        "" if against is None else words.p_value(against.p),
        words.prices(arm.price),
        {name: words.below_name(name.rpartition(".")[2], value) for name, value in arm.others.items()},
        arm.notes,
    )


def card(result: ComparisonResult, example: Example, media: Media) -> Card:
    """An example with its media."""
    order = {arm.name: place for place, arm in enumerate(result.arms)}
    names = sorted(example.answers, key=lambda name: order.get(name, len(order)))
    return Card(
        example.id,
        list(shown_inputs(example, media)),
        [(result.metric.segment, example.references)],
        [answer(name, example.answers[name], result.metric.name, example.right.get(name)) for name in names],
        [],
    )


def shown_inputs(example: Example, media: Media) -> Iterator[Shown]:
    """The inputs of an example."""
    first = [ExampleInput("image", "image", path) for path in example.images]
    first += [ExampleInput("audio", "audio", example.audio)] if example.audio else []
    first += [ExampleInput("text", "text", text=example.text)] if example.text is not None else []
    for one in example.inputs or first:
        if one.file:
            yield media.item(modality_of(one.modality), Path(one.file), input=one.name)
        else:
            yield Shown(one.text[:60], form="text", text=one.text, input=one.name)


def learning_rows(result: ComparisonResult) -> list[tuple[str, str, str, str]]:
    """Arm, held-out bits per token at the end (mean, and from the best seed to the worst), steps."""
    rows = []
    for arm in result.arms:
        ends = [seed.curve[-1] for seed in arm.seeds if seed.curve]
        if ends:
            bits = [point.bits for point in ends]
            spread = f"{min(bits):.3f} to {max(bits):.3f}" if len(bits) > 1 else words.NONE
            rows.append((arm.name, f"{sum(bits) / len(bits):.3f}", spread, f"{max(point.step for point in ends):,}"))
    return rows


def modalities(result: ComparisonResult) -> list[str]:
    """Those of which any arm says something."""
    return list(dict.fromkeys(one.modality for arm in result.arms for one in arm.credits))


def credit_rows(result: ComparisonResult) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """Arm → for each modality: its name, bits, interval, and whether it is used."""
    names = modalities(result)
    rows = []
    for arm in result.arms:
        found = {one.modality: one for one in arm.credits}
        if found:
            rows.append((arm.name, [credit_cell(name, found.get(name)) for name in names]))
    return rows


def credit_cell(name: str, one: Credit | None) -> tuple[str, str, str, str]:
    """A modality of an arm."""
    if one is None:
        return name, words.NONE, "", "not read"
    if one.bits is None:
        return name, words.NONE, "", one.note or "not known"
    bounds = "" if one.low is None or one.high is None else words.signed(f"{one.low:.2f} to {one.high:.2f}")
    used = {True: "used", False: "not measurably used", None: ""}[one.used]
    note = words.quoted(one.note.removeprefix(f"{name}: "))
    if note.startswith(WHOLE):
        return name, words.signed(f"{one.bits:.2f}"), bounds, note
    if one.used and BITS.match(note):  # the bits and their interval stand above it
        note = BITS.sub("", note, count=1)
    note = note.removeprefix("; ")
    if note.startswith(" ("):
        return name, words.signed(f"{one.bits:.2f}"), bounds, f"{used}{note}"
    said = note if used and note.startswith(used) else "; ".join(filter(None, (used, note)))
    return name, words.signed(f"{one.bits:.2f}"), bounds, said
