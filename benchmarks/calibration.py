"""How often a comparison is wrong, and whether it sees what it says it could: the whole grid, on simulated tables of
known truth.

In: the number of tables per cell; a record to simulate from, or none (then samples of the demo's shape, 88 % right).
Out: one row per cell: arms × seeds × how much seeds vary × groupings, and some cells outside what the procedure assumes.
Invariant: every cell is drawn by its own name and may be measured alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from plait.compare.statistics.calibrate import Calibration, Rate, calibrate
from plait.compare.statistics.simulate import Effects, Population
from plait.compare.statistics.table import score_table
from plait.evaluate.record import read_record
from plait.seeds import numpy_generator

ARMS, SEEDS, SEED_SDS, GROUPINGS = (2, 3, 6, 12), (3, 5, 10), (0.0, 1.0, 2.0, 3.0), (1, 2)
DISAGREEMENT = 0.06
UNSTABLE, UNSTABLE_SDS = (3.0, 4.0, 10.0), (1.0, 3.0)
NUM_SIZES = 4


@dataclass(frozen=True)
class Cell:
    """One size of comparison under one set of effects.

    `groups`: of 600 samples in so many groups, whose sizes are log-normal with `skew` as their standard deviation, `right` of them
    right; without it the samples are the given ones.
    """

    num_arms: int
    num_seeds: int
    num_groupings: int
    effects: Effects
    behind: float = 0.0
    groups: int | None = None
    skew: float = 0.0
    right: float | None = None
    sizes: int = 0


def cells() -> Iterator[Cell]:
    """The grid; then what the procedure does not assume: heavy tails, one arm whose seeds vary 3, 4 or 10 times as much (at a seed
    sd of nearly 0: 3 points), level with the others or 30 points behind them; then few and uneven groups.
    """
    for num_groupings, sd, num_arms, num_seeds in product(GROUPINGS, SEED_SDS, ARMS, SEEDS):
        yield Cell(num_arms, num_seeds, num_groupings, Effects(seed_sd=sd, disagreement=DISAGREEMENT))
    for num_arms, num_seeds in product((3, 6), (3, 5)):
        yield Cell(num_arms, num_seeds, 1, Effects(seed_sd=1.0, disagreement=DISAGREEMENT, tailed=True))
    yield from unstable_cells()
    yield from group_cells()


def unstable_cells() -> Iterator[Cell]:
    """One arm whose seeds vary more than the others'."""
    some = ((0.1, 30.0), *product(UNSTABLE_SDS, UNSTABLE))
    for (sd, times), num_arms, num_seeds, behind in product(some, ARMS[1:], SEEDS[:2], (0.0, 30.0)):
        effects = Effects(seed_sd=sd, disagreement=DISAGREEMENT, unequal=times)
        yield Cell(num_arms, num_seeds, 1, effects, behind=behind)


def group_cells() -> Iterator[Cell]:
    """Few groups of even and uneven sizes, with a small and a large part of what groups share; four draws of sizes."""
    for shared, (num_arms, num_seeds), right, groups, skew in product(
        (0.15, 0.5), ((2, 5), (6, 3)), (0.9, 0.97), (5, 10, 30), (0.0, 1.0, 2.0)
    ):
        effects = Effects(seed_sd=1.0, disagreement=0.06 if right < 0.95 else 0.04, group_share=shared)
        for sizes in range(NUM_SIZES if skew else 1):
            yield Cell(num_arms, num_seeds, 1, effects, groups=groups, skew=skew, right=right, sizes=sizes)


def demo_shaped(share: float = 0.88) -> Population:
    """1,500 samples of 888 pictures by 40 voices (20 samples each hundred have none): the demo's test split in
    numbers, drawn at random.
    """
    generator = numpy_generator(0, "population")
    picture = np.concatenate([np.arange(276), np.repeat(np.arange(276, 888), 2)])
    speaker = np.concatenate([np.repeat(np.arange(40), 30), np.arange(40, 340)])
    hard = generator.standard_normal(888)[picture] * 0.5 + generator.standard_normal(1500)
    right = (hard > np.quantile(hard, 1 - share)).astype(float)
    return Population(right, {"picture": picture, "speaker": generator.permutation(speaker)})


def grouped(groups: int, *, skew: float, right: float, sizes: int = 0, num: int = 600) -> Population:
    """About `num` samples in groups whose sizes are log-normal with this standard deviation; `sizes` numbers the draw."""
    generator = numpy_generator(sizes, "groups", groups, f"{skew}")
    wide = np.exp(skew * generator.standard_normal(groups))
    index = np.repeat(np.arange(groups), np.maximum(1, np.round(num * wide / wide.sum())).astype(int))
    wrong = generator.permutation(len(index)) < round((1 - right) * len(index))
    return Population((~wrong).astype(float), {"group": index})


def population_of(path: Path) -> Population:
    """The samples of a record: whether its last segment was right, and its groups."""
    record = read_record(path)
    table = score_table({"a": {0: record}, "b": {0: record}}, metric="accuracy")
    return Population(table.values[0, 0], dict(table.groupings))


def measure_cell(population: Population, cell: Cell, num_tables: int) -> dict[str, Any]:
    """One row."""
    if cell.groups is not None and cell.right is not None:
        population = grouped(cell.groups, skew=cell.skew, right=cell.right, sizes=cell.sizes)
    some = dict(list(population.groupings.items())[: cell.num_groupings])
    found = calibrate(
        Population(population.right, some),
        cell.effects,
        num_arms=cell.num_arms,
        num_seeds=cell.num_seeds,
        num_tables=num_tables,
        behind=cell.behind,
    )
    return {**asdict(cell), "num_tables": num_tables, **_plain(found)}


def measure_calibration(*, num_tables: int, record: Path | None = None) -> dict[str, Any]:
    """All cells."""
    population = demo_shaped() if record is None else population_of(record)
    rows = [measure_cell(population, cell, num_tables) for cell in cells()]
    return {"right": float(population.right.mean()), "samples": len(population.right), "rows": rows}


def _plain(found: Calibration) -> dict[str, Any]:
    def rate(one: Rate) -> list[float]:
        return [one.value, one.low, one.high]

    return {
        "false_winners": rate(found.false_winners),
        "false_differences": rate(found.false_differences),
        "power": rate(found.power),
        "detectable": found.detectable,
        "stated": list(found.stated),
        "measured_seed_sd": found.seed_sd,
        "holds": found.holds,
    }
