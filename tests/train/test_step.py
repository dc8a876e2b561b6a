"""One update: the same loss and gradients however it is cut, no update on what is no number, smaller parts when memory is short."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from train_helpers import random_batch

from plait.config import TrainConfig
from plait.errors import UserError
from plait.train.optimiser import build_optimiser
from plait.train.split import split_batch
from plait.train.step import NonFinite, forward_backward, is_out_of_memory, loss_weight, train_step
from plait.types import IGNORED

CONFIG = TrainConfig(steps=10, dtype="fp32", warmup=0)
FORWARD = {"dtype": "fp32", "label_smoothing": 0.0}


def step(model, optimiser, batch, *, number=1, config=CONFIG, micro=None, said=None):
    """Step `number` on a batch."""
    said = [] if said is None else said
    return train_step(
        model, optimiser, batch, config, seed=0, step=number, micro_batch_size=micro or len(batch), say=said.append
    )


def gradients(model):
    """A copy of all gradients."""
    return {name: p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("size", [16, 5, 1])
def test_accumulation_equals_one_batch(tiny, batch_of, size):
    batch = batch_of(64)
    whole = forward_backward(tiny, batch, micro_batch_size=64, **FORWARD)
    expected = gradients(tiny)
    tiny.zero_grad()
    parts = forward_backward(tiny, batch, micro_batch_size=size, **FORWARD)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=0)
    for name, gradient in gradients(tiny).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


def test_loss_is_summed_over_the_tokens_of_the_step_and_not_averaged_per_part(tiny, batch_of):
    """Averaging each micro-batch by itself gives short samples more weight; lengths here are uneven, so it would show."""
    batch = batch_of(8)
    losses = tiny.token_losses(batch)
    weights = (batch.targets != IGNORED) * batch.weights[:, None]
    found = forward_backward(tiny, batch, micro_batch_size=2, **FORWARD)
    torch.testing.assert_close(found, ((losses * weights).sum() / weights.sum()).detach())
    assert float(loss_weight(batch)) == pytest.approx(float(weights.sum()))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 5))
def test_split_keeps_every_scored_token(num, size, seed):
    batch = random_batch(num, seed=seed)
    parts = list(split_batch(batch, size))
    assert [i for part in parts for i in part.ids] == list(batch.ids)
    assert all(len(part) <= size for part in parts)
    before = [row[row != IGNORED].tolist() for row in batch.targets]
    after = [row[row != IGNORED].tolist() for part in parts for row in part.targets]
    assert before == after
    assert sum(float(loss_weight(part)) for part in parts) == pytest.approx(float(loss_weight(batch)), rel=1e-5)


def test_draws_follow_from_the_step_alone(tiny, batch_of):
    other = copy.deepcopy(tiny)
    first = step(tiny, build_optimiser(tiny, CONFIG), batch_of(8), number=4)
    torch.manual_seed(999)
    torch.rand(7)
    again = step(other, build_optimiser(other, CONFIG), batch_of(8), number=4)
    assert first == again
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_stops_before_an_update_on_a_loss_that_is_no_number(tiny, batch_of, value):
    batch = batch_of(6)
    batch = type(batch)(("s0", "s1", "poison", "s3", "s4", "s5"), *list(vars(batch).values())[1:])
    tiny.poison = value
    before = copy.deepcopy(tiny.state_dict())
    optimiser = build_optimiser(tiny, CONFIG)
    with pytest.raises(NonFinite, match=r"step 7: the loss is (nan|inf).*Samples: poison") as caught:
        step(tiny, optimiser, batch, number=7, micro=2)
    assert caught.value.ids == ("poison",)
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())
    assert not optimiser.state


def test_stops_before_an_update_on_a_gradient_that_is_no_number(tiny, batch_of):
    tiny.head.weight.register_hook(lambda gradient: gradient * math.nan)
    before = copy.deepcopy(tiny.state_dict())
    with pytest.raises(NonFinite, match=r"gradient's norm is nan.*s0, s1, s2") as caught:
        step(tiny, build_optimiser(tiny, CONFIG), batch_of(3))
    assert caught.value.ids == ("s0", "s1", "s2")
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_halves_the_batch_when_memory_is_short(tiny, batch_of, error):
    """A part of more than three samples does not fit: 12 → 6 → 3, with the gradients of one batch of 12."""
    assert is_out_of_memory(error)
    batch, reference = batch_of(12), copy.deepcopy(tiny)
    plain = tiny.loss

    def scarce(batch, label_smoothing=0.0):
        if len(batch) > 3:
            raise error
        return plain(batch, label_smoothing)

    tiny.loss, said = scarce, []
    result = step(tiny, build_optimiser(tiny, CONFIG), batch, said=said)
    expected = step(reference, build_optimiser(reference, CONFIG), batch, micro=3)
    assert result == expected
    assert result.micro_batch_size == 3
    assert [line for line in said if "out of memory" in line] == said
    assert "micro-batches of 6" in said[0]
    assert "micro-batches of 3" in said[1]
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), reference.parameters(), strict=True))


def test_out_of_memory_with_one_sample_is_the_users_to_mend(tiny, batch_of):
    def never(batch, label_smoothing=0.0):
        raise MemoryError

    tiny.loss = never
    with pytest.raises(UserError, match="out of memory with a single sample"):
        step(tiny, build_optimiser(tiny, CONFIG), batch_of(4))


def test_an_update_that_does_not_fit_is_tried_again(tiny, batch_of, monkeypatch):
    """Previously the optimiser's step stood outside of the guard: a traceback at the first update, when its state is made."""
    reference, said = copy.deepcopy(tiny), []
    real, calls = torch.zeros_like, []

    def scarce(*words, **named):
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*words, **named)

    monkeypatch.setattr(torch, "zeros_like", scarce)
    batch, plain = batch_of(4), build_optimiser(reference, CONFIG)
    first = step(tiny, build_optimiser(tiny, CONFIG), batch, said=said)
    monkeypatch.undo()
    expected = step(reference, plain, batch)
    assert len(calls) > 2
    assert len(said) == 1
    assert first == expected._replace(micro_batch_size=first.micro_batch_size)
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), reference.parameters(), strict=True))


