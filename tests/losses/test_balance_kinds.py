"""Each kind of balance against its formula, written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from balance_helpers import balance_of, one_step, without
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.config import make_config
from plait.data.plan import labels_of, loss_weights, sampling_probabilities
from plait.errors import UserError
from plait.losses.alone import alone_losses, measure_alone
from plait.losses.dropout_schedule import on_line
from plait.losses.mmpareto import combine, min_norm
from plait.losses.ogm_ge import factors
from plait.losses.targeted_augmentation import DECAY, TargetedAugmentation, hide
from plait.model import Model
from plait.train.dropout import drop_modalities
from plait.train.split import split_batch
from plait.types import IGNORED, Batch, Sample
from tiny_model import SUBSETS, make_batch, make_model, make_tokenizer, rows_of

IMAGE, AUDIO, TEXT = "image", "audio", "text"


@pytest.fixture(scope="module")
def model() -> Model:
    """Text, image and audio; nothing in it drops out."""
    return make_model(make_tokenizer())


@pytest.fixture(scope="module")
def batch() -> Batch:
    """A sample of every subset."""
    return make_batch(make_tokenizer())


def of_alone(model: Model, batch: Batch, modality: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ loss and Σ tokens by the model's own loss: the samples that have it, the other inputs taken away."""
    rows = (batch.inputs[modality].index >= 0).any(dim=1).nonzero()[:, 0].tolist()
    part = rows_of(without(batch, *(m for m in batch.inputs if m is not modality)), rows)
    sums = model.loss(part)
    return sums.total, sums.weight


# --- the loss alone ------------------------------------------------------------------------------------------------------


def test_the_loss_alone_is_that_of_the_samples_without_their_other_inputs(model: Model, batch: Batch):
    found = alone_losses(model, model.encode(batch.inputs, len(batch)), batch)
    assert list(found) == [TEXT, IMAGE, AUDIO]
    for modality, one in found.items():
        total, weight = of_alone(model, batch, modality)
        torch.testing.assert_close(one.total, total, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(one.weight, weight)
    both, expected = (
        measure_alone(model, list(split_batch(batch, 3)), seed=1),
        {m: one.detached() for m, one in found.items()},
    )
    assert both == pytest.approx({m: float(one.total / one.weight) for m, one in expected.items()}, rel=1e-5)


def test_likelihood_is_the_mean_probability_of_the_targets_whatever_the_smoothing(model: Model, batch: Batch):
    features = model.encode(batch.inputs, len(batch))
    plain, smooth = (alone_losses(model, features, batch, label_smoothing=s)[AUDIO] for s in (0.0, 0.2))
    assert torch.equal(plain.likelihood, smooth.likelihood)
    assert not torch.equal(plain.total, smooth.total)
    rows = [row for row, subset in enumerate(SUBSETS) if subset[2]]
    part = rows_of(without(batch, TEXT, IMAGE), rows)
    p = F.softmax(model.lm.logits(model.states(part)), dim=-1)
    scored = part.targets != IGNORED
    expected = p[scored].gather(1, part.targets[scored][:, None]).sum()
    torch.testing.assert_close(plain.likelihood, expected, rtol=1e-5, atol=1e-6)


def test_measuring_changes_no_draw(model: Model, batch: Batch):
    torch.manual_seed(5)
    before = torch.rand(3)
    torch.manual_seed(5)
    measure_alone(model, [batch], seed=9)
    assert torch.equal(before, torch.rand(3))
    assert all(p.grad is None for p in model.parameters())


# --- unimodal ------------------------------------------------------------------------------------------------------------


def test_unimodal_adds_the_gradients_of_the_losses_alone(model: Model, batch: Batch):
    _, _, found = one_step(model, batch, "unimodal", weight=0.7)
    model.zero_grad(set_to_none=True)
    weight = model.token_weights(batch).sum()
    total = model.loss(batch).total + 0.7 * sum(of_alone(model, batch, m)[0] for m in batch.inputs)
    (total / weight).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-4 * scale + 1e-7, msg=name)
    model.zero_grad(set_to_none=True)


# --- OGM-GE --------------------------------------------------------------------------------------------------------------


def test_two_modalities_have_the_factors_of_the_paper():
    """Equation 10 of arXiv 2203.15332: the one ahead is scaled by 1 − tanh(α ρ), the other is not."""
    found = factors({IMAGE: 0.6, AUDIO: 0.2}, alpha=0.3)
    assert found == {IMAGE: pytest.approx(1 - math.tanh(0.3 * 3.0)), AUDIO: 1.0}


