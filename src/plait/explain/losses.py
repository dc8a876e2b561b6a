"""What a model loses on each target under every subset of its modalities.

In: a run, samples, and the temperatures at which losses are wanted.
Out: `SubsetLosses`: bits per sample, subset, temperature and segment, each modality's credit per position of the target; and
the temperatures that fit a split best.
Invariant: each encoder runs once per batch, whatever the number of subsets; a sample under the subset S is the sample under S
without what it lacks, number for number, so a modality that a sample lacks changes nothing in it.

Subsets are numbers: bit k says whether modality k of the run is given (0 = no input).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from plait.data.collate import SegmentTokens, collate_targets
from plait.data.draws import all_references
from plait.data.loader import Loader
from plait.data.manifest import LeftOut
from plait.data.preprocess import Preprocessor
from plait.explain.credit import shapley
from plait.explain.positions import Positions
from plait.features import FeatureCache
from plait.generate import END, Draft, Writer, write
from plait.model import Model, absent, select
from plait.run import Run
from plait.types import IGNORED, Batch, Condition, Features, Sample

BITS_PER_NAT = 1 / math.log(2)
GRID = np.geomspace(0.25, 4.0, 25)
"""The temperatures that are tried on the tuning split, before the best one is refined."""

NO_INPUT = "no_input"

Context = Literal["true", "own"]
"""What stands before a later segment: the true earlier segments, or those that the model wrote itself with the same inputs."""

Temperatures = Mapping[Context, Float[np.ndarray, "subsets K"]]
Progress = Callable[[int], None]
"""Is told how many more samples are done."""


@dataclass(frozen=True)
class SubsetLosses:
    """Bits of the targets of n samples, the mean over each sample's references.

    `bits`: context → `(n, subsets, K, G)`, K temperatures, G segments; NaN where the sample has no such target, could not be
    read, or was not asked for (`own` has no first segment). `num_tokens` `(n, G)`: tokens of the target, its end included.
    `present` `(n, M)`: the modalities that each sample has. Where positions were asked for: `tokens_at` `(n, P)`, the tokens at
    each, and `credits_at`: context → `(n, M, P)`, each modality's credit at the first temperature in bits of the sample. Credits
    and not losses: they are a sum over the subsets, so memory does not grow with 2^M. `left_out`: the samples that could not be
    read (`data.on_error: skip`).
    """

    bits: Mapping[Context, Float[np.ndarray, "n subsets K G"]]
    num_tokens: Float[np.ndarray, "n G"]
    present: Bool[np.ndarray, "n M"]
    tokens_at: Float[np.ndarray, "n P"] | None = None
    credits_at: Mapping[Context, Float[np.ndarray, "n M P"]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()

    def only(self, rows: Int[np.ndarray, " rows"]) -> SubsetLosses:
        """Of some of the samples, without what stands per position."""
        bits: Mapping[Context, np.ndarray] = {context: values[rows] for context, values in self.bits.items()}
        return SubsetLosses(bits, self.num_tokens[rows], self.present[rows])

    @property
    def held(self) -> Int[np.ndarray, " n"]:
        """Each sample's modalities as the number of a subset."""
        return (self.present * (1 << np.arange(self.present.shape[1]))).sum(axis=1)


def subset_name(subset: int, modalities: Sequence[str]) -> str:
    """`image+audio`, or `no_input`."""
    return "+".join(m for k, m in enumerate(modalities) if subset >> k & 1) or NO_INPUT


