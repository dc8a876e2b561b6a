"""What a model loses on each target under subsets of its players.

In: a run, samples, a plan of the subsets, and the temperatures at which losses are wanted.
Out: `SubsetLosses`: bits per sample, subset, temperature and segment, each player's credit per position of the target; and the
temperatures that fit a split best.
Invariant: each file is decoded and each encoder runs once per batch, whatever the number of subsets; a sample under the subset S is
the sample under S without what it lacks, number for number, so a player that a sample lacks changes nothing in it.

Subsets are numbers: bit k says whether player k is given (0 = no input). Columns are those of the plan (`plan.py`); of the exact
one column s is subset s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from plait.data.manifest import LeftOut
from plait.evaluate.inputs import NO_INPUT, set_name
from plait.explain.asked import BITS_PER_NAT, Asked, Context, segment_bits
from plait.explain.plan import Exact, Plan
from plait.explain.players import Players
from plait.explain.positions import Positions
from plait.explain.store import Part, Store
from plait.run import Run
from plait.types import IGNORED, Batch, Sample

__all__ = [
    "BITS_PER_NAT",
    "GRID",
    "NO_INPUT",
    "Context",
    "Fit",
    "Progress",
    "SubsetLosses",
    "Temperatures",
    "best_temperature",
    "fit_temperatures",
    "moved_losses",
    "segment_bits",
    "subset_losses",
    "subset_name",
]

GRID = np.geomspace(0.25, 4.0, 25)
"""The temperatures that are tried on the tuning split, before the best one is refined."""

Temperatures = Mapping[Context, Float[np.ndarray, "subsets K"]]
"""Context → for each of the plan's temperatures, K values that are to be tried."""
Progress = Callable[[int], None]
"""Is told how many more samples are done."""


@dataclass(frozen=True)
class SubsetLosses:
    """Bits of the targets of n samples, the mean over each sample's references.

    `bits`: context → `(n, columns, K, G)`, K temperatures, G segments; NaN where the sample has no such target, could not be
    read, or was not asked for (`own` has no first segment). `num_tokens` `(n, G)`: tokens of the target, its end included.
    `present` `(n, M)`: the players that each sample has. Where positions were asked for: `tokens_at` `(n, P)`, the tokens at
    each, and `credits_at`: context → `(n, M, P)`, each player's credit at the first temperature in bits of the sample. Credits
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
        """Each sample's players as the number of a subset."""
        return numbered(self.present)


def numbered(present: Bool[np.ndarray, "n M"]) -> Int[np.ndarray, " n"]:
    """Each row as the number of a subset."""
    return (present * (1 << np.arange(present.shape[1]))).sum(axis=1)


def subset_name(subset: int, names: Sequence[str]) -> str:
    """`image+audio`, or `no_input`."""
    return set_name(name for k, name in enumerate(names) if subset >> k & 1)


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
    plan: Plan | None = None,
    store: Store | None = None,
) -> SubsetLosses:
    """The losses of the samples at `temperatures` (for each of the plan's K of them), for each of the contexts that have any.

    `under`: only these columns of the plan (of each what a sample has of it); the others stay NaN. `positions`: credits for each
    of them as well, which needs all columns. `plan`: exact over the run's inputs, unless given. `store`: what reads the samples,
    and keeps their features for `moved_losses`.
    """
    store = store or Store(run, samples, batch_size=batch_size)
    plan = plan or Exact(Players.each(run.inputs))
    table = Table(run, plan, temperatures, under, positions, len(samples), batch_size, samples)
    for part in store.parts():
        table.add(part, share=positions is not None and under is None)
        progress(len(part.batch))
    found = replace(table.averaged(), left_out=tuple(store.left_out.values()))
    return found if positions is not None else replace(found, tokens_at=None, credits_at={})