def test_more_modalities_are_held_against_the_mean_of_the_others():
    found = factors({TEXT: 0.3, IMAGE: 0.6, AUDIO: 0.1}, alpha=1.0)
    assert found == {TEXT: 1.0, IMAGE: pytest.approx(1 - math.tanh(0.6 / 0.2)), AUDIO: 1.0}
    assert factors({TEXT: 0.3}, alpha=1.0) == {TEXT: 1.0}
    assert factors({TEXT: 0.3, IMAGE: 0.0}, alpha=1.0)[TEXT] == 1.0


def test_ogm_ge_without_effect_is_no_balance_bit_for_bit(model: Model, batch: Batch):
    plain, same = one_step(model, batch)[2], one_step(model, batch, "ogm_ge", alpha=0.0, noise=0.0)[2]
    assert all(torch.equal(same[name], gradient) for name, gradient in plain.items())
    late = one_step(model, batch, "ogm_ge", step=6, until=0.5)[2]
    assert all(torch.equal(late[name], gradient) for name, gradient in one_step(model, batch, step=6)[2].items())


def test_ogm_scales_whole_encoders_and_nothing_else(model: Model, batch: Batch):
    plain, scaled = one_step(model, batch)[2], one_step(model, batch, "ogm_ge", alpha=0.2, noise=0.0)[2]
    alone = alone_losses(model, model.encode(batch.inputs, len(batch)), batch)
    expected = factors({m: float((one.likelihood / one.weight).detach()) for m, one in alone.items()}, 0.2)
    assert min(expected.values()) < 1 == max(expected.values())
    for name, gradient in plain.items():
        factor = expected[name.split(".")[1].removeprefix("input_")] if name.startswith("encoders.") else 1.0
        torch.testing.assert_close(scaled[name], gradient * factor, rtol=1e-5, atol=1e-9)


def test_the_noise_is_as_large_as_the_gradient_and_spares_word_vectors(model: Model, batch: Batch):
    plain = one_step(model, batch, "ogm_ge", noise=0.0)[2]
    noisy = one_step(model, batch, "ogm_ge", noise=1.0)[2]
    unscaled = one_step(model, batch)[2]
    touched = {name for name in plain if not torch.equal(plain[name], noisy[name])}
    assert touched
    assert all(name.startswith("encoders.") and unscaled[name].ndim >= 2 for name in touched)
    assert "encoders.input_text.embedding.table" in plain
    assert "encoders.input_text.embedding.table" not in touched
    large = max(touched, key=lambda name: plain[name].numel())
    assert float((noisy[large] - plain[large]).std()) == pytest.approx(float(unscaled[large].std()), rel=0.1)


# --- MMPareto ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4), st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_min_norm_is_the_shortest_of_all_mixtures(x, y):
    x, y = np.array(x), np.array(y)
    share = min_norm(float(x @ x), float(x @ y), float(y @ y))
    shares = np.linspace(0, 1, 2001)
    lengths = np.linalg.norm(shares[:, None] * x + (1 - shares[:, None]) * y, axis=1)
    assert 0 <= share <= 1
    assert np.linalg.norm(share * x + (1 - share) * y) <= lengths.min() + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(-1.0, 1.0))
def test_the_combined_gradient_serves_both_losses_and_is_long_enough(seed, pull):
    draw = torch.Generator().manual_seed(seed)
    joint = [torch.randn(3, 2, generator=draw), torch.randn(5, generator=draw)]
    own = [
        torch.randn(3, 2, generator=draw) + 2 * pull * joint[0],
        torch.randn(5, generator=draw) + 2 * pull * joint[1],
    ]
    found, cosine = combine(joint, own, scale=1.5)
    flat_joint, flat_own, mixed = (torch.cat([part.flatten() for part in parts]) for parts in (joint, own, found))
    assert cosine == pytest.approx(float(F.cosine_similarity(flat_joint, flat_own, dim=0)), abs=1e-5)
    assert float(mixed @ flat_joint) >= -1e-4
    assert float(mixed @ flat_own) >= -1e-4
    assert float(mixed.norm()) >= 1.5 * float((flat_joint + flat_own).norm()) * (1 - 1e-5)
    if cosine > 0:
        torch.testing.assert_close(mixed, 1.5 * (flat_joint + flat_own))


