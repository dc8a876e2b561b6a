"""How much each modality brings: Shapley values and interactions of a game over subsets, sample by sample. Only numpy.

In: bits of each sample under every subset of M modalities `(n, 2^M)`; column s is the subset whose modalities are the bits of s:
column 0 none of them, column 1 the first, column 2 the second, column 3 both, the last one all.
Out: usable information, credits and interactions in bits, one value per sample, so that whole groups can be added up.
Invariant: credits sum to the value of all modalities together (1e-9); a modality that changes nothing in a sample, because the
sample lacks it or otherwise, has credit 0 in it and is part of no interaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Bool, Float


def num_players(values: Float[np.ndarray, "n subsets"]) -> int:
    """M, of 2^M columns."""
    num_subsets = values.shape[1]
    assert num_subsets > 0
    assert num_subsets & (num_subsets - 1) == 0, f"{num_subsets} columns are not the subsets of anything"
    return num_subsets.bit_length() - 1


def usable_information(bits: Float[np.ndarray, "n subsets"]) -> Float[np.ndarray, "n subsets"]:
    """v(S) = CE(no input) − CE(S): the bits that the model saves when it is given S."""
    return bits[:, :1] - bits


def shapley(values: Float[np.ndarray, "n subsets"]) -> Float[np.ndarray, "n M"]:
    """Each modality's mean gain over all orders in which the modalities can be added (Shapley 1953), exact."""
    players = range(num_players(values))
    return np.stack([interaction_index(values, (player,)) for player in players], axis=1).reshape(len(values), -1)


def alone(values: Float[np.ndarray, "n subsets"], player: int) -> Float[np.ndarray, " n"]:
    """v({m}): what the modality brings where nothing else is given."""
    return values[:, 1 << player]


def marginal(values: Float[np.ndarray, "n subsets"], player: int) -> Float[np.ndarray, " n"]:
    """v(all) − v(all without m): what the modality brings beside all others."""
    everything = values.shape[1] - 1
    return values[:, everything] - values[:, everything & ~(1 << player)]


def pair_interaction(values: Float[np.ndarray, "n subsets"], first: int, second: int) -> Float[np.ndarray, " n"]:
    """v(ij) − v(i) − v(j) with nothing else given: synergy minus redundancy."""
    return values[:, 1 << first | 1 << second] - alone(values, first) - alone(values, second) + values[:, 0]


def interaction_index(values: Float[np.ndarray, "n subsets"], members: Sequence[int]) -> Float[np.ndarray, " n"]:
    """The Shapley interaction index (Grabisch and Roubens 1999) of one, two or more modalities; of one it is the credit.

    Σ over the sets S of others, (|others| − |S|)! |S|! / (|others| + 1)! × Σ_{L ⊆ members} (−1)^(|members| − |L|) v(S ∪ L).
    """
    others = [player for player in range(num_players(values)) if player not in members]
    total = np.zeros(len(values))
    for context in subsets_of(others):
        weight = 1 / ((len(others) + 1) * comb(len(others), context.bit_count()))
        for part in subsets_of(members):
            sign = (-1) ** (len(members) - part.bit_count())
            total += sign * weight * values[:, context | part]
    return total


def all_orders(num: int) -> list[tuple[int, ...]]:
    """Every set of two or more of `num` modalities, smaller ones first."""
    return [members for size in range(2, num + 1) for members in combinations(range(num), size)]


def subsets_of(players: Sequence[int]) -> Iterator[int]:
    """Every subset of the given modalities as a number, the empty one first."""
    for size in range(len(players) + 1):
        for chosen in combinations(players, size):
            yield sum(1 << player for player in chosen)


def together(present: Bool[np.ndarray, "n M"], members: Sequence[int]) -> Bool[np.ndarray, " n"]:
    """The samples that have all these modalities; where there is none, their interaction is not identifiable."""
    return np.logical_and.reduce(present[:, list(members)], axis=1)
