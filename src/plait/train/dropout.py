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
from plait.types import Batch, Items, Modality

HIGHEST = 2.0**63


def is_dropped(chance: float, *, seed: int, step: int, sample_id: str, modality: Modality) -> bool:
    """Whether this sample loses this modality in this step."""
    return derive_seed(seed, "modality dropout", step, sample_id, modality.value) / HIGHEST < chance


def drop_modalities(batch: Batch, chances: Mapping[Modality, float], *, seed: int, step: int) -> Batch:
    """The batch after the draws of this step."""
    inputs: dict[Modality, Items] = {}
    for modality, items in batch.inputs.items():
        chance = chances.get(modality, 0.0)
        if chance > 0:
            dropped = torch.tensor(
                [is_dropped(chance, seed=seed, step=step, sample_id=i, modality=modality) for i in batch.ids],
                device=items.index.device,
            )
            items = replace(items, index=items.index.masked_fill(dropped[:, None], -1))
        inputs[modality] = items
    return replace(batch, inputs=inputs)
