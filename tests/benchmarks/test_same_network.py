"""The two networks of the benchmark are one: equal losses, equal training, equal text; otherwise its ratios mean nothing."""

from __future__ import annotations

import warnings

import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from benchmarks.decoding import decode_both, pair, words_tokenizer
from benchmarks.network import Sizes, build, configuration, converted, hugging_face
from benchmarks.training import START, Captions, batch_at, first_losses

pytestmark = pytest.mark.filterwarnings("ignore")  # the other library's and its own dependencies'
SMALL = Sizes(width=32, encoder_layers=2, decoder_layers=2, pixels=32, vocabulary=60, tokens=8, positions=16)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_losses_and_gradients_are_equal(attention: str) -> None:
    theirs = hugging_face(SMALL, start_id=START, attention=attention)
    ours = build(configuration(SMALL), SMALL)
    ours.load_state_dict(converted(theirs.state_dict(), SMALL))
    assert ours.num_parameters == sum(p.numel() for p in theirs.parameters())
    data = Captions(4, SMALL)
    batch = batch_at(data, 0, 4)
    loss = theirs(pixel_values=data.pixels, labels=data.labels).loss
    sums = ours.loss(batch)
    assert float(sums.total / sums.weight) == pytest.approx(float(loss), abs=1e-5)
    loss.backward()
    (sums.total / sums.weight).backward()
    gradients = converted({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}, SMALL)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], atol=1e-5, rtol=1e-4, msg=name)


def test_first_three_training_losses_are_equal() -> None:
    plait, trainer = first_losses(SMALL, batch_size=4, steps=3)
    assert len(trainer) == 3
    assert plait == pytest.approx(trainer, abs=1e-5)
    assert plait[0] != plait[1]


def test_text_is_equal() -> None:
    sizes = Sizes(width=32, encoder_layers=2, decoder_layers=2, pixels=32, vocabulary=60, tokens=8, positions=16)
    tokenizer = words_tokenizer(sizes.vocabulary)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = pair(sizes, tokenizer)
    said, reference = decode_both(ours, theirs, tokenizer, Captions(3, sizes).pixels, sizes.tokens)
    assert said == reference
    assert all(len(row) == sizes.tokens for row in said)
    assert len({token for row in said for token in row}) > 3
