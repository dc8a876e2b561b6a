"""Which samples stand in which batch: an epoch's draws, cut into batches of similar lengths.

In: lengths `(n,)` of each part of a sample (0 = it has none), batch size, generator; labels for sampling and weights.
Out: batches as arrays of sample numbers; probabilities and loss weights `(n,)`.
Invariant: a plan depends on its arguments only and holds every drawn sample once; only the last batch is partial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from plait.data.config import GroupedConfig, SamplingConfig, WeightsConfig
from plait.errors import UserError, did_you_mean
from plait.types import Sample

POOL_BATCHES = 16
"""Batches that are cut from one pool: many enough for similar lengths, few enough that a batch stays nearly random."""

COSTS: Mapping[str, float] = {"audio": 1.0, "text": 8.0, "target": 8.0}
"""What a padded position costs, of inputs that are called so. With eight frames to a token each part's padding stays near a tenth,
not only the sum.

Measured on speech of 1.5–4 s, typed and target sentences of 5–12 words, batches of 64: audio 8.0 %, text 10.3 %, target
8.6 %, all 8.1 % (with four frames: 5.2, 16.3, 13.8 and 6.1 %; in chance order 30, 29, 25 and 30 %)."""


def draw_order(num_samples: int, generator: np.random.Generator, probabilities: np.ndarray | None = None) -> np.ndarray:
    """An epoch's sample numbers: a permutation, or as many draws with replacement as there are samples."""
    if probabilities is None:
        return generator.permutation(num_samples)
    return generator.choice(num_samples, size=num_samples, replace=True, p=probabilities)


def plan_batches(
    order: np.ndarray,
    lengths: Mapping[str, np.ndarray],
    batch_size: int,
    generator: np.random.Generator,
    costs: Mapping[str, float] = COSTS,
) -> list[np.ndarray]:
    """The drawn samples in batches of similar lengths, the batches shuffled, the partial one last.

    Each pool of POOL_BATCHES batches is halved again and again, always along the part whose halving saves most padding.
    The remainder is taken off first, so that it is an ordinary draw and not the longest samples of a pool.
    """
    full = len(order) - len(order) % batch_size
    batches: list[np.ndarray] = []
    pool = batch_size * POOL_BATCHES
    for start in range(0, full, pool):
        chosen = order[start : min(start + pool, full)]
        batches += _halve(chosen, _pool_keys(chosen, lengths, generator, costs), batch_size)
    shuffled = [generator.permutation(batches[i]) for i in generator.permutation(len(batches))]
    return shuffled + ([order[full:]] if full < len(order) else [])


def plan_by_length(
    lengths: Mapping[str, np.ndarray], batch_size: int, costs: Mapping[str, float] = COSTS
) -> list[np.ndarray]:
    """Every sample once, the most costly batch first (so that a lack of memory shows at once); nothing is drawn."""
    cost = sum(costs[part] * values for part, values in lengths.items())
    order = np.argsort(-np.asarray(cost, dtype=np.float64), kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


class _Key:
    """One part of a pool: where its samples stand in a sorting, and what their padding costs."""

    def __init__(self, cost: float, values: np.ndarray, generator: np.random.Generator) -> None:
        self.cost, self.values = cost, values
        present = values > 0
        # A sample without this part pads nothing: it is sorted by a length drawn from the others, so that samples of
        # all subsets of modalities stay mixed in every batch.
        self.place = values.astype(np.float64)
        if present.any() and not present.all():
            self.place[~present] = generator.choice(values[present], size=int((~present).sum()))

    def padding(self, rows: np.ndarray) -> float:
        """The cost of one batch's padding if it held exactly these rows."""
        values = self.values[rows]
        return self.cost * (float(values.max()) * np.count_nonzero(values) - float(values.sum()))


def _pool_keys(
    chosen: np.ndarray, lengths: Mapping[str, np.ndarray], generator: np.random.Generator, costs: Mapping[str, float]
) -> list[_Key]:
    keys = [_Key(costs[part], values[chosen], generator) for part, values in lengths.items()]
    return [key for key in keys if np.ptp(key.place) > 0]


def _halve(chosen: np.ndarray, keys: Sequence[_Key], batch_size: int) -> list[np.ndarray]:
    """Batches of exactly `batch_size` from a pool whose size is a multiple of it."""
    waiting, batches = [np.arange(len(chosen))], []
    while waiting:
        rows = waiting.pop()
        if len(rows) <= batch_size:
            batches.append(chosen[rows])
            continue
        middle = len(rows) // batch_size // 2 * batch_size
        halves = [
            (rows[ranks[:middle]], rows[ranks[middle:]])
            for ranks in (np.argsort(k.place[rows], kind="stable") for k in keys)
        ]
        if not halves:
            halves = [(rows[:middle], rows[middle:])]
        padding = [sum(key.padding(first) + key.padding(second) for key in keys) for first, second in halves]
        waiting += halves[int(np.argmin(padding))]
    return batches


def labels_of(samples: Sequence[Sample], config: GroupedConfig) -> list[str]:
    """Each sample's group, its tag's value, or its class: the text of a segment of its first reference."""
    labels: list[str] = []
    for sample in samples:
        where = sample.where or sample.id
        if config.segment is None:
            ((what, name),) = config.division.items()
            known = sample.groups if what == "group" else sample.tags
            if name not in known:
                raise UserError(f"no {what} {name!r}", where=where, right=did_you_mean(name, known))
            labels.append(known[name])
            continue
        name = config.segment or ""
        reference = sample.references[0] if sample.references else {}
        if name not in reference:
            raise UserError(f"no target segment {name!r}", where=where, right=did_you_mean(name, reference))
        labels.append(reference[name])
    return labels


def sampling_probabilities(labels: Sequence[str], config: SamplingConfig) -> np.ndarray:
    """p of each sample: its group's n_g^temperature, shared evenly within the group; sums to 1."""
    sizes = Counter(labels)
    each = np.array([float(sizes[label]) ** (config.temperature - 1) for label in labels])
    return each / each.sum()


def loss_weights(labels: Sequence[str], config: WeightsConfig) -> np.ndarray:
    """Each sample's weight in the loss: n / (groups · n_g) where inverse_frequency, times its group's given value."""
    sizes = Counter(labels)
    for name in config.values:
        if name not in sizes:
            key = " ".join(*config.division.items())
            raise UserError(
                f"{name!r} has a weight but no sample", where=f"data.weights ({key})", right=did_you_mean(name, sizes)
            )
    weights = np.array([config.values.get(label, 1.0) for label in labels], dtype=np.float64)
    if config.inverse_frequency:
        weights *= [len(labels) / (len(sizes) * sizes[label]) for label in labels]
    return weights