def test_mmpareto_gives_the_rest_of_the_model_all_losses_and_each_encoder_its_mixture(model: Model, batch: Batch):
    _, _, found = one_step(model, batch, "mmpareto", scale=1.5)
    weight = model.token_weights(batch).sum()

    def gradients(loss: torch.Tensor) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        (loss / weight).backward()
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}

    joint = gradients(model.loss(batch).total)
    own = gradients(sum((of_alone(model, batch, m)[0] for m in batch.inputs), torch.zeros(())))
    model.zero_grad(set_to_none=True)
    for part in ("encoders.input_text.", "encoders.input_image.", "encoders.input_audio.", "fusion.", "lm."):
        names = [name for name in found if name.startswith(part)]
        expected = [joint[name] + own[name] for name in names]
        if part.startswith("encoders."):
            expected, _ = combine([joint[name] for name in names], [own[name] for name in names], scale=1.5)
        for name, gradient in zip(names, expected, strict=True):
            scale = float(gradient.abs().max())
            torch.testing.assert_close(found[name], gradient, rtol=1e-2, atol=1e-3 * scale + 1e-7, msg=name)


# --- dropout schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("share", "chance"), [(0.0, 0.5), (0.1, 0.5), (0.2, 0.5), (0.35, 0.35), (0.5, 0.2), (0.8, 0.2), (1.0, 0.2)]
)
def test_a_schedule_is_linear_between_its_points_and_level_outside(share: float, chance: float):
    assert on_line(((0.2, 0.5), (0.5, 0.2)), share) == pytest.approx(chance)


def test_a_level_schedule_is_the_option_of_train_draw_for_draw(batch: Batch):
    balance = balance_of("dropout_schedule", points={"audio": [[0, 0.4]]}).build(
        make_model(make_tokenizer()), steps=10, seed=0
    )
    assert balance.dropout_of(IMAGE, 3) is None
    chances = {AUDIO: balance.dropout_of(AUDIO, 3) or 0.0}
    one, other = (drop_modalities(batch, c, seed=1, step=3) for c in (chances, {AUDIO: 0.4}))
    assert torch.equal(one.inputs[AUDIO].index, other.inputs[AUDIO].index)


def test_what_a_schedule_says_is_what_the_run_says():
    tree = {"data": {"manifest": "m"}, "balance": {"kind": "dropout_schedule", "points": {"audio": [[0, 0.6], [1, 0]]}}}
    config = make_config(tree)
    assert not config.sees_subsets  # the picture, for one, is never missing
    alone = make_config({**tree, "data": {"manifest": "m", "inputs": ["audio"]}})
    assert alone.sees_subsets
    assert config.highest_dropout(AUDIO) == 0.6
    assert config.highest_dropout(IMAGE) == 0.0
    assert not make_config({"data": {"manifest": "m"}}).sees_subsets
    assert make_config({"data": {"manifest": "m"}, "balance": "mmpareto"}).sees_subsets


