"""What stands before the text: aligned at the right, so that models that count columns read it as if it stood alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from plait.config import GenerateConfig
from plait.fusion import Fusion
from plait.generate import Writer
from plait.model import Model, before_text
from plait.types import Batch, Condition, Features
from tiny_model import SUBSETS, make_batch, make_model, make_tokenizer, rows_of
from window_lm import WindowConfig

TOKENIZER = make_tokenizer()
FULL = [(True, True, False)] * 3
OWN = ["transformer", "lstm", "gru", "rnn"]


def made(fusion: str, lm: Any) -> Model:
    """A model with something before the text."""
    return make_model(TOKENIZER, fusion={"kind": fusion}, lm=lm if isinstance(lm, WindowConfig) else {"kind": lm})


def condition_of(model: Model, batch: Batch) -> Condition:
    """What the fusion makes of a batch."""
    return model.condition(model.encode(batch.inputs, len(batch)))


def as_before(model: Model, tokens: Tensor, prefix: Features) -> Tensor:
    """Longhand, as it was: the prefix as the fusion gives it, padding and all, and the text behind it."""
    lm = model.lm
    states = torch.cat([prefix.values, lm.embed(tokens)], dim=1)
    mask = torch.cat([prefix.mask, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
    states, steps = lm.enter(states, mask, None)
    for number in range(lm.num_blocks):
        states = lm.run_block(number, states, steps, None)
    return lm.finish(states[:, prefix.values.shape[1] :])


def without_padding(batch: Batch, row: int) -> Batch:
    """One sample with the items that it has, of their own lengths."""
    one = rows_of(batch, [row], share=False)
    inputs = {}
    for name, items in one.inputs.items():
        longest = int(items.lengths.max()) if len(items.lengths) else 0
        values = items.values if name == "image" else items.values[:, :longest]
        inputs[name] = type(items)(values, items.lengths, items.index)
    return Batch(one.ids, inputs, one.tokens, one.targets, one.segments, one.weights)


@pytest.mark.parametrize("lm", OWN)
@pytest.mark.parametrize("fusion", ["prefix", "resampler"])
@torch.no_grad()
def test_rows_without_padding_have_the_bits_of_before(fusion: str, lm: str):
    model, batch = made(fusion, lm), make_batch(TOKENIZER)
    for row in range(len(SUBSETS)):
        one = without_padding(batch, row)
        condition = condition_of(model, one)
        assert condition.prefix is not None
        assert bool(condition.prefix.mask.all())
        assert torch.equal(model.hidden(one.tokens, condition), as_before(model, one.tokens, condition.prefix))


@pytest.mark.parametrize("lm", OWN)
@torch.no_grad()
def test_padded_rows_differ_from_before_in_nothing_but_rounding(lm: str):
    model, batch = made("prefix", lm), make_batch(TOKENIZER)
    condition = condition_of(model, batch)
    assert condition.prefix is not None
    assert len(set(condition.prefix.mask.sum(dim=1).tolist())) > 4
    found, before = model.hidden(batch.tokens, condition), as_before(model, batch.tokens, condition.prefix)
    scored = batch.targets >= 0
    logits = [model.lm.logits(states)[scored].log_softmax(dim=-1) for states in (found, before)]
    torch.testing.assert_close(*logits, rtol=1e-6, atol=1e-6)
    if lm != "transformer":  # a recurrent layer is run over the real positions alone
        assert torch.equal(*logits)


@torch.no_grad()
def test_a_model_that_counts_columns_reads_a_padded_prefix_as_an_unpadded_one():
    """Previously, padding stood between a short prefix and its text, where a sliding window wastes its columns on it."""
    model, batch = made("prefix", WindowConfig(width=24)), make_batch(TOKENIZER)
    condition = condition_of(model, batch)
    assert condition.prefix is not None
    found, before = model.hidden(batch.tokens, condition), as_before(model, batch.tokens, condition.prefix)
    wrong = []
    for row in range(len(SUBSETS)):
        one = without_padding(batch, row)
        alone = model.hidden(one.tokens, condition_of(model, one))[0]
        torch.testing.assert_close(found[row], alone, rtol=1e-5, atol=1e-5)
        wrong.append(float((before[row] - alone).abs().max()))
    assert max(wrong) > 0.05


@pytest.mark.parametrize("lm", [*OWN, WindowConfig(width=24)], ids=str)
@pytest.mark.parametrize("fusion", ["prefix", "resampler", "concat", "late"])
@torch.no_grad()
def test_texts_of_different_lengths_are_read_as_each_alone(fusion: str, lm: Any):
    """Previously, shorter ones had their padding behind them, which was in the midst of all that was written later."""
    model, batch = made(fusion, lm), make_batch(TOKENIZER)
    writer = Writer(model, TOKENIZER, GenerateConfig())
    sequences = [[3, 5, 2, 6, 4, 7, 3][: 1 + (3 * row) % 7] for row in range(len(SUBSETS))]
    steps = [[4, 2, 5][row % 3] for row in range(len(SUBSETS))]
    condition, cache = condition_of(model, batch), model.lm.empty_cache()
    read = writer.read(sequences, condition, cache)
    more = writer.step(steps, condition, cache)
    for row, sequence in enumerate(sequences):
        own, cache = condition_of(model, without_padding(batch, row)), model.lm.empty_cache()
        torch.testing.assert_close(writer.read([sequence], own, cache)[0], read[row], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(writer.step([steps[row]], own, cache)[0], more[row], rtol=1e-4, atol=1e-5)


class Both(Fusion):
    """A fusion of a user's own that stands before the text and changes it as well."""

    at = (1,)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        values = features["image"].values
        return Condition(prefix=Features(torch.cat([values, values], dim=1)[:, :5], torch.arange(5)[None] < LEFT))

    def fuse(self, states: Tensor, condition: Condition, place: int) -> Tensor:
        return states + 3


