"""Tasks of known truth: fair bits carried by modalities, an answer that depends on them, and what each subset tells of it.

In: a joint distribution of bits and answer.
Out: v(S) = I(answer; bits of S) for every subset S of the modalities, Shapley values and interactions, in bits.
Invariant: every figure is computed by enumeration of the joint distribution, none is typed in; carriers read without error,
so what the bits tell is what the modalities tell.

Pair interaction: `v(ij) − v(i) − v(j)`, synergy minus redundancy. Shapley interaction index (Grabisch and Roubens 1999) of a set T
among n players: `Σ_{S ⊆ N∖T} (n−s−t)! s! / (n−t+1)! · Σ_{L ⊆ T} (−1)^{t−l} v(S ∪ L)`; a three-way parity, which no pair
shows, has an index of 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plait.errors import UserError, did_you_mean

Subset = tuple[str, ...]
"""Names of modalities, in their order; `()` = no input."""
ANSWERS = ("no", "yes")


class Outcome(NamedTuple):
    """One case of a joint distribution: the bit of each modality, the answer (1 = yes), and how probable they are together."""

    bits: tuple[int, ...]
    answer: int
    probability: float


@dataclass(frozen=True)
class Task:
    """A task: which modalities carry a bit, and the joint distribution of the bits and the answer.

    `slow`: the modalities whose carrier takes an encoder long to learn; it is read without error all the same.
    """

    name: str
    words: str
    modalities: tuple[str, ...]
    joint: tuple[Outcome, ...]
    slow: tuple[str, ...] = ()


@dataclass(frozen=True)
class Game:
    """What each subset is worth in bits, and what follows for each modality, each pair, and each set of two and more."""

    information: Mapping[Subset, float]
    shapley: Mapping[str, float]
    interaction: Mapping[Subset, float]
    shapley_interaction: Mapping[Subset, float]


def make_task(
    name: str,
    words: str,
    modalities: tuple[str, ...],
    chance_of_yes: Callable[..., float],
    *,
    possible: Callable[..., bool] = lambda *bits: True,
) -> Task:
    """The task in which all `possible` bits are alike probable, and the answer is yes with `chance_of_yes(*bits)`."""
    cases = [bits for bits in itertools.product((0, 1), repeat=len(modalities)) if possible(*bits)]
    outcomes = [
        Outcome(bits, answer, chance / len(cases))
        for bits in cases
        for answer, chance in ((0, 1 - chance_of_yes(*bits)), (1, chance_of_yes(*bits)))
        if chance > 0
    ]
    return Task(name, words, modalities, tuple(outcomes))


def noisy_copy(flipped: float = 0.1) -> Task:
    """The answer is the first bit, flipped with the given probability: a channel error that no model can undo."""
    return make_task(
        "noisy_copy",
        f"the bit of the text, flipped with probability {flipped:g}; the picture carries another bit",
        ("text", "image"),
        lambda first, second: 1 - flipped if first else flipped,
    )


def starved(wrong: float = 0.03) -> Task:
    """A strong and a weak modality: the picture shows the answer at once but errs, the sound has it all but is learnt slowly."""
    cases = itertools.product((0, 1), repeat=2)
    joint = tuple(
        Outcome((picture, sound), sound, (wrong if picture != sound else 1 - wrong) / 2) for picture, sound in cases
    )
    return Task(
        "starved",
        f"the bit of the sound, which is learnt slowly; the picture shows it at once and is wrong with probability {wrong:g}",
        PAIR,
        joint,
        slow=("audio",),
    )


PAIR = ("image", "audio")
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        make_task(
            "redundant",
            "the bit that picture and sound both carry",
            PAIR,
            lambda first, second: first,
            possible=lambda first, second: first == second,
        ),
        make_task("unique", "the bit of the picture; the sound carries another bit", PAIR, lambda first, second: first),
        make_task("xor", "whether picture and sound carry different bits", PAIR, lambda first, second: first ^ second),
        make_task("and", "whether both carry a 1", PAIR, lambda first, second: first & second),
        noisy_copy(),
        make_task(
            "parity",
            "whether picture, sound and text carry an odd number of 1s",
            ("text", "image", "audio"),
            lambda *bits: sum(bits) % 2,
        ),
        starved(),
    )
}


def known_tasks(names: Iterable[str] | None = None) -> list[Task]:
    """The tasks of these names; all where none is named."""
    found: list[Task] = []
    for name in TASKS if names is None else names:
        if name not in TASKS:
            raise UserError(f"no task is called {name!r}", where="--tasks", right=did_you_mean(name, TASKS))
        found.append(TASKS[name])
    return found


def subsets(players: Sequence[str]) -> Iterator[Subset]:
    """Every subset, the smaller ones first, `()` at the beginning."""
    for size in range(len(players) + 1):
        yield from itertools.combinations(players, size)


def entropy(probabilities: Iterable[float]) -> float:
    """−Σ p log₂ p."""
    p = np.array([value for value in probabilities if value > 0])
    return float(-(p * np.log2(p)).sum())


def conditional_entropy(task: Task, subset: Subset) -> float:
    """H(answer | bits of the subset), from the joint: H(answer, bits) − H(bits)."""
    places = [task.modalities.index(name) for name in subset]
    both: dict[tuple[int, ...], float] = {}
    alone: dict[tuple[int, ...], float] = {}
    for outcome in task.joint:
        seen = tuple(outcome.bits[place] for place in places)
        alone[seen] = alone.get(seen, 0.0) + outcome.probability
        both[(*seen, outcome.answer)] = both.get((*seen, outcome.answer), 0.0) + outcome.probability
    return entropy(both.values()) - entropy(alone.values())


def truth(task: Task) -> Game:
    """What the task's modalities tell of its answer."""
    without = conditional_entropy(task, ())
    return game({s: without - conditional_entropy(task, s) for s in subsets(task.modalities)}, task.modalities)


def game(information: Mapping[Subset, float], players: tuple[str, ...]) -> Game:
    """Everything that follows from v(S), known or measured."""
    return Game(
        information,
        {player: index(information, players, (player,)) for player in players},
        {
            pair: information[pair] - information[pair[:1]] - information[pair[1:]] + information[()]
            for pair in itertools.combinations(players, 2)
        },
        {s: index(information, players, s) for s in subsets(players) if len(s) > 1},
    )


def index(information: Mapping[Subset, float], players: tuple[str, ...], chosen: Subset) -> float:
    """The Shapley interaction index of a set; of a single player it is its Shapley value."""
    others = tuple(player for player in players if player not in chosen)
    total = 0.0
    for around in subsets(others):
        rest, size = len(others) - len(around), len(around)
        weight = math.factorial(rest) * math.factorial(size) / math.factorial(len(others) + 1)
        change = sum(
            (-1) ** (len(chosen) - len(part)) * information[ordered({*around, *part}, players)]
            for part in subsets(chosen)
        )
        total += weight * change
    return total


def ordered(names: set[str], players: tuple[str, ...]) -> Subset:
    """The names in the order of the players."""
    return tuple(player for player in players if player in names)
