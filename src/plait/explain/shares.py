"""How often training showed a model each subset of its inputs, and what to set where that was too rarely to be asked about it.

In: a run's configuration (modality dropout, its schedule, evenly drawn subsets, training with each input alone) and its inputs.
Out: the share of the training's draws in which exactly these inputs were given; what a model needs to be asked in bits.
Invariant: no bits are told of a subset that was seen in under `LEAST` of the draws: what a model loses there is how lost it is, and
says nothing about the inputs. What a sample lacks anyway is not counted: shares are of what training takes away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb, prod

import numpy as np

from plait.config import RunConfig
from plait.evaluate.inputs import set_name
from plait.explain.plan import Plan, Sampled
from plait.train.dropout import share_of_subset

LEAST = 0.002
"""Of all draws."""
MOMENTS = 32
"""Steps at which changing chances are looked at."""
NAMED = 3
"""Subsets that a message names."""

TRIED: tuple[dict[str, float], ...] = (
    {"modality_dropout": 0.2},
    {"modality_subsets": 0.2},
    {"modality_subsets": 0.3},
    {"modality_subsets": 0.5},
    {"modality_subsets": 0.8},
    {"modality_subsets": 1.0},
    {"modality_dropout": 0.5},
    {"modality_dropout": 0.5, "modality_subsets": 0.5},
)
"""What is recommended, the first that shows enough."""


@dataclass(frozen=True)
class Draws:
    """The draws of a training over its steps."""

    config: RunConfig
    inputs: tuple[str, ...]

    def moments(self) -> Iterator[tuple[float, dict[str, float]]]:
        """At some steps, evenly over the training: the chance of an even subset, and that of each input to be dropped."""
        train, balance = self.config.train, self.config.balance
        for step in sorted({int(s) for s in np.linspace(1, train.steps, MOMENTS).round()}):
            planned = {name: balance.dropout_of(name, step / train.steps) for name in self.inputs}
            chances = {name: train.dropout_of(name, step) if c is None else c for name, c in planned.items()}
            yield train.subset_chance(step), chances

    def share(self, given: Collection[str]) -> float:
        """Of the draws in which exactly these inputs are given."""
        even, num = share_of_subset(len(given), len(self.inputs)), len(self.inputs)
        found = [
            chance * even + (1 - chance) * prod(1 - p[name] if name in given else p[name] for name in self.inputs)
            for chance, p in self.moments()
        ]
        alone = 1 / (1 + num) if self.config.balance.trains_alone and len(given) == 1 else 0.0
        return max(float(np.mean(found)), alone)

    def share_of_size(self, size: int) -> float:
        """Of the draws in which so many inputs are given, whichever."""
        num, found = len(self.inputs), []
        for chance, p in self.moments():
            sizes = np.ones(1)
            for name in self.inputs:
                sizes = np.convolve(sizes, [p[name], 1 - p[name]])
            even = comb(num, size) * share_of_subset(size, num)
            found.append(chance * even + (1 - chance) * float(sizes[size]))
        alone = 1 / (1 + num) if self.config.balance.trains_alone and size == 1 else 0.0
        return max(float(np.mean(found)), alone)

    @property
    def any(self) -> bool:
        """Whether training takes any input away."""
        return any(chance > 0 or any(p.values()) for chance, p in self.moments())

    def with_train(self, **changes: float) -> Draws:
        """The draws of a training that is set otherwise."""
        train = self.config.train.model_copy(update=changes)
        return Draws(self.config.model_copy(update={"train": train}), self.inputs)


def rare(draws: Draws, plan: Plan) -> list[tuple[str, float]]:
    """What a plan asks and training showed too rarely, in words with its share, the rarest first.

    Of sampled orders: every number of inputs, nothing, all, each player alone, and all but each; elsewhere every subset.
    """
    players, found = plan.players, dict[str, float]()
    complete = (1 << players.num) - 1
    asked: Iterable[int] = range(complete + 1)
    if isinstance(plan, Sampled):
        asked = sorted(
            {0, complete, *(1 << k for k in range(players.num)), *(complete & ~(1 << k) for k in range(players.num))}
        )
        for size in sums([len(player.members) for player in players.all]):
            found[f"any {size} of its {len(draws.inputs)} inputs"] = draws.share_of_size(size)
    for subset in asked:
        given = players.members(subset)
        name = "no input" if not given else set_name(given)
        found[name] = draws.share(given)
    return sorted(((name, share) for name, share in found.items() if share < LEAST), key=lambda one: one[1])


def sums(sizes: Sequence[int]) -> list[int]:
    """How many inputs subsets of players can hold."""
    found = {0}
    for size in sizes:
        found |= {size + other for other in found}
    return sorted(found)


def what_to_set(draws: Draws, plan: Plan) -> str:
    """`retrain with train.modality_dropout=0.2 to get bits`, with what would show the model enough."""
    for changes in TRIED:
        if "modality_dropout" in changes and any(
            draws.config.balance.dropout_of(m, 1.0) is not None for m in draws.inputs
        ):
            continue  # said by the balance
        if not rare(draws.with_train(**changes), plan):
            words = " ".join(f"train.{key}={value:g}" for key, value in changes.items())
            return f"retrain with {words} to get bits"
    return "no setting shows so many subsets often enough: name fewer players (--players a+b,c) to get bits"


def why_no_bits(draws: Draws, plan: Plan) -> str:
    """Empty where bits may be told; else the reason, and what to set."""
    found = rare(draws, plan)
    if not found:
        return ""
    if not draws.any and not draws.config.balance.trains_alone:
        return (
            "trained without modality dropout: without an input the model is lost, which says nothing about the input; "
            f"{what_to_set(draws, plan)}"
        )
    shown = ", ".join(f"{name} in {shown_share(share)}" for name, share in found[:NAMED])
    more = f" and {len(found) - NAMED} more too rarely" if len(found) > NAMED else ""
    return (
        f"training showed the model {shown} of its draws{more}; bits need {LEAST:.1%} of each, so only reliance is told; "
        f"{what_to_set(draws, plan)}"
    ).replace("%", " %")


def shown_share(share: float) -> str:
    """`0.16%`, `none`."""
    return "none" if share == 0 else f"{100 * share:.2g}%"
