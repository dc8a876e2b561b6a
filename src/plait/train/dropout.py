"""Modality dropout: samples lose an input at random, so that one model learns every subset of its modalities.

In: a batch, and the chance per modality.
Out: the same batch in which some rows of `Items.index` are −1 (the model encodes only items that a sample uses).
Invariant: a draw depends on the seed, the step, the sample's id and the input's name only: not on the batch, the micro-batch or
the machine.

A subset is drawn evenly: of up to three inputs all 2^M subsets alike; of more first the number of inputs that are given, 0 to M
alike, then which. Otherwise nearly all subsets of many inputs would have about half of them, and none or one alone would hardly
ever be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import comb

import torch

from plait.seeds import derive_seed
from plait.types import Batch, Items

HIGHEST = 2.0**63
ALL_ALIKE = 3
"""Up to so many inputs every subset is alike likely; of more every number of them is."""


def is_dropped(chance: float, *, seed: int, step: int, sample_id: str, modality: str) -> bool:
    """Whether this sample loses this modality in this step."""
    return derive_seed(seed, "modality dropout", step, sample_id, modality) / HIGHEST < chance


def draws_subset(chance: float, *, seed: int, step: int, sample_id: str) -> bool:
    """Whether in this step a subset is drawn for this sample."""
    return derive_seed(seed, "modality subset", step, sample_id) / HIGHEST < chance


def share_of_subset(num_given: int, num_inputs: int) -> float:
    """The chance that an evenly drawn subset is one particular one, with so many of the inputs in it."""
    if num_inputs <= ALL_ALIKE:
        return 0.5**num_inputs
    return 1 / (num_inputs + 1) / comb(num_inputs, num_given)


def drawn_subset(inputs: Iterable[str], *, seed: int, step: int, sample_id: str) -> frozenset[str]:
    """The inputs that a sample for which a subset is drawn keeps in this step."""
    names = list(inputs)
    if len(names) <= ALL_ALIKE:
        return frozenset(
            name for name in names if not is_dropped(0.5, seed=seed, step=step, sample_id=sample_id, modality=name)
        )
    drawn = derive_seed(seed, "modality subset size", step, sample_id)
    size = min(len(names), int(drawn / HIGHEST * (len(names) + 1)))
    return frozenset(
        sorted(names, key=lambda m: derive_seed(seed, "modality subset member", step, sample_id, m))[:size]
    )


def drop_modalities(
    batch: Batch, chances: Mapping[str, float], *, seed: int, step: int, subset_chance: float = 0.0
) -> Batch:
    """The batch after the draws of this step.

    With `subset_chance` a sample gets an evenly drawn subset of its inputs, none and all of them too (so each is dropped with
    1/2); otherwise each input is dropped by itself with its chance.
    """
    drawn = [draws_subset(subset_chance, seed=seed, step=step, sample_id=i) for i in batch.ids]
    kept = [
        drawn_subset(batch.inputs, seed=seed, step=step, sample_id=i) if is_drawn else None
        for i, is_drawn in zip(batch.ids, drawn, strict=True)
    ]
    inputs: dict[str, Items] = {}
    for name, items in batch.inputs.items():
        chance = chances.get(name, 0.0)
        if chance > 0 or any(drawn):
            gone = dropped_rows(name, batch.ids, kept, chance, seed=seed, step=step)
            dropped = torch.tensor(gone, device=items.index.device)
            items = replace(items, index=items.index.masked_fill(dropped[:, None], -1))
        inputs[name] = items
    return replace(batch, inputs=inputs)


def dropped_rows(
    name: str, ids: Sequence[str], kept: Sequence[frozenset[str] | None], chance: float, *, seed: int, step: int
) -> list[bool]:
    """Which samples lose an input: `kept` says it of those for which a subset was drawn, the chance of the others."""
    return [
        is_dropped(chance, seed=seed, step=step, sample_id=i, modality=name) if subset is None else name not in subset
        for i, subset in zip(ids, kept, strict=True)
    ]
