"""The composed model: what a sample scores does not depend on the batch around it."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from plait.fusion import FUSIONS
from plait.model import Model
from plait.types import IGNORED, Batch, Items
from tiny_model import SUBSETS, lm_of, make_batch, make_model, make_tokenizer, rows_of

TOKENIZER = make_tokenizer()
KINDS = [member().kind for member in FUSIONS]
MODELS = ["transformer", "lstm", "gru", "rnn"]
CASES = [*product(KINDS, ["transformer", "lstm"]), ("concat", "gru"), ("prefix", "rnn")]
CASES += product(KINDS, ["window"])


@pytest.fixture(params=CASES, ids="-".join)
def model(request: pytest.FixtureRequest) -> Model:
    """A model of each fusion with language models of both sorts."""
    fusion, lm = request.param
    return make_model(TOKENIZER, fusion={"kind": fusion}, lm=lm_of(lm))


@pytest.fixture
def batch() -> Batch:
    """One sample per subset of the modalities."""
    return make_batch(TOKENIZER)


def close(left: torch.Tensor, right: torch.Tensor) -> None:
    """Equal but for rounding, which depends on batch size and processor (products of three factors: 2e-5 with AVX-512)."""
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_score_does_not_depend_on_the_batch(model: Model, batch: Batch):
    whole = model.token_losses(batch)
    for row in range(len(batch)):
        alone = model.token_losses(rows_of(batch, [row], share=False))
        close(alone[0], whole[row])


@torch.no_grad()
def test_a_score_does_not_depend_on_padding(model: Model, batch: Batch):
    more = torch.full((len(batch), 4), TOKENIZER.pad_id)
    padded = replace(
        batch,
        tokens=torch.cat([batch.tokens, more], 1),
        targets=torch.cat([batch.targets, torch.full_like(more, IGNORED)], 1),
        segments=torch.cat([batch.segments, torch.full_like(more, -1)], 1),
        inputs={m: longer(m, items) for m, items in batch.inputs.items()},
    )
    close(model.token_losses(padded)[:, : batch.tokens.shape[1]], model.token_losses(batch))


def longer(modality: str, items: Items) -> Items:
    """Items with more padding, and one that no sample uses."""
    values = items.values
    if modality != "image":
        values = torch.cat([values, torch.ones_like(values[:, :3])], 1)
    return Items(torch.cat([values, values[:1]]), torch.cat([items.lengths, items.lengths[:1]]), items.index)


@torch.no_grad()
def test_a_score_does_not_depend_on_the_order(model: Model, batch: Batch):
    order = [5, 2, 7, 0, 1, 6, 3, 4]
    close(model.token_losses(rows_of(batch, order)), model.token_losses(batch)[order])


@torch.no_grad()
def test_shared_items_equal_separate_ones(model: Model, batch: Batch):
    rows = [0, 0, 0, 3]
    shared = rows_of(batch, rows)
    inputs = {}
    for modality, items in shared.inputs.items():
        there = items.index[:, 0] >= 0
        index = torch.where(there, there.cumsum(0) - 1, -1)[:, None]
        used = items.index[there, 0]
        inputs[modality] = Items(items.values[used], items.lengths[used], index)
    close(model.token_losses(replace(shared, inputs=inputs)), model.token_losses(shared))


@torch.no_grad()
def test_every_modality_that_a_sample_has_changes_its_score(model: Model, batch: Batch):
    before = model.token_losses(batch)
    for place, modality in enumerate(model.modalities):
        items = batch.inputs[modality]
        changed = items.values.roll(1, 1) if modality == "text" else items.values.flip(1) + 1
        moved = model.token_losses(
            replace(batch, inputs={**batch.inputs, modality: Items(changed, items.lengths, items.index)})
        )
        differs = (moved - before).abs().amax(1) > 1e-7
        assert not differs[[row for row, subset in enumerate(SUBSETS) if not subset[place]]].any()
        assert differs.any()


@torch.no_grad()
def test_a_position_does_not_see_later_words(model: Model, batch: Batch):
    tokens = batch.tokens.clone()
    tokens[:, 4:] = TOKENIZER.end_id
    close(model.states(replace(batch, tokens=tokens))[:, :4], model.states(batch)[:, :4])


def test_the_loss_is_the_sum_of_the_weighted_token_losses(model: Model, batch: Batch):
    weighted = replace(batch, weights=torch.arange(1.0, len(batch) + 1))
    with torch.no_grad():
        sums, losses = model.loss(weighted), model.token_losses(weighted)
    scored = weighted.targets != IGNORED
    close(sums.total, (losses * weighted.weights[:, None])[scored].sum())
    close(sums.weight, (scored * weighted.weights[:, None]).sum())
    assert sums.num_tokens == int(scored.sum())


def test_a_segment_counts_as_much_as_it_is_said_to(batch: Batch):
    plain = make_model(TOKENIZER, tuple(batch.inputs))
    weighted = make_model(TOKENIZER, tuple(batch.inputs), train={"segment_weights": {TOKENIZER.segments[1]: 5.0}})
    weighted.load_state_dict(plain.state_dict())
    with torch.no_grad():
        sums, losses = weighted.eval().loss(batch), plain.eval().token_losses(batch)
    factor = torch.where(batch.segments == 1, 5.0, 1.0) * (batch.targets != IGNORED)
    close(sums.total, (losses * factor).sum())
    close(sums.weight, factor.sum())
    close(weighted.token_losses(batch), losses)


@pytest.mark.parametrize("lm", MODELS)
@torch.no_grad()
def test_the_logits_of_late_are_the_sum_over_the_branches_that_a_sample_has(lm: str, batch: Batch):
    model = make_model(TOKENIZER, fusion={"kind": "late"}, lm=lm_of(lm))
    condition = model.condition(model.encode(batch.inputs, len(batch)))
    assert condition.branches is not None
    logits = model.lm.logits(model.hidden(batch.tokens, condition))
    expected = torch.zeros_like(logits)
    for branch in range(condition.num_branches):
        alone = torch.zeros_like(condition.branches)
        alone[:, branch] = 1
        of_branch = model.lm.logits(model.hidden(batch.tokens, replace(condition, branches=alone)))
        expected += of_branch * condition.branches[:, branch, None, None]
    close(logits, expected)
    nothing = [row for row, subset in enumerate(SUBSETS) if not any(subset)]
    plain = replace(condition, branches=None, values={})
    fusion, model.fusion = model.fusion, None
    close(logits[nothing], model.lm.logits(model.hidden(batch.tokens, plain))[nothing])
    model.fusion = fusion


def test_every_parameter_gets_a_gradient(model: Model, batch: Batch):
    model.loss(batch).total.backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert not missing


@pytest.mark.parametrize("lm", MODELS)
def test_without_encoders_it_is_a_plain_language_model(lm: str):
    model = make_model(TOKENIZER, (), lm=lm_of(lm))
    assert model.fusion is None
    batch = replace(make_batch(TOKENIZER), inputs={})
    with torch.no_grad():
        assert torch.isfinite(model.token_losses(batch)).all()
