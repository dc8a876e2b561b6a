"""Which subsets of the players are measured for a sample, and how credits follow from them: exactly, or from sampled orders.

In: players; the ids of samples, for sampled orders.
Out: the subsets of a sample as columns, the first none, the last all; credits and interactions of values in those columns.
Invariant: credits sum to the value of all players (1e-9). Sampled ones are unbiased and depend on the seed, the sample's id and
the players only; every sample has orders of its own, so their error is part of the spread between samples and thus of every
interval over samples.

Exact (up to five players): the 2^M subsets. Sampled: none, all, each player alone, all but each, and what stands before each
player in `num_orders` orders drawn for the sample, every second the reverse of the one before it: where players interact in
pairs only, such a pair of orders gives the exact credit. That is 2 M + 2 + num_orders × (M − 3) subsets at most. The interaction
of a pair is measured on the samples in one of whose orders the two come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from plait.explain import credit
from plait.explain.players import MOST, Players
from plait.seeds import numpy_generator

ORDERS = 8
"""Orders that are drawn for each sample, unless the user says how many."""


@dataclass(frozen=True)
class Plan:
    """What both have in common. `mixed`: whether samples differ in what they are asked, so that batches mix subsets."""

    players: Players

    mixed = False

    @property
    def num(self) -> int:
        """M."""
        return self.players.num

    @property
    def num_columns(self) -> int:
        """Subsets of a sample."""
        raise NotImplementedError

    @property
    def num_temperatures(self) -> int:
        """Each has a temperature of its own in every context."""
        raise NotImplementedError

    def temperature_of(self, subsets: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        """The temperature of each subset."""
        raise NotImplementedError

    def given(self, ids: Sequence[str]) -> Int[np.ndarray, "n columns"]:
        """The subset in each column."""
        raise NotImplementedError

    def alone(self, player: int) -> int:
        """The column in which only this player is given."""
        raise NotImplementedError

    def without(self, player: int) -> int:
        """The column in which all others are given."""
        raise NotImplementedError

    def credits(self, values: Float[np.ndarray, "n columns"], ids: Sequence[str]) -> Float[np.ndarray, "n M"]:
        """Each player's share of the value of all."""
        raise NotImplementedError

    def credits_at(self, values: Float[np.ndarray, "n columns P"], ids: Sequence[str]) -> Float[np.ndarray, "n M P"]:
        """The same of several values at once."""
        raise NotImplementedError

    @property
    def interactions(self) -> list[tuple[int, ...]]:
        """The sets of players whose interaction is told."""
        raise NotImplementedError

    def pair(
        self, values: Float[np.ndarray, "n columns"], first: int, second: int, ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """v(ij) − v(i) − v(j), and the samples for which it was measured."""
        raise NotImplementedError

    def index(self, values: Float[np.ndarray, "n columns"], members: Sequence[int]) -> Float[np.ndarray, " n"] | None:
        """The Shapley interaction index, where it is known."""
        raise NotImplementedError


@dataclass(frozen=True)
class Exact(Plan):
    """Column s is subset s."""

    @property
    def num_columns(self) -> int:
        return 1 << self.num

    @property
    def num_temperatures(self) -> int:
        return self.num_columns

    def temperature_of(self, subsets: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        return subsets

    def given(self, ids: Sequence[str]) -> Int[np.ndarray, "n columns"]:
        return np.tile(np.arange(self.num_columns), (len(ids), 1))

    def alone(self, player: int) -> int:
        return 1 << player

    def without(self, player: int) -> int:
        return (self.num_columns - 1) & ~(1 << player)

    def credits(self, values: Float[np.ndarray, "n columns"], ids: Sequence[str]) -> Float[np.ndarray, "n M"]:
        return credit.shapley(values)

    def credits_at(self, values: Float[np.ndarray, "n columns P"], ids: Sequence[str]) -> Float[np.ndarray, "n M P"]:
        return np.einsum("bsp,sm->bmp", values, credit.shapley(np.eye(self.num_columns)))

    @property
    def interactions(self) -> list[tuple[int, ...]]:
        return credit.all_orders(self.num)

    def pair(
        self, values: Float[np.ndarray, "n columns"], first: int, second: int, ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        return credit.pair_interaction(values, first, second), np.ones(len(values), dtype=bool)

    def index(self, values: Float[np.ndarray, "n columns"], members: Sequence[int]) -> Float[np.ndarray, " n"] | None:
        return credit.interaction_index(values, members)


@dataclass(frozen=True)
class Sampled(Plan):
    """Columns: none; each alone; all but each; order by order the first 2 … M − 2 players of it; all. One temperature for each
    number of players: most subsets are met too rarely to have one of their own.
    """

    num_orders: int
    seed: int

    mixed = True

    @property
    def num_columns(self) -> int:
        return 2 + 2 * self.num + self.num_orders * self.num_between

    @property
    def num_between(self) -> int:
        """Subsets of an order that stand in no other column."""
        return max(0, self.num - 3)

    @property
    def num_temperatures(self) -> int:
        return self.num + 1

    def temperature_of(self, subsets: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        return sizes(subsets)

    def given(self, ids: Sequence[str]) -> Int[np.ndarray, "n columns"]:
        bits, complete = 1 << np.arange(self.num), (1 << self.num) - 1
        orders = self.orders(ids)
        before = np.cumsum(1 << orders, axis=2)  # (n, orders, M): the first 1 … M players
        between = before[:, :, 1 : 1 + self.num_between].reshape(len(ids), -1)
        fixed = np.tile(np.concatenate([[0], bits, complete & ~bits]), (len(ids), 1))
        return np.concatenate([fixed, between, np.full((len(ids), 1), complete)], axis=1)

    def orders(self, ids: Sequence[str]) -> Int[np.ndarray, "n orders M"]:
        """The orders of each sample."""
        return drawn_orders(self.num, self.num_orders, self.seed, tuple(ids))

    def column_of(self, orders: Int[np.ndarray, "n orders M"], size: int) -> Int[np.ndarray, "n orders"]:
        """The column of the first `size` players of each order."""
        if size == 0:
            return np.zeros(orders.shape[:2], dtype=np.int64)
        if size == self.num:
            return np.full(orders.shape[:2], self.num_columns - 1)
        if size == 1:
            return 1 + orders[:, :, 0]
        if size == self.num - 1:
            return 1 + self.num + orders[:, :, -1]
        places = 1 + 2 * self.num + np.arange(self.num_orders) * self.num_between + size - 2
        return np.broadcast_to(places, orders.shape[:2])

    def alone(self, player: int) -> int:
        return 1 + player

    def without(self, player: int) -> int:
        return 1 + self.num + player

    def credits(self, values: Float[np.ndarray, "n columns"], ids: Sequence[str]) -> Float[np.ndarray, "n M"]:
        return self.credits_at(values[:, :, None], ids)[:, :, 0]

    def credits_at(self, values: Float[np.ndarray, "n columns P"], ids: Sequence[str]) -> Float[np.ndarray, "n M P"]:
        orders = self.orders(ids)
        found = np.zeros((len(values), self.num, values.shape[2]))
        rows = np.arange(len(values))[:, None]
        before = values[rows, self.column_of(orders, 0)]  # (n, orders, P)
        for size in range(1, self.num + 1):
            now = values[rows, self.column_of(orders, size)]
            np.add.at(found, (rows, orders[:, :, size - 1]), (now - before) / self.num_orders)
            before = now
        return found

    @property
    def interactions(self) -> list[tuple[int, ...]]:
        return list(combinations(range(self.num), 2))

    def pair(
        self, values: Float[np.ndarray, "n columns"], first: int, second: int, ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        orders = self.orders(ids)
        both = (1 << orders[:, :, :2]).sum(axis=2) == (1 << first | 1 << second)  # (n, orders)
        column = np.take_along_axis(self.column_of(orders, 2), both.argmax(axis=1)[:, None], axis=1)
        together = np.take_along_axis(values, column, axis=1)[:, 0]
        return together - values[:, 1 + first] - values[:, 1 + second] + values[:, 0], both.any(axis=1)

    def index(self, values: Float[np.ndarray, "n columns"], members: Sequence[int]) -> Float[np.ndarray, " n"] | None:
        return None


@dataclass(frozen=True)
class BySize(Plan):
    """What the temperatures of sampled subsets are fitted on: none, all, and of every number of players between two subsets drawn
    for the sample.
    """

    seed: int

    mixed = True
    drawn = 2

    @property
    def num_columns(self) -> int:
        return 2 + self.drawn * max(0, self.num - 1)

    @property
    def num_temperatures(self) -> int:
        return self.num + 1

    def temperature_of(self, subsets: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
        return sizes(subsets)

    def given(self, ids: Sequence[str]) -> Int[np.ndarray, "n columns"]:
        return np.array([self.given_of(id) for id in ids], dtype=np.int64).reshape(len(ids), self.num_columns)

    def given_of(self, id: str) -> list[int]:
        """The subsets of one sample."""
        generator = numpy_generator(self.seed, "subsets of players", id)
        orders = [generator.permutation(self.num) for _ in range(self.drawn)]
        between = [int((1 << order[:size]).sum()) for order in orders for size in range(1, self.num)]
        return [0, *between, (1 << self.num) - 1]


@lru_cache(maxsize=4)
def drawn_orders(num: int, num_orders: int, seed: int, ids: tuple[str, ...]) -> Int[np.ndarray, "n orders M"]:
    """For each sample every drawn order of the players, then its reverse."""
    found = np.zeros((len(ids), num_orders, num), dtype=np.int64)
    for row, id in zip(found, ids, strict=True):
        generator = numpy_generator(seed, "orders of players", id)
        for place in range(0, num_orders, 2):
            order = generator.permutation(num)
            row[place] = order
            row[place + 1 : place + 2] = order[::-1]
    return found


def sizes(subsets: Int[np.ndarray, "*n"]) -> Int[np.ndarray, "*n"]:
    """How many players each subset holds."""
    return (subsets[..., None] >> np.arange(MOST) & 1).sum(axis=-1)
