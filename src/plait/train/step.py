"""One step of the optimiser.

In: a model, its optimiser and a batch on the model's device.
Out: the parameters updated, and the step's loss and gradient norm.
Invariant: the loss is Σ weight × token loss ÷ Σ weight over the whole step, however it is cut into micro-batches; nothing is
updated on a loss or gradient that is not finite. All draws of a step follow from the seed and the step's number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plait.config import TrainConfig
from plait.errors import UserError
from plait.losses import Ask, Balance, measure_alone
from plait.losses.balance import gradient_norms, trained_encoders
from plait.losses.base import loss_weight as loss_weight
from plait.memory import is_out_of_memory as is_out_of_memory
from plait.memory import within_memory as within_memory
from plait.model import Model
from plait.seeds import derive_seed
from plait.train.dropout import drop_modalities
from plait.train.optimiser import set_learning_rate
from plait.train.schedule import learning_rate
from plait.train.split import split_batch
from plait.types import Batch


class StepResult(NamedTuple):
    """One step: its loss in nats per (weighted) token, the token weight, the gradient norm before clipping, and its rate.

    `encoder_norms`: the part of the gradient norm that is each encoder's; `alone`: the loss with each modality alone, nats per
    token. Both only where they were asked for (with the norms come losses alone that the balance knows anyway).
    """

    loss: float
    weight: float
    gradient_norm: float
    learning_rate: float
    micro_batch_size: int
    encoder_norms: Mapping[str, float] = MappingProxyType({})
    alone: Mapping[str, float] = MappingProxyType({})


class Asked(NamedTuple):
    """What is measured beside a step: each encoder's gradient norm, the loss with each modality alone."""

    encoder_norms: bool = False
    alone: bool = False


NOTHING = Asked()


class Facts(NamedTuple):
    """What a step has to know of a model that it only calls, because something may be wrapped around it.

    `encoders`: of each encoder the parameters that train; `segment_weights`: what a token of each segment counts, empty = all
    alike.
    """

    encoders: Mapping[str, Sequence[nn.Parameter]] = MappingProxyType({})
    segment_weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, model: Model) -> Facts:
        """Those of a model, before it is wrapped."""
        return cls(trained_encoders(model), model.segment_weights)


UNKNOWN = Facts()


class NonFinite(UserError):
    """A loss or gradient that is no number: training stopped before the update. `ids` are the samples of the step."""

    def __init__(self, what: str, *, step: int, ids: tuple[str, ...]) -> None:
        self.step, self.ids = step, ids
        shown = ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
        super().__init__(
            f"step {step}: {what}; the model was not updated. Samples: {shown}",
            right="Look at these samples, or start anew with a lower train.learning_rate or train.clip, or train.dtype=fp32.",
        )


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[object]:
    """bf16 in the operations that gain by it, fp32 elsewhere; parameters are fp32 always."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16")


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    return next(model.parameters()).device


def forward_backward(
    model: nn.Module,
    batch: Batch,
    *,
    micro_batch_size: int,
    dtype: str,
    label_smoothing: float,
    balance: Balance | None = None,
    segment_weights: Sequence[float] = (),
) -> Float[Tensor, ""]:
    """Gradients of the whole batch, micro-batch by micro-batch; the batch's loss with all inputs."""
    balance = balance or Balance()
    weight = loss_weight(batch, segment_weights)
    totals: list[Tensor] = []
    for part in split_batch(batch, micro_batch_size):
        with autocast(device_of(model), dtype):
            found = balance.losses(model, part, label_smoothing=label_smoothing)
        balance.backward(found, weight)
        totals.append(found.total.detach())
    return torch.stack(totals).sum() / weight