@torch.inference_mode()
def subset_losses(
    run: Run,
    samples: Sequence[Sample],
    temperatures: Temperatures,
    *,
    batch_size: int,
    under: Sequence[int] | None = None,
    positions: Positions | None = None,
    progress: Progress = lambda _: None,
) -> SubsetLosses:
    """The losses of the samples at `temperatures` (per subset K of them), for each of the contexts that have any.

    `under`: only these subsets (of each what a sample has of it); the other columns stay NaN. `positions`: credits for each of
    them as well, which needs all subsets.
    """
    modalities, num_segments = run.inputs, len(run.segments)
    num_subsets = 1 << len(modalities)
    device = run.model.lm.embedding.table.device
    expanded, places = all_references(samples)
    preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, modalities)
    FeatureCache(run.config, run.model, preprocessor)
    loader = Loader(
        expanded, preprocessor, batch_size=batch_size, seed=0, training=False, workers=run.config.data.workers
    )
    wanted = positions or Positions.whole(num_segments)
    asked_for = np.arange(num_subsets) if under is None else np.asarray(under)
    sums = Sums.empty(len(samples), len(modalities), {c: t.shape[1] for c, t in temperatures.items()}, wanted)
    present = np.zeros((len(samples), len(modalities)), dtype=bool)
    for numbers, batch in loader.indexed_batches():
        where = np.asarray([places[number] for number in numbers])
        sums.count(where, batch)
        has = np.stack([(batch.inputs[m].index >= 0).any(dim=1).numpy() for m in modalities], axis=1)
        present[where] = has
        held = (has * (1 << np.arange(len(modalities)))).sum(axis=1)
        batch = batch.to(device)
        features = run.model.encode(batch.inputs, len(batch))
        first: dict[Context, np.ndarray] = {
            c: np.zeros((len(batch), num_subsets, wanted.offsets[-1])) for c in temperatures
        }
        for subset in range(num_subsets):
            rows = np.flatnonzero((held[:, None] & asked_for == subset).any(axis=1))
            if len(rows):
                asked = Asked(run, batch, features, subset, torch.as_tensor(rows, device=device), wanted)
                for context, tried in temperatures.items():
                    bits = asked.bits(context, tried[subset]).cpu().numpy()
                    np.add.at(sums.bits[context][:, subset], where[rows], wanted.by_segment(bits))
                    first[context][rows, subset] = bits[:, 0]
        if positions is not None and under is None:
            sums.share(where, held, first)
        progress(len(batch))
    losses = replace(sums.averaged(present, asked_for), left_out=tuple(loader.left_out.values()))
    return losses if positions is not None else replace(losses, tokens_at=None, credits_at={})


@dataclass(frozen=True)
class Sums:
    """What is added up batch by batch, per sample over its references."""

    positions: Positions
    bits: Mapping[Context, Float[np.ndarray, "n subsets K G"]]
    credits_at: Mapping[Context, Float[np.ndarray, "n M P"]]
    tokens_at: Float[np.ndarray, "n P"]
    counts: Float[np.ndarray, "n G"]

    @classmethod
    def empty(cls, n: int, num_modalities: int, num_temperatures: Mapping[Context, int], positions: Positions) -> Sums:
        """Nothing yet."""
        num_segments, num_positions = len(positions.num_apart), positions.offsets[-1]
        return cls(
            positions,
            {c: np.zeros((n, 1 << num_modalities, k, num_segments)) for c, k in num_temperatures.items()},
            {c: np.zeros((n, num_modalities, num_positions)) for c in num_temperatures},
            np.zeros((n, num_positions)),
            np.zeros((n, num_segments)),
        )

    def count(self, where: Int[np.ndarray, " B"], batch: Batch) -> None:
        """The tokens of a batch's targets."""
        scored = torch.where(batch.targets != IGNORED, batch.segments, -1)
        numbers = self.positions.of(scored).numpy()
        tokens = np.stack([(numbers == p).sum(axis=1) for p in range(self.positions.offsets[-1])], axis=1)
        np.add.at(self.tokens_at, where, tokens)
        np.add.at(self.counts, where, self.positions.by_segment(tokens) > 0)

    def share(
        self,
        where: Int[np.ndarray, " B"],
        held: Int[np.ndarray, " B"],
        bits: Mapping[Context, Float[np.ndarray, "B subsets P"]],
    ) -> None:
        """Each modality's credit at each position: a weighted sum over the subsets, in which the loss without inputs cancels."""
        for context, table in bits.items():
            num_subsets = table.shape[1]
            under = np.take_along_axis(table, (held[:, None] & np.arange(num_subsets))[:, :, None], axis=1)
            np.add.at(self.credits_at[context], where, np.einsum("bsp,sm->bmp", -under, shapley(np.eye(num_subsets))))

    def averaged(self, present: Bool[np.ndarray, "n M"], under: Int[np.ndarray, " asked"]) -> SubsetLosses:
        """Means over references; under each subset what was measured under the part of it that the sample has."""
        of_segment = np.repeat(np.arange(self.counts.shape[1]), np.diff(self.positions.offsets))
        counts_at = self.counts[:, of_segment]
        tokens_at = np.divide(self.tokens_at, counts_at, out=np.zeros_like(self.tokens_at), where=counts_at > 0)
        losses = SubsetLosses({}, self.positions.by_segment(tokens_at), present)
        missing = np.where(self.counts > 0, self.counts, np.nan)
        bits: dict[Context, np.ndarray] = {}
        for context, total in self.bits.items():
            held = losses.held[:, None] & np.arange(total.shape[1])
            found = np.take_along_axis(total, held[:, :, None, None], axis=1) / missing[:, None, None, :]
            found[:, np.setdiff1d(np.arange(total.shape[1]), under)] = np.nan
            if context == "own":
                found[..., 0] = np.nan
            bits[context] = found
        credits_at: dict[Context, np.ndarray] = {
            c: found / missing[:, None, of_segment] for c, found in self.credits_at.items()
        }
        return SubsetLosses(bits, losses.num_tokens, present, tokens_at, credits_at)


