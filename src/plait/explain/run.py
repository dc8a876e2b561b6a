"""From a run and a split to an explanation: losses under every subset, credit, interactions, reliance, baselines, verdicts.

In: a run and the samples of its data.
Out: an `Explanation`.
Invariant: bits of credit come only from a model that was trained to do without its inputs (modality dropout), after one
temperature per subset has been fitted on the tuning split; of any other model only reliance is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int

from plait.data.preprocess import Preprocessor
from plait.data.splits import known_split
from plait.errors import UserError
from plait.evaluate.run import split_of
from plait.evaluate.score import patterns_of, unread_notes
from plait.evaluate.statistics import Groupings
from plait.explain.losses import (
    GRID,
    Context,
    Progress,
    SubsetLosses,
    Temperatures,
    fit_temperatures,
    subset_losses,
    subset_name,
)
from plait.explain.positions import MAX_APART, MIN_SAMPLES, Positions
from plait.explain.reliance import shuffled
from plait.explain.result import Explanation, SegmentResult
from plait.explain.tables import Tables
from plait.explain.training import training_signs
from plait.explain.verdict import WORTH, checked_worth, verdicts, worth_of
from plait.features import FeatureCache
from plait.run import Run
from plait.types import Sample

RETRAIN = "retrain with train.modality_dropout=0.2 to get bits"
NEVER_DROPPED = (
    "was never dropped in training (train.modality_dropout): its figures show how lost the model is without it"
)


def explain(
    run: Run,
    samples: Sequence[Sample],
    *,
    split: str,
    seed: int = 0,
    batch_size: int = 64,
    worth: float | int = WORTH,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """How much each modality is used on `split` among `samples`, which also hold the splits `train` and `tune`.

    `worth`: per cent of a segment's loss without inputs; a smaller effect is called none that matters.
    """
    worth = checked_worth(worth)
    measured = measure(run, samples, split=split, seed=seed, batch_size=batch_size, progress=progress, say=say)
    segments = measured.segments(worth)
    if not segments:
        raise UserError(f"no target in split {split!r}", where="--split", right="Explain a split that has targets")
    has_credit, chosen = measured.has_credit, measured.tables.samples
    aside = (*measured.aside, *pooled(segments))
    found = Explanation(
        split,
        "credit" if has_credit else "reliance",
        len(chosen),
        seed,
        0.95,
        tuple(m for m in run.inputs),
        {
            c: {subset_name(s, run.inputs): float(t) for s, t in enumerate(table[:, 0])}
            for c, table in measured.temperatures.items()
            if has_credit
        },
        segments,
        (*kind_notes(run, has_credit), *measured.notes, *aside, *left_out(chosen, measured.tables.losses)),
        worth=worth,
        side_notes=aside,
    )
    return replace(found, training=training_signs(run, found.used))


@dataclass(frozen=True)
class Measured:
    """What the model loses on a split, from which every figure follows. `strange`: with each modality shuffled across samples;
    `notes`, `aside`: what has to be known, and what belongs beside the further figures.
    """

    tables: Tables
    strange: Mapping[str, SubsetLosses]
    train: Sequence[Sample]
    temperatures: Temperatures
    has_credit: bool
    notes: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()

    def segments(self, worth: float) -> tuple[SegmentResult, ...]:
        """Every segment in every context, with what follows from its figures; `worth` in per cent."""
        run = self.tables.run
        found = (
            self.tables.segment(number, context, self.strange, self.train, self.has_credit)
            for number in range(len(run.segments))
            for context in self.temperatures
            if context == "true" or number > 0
        )
        return tuple(judged(run, one, self.tables.losses, worth) for one in found if one.num_samples)

    def only(self, rows: Int[np.ndarray, " rows"]) -> Measured:
        """The same of some of the samples, without what stands per position and per tag."""
        samples = [self.tables.samples[row] for row in rows]
        whole = Positions.whole(len(self.tables.run.segments))
        tables = Tables(self.tables.run, samples, self.tables.losses.only(rows), Groupings.of(samples), {}, whole)
        return replace(self, tables=tables, strange={name: lost.only(rows) for name, lost in self.strange.items()})


def measure(
    run: Run,
    samples: Sequence[Sample],
    *,
    split: str,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """The losses of a split under every subset of the modalities, and with each modality shuffled."""
    modalities = run.inputs
    if not modalities:
        raise UserError(
            "this model reads no inputs, so there is nothing to explain", right="Give a run with data.inputs"
        )
    split = known_split(split, where="--split")
    chosen, tuning = split_of(samples, split, where="--split"), [s for s in samples if s.split == "tune"]
    dropped = chances(run)
    has_credit = any(dropped.values())
    passes = [*([tuning] if has_credit else []), *[chosen] * (1 + len(modalities))]
    count = Counter(sum(len(s.references) for part in passes for s in part), progress)

    preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, modalities)
    cache = FeatureCache(run.config, run.model, preprocessor, say=say)
    cache.fill_if_possible([*(tuning if has_credit else []), *chosen])

    notes: list[str] = []
    aside: list[str] = []
    contexts: tuple[Context, ...] = ("true", "own") if has_credit and len(run.segments) > 1 else ("true",)
    temperatures: Temperatures = {c: np.ones((1 << len(modalities), 2)) for c in contexts}
    if has_credit:
        notes += [f"{m} {NEVER_DROPPED}" for m, chance in dropped.items() if not chance]
        temperatures = fitted(run, tuning, contexts, batch_size, count, notes)
    positions, complete = positions_of(run, chosen) if has_credit else None, (1 << len(modalities)) - 1
    losses = subset_losses(
        run,
        chosen,
        temperatures,
        batch_size=batch_size,
        under=None if has_credit else [complete],
        positions=positions,
        progress=count,
    )
    strange: dict[str, SubsetLosses] = {}
    for k, modality in enumerate(modalities):
        moved, equal = shuffled(chosen, modality, seed=seed)
        if equal:
            of = aside if has_credit else notes  # by default a run without credit shows what shuffling did
            of.append(f"{modality}: {equal} samples met an input equal to their own when shuffled")
        under = [1 << k, complete] if has_credit else [complete]
        strange[modality] = subset_losses(run, moved, temperatures, batch_size=batch_size, under=under, progress=count)
    patterns, untold = patterns_of(chosen, run.config.evaluate.by, pairs=False)
    whole = positions or Positions.whole(len(run.segments))
    tables = Tables(run, chosen, losses, Groupings.of(chosen), patterns, whole)
    train = [s for s in samples if s.split == "train"]
    return Measured(tables, strange, train, temperatures, has_credit, tuple(notes), (*aside, *untold))


def judged(run: Run, segment: SegmentResult, losses: SubsetLosses, worth: float) -> SegmentResult:
    """A segment with what follows from its figures."""
    segment = replace(segment, worth=worth_of(segment, worth))
    before = run.segments[: run.segments.index(segment.segment)]
    return replace(segment, verdicts=verdicts(segment, run.inputs, losses.present, before=before))


def positions_of(run: Run, samples: Sequence[Sample]) -> Positions:
    """The positions that enough of the samples have; a sample with several references counts with its longest."""
    encode = Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs).encode
    texts = [[[r[name] for r in s.references if name in r] for s in samples] for name in run.segments]
    return Positions.choose([[max(len(encode(text)) for text in of) for of in all_of if of] for all_of in texts])


def pooled(segments: Sequence[SegmentResult]) -> list[str]:
    """Which positions are not looked at apart."""
    told = {s.segment: one.position for s in segments for one in s.positions if one.position.endswith("+")}
    shown = ", ".join(f"{position} of {name}" for name, position in told.items())
    why = f"later than {MAX_APART}, or fewer than {MIN_SAMPLES} samples have them"
    return [f"target positions that are taken together: {shown} ({why})"] if told else []


def chances(run: Run) -> dict[str, float]:
    """The chance with which training dropped each modality, once warmed up."""
    return {m: run.config.highest_dropout(m) for m in run.inputs}


def kind_notes(run: Run, has_credit: bool) -> list[str]:
    """What has to be known before the figures are read."""
    notes = []
    if len(run.inputs) == 1:
        what = "its bits are those that are lost without it" if has_credit else "no credit is shared"
        notes.append(f"this run reads {run.inputs[0]} only: there is nothing to compare, {what}")
    if not has_credit:
        notes.append(
            f"trained without modality dropout: without an input the model is lost, which says nothing about the input; {RETRAIN}"
        )
    return notes


def left_out(samples: Sequence[Sample], losses: SubsetLosses) -> list[str]:
    """The samples that have no loss at all: those that could not be read by name, the others by number."""
    reasons = {gone.id: f"{gone.where}: {gone.reason}" for gone in losses.left_out}
    empty = losses.num_tokens.sum(axis=1) == 0
    unread = [reasons.get(sample.id) if none else None for sample, none in zip(samples, empty, strict=True)]
    missing = int(empty.sum()) - sum(map(bool, unread))
    untold = [f"{missing} sample{'' if missing == 1 else 's'} without a target: left out"] if missing else []
    return [*unread_notes(samples, unread), *untold]


def fitted(
    run: Run, tuning: Sequence[Sample], contexts: Sequence[Context], batch_size: int, count: Progress, notes: list[str]
) -> Temperatures:
    """Context → per subset the fitted temperature and 1, at which reliance is measured."""
    num_subsets = 1 << len(run.inputs)
    if not tuning:
        notes.append("no row in split 'tune': temperatures are 1, so what an unsure subset tells is underrated")
        return {c: np.ones((num_subsets, 2)) for c in contexts}
    grid: Temperatures = {c: np.tile(GRID, (num_subsets, 1)) for c in contexts}
    losses = subset_losses(run, tuning, grid, batch_size=batch_size, progress=count)
    found: dict[Context, np.ndarray] = {}
    for context in contexts:
        fit = fit_temperatures(losses, context, run.inputs)
        found[context] = np.stack([fit.temperatures, np.ones(num_subsets)], axis=1)
        after = "" if context == "true" else "after its own words, "
        notes.extend(after + note for note in fit.notes)
    return found


class Counter:
    """Adds up what is done over several passes."""

    def __init__(self, total: int, tell: Callable[[int, int], None] | None) -> None:
        self.done, self.total, self.tell = 0, total, tell

    def __call__(self, more: int) -> None:
        self.done += more
        if self.tell is not None:
            self.tell(self.done, self.total)