def test_an_update_that_broke_off_in_the_middle_is_not_repeated(tiny, batch_of):
    """A second try would apply half of it twice."""
    optimiser = build_optimiser(tiny, CONFIG)

    def half():
        with torch.no_grad():
            next(tiny.parameters()).add_(1.0)
        raise torch.OutOfMemoryError("CUDA out of memory")

    optimiser.step = half
    with pytest.raises(UserError, match=r"out of memory in the middle of an update.*--resume"):
        step(tiny, optimiser, batch_of(4))


def test_an_update_that_never_fits_is_the_users_to_mend(tiny, batch_of):
    optimiser = build_optimiser(tiny, CONFIG)

    def never():
        raise MemoryError

    optimiser.step = never
    with pytest.raises(UserError, match="out of memory with a single sample"):
        step(tiny, optimiser, batch_of(4))


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny, batch_of):
    def broken(batch, label_smoothing=0.0):
        raise RuntimeError("shapes do not fit")

    tiny.loss = broken
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        step(tiny, build_optimiser(tiny, CONFIG), batch_of(4))


def test_clipping_bounds_the_gradient_and_reports_its_norm_before(tiny, batch_of):
    config = CONFIG.model_copy(update={"clip": 1e-3})
    result = step(tiny, build_optimiser(tiny, config), batch_of(6), config=config)
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in tiny.parameters()))
    assert result.gradient_norm > 1e-3
    assert norm == pytest.approx(1e-3, rel=1e-3)


def test_bf16_keeps_parameters_in_fp32(tiny, batch_of):
    config = CONFIG.model_copy(update={"dtype": "bf16"})
    step(tiny, build_optimiser(tiny, config), batch_of(2), config=config)
    assert {p.dtype for p in tiny.parameters()} == {torch.float32}
