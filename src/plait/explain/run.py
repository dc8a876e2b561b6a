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
from jaxtyping import Bool, Float

from plait.data.preprocess import Preprocessor
from plait.data.splits import known_split
from plait.errors import UserError
from plait.evaluate.metrics.base import divide
from plait.evaluate.run import split_of
from plait.evaluate.statistics import Bootstrap, Figure, Groupings, figure
from plait.explain import credit
from plait.explain.baseline import ConstantAnswer
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
from plait.explain.reliance import shuffled
from plait.explain.result import Explanation, Interaction, ModalityCredit, SegmentResult
from plait.explain.verdict import verdicts
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
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """How much each modality is used on `split` among `samples`, which also hold the splits `train` and `tune`."""
    modalities = run.modalities
    if not modalities:
        raise UserError(
            "this model reads no inputs, so there is nothing to explain", right="Give a run with data.inputs"
        )
    split = known_split(split, where="--split")
    chosen, tuning = split_of(samples, split), [s for s in samples if s.split == "tune"]
    dropped = chances(run)
    has_credit = any(dropped.values())
    passes = [*([tuning] if has_credit else []), *[chosen] * (1 + len(modalities))]
    count = Counter(sum(len(s.references) for part in passes for s in part), progress)

    notes: list[str] = []
    contexts: tuple[Context, ...] = ("true", "own") if has_credit and len(run.segments) > 1 else ("true",)
    temperatures: Temperatures = {c: np.ones((1 << len(modalities), 2)) for c in contexts}
    if has_credit:
        notes += [f"{m} {NEVER_DROPPED}" for m, chance in dropped.items() if not chance]
        temperatures = fitted(run, tuning, contexts, batch_size, count, notes)
    losses = subset_losses(
        run, chosen, temperatures, batch_size=batch_size, only_complete=not has_credit, progress=count
    )
    tables = Tables(run, chosen, losses, Groupings.of(chosen), Bootstrap(run.config.evaluate.num_resamples, 0.95, seed))
    reliance = {}
    for modality in modalities:
        strange, equal = shuffled(chosen, modality, seed=seed)
        if equal:
            notes.append(f"{modality}: {equal} samples met an input equal to their own when shuffled")
        once: Temperatures = {"true": temperatures["true"][:, 1:]}
        reliance[modality.value] = subset_losses(
            run, strange, once, batch_size=batch_size, only_complete=True, progress=count
        ).bits["true"][:, -1, 0]
    train = [s for s in samples if s.split == "train"]
    segments = [
        tables.segment(number, context, reliance, train, has_credit)
        for number in range(len(run.segments))
        for context in contexts
        if context == "true" or number > 0
    ]
    segments = [segment for segment in segments if segment.num_samples]
    if not segments:
        raise UserError(f"no target in split {split!r}", where="--split", right="Explain a split that has targets")
    return Explanation(
        split,
        "credit" if has_credit else "reliance",
        len(chosen),
        seed,
        0.95,
        tuple(m.value for m in modalities),
        {
            c: {subset_name(s, modalities): float(t) for s, t in enumerate(table[:, 0])}
            for c, table in temperatures.items()
            if has_credit
        },
        tuple(replace(s, verdicts=verdicts(s, modalities, losses.present)) for s in segments),
        (*kind_notes(run, has_credit), *notes, *left_out(losses)),
    )


def chances(run: Run) -> dict[str, float]:
    """The chance with which training dropped each modality, once warmed up."""
    train = run.config.train
    return {
        m.value: max(train.dropout_of(m, train.steps), train.subset_chance(train.steps) / 2) for m in run.modalities
    }


def kind_notes(run: Run, has_credit: bool) -> list[str]:
    """What has to be known before the figures are read."""
    notes = []
    if len(run.modalities) == 1:
        what = "its bits are those that are lost without it" if has_credit else "no credit is shared"
        notes.append(f"this run reads {run.modalities[0]} only: there is nothing to compare, {what}")
    if not has_credit:
        notes.append(
            f"trained without modality dropout: without an input the model is lost, which says nothing about the input; {RETRAIN}"
        )
    return notes


def left_out(losses: SubsetLosses) -> list[str]:
    """How many samples have no loss at all."""
    missing = int((losses.num_tokens.sum(axis=1) == 0).sum())
    return [f"{missing} samples have no target or could not be read: left out"] if missing else []


def fitted(
    run: Run, tuning: Sequence[Sample], contexts: Sequence[Context], batch_size: int, count: Progress, notes: list[str]
) -> Temperatures:
    """Context → per subset the fitted temperature and 1, at which reliance is measured."""
    num_subsets = 1 << len(run.modalities)
    if not tuning:
        notes.append("no row in split 'tune': temperatures are 1, so what an unsure subset tells is underrated")
        return {c: np.ones((num_subsets, 2)) for c in contexts}
    grid: Temperatures = {c: np.tile(GRID, (num_subsets, 1)) for c in contexts}
    losses = subset_losses(run, tuning, grid, batch_size=batch_size, progress=count)
    found: dict[Context, np.ndarray] = {}
    for context in contexts:
        fit = fit_temperatures(losses, context, run.modalities)
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