@dataclass(frozen=True)
class Asked:
    """Some rows of a batch with one subset of their inputs: what the model loses on them, at each of `positions`."""

    run: Run
    batch: Batch
    features: Mapping[str, Features]
    subset: int
    rows: Int[Tensor, " rows"]
    positions: Positions

    @cached_property
    def condition(self) -> Condition:
        """The fusion's reading of the subset; of a modality outside it there is no token, as in a batch that lacks it."""
        given = {m for k, m in enumerate(self.run.inputs) if self.subset >> k & 1}
        return self.run.model.condition(
            {m: select(f, self.rows) if m in given else absent(f, self.rows) for m, f in self.features.items()}
        )

    def bits(self, context: Context, temperatures: Float[np.ndarray, " K"]) -> Float[Tensor, "rows K P"]:
        """Summed bits of each position at each temperature; after its own words segment 0 has none."""
        condition, of, number = self.condition, self.positions.of, self.positions.offsets[-1]
        tokens, targets, segments = (t[self.rows] for t in (self.batch.tokens, self.batch.targets, self.batch.segments))
        if context == "true":
            hidden = self.run.model.hidden(tokens, condition)
            return segment_bits(self.run.model, hidden, targets, of(segments), temperatures, number)
        written = self.written(condition)
        total = torch.zeros(len(self.rows), len(temperatures), number, dtype=torch.float64, device=tokens.device)
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
    temperatures: Float[np.ndarray, " K"],
    num_segments: int,
) -> Float[Tensor, "B K G"]:
    """−log2 p of the targets summed within each segment (or position), with the logits divided by each temperature."""
    scored = targets != IGNORED
    logits, right = model.lm.logits(hidden[scored]).float(), targets[scored]
    row = torch.arange(len(targets), device=targets.device)[:, None].expand_as(targets)[scored]
    place = row * num_segments + segments[scored]
    sums = torch.zeros(len(temperatures), len(targets) * num_segments, dtype=torch.float64, device=targets.device)
    for k, temperature in enumerate(temperatures.tolist()):
        losses = F.cross_entropy(logits / temperature, right, reduction="none")
        sums[k].index_add_(0, place, losses.double() * BITS_PER_NAT)
    return sums.reshape(len(temperatures), len(targets), num_segments).transpose(0, 1)


@dataclass(frozen=True)
class Fit:
    """The temperature of each subset, and in words what could not be fitted."""

    temperatures: Float[np.ndarray, " subsets"]
    notes: tuple[str, ...] = ()


def fit_temperatures(losses: SubsetLosses, context: Context, modalities: Sequence[str]) -> Fit:
    """One temperature per subset, with the fewest bits on the samples that have all of the subset; losses at `GRID`."""
    bits = np.nansum(losses.bits[context], axis=3)
    temperatures, notes = np.ones(bits.shape[1]), []
    for subset in range(bits.shape[1]):
        rows, name = losses.held & subset == subset, subset_name(subset, modalities)
        totals = bits[rows, subset].sum(axis=0)
        if not totals.any():
            notes.append(f"temperature of {name}: 1, no sample of the tuning split has it")
            continue
        temperatures[subset], at_edge = best_temperature(GRID, totals)
        if at_edge:
            notes.append(f"temperature of {name}: {temperatures[subset]:g}, at the edge of what is tried")
    return Fit(temperatures, tuple(notes))


def best_temperature(grid: Float[np.ndarray, " K"], totals: Float[np.ndarray, " K"]) -> tuple[float, bool]:
    """The temperature of the fewest bits, by a parabola in log T through the best point of the grid; whether it is an edge."""
    best = int(np.argmin(totals))
    if best in (0, len(grid) - 1):
        return float(grid[best]), True
    left, middle, right = totals[best - 1 : best + 2]
    step = math.log(grid[best + 1] / grid[best])
    curve = left - 2 * middle + right
    shift = 0.5 * (left - right) / curve if curve > 0 else 0.0
    return float(grid[best] * math.exp(shift * step)), False
