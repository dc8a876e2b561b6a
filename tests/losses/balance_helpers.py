"""Every kind of balance with options that let it act in the first step, and steps of a tiny model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from plait.choices import kind_of
from plait.config import TrainConfig, make_config
from plait.losses import BALANCES, BalanceOptions
from plait.model import Model
from plait.train.optimiser import build_optimiser
from plait.train.step import Asked, Facts, StepResult, train_step
from plait.types import Batch

OPTIONS: dict[str, dict[str, Any]] = {
    "temperature_sampling": {"tag": "pattern"},
    "inverse_frequency": {"tag": "pattern"},
    "targeted_augmentation": {"margin": 0.0, "chance": 0.9, "every": 2},
    "ogm_ge": {"until": 1.0},
}
"""What a kind cannot do without, or would not do in a step of ten."""

KINDS = [kind_of(member) for member in BALANCES]
CONFIG = TrainConfig(steps=10, dtype="fp32", warmup=0, clip=None)


def balance_of(kind: str, **options: Any) -> BalanceOptions:
    """The configuration of a kind."""
    tree = {"data": {"manifest": "m"}, "balance": {"kind": kind, **OPTIONS.get(kind, {}), **options}}
    return make_config(tree).balance


def one_step(
    model: Model, batch: Batch, kind: str = "none", *, step: int = 1, micro: int | None = None, **options: Any
) -> tuple[StepResult, Model, dict[str, Tensor]]:
    """A step of a copy of the model; the copy, and the gradients that the optimiser got."""
    model = copy.deepcopy(model)
    result = train_step(
        model,
        build_optimiser(model, CONFIG),
        batch,
        CONFIG,
        seed=3,
        step=step,
        micro_batch_size=micro or len(batch),
        say=pytest.fail,
        balance=balance_of(kind, **options).build(model, steps=10, seed=3),
        asked=Asked(encoder_norms=True),
        facts=Facts.of(model),
    )
    return result, model, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def without(batch: Batch, *gone: str) -> Batch:
    """The batch whose samples lack these modalities."""
    from dataclasses import replace

    inputs = {
        m: replace(items, index=torch.full_like(items.index, -1)) if m in gone else items
        for m, items in batch.inputs.items()
    }
    return replace(batch, inputs=inputs)
