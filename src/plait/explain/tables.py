"""From the losses of a split to figures: means with intervals of what was lost, of credits, interactions and reliance.

In: losses per sample, and the samples that they are of.
Out: a `SegmentResult` for each segment and context.
Invariant: every figure is Σ values / Σ tokens over samples, and its interval is over their groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from plait.data.preprocess import Preprocessor
from plait.evaluate.intervals import Form
from plait.evaluate.metrics.base import divide
from plait.evaluate.statistics import Figure, Groupings, figure
from plait.explain import credit
from plait.explain.baseline import ConstantAnswer
from plait.explain.losses import Context, SubsetLosses
from plait.explain.plan import Exact, Plan
from plait.explain.positions import Positions
from plait.explain.result import Interaction, ModalityCredit, PatternCredit, PositionCredit, SegmentResult
from plait.run import Run
from plait.types import Sample

GAIN, LOSS = Form(weight=1), Form((0.0, float("inf")), weight=1)
"""Of what is saved or lost by an input, of either sign; and of a loss."""

NONE_HAS_IT = "no sample among them has it"


@dataclass(frozen=True)
class Tables:
    """The losses of a split, and how figures are made of them."""

    run: Run
    samples: Sequence[Sample]
    losses: SubsetLosses
    groupings: Groupings
    patterns: Mapping[str, Bool[np.ndarray, " n"]]
    positions: Positions
    plan: Plan
    untold: Mapping[tuple[int, ...], str] = field(default_factory=dict)
    """Interactions that are not told, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """The players."""
        return self.plan.players.names

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Of the samples."""
        return tuple(sample.id for sample in self.samples)

    @property
    def shown(self) -> dict[str, int]:
        """The subsets whose losses are told → their columns: all that are measured, or of sampled ones none, each alone, all."""
        num, players = self.plan.num, self.plan.players
        alone = {1 << k: self.plan.alone(k) for k in range(num)}
        whole = (1 << num) - 1
        columns = {s: s for s in range(whole + 1)} if isinstance(self.plan, Exact) else {0: 0, **alone, whole: -1}
        return {players.subset_name(subset): column for subset, column in columns.items()}

    def mean(
        self,
        values: Float[np.ndarray, " n"],
        per: Float[np.ndarray, " n"],
        rows: Bool[np.ndarray, " n"],
        form: Form = GAIN,
    ) -> Figure:
        """Σ values / Σ per over the given samples that have a value (not those that should have met an input that cannot be read),
        with its interval over their groups.
        """
        keep = np.flatnonzero(rows & np.isfinite(values))
        if not len(keep):
            return Figure(None, None, None, 0, note="no sample of this split has it")
        return figure(
            np.stack([values[keep], per[keep]], axis=1),
            lambda sums: divide(sums[:, 0], sums[:, 1]),
            self.groupings.among(keep),
            undefined="no target tokens",
            form=form,
        )

    def segment(
        self,
        number: int,
        context: Context,
        strange: Mapping[str, SubsetLosses],
        train: Sequence[Sample],
        has_credit: bool,
    ) -> SegmentResult:
        """All that is known of one segment in one context; `strange`: the losses with each modality shuffled across samples."""
        names = self.names
        bits = self.losses.bits[context][..., number]  # (n, columns, K): fitted temperature, 1
        tokens = self.losses.num_tokens[:, number]
        rows = np.isfinite(bits[:, -1, 0]) & (tokens > 0)
        result = SegmentResult(self.run.segments[number], context, int(rows.sum()), float(tokens[rows].sum()), {})
        if not rows.any():
            return result
        shown = self.shown if has_credit else dict([list(self.shown.items())[-1]])
        result = replace(
            result, losses={name: self.mean(bits[:, s, 0], tokens, rows, LOSS) for name, s in shown.items()}
        )
        if context == "true":
            grown = {m: lost.bits["true"][:, -1, 1, number] - bits[:, -1, 1] for m, lost in strange.items()}
            result = replace(
                result,
                constant=self.constant(number, train, tokens, rows),
                reliance={
                    m: self.mean(grown[m], tokens, rows & self.losses.present[:, k]) for k, m in enumerate(names)
                },
                by=self.by(np.stack([grown[m] for m in names], axis=1), tokens, rows),
            )
        if not has_credit:
            return result
        moved = {m: lost.bits[context][:, :, 0, number] for m, lost in strange.items()}
        result = replace(result, **self.credits(bits[..., 0], moved, tokens, rows))
        if self.losses.tokens_at is None:
            return result
        return replace(result, positions=tuple(self.at_positions(number, context, rows)))

    def credits(
        self,
        bits: Float[np.ndarray, "n subsets"],
        moved: Mapping[str, Float[np.ndarray, "n subsets"]],
        tokens: Float[np.ndarray, " n"],
        rows: Bool[np.ndarray, " n"],
    ) -> dict[str, object]:
        """v(all), each modality's credit, and all interactions; `moved`: the bits with each modality shuffled across samples."""
        plan, present = self.plan, self.losses.present
        values = credit.usable_information(bits)
        shares = plan.credits(values, self.ids)
        return {
            "together": self.mean(values[:, -1], tokens, rows),
            "credits": {
                m: ModalityCredit(
                    self.mean(shares[:, k], tokens, rows),
                    self.mean(values[:, plan.alone(k)], tokens, rows),
                    self.mean(values[:, -1] - values[:, plan.without(k)], tokens, rows),
                    self.mean(shares[:, k], tokens, rows & present[:, k]),
                    self.mean(shares[:, k], np.ones(len(shares)), rows),
                    self.mean(own_gain(bits, moved[m], plan.alone(k)), tokens, rows & present[:, k]),
                )
                for k, m in enumerate(self.names)
            },
            "by": self.by(shares, tokens, rows),
            "interactions": tuple(self.interaction(values, members, tokens, rows) for members in plan.interactions),
        }

    def by(
        self, shares: Float[np.ndarray, "n M"], tokens: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> dict[str, PatternCredit]:
        """Each modality's share among the samples of each pattern that has any."""
        names = self.names

        def share(k: int, mask: Bool[np.ndarray, " n"]) -> Figure:
            if not (self.losses.present[:, k] & mask).any():
                return Figure(None, None, None, 0, note=NONE_HAS_IT)
            return self.mean(shares[:, k], tokens, mask)

        return {
            pattern: PatternCredit(
                int((rows & mask).sum()),
                float(tokens[rows & mask].sum()),
                {m: share(k, rows & mask) for k, m in enumerate(names)},
            )
            for pattern, mask in self.patterns.items()
            if (rows & mask).any()
        }

    def at_positions(self, segment: int, context: Context, rows: Bool[np.ndarray, " n"]) -> Iterator[PositionCredit]:
        """Each modality's credit at each position of the segment, over the samples that have a token there."""
        tokens_at, credits_at = self.losses.tokens_at, self.losses.credits_at[context]
        assert tokens_at is not None
        names = self.names
        for position, name in zip(self.positions.range_of(segment), self.positions.names(segment), strict=True):
            tokens = tokens_at[:, position]
            have = rows & (tokens > 0)
            if have.any():
                shares = {m: self.mean(credits_at[:, k, position], tokens, have) for k, m in enumerate(names)}
                yield PositionCredit(name, int(have.sum()), float(tokens[have].sum()), shares)

    def interaction(
        self,
        values: Float[np.ndarray, "n subsets"],
        members: tuple[int, ...],
        tokens: Float[np.ndarray, " n"],
        rows: Bool[np.ndarray, " n"],
    ) -> Interaction:
        """One interaction, over the samples that have all its members."""
        names = tuple(self.names[k] for k in members)
        if members in self.untold:
            return Interaction(names, None, None, self.untold[members])
        both = rows & credit.together(self.losses.present, members)
        if not both.any():
            return Interaction(names, None, None, "not identifiable: they never occur together in a sample")
        found, pair = self.plan.index(values, members), None
        index = None if found is None else self.mean(found, tokens, both)
        if len(members) == 2:
            together, measured = self.plan.pair(values, *members, self.ids)
            if not (both & measured).any():
                return Interaction(names, None, index, "no sampled order begins with them: raise --orders")
            pair = self.mean(together, tokens, both & measured)
        return Interaction(names, pair, index)

    def constant(
        self, number: int, train: Sequence[Sample], tokens: Float[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
    ) -> Figure | None:
        """The best constant answer on the same samples; None without training targets."""
        name, tokenizer = self.run.segments[number], self.run.tokenizer
        encode = Preprocessor(self.run.config.data, tokenizer, self.run.segments, self.run.inputs).encode
        texts = [encode(r[name]) for s in train for r in s.references if name in r]
        if not texts:
            return None
        answer = ConstantAnswer(texts, vocabulary_size=tokenizer.size)
        bits = np.zeros(len(self.samples))
        for row in np.flatnonzero(rows).tolist():
            found = [answer.bits(encode(r[name])) for r in self.samples[row].references if name in r]
            bits[row] = sum(found) / len(found)
        return self.mean(bits, tokens, rows, LOSS)


def own_gain(
    bits: Float[np.ndarray, "n columns"], moved: Float[np.ndarray, "n columns"], alone: int
) -> Float[np.ndarray, " n"]:
    """What a sample's own input saves against another sample's, alone (in the column `alone`) and beside all others, on average."""
    return ((moved[:, alone] - bits[:, alone]) + (moved[:, -1] - bits[:, -1])) / 2
