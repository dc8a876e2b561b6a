"""Ranks: equal to their definition, perfect for planted vectors, at chance for random ones; the chance figures counted out."""

from __future__ import annotations

from itertools import permutations
from math import comb
from statistics import median

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from plait.search import ranks as module
from plait.search.ranks import median_by_chance, ranks, recall_by_chance


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def longhand(query: torch.Tensor, gallery: torch.Tensor, right: list[int]) -> float:
    """The mean place of the first right entry over both orders of what is alike."""
    scores = [float(query @ entry) for entry in gallery]
    best = max(scores[i] for i in right)
    places = []
    for before in (True, False):  # wrong ones that are alike stand before the best right one, or behind it
        ahead = [i for i in range(len(gallery)) if i not in right and scores[i] > best + 1e-6]
        tied = [i for i in range(len(gallery)) if i not in right and abs(scores[i] - best) <= 1e-6]
        places.append(1 + len(ahead) + (len(tied) if before else 0))
    return sum(places) / 2


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_a_rank_is_its_definition(chunk, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", chunk)
    queries, gallery = unit(12, 5), unit(20, 5, seed=1)
    gallery[7], gallery[9] = gallery[3], gallery[3]
    draw = np.random.default_rng(0)
    right = [sorted(draw.choice(20, size=1 + n % 4, replace=False).tolist()) for n in range(12)]
    right[0] = [3]
    expected = [longhand(q, gallery, r) for q, r in zip(queries, right, strict=True)]
    np.testing.assert_allclose(ranks(queries, gallery, right), expected)


def test_planted_vectors_are_found():
    vectors = unit(300, 32)
    assert (ranks(vectors, vectors + 0.01 * unit(300, 32, seed=2), [[i] for i in range(300)]) == 1).all()


def test_random_vectors_are_found_as_often_as_by_chance():
    queries, gallery = unit(2000, 16), unit(100, 16, seed=1)
    draw = np.random.default_rng(3)
    right = [sorted(draw.choice(100, size=1 + n % 3, replace=False).tolist()) for n in range(2000)]
    found, num_right = ranks(queries, gallery, right), np.asarray([len(r) for r in right])
    for k in (1, 5, 10):
        chance = recall_by_chance(100, num_right, k)
        assert abs(np.mean(found <= k) - chance) < 4 * np.sqrt(chance * (1 - chance) / 2000)
    assert abs(np.median(found) - median_by_chance(100, num_right)) < 4


def test_vectors_that_are_all_alike_stand_in_the_middle():
    same = torch.ones(1, 4) / 2
    assert ranks(same.expand(3, 4), same.expand(11, 4), [[0], [5], [9, 10]]).tolist() == [6.0, 6.0, 5.5]


@pytest.mark.parametrize(("num_entries", "num_right"), [(5, 1), (6, 2), (4, 4), (6, 3)])
def test_chance_is_the_count_of_all_orders(num_entries, num_right):
    first = [min(order.index(i) for i in range(num_right)) + 1 for order in permutations(range(num_entries))]
    for k in (1, 2, 5, 10):
        counted = np.mean([place <= k for place in first])
        assert recall_by_chance(num_entries, np.asarray([num_right]), k) == pytest.approx(counted)
        missed = comb(num_entries - num_right, k) / comb(num_entries, k) if k <= num_entries else 0
        assert recall_by_chance(num_entries, np.asarray([num_right]), k) == pytest.approx(1 - missed)
    lower = sorted(first)[(len(first) - 1) // 2]
    assert median_by_chance(num_entries, np.asarray([num_right])) == lower
    assert lower <= median(first)