@torch.inference_mode()
def moved_losses(
    run: Run,
    store: Store,
    partners: Mapping[str, Int[np.ndarray, " n"]],
    temperatures: Temperatures,
    *,
    batch_size: int,
    under: Sequence[int],
    plan: Plan,
    progress: Progress = lambda _: None,
) -> SubsetLosses:
    """The same in some columns, with every sample's inputs `partners` those of another one: the number of that sample. Only what
    the store did not keep is read again.
    """
    table = Table(run, plan, temperatures, under, None, len(store.samples), batch_size, store.samples)
    for part in store.moved(partners):
        table.add(part, share=False)
        progress(len(part.batch))
    return replace(table.averaged(), tokens_at=None, credits_at={})


class Table:
    """What is added up part by part, per sample over its references."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        temperatures: Temperatures,
        under: Sequence[int] | None,
        positions: Positions | None,
        n: int,
        batch_size: int,
        samples: Sequence[Sample],
    ) -> None:
        self.run, self.plan, self.temperatures, self.batch_size = run, plan, temperatures, batch_size
        self.positions = positions or Positions.whole(len(run.segments))
        self.columns = np.arange(plan.num_columns) if under is None else np.asarray(under)
        self.samples = samples
        num_segments, num_positions = len(self.positions.num_apart), self.positions.offsets[-1]
        shape = (n, len(self.columns))
        self.bits: dict[Context, np.ndarray] = {
            c: np.zeros((*shape, t.shape[1], num_segments)) for c, t in temperatures.items()
        }
        self.credits_at: dict[Context, np.ndarray] = {c: np.zeros((n, plan.num, num_positions)) for c in temperatures}
        self.tokens_at = np.zeros((n, num_positions))
        self.counts = np.zeros((n, num_segments))
        self.present = np.zeros((n, plan.num), dtype=bool)

    def add(self, part: Part, *, share: bool) -> None:
        """The losses of a part under every column; `share`: credits at each position too."""
        where, batch = part.where, part.batch
        self.count(where, batch)
        present = part.has @ self.plan.players.holds.T
        self.present[where] = present
        ids = [self.samples[row].id for row in where]
        given = self.plan.given(ids)[:, self.columns] & numbered(present)[:, None]
        subset, row, cell = different(given)
        for context, (bits, first) in self.asked(part, subset, row).items():
            np.add.at(self.bits[context], where, bits[cell])
            if share:
                np.add.at(self.credits_at[context], where, self.plan.credits_at(-first[cell], ids))

    def asked(
        self, part: Part, subset: Int[np.ndarray, " cells"], row: Int[np.ndarray, " cells"]
    ) -> dict[Context, tuple[Float[np.ndarray, "cells K G"], Float[np.ndarray, "cells P"]]]:
        """The bits of rows of a part under their subsets: by segment, and by position at the first temperature.

        They are asked in pieces, subset by subset; where a plan mixes subsets, a piece is a batch's number of rows.
        """
        ends = np.flatnonzero(np.diff(subset)) + 1
        if self.plan.mixed:
            ends = np.arange(self.batch_size, len(subset), self.batch_size)
        found: dict[Context, list[tuple[np.ndarray, np.ndarray]]] = {context: [] for context in self.temperatures}
        for piece in np.split(np.arange(len(subset)), ends):
            given, rows = self.inputs_in(subset[piece]), torch.as_tensor(row[piece], device=part.batch.tokens.device)
            asked = Asked(self.run, part.batch, part.features, given, rows, self.positions)
            for context, tried in self.temperatures.items():
                at = tried[self.plan.temperature_of(subset[piece])]
                bits = asked.bits(context, at if self.plan.mixed else at[0]).cpu().numpy()
                found[context].append((self.positions.by_segment(bits), bits[:, 0]))
        return {c: (np.concatenate([p for p, _ in of]), np.concatenate([p for _, p in of])) for c, of in found.items()}

    def inputs_in(self, subsets: Int[np.ndarray, " rows"]) -> Bool[np.ndarray, "rows inputs"]:
        """Which inputs are given in each subset."""
        players = subsets[:, None] >> np.arange(self.plan.num) & 1 == 1
        return players @ self.plan.players.holds

    def count(self, where: Int[np.ndarray, " B"], batch: Batch) -> None:
        """The tokens of a part's targets."""
        scored = torch.where(batch.targets != IGNORED, batch.segments, -1)
        numbers = self.positions.of(scored).cpu().numpy()
        tokens = np.stack([(numbers == p).sum(axis=1) for p in range(self.positions.offsets[-1])], axis=1)
        np.add.at(self.tokens_at, where, tokens)
        np.add.at(self.counts, where, self.positions.by_segment(tokens) > 0)

    def averaged(self) -> SubsetLosses:
        """Means over references; what was not asked for is NaN."""
        of_segment = np.repeat(np.arange(self.counts.shape[1]), np.diff(self.positions.offsets))
        counts_at = self.counts[:, of_segment]
        tokens_at = np.divide(self.tokens_at, counts_at, out=np.zeros_like(self.tokens_at), where=counts_at > 0)
        missing = np.where(self.counts > 0, self.counts, np.nan)
        bits: dict[Context, np.ndarray] = {}
        for context, total in self.bits.items():
            found = np.full((len(total), self.plan.num_columns, *total.shape[2:]), np.nan)
            found[:, self.columns] = total / missing[:, None, None, :]
            if context == "own":
                found[..., 0] = np.nan
            bits[context] = found
        credits_at: dict[Context, np.ndarray] = {
            c: found / missing[:, None, of_segment] for c, found in self.credits_at.items()
        }
        return SubsetLosses(bits, self.positions.by_segment(tokens_at), self.present, tokens_at, credits_at)


