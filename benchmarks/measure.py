"""What every benchmark needs: times taken in turns, the machine's peak, and what machine it is.

In: named actions.
Out: seconds of each, GFLOP/s, one line on the hardware and versions.
Invariant: things that are compared are run in turns within one process, on the same threads, and the median is taken.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from plait.environment import hardware

PEAK_SIZE = 2048


def seconds(action: Callable[[], Any]) -> float:
    """How long `action()` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def in_turns(actions: Mapping[str, Callable[[], Any]], repeats: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each action, `repeats` times, the actions taking turns."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + warm_up):
        for name, action in actions.items():
            taken = seconds(action)
            if turn >= warm_up:
                times[name].append(taken)
    return times


def medians(actions: Mapping[str, Callable[[], Any]], repeats: int, *, warm_up: int = 1) -> dict[str, float]:
    """Median seconds of each action."""
    return {name: statistics.median(times) for name, times in in_turns(actions, repeats, warm_up=warm_up).items()}


def matmul_peak(dtype: torch.dtype, repeats: int = 9) -> float:
    """The fastest of several square matrix products, in FLOP/s: what the machine can do at best."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    times = in_turns({"product": lambda: left @ right}, repeats)["product"]
    return 2 * PEAK_SIZE**3 / min(times)


def num_flops(action: Callable[[], Any]) -> float:
    """Floating-point operations of the matrix products and convolutions of `action()`; with math attention it sees all."""
    with FlopCounterMode(display=False) as counter:
        action()
    return float(counter.get_total_flops())


def machine() -> dict[str, object]:
    """The hardware, and the versions that the figures depend on."""
    versions: dict[str, str | None] = {}
    for package in ("torch", "transformers", "accelerate", "numpy", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {**hardware(), "versions": versions}
