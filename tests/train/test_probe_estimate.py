"""Choices by measuring, and the estimate before the first step."""

from __future__ import annotations

import copy
import time

import pytest
import torch
from train_helpers import TinyModel, random_batch

from plait.config import TrainConfig
from plait.layers import Attention, set_attention
from plait.losses import Answer, LossSums
from plait.train import probe as probe_module
from plait.train.estimate import activation_bytes, available_bytes, container_free, estimate, size
from plait.train.probe import Combination, bf16_is_usable, candidates, choose

AUTO = TrainConfig(dtype="auto", matmul="auto", attention="auto")


class Attending(TinyModel):
    """A tiny model that has an attention to choose for."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention(8, 8, 2)


@pytest.fixture
def clock(monkeypatch):
    """Steps that take the seconds said here, without being run."""
    seconds: dict[Combination, float] = {}
    monkeypatch.setattr(probe_module, "bf16_is_usable", lambda _: True)
    monkeypatch.setattr(probe_module, "step_seconds", lambda model, batch, combination: seconds.get(combination, 1.0))
    return seconds


def test_the_fastest_is_chosen(clock):
    clock[Combination("bf16", "highest", "math")] = 0.25
    choice = choose(Attending(), random_batch(8), AUTO)
    assert choice.chosen == Combination("bf16", "highest", "math")
    assert len(choice.seconds) == 6
    assert "4.00x as fast as the slowest of 6 tried" in str(choice)


def test_of_equals_the_most_exact_and_plainest_is_chosen(clock):
    clock[Combination("bf16", "highest", "math")] = 0.98
    clock[Combination("fp32", "medium", "fused")] = 0.975
    assert choose(Attending(), random_batch(8), AUTO).chosen == Combination("fp32", "highest", "fused")


def test_what_the_user_said_is_not_measured(clock):
    config = TrainConfig(dtype="fp32", matmul="medium", attention="math")
    choice = choose(Attending(), random_batch(8), config)
    assert choice == (Combination("fp32", "medium", "math"), {})
    clock[Combination("fp32", "medium", "fused")] = 0.1
    config = config.model_copy(update={"matmul": "auto"})
    assert choose(Attending(), random_batch(8), config).chosen.attention == "math"


def test_a_model_without_attention_has_none_to_choose(clock):
    assert {c.attention for c in candidates(TinyModel(), AUTO)} == {"fused"}
    assert {c.attention for c in candidates(Attending(), AUTO)} == {"fused", "math"}


def test_bf16_is_left_out_where_it_is_slow(monkeypatch):
    def seconds(action, device):
        action()
        return next(times)

    times = iter([0.2, 0.001, 0.001, 0.001])  # the first slow product in bf16 ends the trial at once
    monkeypatch.setattr(probe_module, "timed", seconds)
    assert not bf16_is_usable(torch.device("cpu"), 4)
    times = iter([0.0005] * 3 + [0.001] * 3)
    assert bf16_is_usable(torch.device("cpu"), 4)


def test_measuring_leaves_everything_as_it_was_and_keeps_its_time(monkeypatch):
    monkeypatch.setattr(probe_module, "bf16_is_usable", lambda _: False)
    model = Attending()
    set_attention(model, "math")
    before, precision = copy.deepcopy(model.state_dict()), torch.get_float32_matmul_precision()
    began = time.perf_counter()
    choice = choose(model, random_batch(32), AUTO, budget=0.5)
    assert time.perf_counter() - began < 10  # only against a runaway: the machine may be busy
    assert set(choice.seconds) == set(candidates(model, AUTO))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert model.attention.implementation == "math"
    assert torch.get_float32_matmul_precision() == precision


def test_measuring_goes_on_with_fewer_samples_when_memory_is_short(monkeypatch):
    real = probe_module.forward_backward

    def scarce(model, batch, **named):
        if len(batch) > 2:
            raise MemoryError
        return real(model, batch, **named)

    monkeypatch.setattr(probe_module, "bf16_is_usable", lambda _: False)
    monkeypatch.setattr(probe_module, "forward_backward", scarce)
    assert choose(Attending(), random_batch(16), AUTO, budget=0.2).seconds


def test_activations_are_what_the_backward_pass_needs():
    """By hand: two matrix products keep the input of each, and relu keeps its output, which is the second input."""

    class TwoProducts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(10, 20, bias=False), torch.nn.Linear(20, 5, bias=False)

        def forward(self, batch, ask):
            total = self.second(torch.relu(self.first(inputs))).sum()
            return Answer(LossSums(total, total.detach(), 7, torch.zeros(())))

    inputs = torch.ones(7, 10)
    assert activation_bytes(TwoProducts(), random_batch(7), dtype="fp32") == 4 * (7 * 10 + 7 * 20)


def test_the_estimate_scales_to_the_micro_batch():
    model = TinyModel()
    batch = random_batch(64)
    config = TrainConfig(steps=100, batch_size=64, dtype="fp32")
    whole = estimate(model, batch, config, micro_batch_size=64)
    part = estimate(model, batch, config, micro_batch_size=16)
    num = sum(p.numel() for p in model.parameters())
    assert (whole.parameters, whole.gradients, whole.optimiser) == (4 * num, 4 * num, 8 * num)
    assert whole.activations == pytest.approx(4 * part.activations, rel=0.01)
    assert whole.seconds_per_step > 0
    assert "100 steps" in str(whole)
    assert all(p.grad is None for p in model.parameters())


def test_the_estimate_says_when_it_is_too_much():
    model = TinyModel()
    found = estimate(model, random_batch(4), TrainConfig(dtype="fp32"), micro_batch_size=4)
    assert "set train.micro_batch_size lower" in str(found._replace(available=1000))
    assert "set train.micro_batch_size lower" not in str(found._replace(available=10**12))
    assert "free" not in str(found._replace(available=None))


def test_free_memory(tmp_path):
    free = available_bytes(torch.device("cpu"))
    assert free is None or free > 0
    assert container_free(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    assert container_free(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n", encoding="utf-8")
    (tmp_path / "memory.current").write_text("300\n", encoding="utf-8")
    assert container_free(tmp_path) == 700
    assert (size(1_234_567), size(2_300_000_000)) == ("1.2 MB", "2.3 GB")