LEFT = torch.tensor([[5], [2], [4]])


@torch.no_grad()
def test_a_fusion_changes_the_text_alone_wherever_the_prefix_stands():
    model = make_model(TOKENIZER)
    model.fusion = Both()
    batch = make_batch(TOKENIZER, [(True, True, True)] * 3)
    condition, tokens = condition_of(model, batch), batch.tokens[:, :4]
    mask = torch.arange(4) >= torch.tensor([0, 3, 2])[:, None]
    found = model.hidden(tokens, condition, mask=mask)[:, -1]
    assert condition.prefix is not None
    for row in range(3):
        real = condition.prefix.mask[row]
        alone = Condition(prefix=Features(condition.prefix.values[[row]][:, real], real[real][None]))
        torch.testing.assert_close(
            model.hidden(tokens[[row]][:, mask[row]], alone)[0, -1], found[row], rtol=1e-4, atol=1e-5
        )


def test_columns_before_the_text():
    """Real tokens are numbers, padding is 0; the text keeps its columns, and the gap of a prefix is closed."""
    prefix = Features(torch.tensor([[1.0, 0, 2], [0, 0, 3], [4, 5, 6]])[..., None], torch.zeros(3, 3, dtype=torch.bool))
    prefix = Features(prefix.values, prefix.values[..., 0] > 0)
    text = torch.tensor([[7.0, 8, 0], [0, 7, 8], [0, 0, 9]])[..., None]
    states, mask, given = before_text(prefix, text, None)
    assert states[..., 0].tolist() == [[0, 1, 2, 7, 8, 0], [0, 0, 3, 0, 7, 8], [4, 5, 6, 0, 0, 9]]
    assert mask.long().tolist() == [[0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]]
    assert given is None
    states, mask, given = before_text(prefix, text, text[..., 0] > 0)
    assert states[..., 0].tolist() == [[0, 1, 2, 7, 8, 0], [0, 0, 0, 3, 7, 8], [0, 0, 4, 5, 6, 9]]
    assert torch.equal(mask, states[..., 0] > 0)
    assert given is not None
    assert given.long().tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]
