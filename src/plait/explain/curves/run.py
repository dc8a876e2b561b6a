"""From a run and a split to its curves: the same samples answered again under every level of every kind of damage.

In: a run that can be asked, and the samples of its data.
Out: `Curves`.
Invariant: every point of a curve is of the same samples, those that have the modality; the first one is what `plait evaluate`
says of them, and all are resampled together. Samples that cannot be read (`data.on_error: skip`) are in none and are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from plait.config.evaluate import EvaluateConfig
from plait.data.splits import known_split
from plait.errors import UserError
from plait.evaluate.answerer import RunAnswerer
from plait.evaluate.choice import metrics_for
from plait.evaluate.intervals import ANY, Form
from plait.evaluate.metrics.base import Score
from plait.evaluate.run import Driven, drive, refuse_all_unread, split_of
from plait.evaluate.score import Scored, score_segments, unread_notes
from plait.evaluate.statistics import Figure, Groupings, figure
from plait.explain.curves.missing import lost, missing_kind
from plait.explain.curves.result import Curve, Curves, Line, area_weights
from plait.explain.run import Counter, chances
from plait.modalities.damage import Damage, Kind, Source
from plait.run import Run
from plait.seeds import numpy_generator
from plait.types import Sample

LIMIT = 400
"""Samples that are measured unless another number is asked for: every one is answered some thirty times."""

NEVER_DROPPED = (
    "was never dropped in training (train.modality_dropout): without it the model is lost, so its curve shows that the model "
    "relies on it, not how well one could do without it"
)
AREA = (
    "area: the mean of the curve over its axis, by the trapezoid rule, so on the score's own scale; the clean point is part of it "
    "where it has a place on the axis (blur, occlusion, missing)"
)


def curves(
    answerer: RunAnswerer,
    samples: Sequence[Sample],
    *,
    split: str,
    limit: int = LIMIT,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Curves:
    """The curves of `limit` samples of `split`, drawn once (0: of all)."""
    run = answerer.run
    if not run.inputs:
        raise UserError("this model reads no inputs, so nothing can be damaged", right="Give a run with data.inputs")
    if limit < 0:
        raise UserError(f"a limit of {limit} samples", where="--limit", right="A number of samples, or 0 for all.")
    split = known_split(split, where="--split")
    rows = split_of(samples, split)
    config = run.config.evaluate
    # of the whole split, as an evaluation chooses them
    config = config.model_copy(
        update={"split": split, "metrics": metrics_for(config, rows, run.segments, run.config.inputs)}
    )
    if config.inputs is not None:
        rows = [sample.only(frozenset(config.inputs)) for sample in rows]
    chosen = drawn([sample for sample in rows if sample.references], limit, seed)
    if not chosen:
        raise UserError(f"no target in split {split!r}", where="--split", right="Measure a split that has targets")
    preprocessor = answerer.preprocessor
    sources = {
        name: Source(seed, [s for s in rows if s.has(name)], partial(preprocessor.decoded, name), name)
        for name in run.inputs
    }
    bench = Bench(answerer, config, config.confidence, batch_size, sources, seed)
    having, kinds = to_do(run, chosen)
    count = Counter(num_targets(chosen) + later(chosen, having, kinds), progress)
    clean = bench.answer(chosen, None, count)
    refuse_all_unread(clean.unread)
    unread = unread_notes(chosen, clean.unread)
    if unread:
        chosen, clean = part(chosen, clean, np.flatnonzero([reason is None for reason in clean.unread]))
        having, kinds = to_do(run, chosen)
        count.total = count.done + later(chosen, having, kinds)
    found = [bench.damaged(name, d, *part(chosen, clean, having[name]), count=count) for name, d in kinds]
    found += [bench.missing(m, *part(chosen, clean, those), count=count) for m, those in having.items() if len(those)]
    scored = bench.score(chosen, clean)
    return Curves(
        split,
        len(chosen),
        len(rows),
        seed,
        config.confidence,
        {segment: {s.score.name: bench.figure(chosen, s) for s in scores} for segment, scores in scored.items()},
        tuple(found),
        {segment: {s.score.name: s.score.definition for s in scores} for segment, scores in scored.items()},
        tuple(notes([*run_notes(answerer, having, split), *unread], found, sources.values())),
    )


def drawn(samples: Sequence[Sample], limit: int, seed: int) -> list[Sample]:
    """So many of the samples, in their own order; all of them for 0. A smaller limit draws a part of what a larger one does."""
    order = numpy_generator(seed, "curve", "samples").permutation(len(samples))
    return [samples[k] for k in sorted(order[: limit or len(samples)].tolist())]


Damaging = Sequence[tuple[str, type[Damage]]]
"""Inputs, with a kind of damage that is done to each."""


def to_do(run: Run, samples: Sequence[Sample]) -> tuple[dict[str, np.ndarray], Damaging]:
    """The rows that have each input, and the kinds of damage that meet any of them."""
    having = {m: np.array([k for k, s in enumerate(samples) if s.has(m)], dtype=int) for m in run.inputs}
    damages = {name: run.config.data.modality_of(name).damages for name in having}
    return having, [(name, damage) for name, of in damages.items() for damage in of if len(having[name])]


def num_targets(samples: Sequence[Sample]) -> int:
    """How many times a sample is answered or its loss taken at one point."""
    return sum(max(1, len(sample.references)) for sample in samples)


def later(chosen: Sequence[Sample], having: dict[str, np.ndarray], kinds: Damaging) -> int:
    """The same over all points behind the clean one."""
    num = {m: num_targets([chosen[row] for row in rows]) for m, rows in having.items()}
    return sum(len(kind.kind.levels) * num[name] for name, kind in kinds) + sum(num.values())


def part(samples: Sequence[Sample], driven: Driven, rows: np.ndarray) -> tuple[list[Sample], Driven]:
    """Some of the samples with what was said to them."""
    return [samples[row] for row in rows], driven.part(rows.tolist())


def merged(first: Driven, second: Driven, take_second: np.ndarray) -> Driven:
    """The answers of the second where that is said, of the first elsewhere."""
    return Driven(
        [b if take else a for a, b, take in zip(first.outputs, second.outputs, take_second, strict=True)],
        [b if take else a for a, b, take in zip(first.losses, second.losses, take_second, strict=True)],
        [b if take else a for a, b, take in zip(first.seconds, second.seconds, take_second, strict=True)],
        [b if take else a for a, b, take in zip(first.unread, second.unread, take_second, strict=True)],
    )


@dataclass(frozen=True)
class Bench:
    """A run that is asked again and again, and how its answers are scored."""

    answerer: RunAnswerer
    config: EvaluateConfig
    confidence: float
    batch_size: int
    sources: Mapping[str, Source]
    seed: int

    def answer(self, samples: Sequence[Sample], damage: Damage | None, count: Counter) -> Driven:
        """What an evaluation takes of each sample: its answers and its losses, under this damage."""
        before = 0

        def tell(done: int, _: int) -> None:
            nonlocal before
            count(done - before)
            before = done

        self.answerer.preprocessor.corruption = damage
        try:
            return drive(
                self.answerer,
                samples,
                batch_size=self.batch_size,
                generate=any((self.config.metrics or {}).values()),
                progress=tell,
            )
        finally:
            self.answerer.preprocessor.corruption = None

    def damaged(
        self, name: str, kind: type[Damage], samples: Sequence[Sample], clean: Driven, *, count: Counter
    ) -> Curve:
        """The curve of one kind of damage to one input."""
        points = [self.answer(samples, kind(level, self.sources[name]), count) for level in kind.kind.levels]
        return self.curve(replace(kind.kind, modality=name), samples, [clean, *points])

    def missing(self, modality: str, samples: Sequence[Sample], clean: Driven, *, count: Counter) -> Curve:
        """The curve over the share of samples that lose a modality: each sample is answered once with and once without it."""
        kind = missing_kind(modality)
        left = [m for m in self.answerer.run.inputs if m != modality]
        without = self.answer([sample.only(left) for sample in samples], None, count)
        gone = [lost(samples, modality, rate, seed=self.seed) for rate in kind.levels]
        return self.curve(kind, samples, [clean, *(merged(clean, without, rows) for rows in gone)])

    def score(self, samples: Sequence[Sample], driven: Driven) -> dict[str, list[Scored]]:
        """Segment → its scores, of the segments that have any."""
        scored = score_segments(
            samples, driven.outputs, driven.losses, metrics=self.config.metrics or {}, config=self.config
        )
        return {segment: scores for segment, scores in scored.items() if scores}

    def curve(self, kind: Kind, samples: Sequence[Sample], points: Sequence[Driven]) -> Curve:
        """All points scored, the clean one first."""
        scored = [self.score(samples, driven) for driven in points]
        groupings = Groupings.of(samples)
        lines = {
            segment: {
                first.score.name: self.line(kind, groupings, [point[segment][k] for point in scored])
                for k, first in enumerate(scores)
            }
            for segment, scores in scored[0].items()
        }
        return Curve(kind, len(samples), lines)

    def line(self, kind: Kind, groupings: Groupings, points: Sequence[Scored]) -> Line:
        """One metric along one curve, over the samples that can be scored at every point."""
        score, size = points[0].score, points[0].statistics.shape[1]
        statistics = np.concatenate([point.statistics for point in points], axis=1)
        keep = np.flatnonzero(~np.isnan(statistics).any(axis=1))
        among = groupings.among(keep)
        at = [statistics[keep, k * size : (k + 1) * size] for k in range(len(points))]
        counted = [(weight, at[k]) for k, weight in enumerate(area_weights(kind).tolist()) if weight]
        return Line(
            self.summed(score, [(1.0, at[0])], among, score.form),
            tuple(self.summed(score, [(1.0, point)], among, score.form) for point in at[1:]),
            tuple(self.summed(score, [(1.0, point), (-1.0, at[0])], among, ANY) for point in at[1:]),
            self.summed(score, counted, among, replace(score.form, counts=False)),
        )

    def summed(
        self,
        score: Score,
        parts: Sequence[tuple[float, Float[np.ndarray, "n S"]]],
        groupings: dict[str, Int[np.ndarray, " n"]],
        form: Form,
    ) -> Figure:
        """Σ weight × the score at a point, over the points that are given with their weights."""
        return figure(
            np.concatenate([statistics for _, statistics in parts], axis=1),
            partial(combined, score, [weight for weight, _ in parts]),
            groupings,
            undefined=score.undefined,
            form=form,
            confidence=self.confidence,
        )

    def figure(self, samples: Sequence[Sample], scored: Scored) -> Figure:
        """One score of all samples."""
        keep = np.flatnonzero(~np.isnan(scored.statistics).any(axis=1))
        return figure(
            scored.statistics[keep],
            scored.score.corpus,
            Groupings.of(samples).among(keep),
            undefined=scored.score.undefined,
            form=scored.score.form,
            confidence=self.confidence,
        )


def combined(
    score: Score, weights: Sequence[float], sums: Float[np.ndarray, "resamples columns"]
) -> Float[np.ndarray, " resamples"]:
    """Σ weight × the score of each point, whose sums stand side by side."""
    parts = np.split(sums, len(weights), axis=1)
    return np.sum([w * score.corpus(part) for w, part in zip(weights, parts, strict=True)], axis=0)


def run_notes(answerer: RunAnswerer, having: dict[str, np.ndarray], split: str) -> list[str]:
    """What has to be known of the run and the split before the curves are read."""
    dropped = chances(answerer.run)
    found = [
        f"{m}: no sample of split {split!r} has it, so it has no curve" for m, rows in having.items() if not len(rows)
    ]
    return found + [f"{m} {NEVER_DROPPED}" for m, rows in having.items() if len(rows) and not dropped[m]]


def notes(before: Sequence[str], found: Sequence[Curve], sources: Iterable[Source]) -> list[str]:
    """Definitions, and what could not be done."""
    kinds = {curve.kind.name: curve.kind.definition for curve in found}
    untouched = []
    for (kind, why), ids in (item for source in sources for item in source.untouched.items()):
        names = ", ".join(sorted(ids)[:3]) + (", …" if len(ids) > 3 else "")
        untouched.append(f"{kind}: {len(ids)} sample{'' if len(ids) == 1 else 's'} ({names}): {why}")
    return [*before, *(f"{name}: {definition}" for name, definition in kinds.items()), AREA, *untouched]