@pytest.mark.parametrize(
    ("balance", "other", "message"),
    [
        ("unimdal", {}, "Did you mean 'unimodal'"),
        ({"kind": "unimodal", "weigth": 1}, {}, "Did you mean 'weight'"),
        ({"kind": "unimodal", "weight": 0}, {}, "balance.weight"),
        ({"kind": "dropout_schedule", "points": [[0.5, 1], [0.5, 0]]}, {}, "must rise"),
        ({"kind": "dropout_schedule", "points": [[0.5, 1.5]]}, {}, "balance.points"),
        ({"kind": "dropout_schedule", "points": []}, {}, "balance.points"),
        ("dropout_schedule", {"train": {"modality_dropout": {"audio": 0.1}}}, "how often audio is dropped as well"),
        ("temperature_sampling", {}, "name one of: a group .*, a tag, a segment"),
        ({"kind": "inverse_frequency", "tag": "a", "group": "b"}, {}, "name one of"),
        (
            {"kind": "temperature_sampling", "tag": "a"},
            {"data": {"manifest": "m", "sampling": {"group": "g"}}},
            "data.sampling",
        ),
        (
            {"kind": "inverse_frequency", "tag": "a"},
            {"data": {"manifest": "m", "weights": {"group": "g", "inverse_frequency": True}}},
            "data.weights",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(balance, other, message: str):
    with pytest.raises(UserError, match=message):
        make_config({"data": {"manifest": "m"}, "balance": balance, **other})


# --- sampling and weights ------------------------------------------------------------------------------------------------


def test_temperature_and_inverse_frequency_are_those_of_the_data_section():
    samples = [Sample(f"s{n}", "train", tags={"kind": "rare" if n % 10 == 0 else "usual"}) for n in range(100)]
    data = make_config({"data": {"manifest": "m"}}).data
    drawn = balance_of("temperature_sampling", tag="kind", temperature=2.0).data_of(data).sampling
    assert drawn is not None
    labels = labels_of(samples, drawn)
    p = sampling_probabilities(labels, drawn)
    rare = p[np.array(labels) == "rare"].sum()
    assert rare == pytest.approx(math.sqrt(10) / (math.sqrt(10) + math.sqrt(90)))
    weighed = balance_of("inverse_frequency", tag="kind").data_of(data).weights
    assert weighed is not None
    weights = loss_weights(labels_of(samples, weighed), weighed)
    assert weights[np.array(labels) == "rare"].sum() == pytest.approx(weights.sum() / 2)
    assert weights.mean() == pytest.approx(1)
    with pytest.raises(UserError, match=r"no tag 'knd'. Did you mean 'kind'"):
        labels_of(samples, drawn.model_copy(update={"tag": "knd"}))


# --- targeted augmentation -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", [TEXT, IMAGE, AUDIO])
def test_only_the_named_modality_is_hidden_and_only_in_part(batch: Batch, modality: str):
    found = hide(batch, modality, chance=1.0, strength=0.9, seed=2, step=4)
    for other, items in batch.inputs.items():
        assert torch.equal(found.inputs[other].index, items.index)
        same = torch.equal(found.inputs[other].values, items.values) and torch.equal(
            found.inputs[other].lengths, items.lengths
        )
        assert same == (other is not modality)
    hidden, items = found.inputs[modality], batch.inputs[modality]
    for item in range(len(items.lengths)):
        before, after = items.values[item], hidden.values[item]
        length, left = int(items.lengths[item]), int(hidden.lengths[item])
        if modality is TEXT:
            assert 1 <= left <= length
            words = before[:length].tolist()
            for word in after[:left].tolist():
                words = words[words.index(word) + 1 :]  # in their order
        else:
            assert left == length
            share = float((before != after)[: length if modality is AUDIO else None].float().mean())
            assert share <= 0.95
    assert torch.equal(
        hide(batch, modality, chance=0.0, strength=0.9, seed=2, step=4).inputs[modality].values, items.values
    )


def test_what_is_hidden_does_not_depend_on_the_samples_beside_it(batch: Batch):
    rows = [0, 2, 5]
    whole = rows_of(hide(batch, IMAGE, chance=0.7, strength=0.9, seed=2, step=4), rows, share=False)
    part = hide(rows_of(batch, rows, share=False), IMAGE, chance=0.7, strength=0.9, seed=2, step=4)
    assert torch.equal(whole.inputs[IMAGE].values, part.inputs[IMAGE].values)


def test_who_is_ahead_follows_from_running_means():
    balance = TargetedAugmentation(balance_of("targeted_augmentation", margin=0.1, every=3), seed=0, state={})
    assert balance.ahead is None
    assert [step for step in range(1, 9) if balance.asks(step)] == [1, 4, 7]
    balance.hear({IMAGE: 0.5, AUDIO: 0.5})
    assert balance.ahead is None
    for _ in range(3):
        balance.hear({IMAGE: 0.1, AUDIO: 0.6})
    assert balance.state["image"] == pytest.approx(0.1 + 0.4 * DECAY**3)
    assert balance.ahead is IMAGE
    again = TargetedAugmentation(balance.config, seed=0, state=balance.state)
    assert again.ahead is IMAGE
    named = TargetedAugmentation(balance_of("targeted_augmentation", modality="audio"), seed=0, state={})
    assert named.ahead is AUDIO
    assert not named.asks(1)


def test_a_modality_that_the_run_does_not_read_is_refused(model: Model):
    two = make_model(make_tokenizer(), [IMAGE, AUDIO])
    with pytest.raises(UserError, match=r"balance\.modality: the run reads no text"):
        balance_of("targeted_augmentation", modality="text").build(two, steps=3, seed=0)


def test_an_item_of_two_samples_is_hidden_once(batch: Batch):
    items = batch.inputs[IMAGE]
    twice = replace(batch, inputs={**batch.inputs, IMAGE: replace(items, index=torch.zeros_like(items.index))})
    found = hide(twice, IMAGE, chance=1.0, strength=0.9, seed=2, step=4)
    changed = [not torch.equal(a, b) for a, b in zip(items.values, found.inputs[IMAGE].values, strict=True)]
    assert changed == [True] + [False] * (len(changed) - 1)
