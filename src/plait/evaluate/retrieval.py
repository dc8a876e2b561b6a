"""Retrieval in the record: from one side of each sample to another one, among all distinct items of the split.

In: a run that was trained with links, and samples.
Out: `Retrieved`: for every ordered pair of sides R@1, R@5, R@10 and the median rank with clustered intervals, what chance gives,
and the rank of each sample.
Invariant: a query is a sample that has both sides (a target: its first reference), so samples are weighed and grouped as in every
other figure; the gallery is fixed: only queries are drawn anew. Every entry of any sample that shares the query's item is
right, and the best of them counts (`plait.search.ranks` says how ties are).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from plait.evaluate.intervals import Form
from plait.evaluate.record import Record, Retrieval
from plait.evaluate.statistics import Figure, Groupings, figure
from plait.run import Run
from plait.search.ranks import median_by_chance, ranks, recall_by_chance
from plait.search.vectors import Entries, check_links, entries
from plait.types import Sample

WITHIN = (1, 5, 10)
SHARE = Form((0.0, 1.0), counts=True)

MEDIAN = "median_rank"
_NONE = "no sample has both sides"


@dataclass(frozen=True)
class Retrieved:
    """The figures, and by `QUERY.GALLERY` the rank of each sample (None where it lacks one of the two)."""

    figures: tuple[Retrieval, ...]
    ranks: dict[str, list[float | None]]
    notes: tuple[str, ...] = ()


def retrieval(
    run: Run,
    samples: Sequence[Sample],
    *,
    confidence: float,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> Retrieved:
    """Every ordered pair of the run's sides."""
    sides = check_links(run).sides
    tell = progress or (lambda done, of: None)
    found = {side: entries(run, samples, side, batch_size=batch_size, progress=tell) for side in sides}
    groupings = Groupings.of(samples)
    figures, by_sample = [], {}
    for query, gallery in permutations(sides, 2):
        asked, one = retrieve(found[query], found[gallery], groupings, confidence)
        figures.append(one)
        column: list[float | None] = [None] * len(samples)
        for row, rank in zip(*asked, strict=True):
            column[row] = float(rank)
        by_sample[f"{query}.{gallery}"] = column
    notes = [
        f"retrieval: {len(f.left_out)} items of {side} could not be read" for side, f in found.items() if f.left_out
    ]
    return Retrieved(tuple(figures), by_sample, tuple(notes))


def with_retrieval(record: Record, found: Retrieved) -> Record:
    """The record with the figures in its summary and the ranks in its rows."""
    rows = tuple(
        replace(row, ranks={pair: column[i] for pair, column in found.ranks.items()})
        for i, row in enumerate(record.rows)
    )
    notes = (*record.summary.notes, *found.notes)
    return Record(rows, replace(record.summary, retrieval=found.figures, notes=notes))


def retrieve(
    query: Entries, gallery: Entries, groupings: Groupings, confidence: float
) -> tuple[tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]], Retrieval]:
    """The samples that ask and their ranks, and the figures of one direction."""
    both = [n for n, (a, b) in enumerate(zip(query.of_samples, gallery.of_samples, strict=True)) if a and b]
    right = right_entries(query, gallery)
    items = sorted({query.of_samples[n][0] for n in both})
    of_items = dict(zip(items, ranks(query.vectors[items], gallery.vectors, [right[i] for i in items]), strict=True))
    found = np.asarray([of_items[query.of_samples[n][0]] for n in both], dtype=float)
    num_right = np.asarray([len(right[query.of_samples[n][0]]) for n in both], dtype=np.int64)
    rows, size = np.asarray(both, dtype=np.int64), len(gallery.vectors)
    names = {f"recall_at_{k}": k for k in WITHIN}
    if not both:
        missing = dict.fromkeys([*names, MEDIAN], Figure(None, None, None, 0, note=_NONE))
        return (rows, found), Retrieval(query.side, gallery.side, size, missing, dict.fromkeys(missing))
    among = groupings.among(rows)
    figures = {name: recall(found, float(k), among, confidence) for name, k in names.items()}
    chance: dict[str, float | None] = {name: recall_by_chance(size, num_right, k) for name, k in names.items()}
    figures[MEDIAN], chance[MEDIAN] = median(found, among, confidence), median_by_chance(size, num_right)
    return (rows, found), Retrieval(query.side, gallery.side, size, figures, chance)


def right_entries(query: Entries, gallery: Entries) -> dict[int, list[int]]:
    """For each entry of the one side, the entries of the other that stand beside it in any sample."""
    right: dict[int, set[int]] = {}
    for asked, there in zip(query.of_samples, gallery.of_samples, strict=True):
        for item in asked:
            right.setdefault(item, set()).update(there)
    return {item: sorted(places) for item, places in right.items()}


def recall(
    found: Float[np.ndarray, " n"], k: float, groupings: dict[str, Int[np.ndarray, " n"]], confidence: float
) -> Figure:
    """The share of the ranks that are k or better."""
    statistics = np.stack([found <= k, np.ones(len(found))], axis=1).astype(float)
    return figure(
        statistics,
        lambda sums: sums[:, 0] / sums[:, 1],
        groupings,
        undefined=_NONE,
        form=SHARE,
        confidence=confidence,
    )


def median(found: Float[np.ndarray, " n"], groupings: dict[str, Int[np.ndarray, " n"]], confidence: float) -> Figure:
    """The least rank that half of the queries reach.

    Its interval holds the ranks r for which one half may be the share of ranks up to r (test inversion; Woodruff 1952): from the
    first whose interval of that share reaches one half to the first whose interval lies above it.
    """
    values = np.unique(found)
    exact = float(np.sort(found)[(len(found) - 1) // 2])

    def share(k: int) -> Figure:
        return recall(found, float(values[k]), groupings, confidence)

    got = share(int(np.searchsorted(values, exact)))
    if got.low is None:
        return replace(got, value=exact)
    low = bisect_left(range(len(values)), True, key=lambda k: (share(k).high or 0.0) >= 0.5)
    high = bisect_left(range(len(values)), True, key=lambda k: (share(k).low or 0.0) >= 0.5)
    note = None if got.of_these is None else got.note
    return replace(
        got, value=exact, low=float(values[low]), high=float(values[min(high, len(values) - 1)]), note=note, df=None
    )
