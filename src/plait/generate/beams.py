"""Beam search: the best of several hypotheses that are written side by side.

In: drafts, and the segment to write up to.
Out: for each the best draft that the search finished.
Invariant: the score is Σ log p / length^penalty over the tokens that this search said; a finished hypothesis is kept apart, so
nothing better than the result was ever finished; a sample's search ends when no hypothesis under way can score higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from plait.errors import UserError
from plait.generate.draft import Draft, Writer
from plait.types import Condition


@dataclass(frozen=True)
class Hypothesis:
    """A draft with Σ log p of the `length` tokens, ends included, that the search has said in it."""

    draft: Draft
    total: float = 0.0
    length: int = 0


class Option(NamedTuple):
    """One way to go on: from which row of the batch, with which token (None: it only has a token left to read)."""

    score: float
    parent: Hypothesis
    row: int
    token: int | None
    log_probability: float


class Search:
    """The search of one sample: the hypotheses under way, and the best finished one."""

    def __init__(self, writer: Writer, draft: Draft, until: str) -> None:
        self.writer, self.until, self.width = writer, until, writer.config.beams
        first = Hypothesis(draft.copy())
        self.best = first if draft.is_done(until) else None
        self.live = [] if self.best else [first]

    def advance(self, values: Sequence[Sequence[float]], tokens: Sequence[Sequence[int]]) -> list[int]:
        """Take the best `beams` ways to go on; the row of `live` that each hypothesis now under way continues.

        `values` and `tokens`: the likeliest tokens of each row.
        """
        options = [
            option
            for row, parent in enumerate(self.live)
            for option in self.options(parent, row, values[row], tokens[row])
        ]
        if not options:
            right = "The weights may be damaged: evaluate the run, or train it anew"
            raise UserError("the model gives no token a probability", right=right)
        grown: list[tuple[int, Hypothesis]] = []
        for option in sorted(options, key=lambda option: -option.score)[: self.width]:
            hypothesis = self.grown(option)
            if not hypothesis.draft.is_done(self.until):
                grown.append((option.row, hypothesis))
            elif self.best is None or self.score(hypothesis) > self.score(self.best):
                self.best = hypothesis
        kept = [(row, one) for row, one in grown if self.best is None or self.bound(one) > self.score(self.best)]
        self.live = [hypothesis for _, hypothesis in kept]
        return [row for row, _ in kept]

    def options(self, parent: Hypothesis, row: int, values: Sequence[float], tokens: Sequence[int]) -> list[Option]:
        """The ways to go on from one hypothesis."""
        if parent.draft.unread is not None:
            return [Option(self.score(parent), parent, row, None, 0.0)]
        return [
            Option(self.normalised(parent.total + p, parent.length + 1), parent, row, token, p)
            for p, token in zip(values, tokens, strict=True)
            if p > float("-inf")
        ]

    def grown(self, option: Option) -> Hypothesis:
        """The hypothesis with one more token, or with none left to read."""
        draft = option.parent.draft.copy()
        if option.token is None:
            draft.unread = None
            return Hypothesis(draft, option.parent.total, option.parent.length)
        self.writer.say(draft, option.token, option.log_probability)
        return Hypothesis(draft, option.parent.total + option.log_probability, option.parent.length + 1)

    def normalised(self, total: float, length: int) -> float:
        """Σ log p / length^penalty."""
        return total * max(length, 1) ** -self.writer.config.length_penalty

    def score(self, hypothesis: Hypothesis) -> float:
        """The score by which hypotheses are compared."""
        return self.normalised(hypothesis.total, hypothesis.length)

    def bound(self, hypothesis: Hypothesis) -> float:
        """The highest score that it can end with: no further token costs anything, and there are as many as there may be.

        Σ log p is at most 0 and only falls, and a negative sum scores higher the longer the text is.
        """
        draft, segments = hypothesis.draft, hypothesis.draft.segments
        upto = segments[: segments.index(self.until) + 1]
        longest = hypothesis.length + sum(self.writer.tokens_left(draft, segment) for segment in upto)
        return self.normalised(hypothesis.total, longest)


def beam_search(writer: Writer, drafts: Sequence[Draft], condition: Condition, until: str) -> list[Draft]:
    """The best draft of each sample, written up to and with `until`, keeping `beams` hypotheses a step."""
    searches = [Search(writer, draft, until) for draft in drafts]
    samples = torch.tensor([k for k, one in enumerate(searches) for _ in one.live], device=writer.device)
    cache = writer.model.lm.empty_cache()
    hidden = None
    while len(samples):
        live = [one.draft for search in searches for one in search.live]
        if hidden is None:
            hidden = writer.begin(live, condition.select(samples), cache)
        else:
            tokens = [writer.next_token(draft) for draft in live]
            hidden = writer.step(tokens, condition.select(samples), cache)
        log_probabilities = writer.log_probabilities(hidden)
        values, tokens = log_probabilities.topk(min(writer.config.beams, log_probabilities.shape[-1]))
        parents, first = [], 0
        for search in searches:
            last = first + len(search.live)
            if search.live:
                rows = search.advance(values[first:last].tolist(), tokens[first:last].tolist())
                parents += [first + row for row in rows]
            first = last
        chosen = torch.tensor(parents, dtype=torch.long, device=writer.device)
        samples, cache = samples[chosen], cache.select(condition.rows_of(chosen))
    return [search.best.draft for search in searches if search.best is not None]
