"""The players of an explanation: inputs, or groups of inputs that come and go together.

In: the run's inputs with their modalities, and what the user names.
Out: `Players`: each with a name and its inputs; subsets of them as numbers: bit k says whether player k is given (0 = no input).
Invariant: every input belongs to exactly one player; players stand in the order of their first inputs; no two have one name.

Up to `EXACT` inputs each is a player. Of more, the inputs of one modality are one player, where that leaves two to `EXACT`
players; otherwise each input is one all the same, and orders are sampled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from plait.errors import UserError, did_you_mean
from plait.evaluate.inputs import set_name

EXACT = 5
"""So many players are credited exactly: every one of their 2^5 = 32 subsets is measured."""
MOST = 60
"""Subsets are numbers of 64 bits."""
LONGEST = 40
"""Letters of a player's name; a longer one is shortened."""

Groups = Sequence[str | Sequence[str]]
"""What a user names: an input, or inputs that come and go together."""


@dataclass(frozen=True)
class Player:
    """One player. `modality`: what its inputs are of, None where they are of several."""

    name: str
    members: tuple[str, ...]
    modality: str | None = None


@dataclass(frozen=True)
class Players:
    """All players of a run with these inputs."""

    inputs: tuple[str, ...]
    all: tuple[Player, ...]

    @classmethod
    def each(cls, inputs: Sequence[str], modalities: Mapping[str, str] | None = None) -> Players:
        """Every input is a player."""
        return cls.grouped(inputs, modalities or {}, [(name,) for name in inputs])

    @classmethod
    def grouped(cls, inputs: Sequence[str], modalities: Mapping[str, str], groups: Iterable[Sequence[str]]) -> Players:
        """The players of these groups, which hold every input once."""
        place = {name: k for k, name in enumerate(inputs)}
        members = sorted((tuple(sorted(group, key=place.__getitem__)) for group in groups), key=lambda g: place[g[0]])
        return cls(tuple(inputs), tuple(Player(player_name(of), of, common(of, modalities)) for of in members))

    @property
    def names(self) -> tuple[str, ...]:
        """Of all players, in order."""
        return tuple(player.name for player in self.all)

    @property
    def num(self) -> int:
        """How many there are."""
        return len(self.all)

    @property
    def are_inputs(self) -> bool:
        """Whether each input is a player of its own."""
        return self.num == len(self.inputs)

    @cached_property
    def holds(self) -> Bool[np.ndarray, "players inputs"]:
        """Which inputs belong to which player."""
        return np.array([[name in player.members for name in self.inputs] for player in self.all], dtype=bool).reshape(
            self.num, len(self.inputs)
        )

    def of(self, input: str) -> Player:
        """The player that an input belongs to."""
        return next(player for player in self.all if input in player.members)

    def members(self, subset: int) -> tuple[str, ...]:
        """The inputs that are given in a subset."""
        given = {name for k, player in enumerate(self.all) if subset >> k & 1 for name in player.members}
        return tuple(name for name in self.inputs if name in given)

    def subset_name(self, subset: int) -> str:
        """`image+audio`, or `no_input`."""
        return set_name(player.name for k, player in enumerate(self.all) if subset >> k & 1)

    @property
    def notes(self) -> list[str]:
        """What players of several inputs are, where their name does not say it."""
        short = [player for player in self.all if player.name != "+".join(player.members)]
        return [f"{player.name}: {', '.join(player.members)}" for player in short]


def common(members: Sequence[str], modalities: Mapping[str, str]) -> str | None:
    """The modality that all of them have."""
    found = {modalities.get(name, name) for name in members}
    return found.pop() if len(found) == 1 else None


def player_name(members: Sequence[str]) -> str:
    """`before+after`; of many inputs the first and how many more."""
    name = "+".join(members)
    return name if len(name) <= LONGEST or len(members) == 1 else f"{members[0]} and {len(members) - 1} more"


def players_of(
    inputs: Sequence[str],
    modalities: Mapping[str, str],
    groups: Groups | None,
    *,
    where: str = "explain.players",
    sampled: bool = False,
) -> Players:
    """Those that the user names, and every other input by itself; without any, by the rule of the module; where orders are
    sampled, every input.
    """
    if len(inputs) > MOST and not groups:
        raise UserError(f"{len(inputs)} inputs are more players than the {MOST} that can be told apart", where=where)
    if groups:
        return Players.grouped(inputs, modalities, checked_groups(inputs, groups, where))
    if len(inputs) > EXACT and not sampled:
        by_modality: dict[str, list[str]] = {}
        for name in inputs:
            by_modality.setdefault(modalities[name], []).append(name)
        if 1 < len(by_modality) <= EXACT:
            return Players.grouped(inputs, modalities, by_modality.values())
    return Players.each(inputs, modalities)


def checked_groups(inputs: Sequence[str], groups: Groups, where: str) -> list[tuple[str, ...]]:
    """The named groups and every other input; an unknown input, and one that is named twice, is refused."""
    found = [(group,) if isinstance(group, str) else tuple(group) for group in groups]
    named: set[str] = set()
    for name in (name for group in found for name in group):
        if name not in inputs:
            raise UserError(f"this model reads no input {name!r}", where=where, right=did_you_mean(name, inputs))
        if name in named:
            raise UserError(f"{name} is named twice", where=where, right="An input belongs to one player")
        named.add(name)
    return [*filter(None, found), *((name,) for name in inputs if name not in named)]


def groups_in(text: str | None) -> tuple[tuple[str, ...], ...] | None:
    """`before+after,voice`, as the command line takes them."""
    if text is None:
        return None
    parts = [[name.strip() for name in group.split("+")] for group in text.split(",") if group.strip()]
    if not parts or not all(name for group in parts for name in group):
        raise UserError(f"{text!r} names no players", where="--players", right="Write --players before+after,voice")
    return tuple(map(tuple, parts))
