"""The contrastive loss: its definition written out, which samples and pairs it counts, and that nothing but training sees it."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch

from plait.build import build_model
from plait.config import make_config
from plait.errors import UserError
from plait.losses.links import TARGET, contrast
from plait.model import Model
from plait.types import Batch, Items
from tiny_model import ENCODERS, READ, SEGMENTS, make_batch, make_model, make_tokenizer, rows_of

TOKENIZER = make_tokenizer()
SIDES = [*(m for m in READ), TARGET]
PAIRS = list(combinations(SIDES, 2))


def linked(modalities=READ, **alignment) -> Model:
    """A model with links, every parameter off its first value."""
    return make_model(TOKENIZER, modalities, train={"alignment": {"weight": 1.0, **alignment}})


def found(model: Model, batch: Batch) -> float:
    """The loss of a batch."""
    return float(links_loss(model, batch).detach())


def links_loss(model: Model, batch: Batch) -> torch.Tensor:
    assert model.links is not None
    return model.links(model.encode(batch.inputs, len(batch)), batch, model.lm.embedding)


@torch.no_grad()
def longhand(model: Model, batch: Batch) -> float:
    """Sample by sample: −log of the softmax over those that share neither side, both directions, mean over pairs, times weight."""
    links = model.links
    assert links is not None
    features = model.encode(batch.inputs, len(batch))
    vectors: dict[str, dict[int, torch.Tensor]] = {side: {} for side in links.sides}
    names: dict[str, dict[int, object]] = {side: {} for side in links.sides}
    for row in range(len(batch)):
        for m in model.modalities:
            real = features[m].values[row][features[m].mask[row]]
            if len(real):
                projected = links.projections[m](real.mean(0))
                vectors[m][row] = projected / projected.norm()
                items = batch.inputs[m]
                numbers = [int(i) for i in items.index[row] if i >= 0]
                names[m][row] = sorted(int(items.sources[i]) if items.sources is not None else i for i in numbers)
        words = [
            int(token)
            for token, segment in zip(batch.targets[row], batch.segments[row], strict=True)
            if segment >= 0 and token != TOKENIZER.end_id and links.segment in (None, int(segment))
        ]
        if words:
            projected = links.projections[TARGET](model.lm.embedding(torch.tensor(words)).mean(0))
            vectors[TARGET][row], names[TARGET][row] = projected / projected.norm(), sorted(words)
    total, scale = 0.0, math.exp(float(links.log_scale))
    pairs = list(combinations(links.sides, 2))
    for a, b in pairs:
        rows = [r for r in range(len(batch)) if r in vectors[a] and r in vectors[b]]
        for own in rows if len(rows) >= 2 else []:
            others = [r for r in rows if r == own or (names[a][r] != names[a][own] and names[b][r] != names[b][own])]
            for one, other in ((a, b), (b, a)):
                scores = torch.stack([scale * vectors[one][own] @ vectors[other][r] for r in others])
                total -= float(scores.log_softmax(0)[others.index(own)]) / 2 * float(batch.weights[own])
    return links.weight * total / len(pairs)


@pytest.mark.parametrize("segment", [None, *SEGMENTS])
def test_the_loss_is_its_definition(segment):
    model, batch = linked(segment=segment, weight=0.3), make_batch(TOKENIZER)
    weighted = replace(batch, weights=torch.arange(1.0, len(batch) + 1))
    expected = longhand(model, weighted)
    assert expected > 0
    assert found(model, weighted) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("one", READ)
def test_the_loss_of_each_single_modality_and_the_target_is_its_definition(one):
    model, batch = linked((one,)), make_batch(TOKENIZER)
    assert found(model, batch) == pytest.approx(longhand(model, batch), rel=1e-4)


@torch.no_grad()
def test_it_depends_on_no_order():
    model, batch = linked(), make_batch(TOKENIZER)
    expected = found(model, batch)
    assert found(model, rows_of(batch, [5, 2, 7, 0, 1, 6, 3, 4])) == pytest.approx(expected, rel=1e-5)
    assert found(model, rows_of(batch, list(range(8)), share=False)) == pytest.approx(expected, rel=1e-5)
    turned = replace(batch, inputs=dict(reversed(batch.inputs.items())))
    assert found(model, turned) == pytest.approx(expected, rel=1e-5)


def test_a_pair_is_symmetric():
    one, other = torch.randn(2, 6, 4)
    same = torch.eye(6, dtype=torch.bool)
    scale = torch.tensor(3.0)
    torch.testing.assert_close(
        contrast(one, other, same=same, scale=scale), contrast(other, one, same=same, scale=scale)
    )


def test_chance_is_the_logarithm_of_the_number_of_samples_and_perfection_is_nothing():
    alike, own = torch.ones(5, 4) / 2, torch.eye(5)
    none = torch.eye(5, dtype=torch.bool)
    chance = contrast(alike, alike, same=none, scale=torch.tensor(9.0))
    torch.testing.assert_close(chance, torch.full((5,), math.log(5)))
    assert contrast(own, own, same=none, scale=torch.tensor(100.0)).max() < 1e-6


@torch.no_grad()
def test_a_repeated_sample_is_no_wrong_answer_for_itself():
    model, batch = linked(), make_batch(TOKENIZER)
    rows = [0, 1, 2, 4]
    once, twice = found(model, rows_of(batch, rows)), found(model, rows_of(batch, [*rows, *rows]))
    assert twice == pytest.approx(longhand(model, rows_of(batch, [*rows, *rows])), rel=1e-4)
    assert once < twice  # the other repeated samples are twice as many wrong answers, which the sum has twice
    assert found(model, rows_of(batch, [0, 0, 0])) == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_random_changes_of_one_file_are_no_wrong_answers():
    model, batch = linked(("image",)), make_batch(TOKENIZER, [(True, True, True)] * 4)
    items = batch.inputs["image"]
    apart = {m: items for m, items in batch.inputs.items() if m == "image"}
    shared = Items(items.values, items.lengths, items.index, torch.tensor([0, 0, 1, 2]))
    separate, together = replace(batch, inputs=apart), replace(batch, inputs={"image": shared})
    assert found(model, together) < found(model, separate)
    assert found(model, together) == pytest.approx(longhand(model, together), rel=1e-4)
    one = Items(items.values, items.lengths, items.index, torch.zeros(4, dtype=torch.long))
    assert found(model, replace(batch, inputs={"image": one})) == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_the_same_words_are_no_wrong_answers():
    model, batch = linked(("audio",)), make_batch(TOKENIZER, [(True, True, True)] * 5)
    (row,) = batch.targets[:1]
    alike = replace(batch, targets=row.expand_as(batch.targets), segments=batch.segments[:1].expand_as(batch.targets))
    assert found(model, alike) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("rows", [[7], [3, 7], [1, 5]])
@torch.no_grad()
def test_fewer_than_two_samples_with_both_sides_add_nothing(rows):
    """Sample 7 has no input, 3 has text only, 1 and 5 share audio with nobody here."""
    subsets = {7: (False, False, False), 3: (True, False, False), 1: (True, True, False), 5: (False, True, False)}
    batch = make_batch(TOKENIZER, [subsets[row] for row in rows])
    model = linked()
    for place, m in enumerate(READ):
        has = sum(subsets[row][place] for row in rows)
        if has < 2:
            alone = make_model(TOKENIZER, (m,), train={"alignment": {"weight": 1.0}})
            assert found(alone, replace(batch, inputs={m: batch.inputs[m]})) == 0.0
    assert found(model, batch) == pytest.approx(longhand(model, batch), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_pair_of_sides_pulls_on_both_of_its_ends(pair):
    """Samples with exactly these modalities and a target: the gradient reaches their encoders, projections and the words."""
    has = [tuple(m in pair for m in READ)] * 4
    model, batch = linked(), make_batch(TOKENIZER, has)
    links_loss(model, batch).backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)}
    sides = {side for side in SIDES if any(n.startswith(f"links.projections.input_{side}.") for n in reached)}
    assert sides == {*pair, TARGET}  # every sample has a target
    for m in READ:
        assert any(n.startswith(f"encoders.input_{m}.") for n in reached) == (m in pair)
    assert {"links.log_scale", "lm.embedding.table"} <= reached


def test_every_parameter_of_encoders_and_links_gets_a_gradient():
    model = linked()
    links_loss(model, make_batch(TOKENIZER)).backward()
    ours = {n: p for n, p in model.named_parameters() if n.startswith(("links.", "encoders."))}
    assert not [n for n, p in ours.items() if p.grad is None or not bool(p.grad.abs().sum() > 0)]


def test_the_temperature_never_lets_scores_grow_by_more_than_a_hundred():
    model = linked()
    assert model.links is not None
    model.links.log_scale.data.fill_(9.0)
    found(model, make_batch(TOKENIZER))
    assert float(model.links.log_scale.detach().exp()) == pytest.approx(100.0)
    first = build({"temperature": 0.07}).links
    assert first is not None
    assert float(first.log_scale.detach().exp()) == pytest.approx(1 / 0.07)


def build(alignment: dict | None) -> Model:
    tree = {"data": {"manifest": "m"}, "width": 16, "encoders": ENCODERS, "lm": {"num_heads": 2}}
    return build_model(make_config({**tree, "train": {"alignment": alignment}}), TOKENIZER, READ).model.eval()


@torch.no_grad()
def test_the_loss_of_a_model_has_it_as_auxiliary_and_nothing_else_changes():
    plain, with_links, batch = build(None), build({"weight": 0.5}), make_batch(TOKENIZER)
    weights = plain.state_dict()
    for name, value in with_links.state_dict().items():
        assert name.startswith("links.") or torch.equal(value, weights[name]), "the first weights are the same"
    a, b = plain.loss(batch), with_links.loss(batch)
    assert torch.equal(a.total, b.total)
    assert float(a.auxiliary) == 0.0
    assert float(b.auxiliary) == pytest.approx(found(with_links, batch))
    assert torch.equal(plain.token_losses(batch), with_links.token_losses(batch))
    assert with_links.num_parameters - plain.num_parameters == 4 * (16 * 16 + 16) + 1


@pytest.mark.parametrize(
    ("alignment", "inputs", "message"),
    [
        ({"segment": "anser"}, READ, r"train\.alignment\.segment: no segment 'anser'\. Did you mean 'answer'"),
        ({}, (), r"train\.alignment: there is no input to link with the target"),
    ],
)
def test_what_cannot_be_linked_is_refused(alignment, inputs, message):
    with pytest.raises(UserError, match=message):
        make_model(TOKENIZER, inputs, train={"alignment": alignment})


@pytest.mark.parametrize(
    "alignment", [{"weight": 0}, {"weight": -1}, {"temperature": 0.001}, {"temperature": 0}, {"wieght": 1}]
)
def test_values_that_make_no_sense_are_refused(alignment):
    with pytest.raises(UserError, match=r"train\.alignment"):
        make_config({"data": {"manifest": "m"}, "train": {"alignment": alignment}})