@dataclass(frozen=True)
class Tables:
    """The losses of a split, and how figures are made of them."""

    run: Run
    samples: Sequence[Sample]
    losses: SubsetLosses
    groupings: Groupings
    bootstrap: Bootstrap

    def mean(
        self, values: Float[np.ndarray, " n"], per: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> Figure:
        """Σ values / Σ per over the given samples, with the interval that resamples their groups."""
        keep = np.flatnonzero(rows)
        if not len(keep):
            return Figure(None, None, None, 0, note="no sample of this split has it")
        return figure(
            np.stack([values[keep], per[keep]], axis=1),
            lambda sums: divide(sums[:, 0], sums[:, 1]),
            self.groupings.among(keep),
            bootstrap=self.bootstrap,
            undefined="no target tokens",
        )

    def segment(
        self,
        number: int,
        context: Context,
        reliance: Mapping[str, Float[np.ndarray, "n G"]],
        train: Sequence[Sample],
        has_credit: bool,
    ) -> SegmentResult:
        """All that is known of one segment in one context."""
        modalities = self.run.modalities
        bits = self.losses.bits[context][..., number]  # (n, subsets, K): fitted temperature, 1
        tokens = self.losses.num_tokens[:, number]
        rows = np.isfinite(bits[:, -1, 0]) & (tokens > 0)
        result = SegmentResult(self.run.segments[number], context, int(rows.sum()), float(tokens[rows].sum()), {})
        if not rows.any():
            return result
        shown = range(bits.shape[1]) if has_credit else [bits.shape[1] - 1]
        result = replace(
            result,
            losses={subset_name(s, modalities): self.mean(bits[:, s, 0], tokens, rows) for s in shown},
        )
        if context == "true":
            grown = {name: bits_shuffled[:, number] - bits[:, -1, 1] for name, bits_shuffled in reliance.items()}
            result = replace(
                result,
                constant=self.constant(number, train, tokens, rows),
                reliance={
                    m.value: self.mean(grown[m.value], tokens, rows & self.losses.present[:, k])
                    for k, m in enumerate(modalities)
                },
            )
        return replace(result, **self.credits(bits[..., 0], tokens, rows)) if has_credit else result

    def credits(
        self, bits: Float[np.ndarray, "n subsets"], tokens: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> dict[str, object]:
        """v(all), each modality's credit, and all interactions."""
        modalities, present = self.run.modalities, self.losses.present
        values = credit.usable_information(bits)
        shares = credit.shapley(values)
        return {
            "together": self.mean(values[:, -1], tokens, rows),
            "credits": {
                m.value: ModalityCredit(
                    self.mean(shares[:, k], tokens, rows),
                    self.mean(credit.alone(values, k), tokens, rows),
                    self.mean(credit.marginal(values, k), tokens, rows),
                    self.mean(shares[:, k], tokens, rows & present[:, k]),
                    self.mean(shares[:, k], np.ones(len(shares)), rows),
                )
                for k, m in enumerate(modalities)
            },
            "interactions": tuple(
                self.interaction(values, members, tokens, rows) for members in credit.all_orders(len(modalities))
            ),
        }

    def interaction(
        self,
        values: Float[np.ndarray, "n subsets"],
        members: tuple[int, ...],
        tokens: Float[np.ndarray, " n"],
        rows: Bool[np.ndarray, " n"],
    ) -> Interaction:
        """One interaction, over the samples that have all its members."""
        names = tuple(self.run.modalities[k].value for k in members)
        both = rows & credit.together(self.losses.present, members)
        if not both.any():
            return Interaction(names, None, None, "not identifiable: they never occur together in a sample")
        index = self.mean(credit.interaction_index(values, members), tokens, both)
        pair = None
        if len(members) == 2:
            pair = self.mean(credit.pair_interaction(values, *members), tokens, both)
        return Interaction(names, pair, index)

    def constant(
        self, number: int, train: Sequence[Sample], tokens: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> Figure | None:
        """The best constant answer on the same samples; None without training targets."""
        name, tokenizer = self.run.segments[number], self.run.tokenizer
        encode = Preprocessor(self.run.config.data, tokenizer, self.run.segments, self.run.modalities).encode
        texts = [encode(r[name]) for s in train for r in s.references if name in r]
        if not texts:
            return None
        answer = ConstantAnswer(texts, vocabulary_size=tokenizer.size)
        bits = np.zeros(len(self.samples))
        for row in np.flatnonzero(rows).tolist():
            found = [answer.bits(encode(r[name])) for r in self.samples[row].references if name in r]
            bits[row] = sum(found) / len(found)
        return self.mean(bits, tokens, rows)