def gradient_norm(model: nn.Module, clip: float | None) -> float:
    """The norm of all gradients, which are scaled down to `clip` where it is larger."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    return float(nn.utils.clip_grad_norm_(parameters, math.inf if clip is None else clip))


def train_step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    config: TrainConfig,
    *,
    seed: int,
    step: int,
    micro_batch_size: int,
    say: Callable[[str], None],
    balance: Balance | None = None,
    asked: Asked = NOTHING,
    facts: Facts = UNKNOWN,
) -> StepResult:
    """Step number `step`, counted from 1. The model is called and never asked anything else."""
    balance, alone = balance or Balance(), {}
    batch = after_dropout(batch, config, balance, seed=seed, step=step)
    if balance.asks(step) or (asked.alone and not balance.knows_alone(step)):
        alone, micro_batch_size = within_memory(
            lambda size: alone_of(model, batch, size, config.dtype, seed=seed, step=step), micro_batch_size, say
        )
        if balance.asks(step):
            balance.hear(alone)
    batch = balance.changed(batch, step)

    def attempt(size: int) -> Float[Tensor, ""]:
        optimiser.zero_grad(set_to_none=True)
        torch.manual_seed(derive_seed(seed, "step", step))
        balance.begin(step)
        return forward_backward(
            model,
            batch,
            micro_batch_size=size,
            dtype=config.dtype,
            label_smoothing=config.label_smoothing,
            balance=balance,
            segment_weights=facts.segment_weights,
        )

    loss, micro_batch_size = within_memory(attempt, micro_batch_size, say)
    balance.finish(step)
    norms = gradient_norms(facts.encoders) if asked.encoder_norms else {}
    value, norm = float(loss), gradient_norm(model, config.clip)
    if not math.isfinite(value):
        raise NonFinite(f"the loss is {value}", step=step, ids=culprits(model, batch, config))
    if not math.isfinite(norm):
        raise NonFinite(f"the gradient's norm is {norm}", step=step, ids=batch.ids)
    rate = learning_rate(config, step)
    set_learning_rate(optimiser, rate)
    _, micro_batch_size = within_memory(lambda _: update(optimiser), micro_batch_size, say)
    weight = float(loss_weight(batch, facts.segment_weights))
    told = alone or (balance.alone if asked.encoder_norms else {})
    return StepResult(value, weight, norm, rate, micro_batch_size, norms, told)


def update(optimiser: torch.optim.Optimizer) -> None:
    """The optimiser's step. Where memory runs out before anything was changed all is as it was, so that it may be tried again."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    begun = {p for p in parameters if p in optimiser.state}
    tensors = [
        *parameters,
        *(value for p in begun for value in optimiser.state[p].values() if isinstance(value, Tensor)),
    ]
    versions = [tensor._version for tensor in tensors]
    try:
        optimiser.step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if versions != [tensor._version for tensor in tensors]:
            raise UserError(
                "out of memory in the middle of an update of the weights",
                right="The last checkpoint is whole: go on from it (plait train --resume) with more memory free, or train anew "
                "with a smaller model or train.micro_batch_size.",
            ) from None
        for parameter in parameters:
            if parameter not in begun:  # its state was being made
                optimiser.state.pop(parameter, None)
        raise


def after_dropout(batch: Batch, config: TrainConfig, balance: Balance, *, seed: int, step: int) -> Batch:
    """The batch after the draws of modality dropout."""
    chances: dict[str, float] = {}
    for modality in batch.inputs:
        chance = balance.dropout_of(modality, step)
        chances[modality] = config.dropout_of(modality, step) if chance is None else chance
    return drop_modalities(batch, chances, seed=seed, step=step, subset_chance=config.subset_chance(step))


def alone_of(
    model: nn.Module, batch: Batch, micro_batch_size: int, dtype: str, *, seed: int, step: int
) -> dict[str, float]:
    """Nats per token with each modality alone, before the step's update."""
    with autocast(device_of(model), dtype):
        return measure_alone(model, split_batch(batch, micro_batch_size), seed=derive_seed(seed, "alone", step))


@torch.no_grad()
def culprits(model: nn.Module, batch: Batch, config: TrainConfig) -> tuple[str, ...]:
    """The samples whose own loss is not finite; all of the batch where it is none of them alone."""
    found: list[str] = []
    for part in split_batch(batch, 1):
        with autocast(device_of(model), config.dtype):
            sums = model(part, Ask()).sums
        if not torch.isfinite(sums.total + sums.auxiliary):
            found += part.ids
    return tuple(found) or batch.ids
