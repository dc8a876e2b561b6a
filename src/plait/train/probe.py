"""Which number type, matrix product and attention are fastest here: measured, not assumed.

In: a model, a real batch, and the training configuration in which some of these are `auto`.
Out: the fastest allowed combination, with the timings.
Invariant: parameters and settings are left as they were, and it takes about three seconds at most. Where two are as fast (within
3 %), the more exact and the plainer one is taken.

Why it is measured: bf16 is 4 times faster than fp32 on a processor with AVX512-BF16 and hundreds of times slower on one
without, and the fused attention kernel loses to two plain matrix products on short sequences on a CPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import torch
from torch import nn

from plait.config import TrainConfig
from plait.layers import Attention, Implementation, set_attention
from plait.train.split import select_samples
from plait.train.step import device_of, forward_backward, within_memory
from plait.types import Batch

ROUNDS = 4
"""Timed steps per combination; the first warms up and is not counted."""

AS_FAST = 1.03
MAX_SLOWDOWN = 4.0
"""bf16 is not tried in a whole step where a matrix product alone is this many times slower than in fp32."""


class Combination(NamedTuple):
    """What is chosen together."""

    dtype: str
    matmul: str
    attention: str


class Choice(NamedTuple):
    """The combination chosen, and the median seconds of a probe step for all that were tried."""

    chosen: Combination
    seconds: dict[Combination, float]

    def __str__(self) -> str:
        best = self.chosen
        text = f"{best.dtype}, matrix products {best.matmul}, {best.attention} attention"
        if len(self.seconds) < 2:
            return text
        slowest = max(self.seconds, key=lambda c: self.seconds[c])
        ratio = self.seconds[slowest] / self.seconds[best]
        return f"{text} ({ratio:.2f}x as fast as the slowest of {len(self.seconds)} tried: {', '.join(slowest)})"


def choose(model: nn.Module, batch: Batch, config: TrainConfig, *, budget: float = 3.0) -> Choice:
    """Measure, unless nothing is left to choose."""
    began = time.perf_counter()
    combinations = candidates(model, config)
    if len(combinations) == 1:
        return Choice(combinations[0], {})
    before = implementations(model)
    with matmul_precision(None):
        try:
            num = fitting(model, batch, combinations[0], budget=budget / (len(combinations) * ROUNDS + 2))
            seconds, _ = within_memory(
                lambda size: measure(model, select_samples(batch, 0, size), combinations, deadline=began + budget),
                min(num, config.micro_batch_size or num),
                lambda _: None,
            )
        finally:
            for module, implementation in before:
                module.implementation = implementation
            model.zero_grad(set_to_none=True)
    fastest = min(seconds.values())
    chosen = next(c for c in combinations if c in seconds and seconds[c] <= AS_FAST * fastest)
    return Choice(chosen, seconds)


def candidates(model: nn.Module, config: TrainConfig) -> list[Combination]:
    """All allowed combinations, the most exact and plainest first."""
    device = device_of(model)
    dtypes = [config.dtype] if config.dtype != "auto" else ["fp32", *(["bf16"] if bf16_is_usable(device) else [])]
    matmuls = [config.matmul] if config.matmul != "auto" else ["highest", "medium"]
    attentions = [config.attention] if config.attention != "auto" else ["fused", "math"]
    if config.attention == "auto" and not implementations(model):
        attentions = ["fused"]
    both = [Combination(*c) for c in product(dtypes, matmuls, attentions)]
    # beside bf16 products the precision of fp32 products hardly matters: one of them is enough
    return [c for c in both if c.dtype == "fp32" or c.matmul == matmuls[0]]


def bf16_is_usable(device: torch.device, size: int = 256) -> bool:
    """Whether a small product in bf16 is not much slower than in fp32."""

    def seconds(dtype: torch.dtype) -> float:
        values = torch.ones(size, size, device=device, dtype=dtype)
        times = []
        for _ in range(3):
            times.append(timed(lambda: values @ values, device))
            if times[-1] > 0.05:
                break
        return min(times)

    try:
        return seconds(torch.bfloat16) < MAX_SLOWDOWN * seconds(torch.float32)
    except RuntimeError:  # a device without bf16
        return False


def measure(
    model: nn.Module, batch: Batch, combinations: Sequence[Combination], *, deadline: float
) -> dict[Combination, float]:
    """Median seconds of a step, the combinations taking turns so that a busy moment falls on all of them."""
    times: dict[Combination, list[float]] = {}
    for round_number in range(ROUNDS):
        for combination in combinations:
            if round_number and time.perf_counter() > deadline:
                break
            times.setdefault(combination, []).append(step_seconds(model, batch, combination))
    return {c: statistics.median(values[1:] or values) for c, values in times.items()}


def fitting(model: nn.Module, batch: Batch, combination: Combination, *, budget: float) -> int:
    """How many of the batch's samples a step of `budget` seconds can take."""

    def each(num_samples: int) -> float:
        few = select_samples(batch, 0, num_samples)
        return min(step_seconds(model, few, combination) for _ in range(2)) / num_samples

    seconds, _ = within_memory(each, min(4, len(batch)), lambda _: None)
    return max(1, min(len(batch), int(budget / seconds)))


def step_seconds(model: nn.Module, batch: Batch, combination: Combination) -> float:
    """One forward and backward pass."""
    set_attention(model, "math" if combination.attention == "math" else "fused")
    torch.set_float32_matmul_precision(combination.matmul)
    model.zero_grad(set_to_none=True)

    def step() -> object:
        return forward_backward(model, batch, micro_batch_size=len(batch), dtype=combination.dtype, label_smoothing=0.0)

    return timed(step, device_of(model))


def timed(action: Callable[[], object], device: torch.device) -> float:
    """The seconds of `action()`, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def implementations(model: nn.Module) -> list[tuple[Attention, Implementation]]:
    """Every attention of the model with the implementation it uses."""
    return [(m, m.implementation) for m in model.modules() if isinstance(m, Attention)]


@contextmanager
def matmul_precision(precision: str | None) -> Iterator[None]:
    """PyTorch's precision of fp32 matrix products inside the block; None = whatever the block sets."""
    before = torch.get_float32_matmul_precision()
    try:
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        yield
    finally:
        torch.set_float32_matmul_precision(before)
