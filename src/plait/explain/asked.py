"""Some rows of a batch with some of their inputs: what the model loses on their targets.

In: a run, a batch's features, and which inputs each row is given.
Out: bits `(rows, K, P)` at K temperatures and P positions of the target.
Invariant: an input that a row is not given is absent from it as it is from a sample that lacks it; nothing is encoded again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plait.data.collate import SegmentTokens, collate_targets
from plait.explain.positions import Positions
from plait.generate import END, Draft, Writer, write
from plait.model import Model, absent, select
from plait.run import Run
from plait.types import IGNORED, Batch, Condition, Features

BITS_PER_NAT = 1 / math.log(2)

Context = Literal["true", "own"]
"""What stands before a later segment: the true earlier segments, or those that the model wrote itself with the same inputs."""


@dataclass(frozen=True)
class Asked:
    """Some rows of a batch, repeats allowed. `features` are of the whole batch; `given`: which of the run's inputs each row is
    given; `positions`: where its loss is told.
    """

    run: Run
    batch: Batch
    features: Mapping[str, Features]
    given: Bool[np.ndarray, "rows inputs"]
    rows: Int[Tensor, " rows"]
    positions: Positions

    @cached_property
    def condition(self) -> Condition:
        """The fusion's reading of what is given; of the rest there is no token, as in a batch that lacks it."""
        named = zip(self.run.inputs, self.given.T, strict=True)
        return self.run.model.condition({name: self.part(self.features[name], given) for name, given in named})

    def part(self, features: Features, given: Bool[np.ndarray, " rows"]) -> Features:
        """The rows' features of one input."""
        if not given.any():
            return absent(features, self.rows)
        found = select(features, self.rows)
        if given.all():
            return found
        return Features(found.values, found.mask & torch.as_tensor(given, device=found.mask.device)[:, None])

    def bits(self, context: Context, temperatures: Float[np.ndarray, "... K"]) -> Float[Tensor, "rows K P"]:
        """Summed bits of each position at each temperature, the rows' own or those of all; after its own words segment 0 has
        none.
        """
        condition, of, number = self.condition, self.positions.of, self.positions.offsets[-1]
        tokens, targets, segments = (t[self.rows] for t in (self.batch.tokens, self.batch.targets, self.batch.segments))
        if context == "true":
            hidden = self.run.model.hidden(tokens, condition)
            return segment_bits(self.run.model, hidden, targets, of(segments), temperatures, number)
        written = self.written(condition)
        total = torch.zeros(len(self.rows), temperatures.shape[-1], number, dtype=torch.float64, device=tokens.device)
        for place in range(1, len(self.run.segments)):
            new = self.after(written, targets, segments, place)
            hidden = self.run.model.hidden(new.tokens, condition)
            total += segment_bits(self.run.model, hidden, new.targets, of(new.segments), temperatures, number)
        return total

    def written(self, condition: Condition) -> list[list[list[int]]]:
        """Per row the ids of every segment but the last, as the model writes them greedily from this subset's inputs."""
        run = self.run
        config = run.config.generate.model_copy(update={"method": "greedy"})
        writer = Writer(run.model, run.tokenizer, config)
        drafts = [Draft(run.segments) for _ in range(len(self.rows))]
        ids = [self.batch.ids[row] for row in self.rows.tolist()]
        for _ in write(writer, drafts, condition, run.segments[-2], ids):
            pass
        return [[[i for i in draft.said.get(s, []) if i != END] for s in run.segments[:-1]] for draft in drafts]

    def after(
        self,
        written: Sequence[Sequence[Sequence[int]]],
        targets: Int[Tensor, "rows T"],
        segments: Int[Tensor, "rows T"],
        place: int,
    ) -> Batch:
        """The targets with every segment before `place` as written, and only that segment scored."""
        tokenizer, rows = self.run.tokenizer, []
        for row, own in enumerate(written):
            true = targets[row][segments[row] == place].tolist()[:-1]
            names = self.run.segments[: place + 1]
            ids = [*own[:place], true]
            has = bool((segments[row] == place).any())
            rows.append(
                [SegmentTokens(k, tokenizer.segment_id(name), ids[k]) for k, name in enumerate(names)] if has else []
            )
        start = tokenizer.segment_id(self.run.segments[0])
        new = collate_targets(rows, start_id=start, end_id=tokenizer.end_id, pad_id=tokenizer.pad_id)
        scored = torch.where(new.segments == place, new.targets, IGNORED)
        weights = torch.ones(len(rows))
        return Batch(self.batch.ids, {}, new.tokens, scored, new.segments, weights).to(targets.device)


def segment_bits(
    model: Model,
    hidden: Float[Tensor, "B T D"],
    targets: Int[Tensor, "B T"],
    segments: Int[Tensor, "B T"],
    temperatures: Float[np.ndarray, "... K"],
    num_segments: int,
) -> Float[Tensor, "B K G"]:
    """−log2 p of the targets summed within each segment (or position), with the logits divided by each temperature, one for all
    rows or each row's own.
    """
    scored = targets != IGNORED
    logits, right = model.lm.logits(hidden[scored]).float(), targets[scored]
    row = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[scored]
    place = row * num_segments + segments[scored]
    sums = torch.zeros(temperatures.shape[-1], len(targets) * num_segments, dtype=torch.float64, device=targets.device)
    for k, temperature in enumerate(np.moveaxis(temperatures, -1, 0)):
        divided = logits / float(temperature) if temperature.ndim == 0 else logits / of_rows(temperature, logits, row)
        losses = F.cross_entropy(divided, right, reduction="none")
        sums[k].index_add_(0, place, losses.double() * BITS_PER_NAT)
    return sums.reshape(len(sums), len(targets), num_segments).transpose(0, 1)


def of_rows(
    temperature: Float[np.ndarray, " B"], logits: Float[Tensor, "N V"], row: Int[Tensor, " N"]
) -> Float[Tensor, "N 1"]:
    """Each logit's own temperature, that of its row."""
    return torch.as_tensor(temperature, dtype=logits.dtype, device=logits.device)[row][:, None]
