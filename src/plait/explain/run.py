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
from plait.explain.asked import Context
from plait.explain.losses import (
    GRID,
    Progress,
    SubsetLosses,
    Temperatures,
    fit_by_size,
    fit_temperatures,
    moved_losses,
    subset_losses,
)
from plait.explain.plan import ORDERS, BySize, Exact, Plan, Sampled
from plait.explain.players import EXACT, Groups, Players, players_of
from plait.explain.positions import MAX_APART, MIN_SAMPLES, Positions
from plait.explain.reliance import partners_of
from plait.explain.result import Explanation, SegmentResult
from plait.explain.shares import LEAST, Draws, shown_share, why_no_bits
from plait.explain.store import Store
from plait.explain.tables import Tables
from plait.explain.training import training_signs
from plait.explain.verdict import WORTH, checked_worth, verdicts, worth_of
from plait.features import FeatureCache
from plait.run import Run
from plait.types import Sample

NEVER_DROPPED = "was never dropped in training (train.modality_dropout, train.modality_subsets)"


def explain(
    run: Run,
    samples: Sequence[Sample],
    *,
    split: str,
    seed: int = 0,
    batch_size: int = 64,
    worth: float | int = WORTH,
    players: Groups | None = None,
    orders: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """How much each input is used on `split` among `samples`, which also hold the splits `train` and `tune`.

    `worth`: per cent of a segment's loss without inputs; a smaller effect is called none that matters. `players`: inputs that are
    credited together (default: the configuration's). `orders`: credits from so many sampled orders of the players per sample;
    None: exact ones of up to five players, else 8 orders.
    """
    worth = checked_worth(worth)
    planned = planned_for(run, seed=seed, players=players, orders=orders)
    measured = measure(
        run, samples, split=split, planned=planned, seed=seed, batch_size=batch_size, progress=progress, say=say
    )
    segments = measured.segments(worth)
    if not segments:
        raise UserError(f"no target in split {split!r}", where="--split", right="Explain a split that has targets")
    chosen, aside = measured.tables.samples, (*measured.aside, *pooled(segments))
    found = Explanation(
        split,
        "credit" if planned.has_credit else "reliance",
        len(chosen),
        seed,
        0.95,
        planned.players.names,
        named_temperatures(planned, measured.temperatures) if planned.has_credit else {},
        segments,
        (*kind_notes(run, planned), *measured.notes, *aside, *left_out(chosen, measured.tables.losses)),
        worth=worth,
        side_notes=aside,
        inputs=run.config.inputs,
        players={player.name: player.members for player in planned.players.all},
        orders=planned.plan.num_orders if isinstance(planned.plan, Sampled) else None,
    )
    used = {name: found.used[planned.players.of(name).name] for name in run.inputs}
    return replace(found, training=training_signs(run, used))


@dataclass(frozen=True)
class Planned:
    """What will be measured. `why_not`: why there is no credit, empty where there is."""

    plan: Plan
    draws: Draws
    why_not: str

    @property
    def players(self) -> Players:
        """Who is credited."""
        return self.plan.players

    @property
    def has_credit(self) -> bool:
        """Whether bits of credit are told."""
        return not self.why_not

    @property
    def contexts(self) -> tuple[Context, ...]:
        """In which losses are told: after the model's own words only where credits are."""
        return ("true", "own") if self.has_credit and len(self.draws.config.data.segments or ()) > 1 else ("true",)


def planned_for(run: Run, *, seed: int, players: Groups | None, orders: int | None) -> Planned:
    """Who is credited, and how; refused where the run has no inputs or what is named cannot be."""
    inputs = run.inputs
    if not inputs:
        raise UserError(
            "this model reads no inputs, so there is nothing to explain", right="Give a run with data.inputs"
        )
    if orders is not None and orders < 1:
        raise UserError(f"{orders} sampled orders", where="--orders", right="Give a number of orders, such as 8")
    found = players_for(run, players, sampled=orders is not None)
    plan: Plan = Exact(found) if orders is None and found.num <= EXACT else Sampled(found, orders or ORDERS, seed)
    draws = Draws(run.config, inputs)
    return Planned(plan, draws, why_no_bits(draws, plan))


def players_for(run: Run, players: Groups | None = None, *, sampled: bool = False) -> Players:
    """Those that are named, else those of the configuration, else by the rule."""
    where = "explain.players" if players is None else "--players"
    named = run.config.explain.players if players is None else players
    return players_of(run.inputs, run.config.inputs, named, where=where, sampled=sampled)


@dataclass(frozen=True)
class Measured:
    """What the model loses on a split, from which every figure follows. `strange`: with each player's inputs those of other
    samples; `notes`, `aside`: what has to be known, and what belongs beside the further figures.
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
        tables = self.tables
        found = (
            tables.segment(number, context, self.strange, self.train, self.has_credit)
            for number in range(len(tables.run.segments))
            for context in self.temperatures
            if context == "true" or number > 0
        )
        return tuple(judged(tables.run, one, tables.losses, worth, tables.names) for one in found if one.num_samples)

    def only(self, rows: Int[np.ndarray, " rows"]) -> Measured:
        """The same of some of the samples, without what stands per position and per tag."""
        samples = [self.tables.samples[row] for row in rows]
        tables = replace(
            self.tables,
            samples=samples,
            losses=self.tables.losses.only(rows),
            groupings=Groupings.of(samples),
            patterns={},
            positions=Positions.whole(len(self.tables.run.segments)),
        )
        return replace(self, tables=tables, strange={name: lost.only(rows) for name, lost in self.strange.items()})


def measure(
    run: Run,
    samples: Sequence[Sample],
    *,
    split: str,
    planned: Planned,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Measured:
    """The losses of a split under every subset of the plan, and with each player's inputs moved between samples."""
    split = known_split(split, where="--split")
    chosen = split_of(samples, split, where="--split")
    tuning = [s for s in samples if s.split == "tune"] if planned.has_credit else []
    passes = [tuning, *[chosen] * (1 + planned.players.num)]
    count = Counter(sum(len(s.references) for part in passes for s in part), progress)
    store = Store(run, chosen, batch_size=batch_size, keeps=True)
    FeatureCache(run.config, run.model, store.preprocessor, say=say).fill_if_possible([*tuning, *chosen])

    notes: list[str] = []
    temperatures = fitted(run, tuning, planned, seed, batch_size, count, notes)
    positions = positions_of(run, chosen) if planned.has_credit else None
    losses = subset_losses(
        run,
        chosen,
        temperatures,
        batch_size=batch_size,
        under=None if planned.has_credit else [planned.plan.num_columns - 1],
        positions=positions,
        progress=count,
        plan=planned.plan,
        store=store,
    )
    strange, equal = strange_losses(run, store, planned, temperatures, seed, batch_size, count)
    aside = equal if planned.has_credit else []  # by default a run without credit shows what shuffling did
    notes += [] if planned.has_credit else equal
    patterns, untold = patterns_of(chosen, run.config.evaluate.by, pairs=False)
    whole = positions or Positions.whole(len(run.segments))
    tables = Tables(run, chosen, losses, Groupings.of(chosen), patterns, whole, planned.plan, rare_pairs(planned))
    train = [s for s in samples if s.split == "train"]
    return Measured(tables, strange, train, temperatures, planned.has_credit, tuple(notes), (*aside, *untold))


def strange_losses(
    run: Run, store: Store, planned: Planned, temperatures: Temperatures, seed: int, batch_size: int, count: Progress
) -> tuple[dict[str, SubsetLosses], list[str]]:
    """Player → the losses with its inputs those of other samples, alone (for credits) and beside all others; and of how many
    samples that changed nothing.
    """
    plan, found, notes = planned.plan, dict[str, SubsetLosses](), list[str]()
    for k, player in enumerate(planned.players.all):
        partners, equal = partners_of(store.samples, player.members, seed=seed)
        if equal:
            notes.append(f"{player.name}: {equal} samples met an input equal to their own when shuffled")
        under = [*([plan.alone(k)] if planned.has_credit else []), plan.num_columns - 1]
        found[player.name] = moved_losses(
            run,
            store,
            dict.fromkeys(player.members, partners),
            temperatures,
            batch_size=batch_size,
            under=sorted(set(under)),
            plan=plan,
            progress=count,
        )
    return found, notes


def rare_pairs(planned: Planned) -> dict[tuple[int, ...], str]:
    """The pairs of sampled players that training showed too rarely by themselves, and why their interaction is not told."""
    if not isinstance(planned.plan, Sampled):
        return {}
    shares = {
        pair: planned.draws.share(planned.players.members(sum(1 << k for k in pair)))
        for pair in planned.plan.interactions
    }
    return {
        pair: f"not told: training showed the model these two alone in {shown_share(share)} of its draws".replace(
            "%", " %"
        )
        for pair, share in shares.items()
        if share < LEAST
    }


def named_temperatures(planned: Planned, found: Temperatures) -> dict[Context, dict[str, float]]:
    """Context → subset (or of sampled ones, number of players) → its temperature."""
    players = planned.players
    names = [
        players.subset_name(k) if isinstance(planned.plan, Exact) else f"{k} of {players.num} players"
        for k in range(planned.plan.num_temperatures)
    ]
    return {c: dict(zip(names, table[:, 0].tolist(), strict=True)) for c, table in found.items()}


def judged(
    run: Run, segment: SegmentResult, losses: SubsetLosses, worth: float, players: Sequence[str]
) -> SegmentResult:
    """A segment with what follows from its figures."""
    segment = replace(segment, worth=worth_of(segment, worth))
    before = run.segments[: run.segments.index(segment.segment)]
    return replace(segment, verdicts=verdicts(segment, players, losses.present, before=before))


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


def kind_notes(run: Run, planned: Planned) -> list[str]:
    """What has to be known before the figures are read."""
    notes, players = planned.players.notes, planned.players
    if players.num == 1:
        what = "its bits are those that are lost without it" if planned.has_credit else "no credit is shared"
        who = f"this run reads {run.inputs[0]} only" if players.are_inputs else "all inputs are one player"
        notes.append(f"{who}: there is nothing to compare, {what}")
    if not planned.has_credit:
        notes.append(planned.why_not)
        if planned.draws.any:
            notes += [f"{m} {NEVER_DROPPED}" for m in never_missing(run)]
    elif isinstance(planned.plan, Sampled):
        plan = planned.plan
        notes.append(
            f"credits are sampled: {plan.num_orders} orders of the {plan.num} players for each sample (--orders), at most "
            f"{plan.num_columns} subsets of {1 << plan.num:,}; the intervals hold the error of sampling, and interactions are told "
            "of pairs only"
        )
    return notes


def never_missing(run: Run) -> list[str]:
    """The inputs that training never takes away."""
    return [m for m, chance in chances(run).items() if not chance]


def left_out(samples: Sequence[Sample], losses: SubsetLosses) -> list[str]:
    """The samples that have no loss at all: those that could not be read by name, the others by number."""
    reasons = {gone.id: f"{gone.where}: {gone.reason}" for gone in losses.left_out}
    empty = losses.num_tokens.sum(axis=1) == 0
    unread = [reasons.get(sample.id) if none else None for sample, none in zip(samples, empty, strict=True)]
    missing = int(empty.sum()) - sum(map(bool, unread))
    untold = [f"{missing} sample{'' if missing == 1 else 's'} without a target: left out"] if missing else []
    return [*unread_notes(samples, unread), *untold]


def fitted(
    run: Run,
    tuning: Sequence[Sample],
    planned: Planned,
    seed: int,
    batch_size: int,
    count: Progress,
    notes: list[str],
) -> Temperatures:
    """Context → per subset (or number of players) the fitted temperature and 1, at which reliance is measured."""
    plan, number = planned.plan, planned.plan.num_temperatures
    if not planned.has_credit:
        return {c: np.ones((number, 2)) for c in planned.contexts}
    if not tuning:
        notes.append("no row in split 'tune': temperatures are 1, so what an unsure subset tells is underrated")
        return {c: np.ones((number, 2)) for c in planned.contexts}
    asked = BySize(plan.players, seed) if isinstance(plan, Sampled) else plan
    grid: Temperatures = {c: np.tile(GRID, (number, 1)) for c in planned.contexts}
    losses = subset_losses(run, tuning, grid, batch_size=batch_size, progress=count, plan=asked)
    found: dict[Context, np.ndarray] = {}
    for context in planned.contexts:
        if isinstance(plan, Sampled):
            fit = fit_by_size(losses, context, asked, [sample.id for sample in tuning])
        else:
            fit = fit_temperatures(losses, context, plan.players.names)
        found[context] = np.stack([fit.temperatures, np.ones(number)], axis=1)
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
