"""Learning rate, AdamW's groups and state, modality dropout."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.config import TrainConfig
from plait.errors import UserError
from plait.train.dropout import drop_modalities, is_dropped
from plait.train.optimiser import build_optimiser, decayed, load_optimiser, optimiser_tensors
from plait.train.schedule import learning_rate
from plait.types import Modality


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.floats(0, 0.99) | st.integers(0, 600), st.floats(0, 1))
def test_learning_rate_rises_then_falls(steps, warmup, final):
    config = TrainConfig(steps=steps, warmup=warmup, final_fraction=final, learning_rate=0.5)
    rates = [learning_rate(config, step) for step in range(1, steps + 1)]
    top = min(config.num_steps_of(config.warmup), steps)
    assert all(rate > 0 or final == 0 for rate in rates)
    assert all(rate <= 0.5 * (1 + 1e-12) for rate in rates)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if top < steps:
        assert rates[-1] == pytest.approx(0.5 * final)


def test_norms_biases_and_embeddings_are_not_decayed(tiny):
    yes, no = decayed(tiny)
    assert yes == ["head.weight"]
    assert sorted(no) == ["embedding.weight", "head.bias", "norm.bias", "norm.weight"]
    optimiser = build_optimiser(tiny, TrainConfig(weight_decay=0.3))
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.3, 0.0]


def test_a_model_without_trained_parameters_is_refused(tiny):
    tiny.requires_grad_(False)
    with pytest.raises(UserError, match="no parameter to train"):
        build_optimiser(tiny, TrainConfig())


def test_optimiser_state_goes_through_a_file_bit_for_bit(tiny, batch_of, tmp_path):
    from safetensors.torch import load_file

    from plait.run import save_tensors

    config = TrainConfig()

    def updates(model, optimiser, seeds):
        for seed in seeds:
            optimiser.zero_grad()
            model.loss(batch_of(4, seed=seed)).total.backward()
            optimiser.step()

    optimiser = build_optimiser(tiny, config)
    updates(tiny, optimiser, [1, 2, 3])
    other = copy.deepcopy(tiny)
    save_tensors(optimiser_tensors(tiny, optimiser), tmp_path / "state", {"step": "3"})
    again = build_optimiser(other, config)
    load_optimiser(other, again, load_file(tmp_path / "state"))
    updates(tiny, optimiser, [4, 5])
    updates(other, again, [4, 5])
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), other.parameters(), strict=True))


def test_a_state_of_another_model_is_refused(tiny):
    with pytest.raises(UserError, match=r"state for 'gone'"):
        load_optimiser(tiny, build_optimiser(tiny, TrainConfig()), {"gone.exp_avg": torch.zeros(2)})


def test_dropout_depends_on_the_sample_and_not_on_its_batch(batch_of):
    batch = batch_of(12)
    dropped = drop_modalities(batch, {Modality.TEXT: 0.5}, seed=3, step=8)
    index = dropped.inputs[Modality.TEXT].index
    for place, sample_id in enumerate(batch.ids):
        gone = is_dropped(0.5, seed=3, step=8, sample_id=sample_id, modality=Modality.TEXT)
        expected = -torch.ones(1, dtype=torch.long) if gone else batch.inputs[Modality.TEXT].index[place]
        assert torch.equal(index[place], expected)
    assert torch.equal(batch.inputs[Modality.TEXT].index, batch_of(12).inputs[Modality.TEXT].index)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_dropout_has_its_chance(chance):
    draws = [
        is_dropped(chance, seed=0, step=s, sample_id=f"{i}", modality=Modality.IMAGE)
        for s in range(40)
        for i in range(100)
    ]
    assert sum(draws) / len(draws) == pytest.approx(chance, abs=0.03)


def test_dropout_chances_by_modality_and_their_warm_up():
    config = TrainConfig(steps=100, modality_dropout={"image": 0.4}, modality_dropout_warmup=0.5)
    assert config.dropout_of(Modality.AUDIO, 80) == 0
    assert config.dropout_of(Modality.IMAGE, 25) == pytest.approx(0.2)
    assert config.dropout_of(Modality.IMAGE, 90) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"checkpoint_every": "soon"}, "neither a number of steps nor a time"),
        ({"warmup": 1.5}, "neither a share"),
        ({"micro_batch_size": 65}, "larger than batch_size"),
        ({"patience": 2, "evaluate_every": None}, "patience counts evaluations"),
        ({"modality_dropout": 1.5}, "less than or equal to 1"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)


def test_times_and_steps():
    assert TrainConfig(checkpoint_every="5min").checkpoint_seconds() == 300
    assert TrainConfig(checkpoint_every="40").checkpoint_seconds() is None
    assert TrainConfig(checkpoint_every="40").checkpoint_every == 40
    assert TrainConfig(steps=200, warmup=0.1).num_steps_of(0.1) == 20
    assert TrainConfig(steps=200).num_steps_of(7.0) == 7
