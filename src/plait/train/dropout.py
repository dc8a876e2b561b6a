"""Modality dropout: samples lose an input at random, so that one model learns every subset of its modalities.

In: a batch, and the chance per modality.
Out: the same batch in which some rows of `Items.index` are −1 (the model encodes only items that a sample uses).
Invariant: a draw depends on the seed, the step, the sample's id and the modality only: not on the batch, the micro-batch or
the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from plait.seeds import derive_seed
from plait.types import Batch, Items

HIGHEST = 2.0**63


def is_dropped(chance: float, *, seed: int, step: int, sample_id: str, modality: str) -> bool:
    """Whether this sample loses this modality in this step."""
    return derive_seed(seed, "modality dropout", step, sample_id, modality) / HIGHEST < chance


def draws_subset(chance: float, *, seed: int, step: int, sample_id: str) -> bool:
    """Whether in this step a subset is drawn for this sample."""
    return derive_seed(seed, "modality subset", step, sample_id) / HIGHEST < chance


def drop_modalities(
    batch: Batch, chances: Mapping[str, float], *, seed: int, step: int, subset_chance: float = 0.0
) -> Batch:
    """The batch after the draws of this step.

    With `subset_chance` a sample gets a subset of its modalities, all 2^M alike likely, the empty one and all of them too (so
    each is dropped with 1/2); otherwise each modality is dropped by itself with its chance.
    """
    subsets = [draws_subset(subset_chance, seed=seed, step=step, sample_id=i) for i in batch.ids]
    inputs: dict[str, Items] = {}
    for modality, items in batch.inputs.items():
        chance = chances.get(modality, 0.0)
        if chance > 0 or any(subsets):
            dropped = torch.tensor(
                [
                    is_dropped(0.5 if drawn else chance, seed=seed, step=step, sample_id=i, modality=modality)
                    for i, drawn in zip(batch.ids, subsets, strict=True)
                ],
                device=items.index.device,
            )
            items = replace(items, index=items.index.masked_fill(dropped[:, None], -1))
        inputs[modality] = items
    return replace(batch, inputs=inputs)
