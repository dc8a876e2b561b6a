"""Learning rate, AdamW's groups and state, modality dropout."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.config import TrainConfig, make_config
from plait.errors import UserError
from plait.layers import OutputHead
from plait.train.dropout import drop_modalities, is_dropped
from plait.train.optimiser import (
    build_optimiser,
    decayed,
    load_optimiser,
    matrices,
    optimiser_tensors,
    orthogonal,
)
from plait.train.schedule import learning_rate
from plait.types import Batch, Items


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.floats(0, 0.99) | st.integers(0, 600), st.just(0.0) | st.floats(1e-6, 1))
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


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_optimiser_state_goes_through_a_file_bit_for_bit(tiny, batch_of, tmp_path, optimiser):
    from safetensors.torch import load_file

    from plait.run import save_tensors

    config = TrainConfig(optimiser=optimiser)

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


def test_muon_takes_hidden_matrices_only():
    net = torch.nn.ModuleDict(
        {
            "linear": torch.nn.Linear(4, 6),
            "convolution": torch.nn.Conv2d(3, 5, 3),
            "embedding": torch.nn.Embedding(7, 4),
            "norm": torch.nn.LayerNorm(4),
            "rnn": torch.nn.LSTM(4, 4),
            "head": OutputHead(4, 7),
            "frozen": torch.nn.Linear(4, 4).requires_grad_(False),
        }
    )
    assert matrices(net) == ["linear.weight", "convolution.weight"]
    tied = torch.nn.ModuleDict({"embedding": torch.nn.Embedding(7, 4), "linear": torch.nn.Linear(4, 7)})
    tied["linear"].weight = tied["embedding"].weight
    assert matrices(tied) == []


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 40), (2, 40, 16)])
def test_orthogonal_brings_singular_values_near_one_and_keeps_the_directions(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(values, full_matrices=False)
    turned = orthogonal(values)
    assert torch.linalg.svdvals(turned).min() > 0.3
    assert torch.linalg.svdvals(turned).max() < 1.3
    inner = u.transpose(1, 2) @ turned @ v.transpose(1, 2)
    assert (inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))).abs().max() < 1e-4


def test_muon_is_its_formula_and_the_rest_is_adamw():
    torch.manual_seed(0)
    net, same = torch.nn.Linear(5, 3).double(), torch.nn.Linear(5, 3).double()
    same.load_state_dict(net.state_dict())
    config = TrainConfig(optimiser="muon", learning_rate=0.01, weight_decay=0.1)
    muon, adamw = build_optimiser(net, config), build_optimiser(same, config.model_copy(update={"optimiser": "adamw"}))
    weight, momentum = net.weight.detach().clone(), torch.zeros(3, 5, dtype=torch.float64)
    for seed in range(3):
        inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed)).double()
        for model, optimiser in ((net, muon), (same, adamw)):
            optimiser.zero_grad()
            model(inputs).sin().sum().backward()
        same.bias.grad.copy_(net.bias.grad)
        momentum = 0.95 * momentum + 0.05 * net.weight.grad
        x = 0.05 * net.weight.grad + 0.95 * momentum
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        weight = (1 - 0.01 * 0.1) * weight - 0.01 * 0.2 * 5**0.5 * x
        muon.step()
        adamw.step()
        torch.testing.assert_close(net.weight.detach(), weight, rtol=1e-10, atol=1e-12)
        assert torch.equal(net.bias, same.bias)


def test_a_state_of_another_model_is_refused(tiny):
    with pytest.raises(UserError, match=r"state for 'gone'"):
        load_optimiser(tiny, build_optimiser(tiny, TrainConfig()), {"gone.exp_avg": torch.zeros(2)})


def test_dropout_depends_on_the_sample_and_not_on_its_batch(batch_of):
    batch = batch_of(12)
    dropped = drop_modalities(batch, {"text": 0.5}, seed=3, step=8)
    index = dropped.inputs["text"].index
    for place, sample_id in enumerate(batch.ids):
        gone = is_dropped(0.5, seed=3, step=8, sample_id=sample_id, modality="text")
        expected = -torch.ones(1, dtype=torch.long) if gone else batch.inputs["text"].index[place]
        assert torch.equal(index[place], expected)
    assert torch.equal(batch.inputs["text"].index, batch_of(12).inputs["text"].index)


@pytest.mark.parametrize("chance", [0.0, 0.25, 1.0])
def test_dropout_has_its_chance(chance):
    draws = [
        is_dropped(chance, seed=0, step=s, sample_id=f"{i}", modality="image") for s in range(40) for i in range(100)
    ]
    assert sum(draws) / len(draws) == pytest.approx(chance, abs=0.03)


def test_subsets_are_drawn_evenly():
    """Two modalities: each of the four subsets for a quarter of the samples that draw one, the others untouched."""
    ids = tuple(map(str, range(4000)))
    index = torch.arange(4000)[:, None]
    items = Items(torch.zeros(4000, 1), torch.ones(4000, dtype=torch.long), index)
    blank = torch.zeros(4000, 1, dtype=torch.long)
    batch = Batch(ids, {"image": items, "audio": items}, blank, blank, blank, torch.ones(4000))
    dropped = drop_modalities(batch, {}, seed=1, step=5, subset_chance=0.8)
    has = torch.cat([dropped.inputs[m].index >= 0 for m in ("image", "audio")], dim=1).int()
    shares = [float((has == torch.tensor(subset)).all(1).float().mean()) for subset in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert shares == pytest.approx([0.2, 0.2, 0.2, 0.4], abs=0.03)
    assert drop_modalities(batch, {}, seed=1, step=5).inputs["image"] is items


def test_which_inputs_training_never_leaves_out():
    """Previously one dropped input stood for all: nothing was said of asking without one that was always there."""
    tree = {"data": {"manifest": "m", "inputs": ["text", "image"]}}

    def of(**parts):
        return make_config({**tree, **parts})

    both = ("text", "image")
    assert of().never_missing(both) == both
    one = of(train={"modality_dropout": {"image": 0.3}})
    assert one.never_missing(both) == ("text",)
    assert not one.sees_subsets
    assert of(train={"modality_dropout": {"image": 0.3, "text": 0.1}}).sees_subsets
    assert of(train={"modality_subsets": 0.1}).sees_subsets
    points = {"kind": "dropout_schedule", "points": {"image": [[0.0, 0.5]]}}
    assert of(balance=points).never_missing(both) == ("text",)
    assert not of(balance=points).sees_subsets
    assert of(balance="mmpareto").sees_subsets
    assert not TrainConfig(modality_dropout={"image": 0.3}).sees_subsets


def test_whether_a_run_sees_subsets():
    assert not TrainConfig().sees_subsets
    assert not TrainConfig(modality_dropout={"image": 0.0}).sees_subsets
    assert TrainConfig(modality_dropout=0.1).sees_subsets
    assert TrainConfig(modality_subsets=0.5).sees_subsets
    assert TrainConfig(modality_subsets=0.5, modality_dropout_warmup=10).subset_chance(5) == pytest.approx(0.25)


def test_dropout_chances_by_modality_and_their_warm_up():
    config = TrainConfig(steps=100, modality_dropout={"image": 0.4}, modality_dropout_warmup=0.5)
    assert config.dropout_of("audio", 80) == 0
    assert config.dropout_of("image", 25) == pytest.approx(0.2)
    assert config.dropout_of("image", 90) == pytest.approx(0.4)


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
