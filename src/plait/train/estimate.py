"""How much memory and time a training will take, before its first step.

In: a model, the most costly batch, the training configuration.
Out: bytes by what takes them, seconds.
Invariant: measured on a few samples and scaled to the micro-batch, so that the estimate itself never runs out of memory.
Activations are the tensors that PyTorch keeps for the backward pass, each storage once, parameters left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plait.config import TrainConfig
from plait.losses import Balance
from plait.train.optimiser import build_optimiser, set_learning_rate
from plait.train.probe import timed
from plait.train.progress import clock
from plait.train.split import select_samples
from plait.train.step import autocast, device_of, forward_backward, within_memory
from plait.types import Batch

NUM_MEASURED = 8
"""Samples that the estimate runs."""


class Estimate(NamedTuple):
    """Bytes and seconds; `available` is None where it cannot be found out."""

    parameters: int
    gradients: int
    optimiser: int
    activations: int
    available: int | None
    seconds_per_step: float
    steps: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.parameters + self.gradients + self.optimiser + self.activations

    @property
    def is_too_much(self) -> bool:
        """Whether the memory will probably not do."""
        return self.available is not None and self.total - self.parameters > self.available

    def __str__(self) -> str:
        free = f"; {size(self.available)} are free" if self.available is not None else ""
        text = (
            f"memory about {size(self.total)} (parameters {size(self.parameters)}, gradients {size(self.gradients)}, "
            f"optimiser {size(self.optimiser)}, activations {size(self.activations)}{free}); "
            f"time at most about {clock(self.seconds_per_step * self.steps)} "
            f"for {self.steps} steps of {self.seconds_per_step:.3g} s, without evaluations"
        )
        if self.is_too_much:
            text += ". That is more than is free: set train.micro_batch_size lower"
        return text


def estimate(
    model: nn.Module,
    batch: Batch,
    config: TrainConfig,
    *,
    micro_batch_size: int,
    steps: int | None = None,
    balance: Balance | None = None,
) -> Estimate:
    """`batch` should be the most costly one: its padding and length decide the activations; `steps` are those still to do."""
    largest, balance = min(micro_batch_size, len(batch)), balance or Balance()

    def measure(num_samples: int) -> tuple[int, float]:
        part = select_samples(batch, 0, num_samples)
        return activation_bytes(model, part, dtype=config.dtype, balance=balance), seconds_of(
            model, part, config, balance
        )

    (kept, seconds), num_measured = within_memory(measure, min(NUM_MEASURED, largest), lambda _: None)
    update_seconds = seconds_of_update(model, config)
    model.zero_grad(set_to_none=True)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    everything = sum(p.numel() * p.element_size() for p in model.parameters())
    return Estimate(
        parameters=everything,
        gradients=trained,
        optimiser=2 * trained,
        activations=kept * largest // num_measured,
        available=available_bytes(device_of(model)),
        seconds_per_step=seconds * config.batch_size / num_measured + update_seconds,
        steps=config.steps if steps is None else steps,
    )


def seconds_of(model: nn.Module, batch: Batch, config: TrainConfig, balance: Balance) -> float:
    """A forward and backward pass, the better of two."""

    def step() -> object:
        balance.begin(1)
        loss = forward_backward(
            model,
            batch,
            micro_batch_size=len(batch),
            dtype=config.dtype,
            label_smoothing=config.label_smoothing,
            balance=balance,
        )
        balance.finish(1)
        return loss

    return min(timed(step, device_of(model)) for _ in range(2))


def seconds_of_update(model: nn.Module, config: TrainConfig) -> float:
    """The optimiser's work with the gradients that are there, the better of two; at a rate of 0 the parameters stay."""
    optimiser = build_optimiser(model, config)
    set_learning_rate(optimiser, 0.0)
    return min(timed(optimiser.step, device_of(model)) for _ in range(2))


def activation_bytes(model: nn.Module, batch: Batch, *, dtype: str, balance: Balance | None = None) -> int:
    """What the forward pass of `batch` keeps for the backward pass."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(device_of(model), dtype):
        found = (balance or Balance()).losses(model, batch, label_smoothing=0.0)
    del found
    return sum(sizes.values())


def available_bytes(device: torch.device) -> int | None:
    """Free memory of the device; on a CPU what the system and its container's limit leave."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = [value for value in (system_free(), container_free()) if value is not None]
    return min(free, default=None)


def system_free() -> int | None:
    """Linux's own estimate of what can be had without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


def container_free(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves."""
    try:
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        return None if limit == "max" else int(limit) - int((group / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def size(num_bytes: int) -> str:
    """`3.4 MB`, `1.2 GB`."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