def different(
    given: Int[np.ndarray, "B columns"],
) -> tuple[Int[np.ndarray, " cells"], Int[np.ndarray, " cells"], Int[np.ndarray, "B columns"]]:
    """The different subsets of each row, sorted by subset, then row: their subsets, their rows, and the one of each column."""
    rows = np.broadcast_to(np.arange(len(given))[:, None], given.shape)
    cells, cell = np.unique(np.stack([given.ravel(), rows.ravel()], axis=1), axis=0, return_inverse=True)
    return cells[:, 0], cells[:, 1], cell.reshape(given.shape)


@dataclass(frozen=True)
class Fit:
    """The temperature of each subset (or number of players), and in words what could not be fitted."""

    temperatures: Float[np.ndarray, " subsets"]
    notes: tuple[str, ...] = ()


def fit_temperatures(losses: SubsetLosses, context: Context, names: Sequence[str]) -> Fit:
    """One temperature per subset, with the fewest bits on the samples that have all of the subset; losses at `GRID`."""
    bits = np.nansum(losses.bits[context], axis=3)
    temperatures, notes = np.ones(bits.shape[1]), []
    for subset in range(bits.shape[1]):
        rows, name = losses.held & subset == subset, subset_name(subset, names)
        totals = bits[rows, subset].sum(axis=0)
        temperatures[subset], said = fitted_to(totals, name)
        notes += said
    return Fit(temperatures, tuple(notes))


def fit_by_size(losses: SubsetLosses, context: Context, plan: Plan, ids: Sequence[str]) -> Fit:
    """One temperature per number of players that are given, of what each sample has of the drawn subsets; losses at `GRID`."""
    bits = np.nansum(losses.bits[context], axis=3)
    size = plan.temperature_of(plan.given(ids) & losses.held[:, None])
    temperatures, notes = np.ones(plan.num_temperatures), []
    for number in range(plan.num_temperatures):
        temperatures[number], said = fitted_to(bits[size == number].sum(axis=0), f"{number} of {plan.num} players")
        notes += said
    return Fit(temperatures, tuple(notes))


def fitted_to(totals: Float[np.ndarray, " K"], name: str) -> tuple[float, list[str]]:
    """The temperature of the fewest bits, and what has to be said of it."""
    if not totals.any():
        return 1.0, [f"temperature of {name}: 1, no sample of the tuning split has it"]
    found, at_edge = best_temperature(GRID, totals)
    return found, [f"temperature of {name}: {found:g}, at the edge of what is tried"] if at_edge else []


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
