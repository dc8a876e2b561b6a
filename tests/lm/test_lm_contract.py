"""The contract of every language model: causal, step by step = all at once, masked positions skipped, batch-independent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plait.embeddings import Word2VecConfig
from plait.errors import UserError
from plait.lm import LANGUAGE_MODELS, LanguageModel
from plait.lm.transformer import TransformerConfig

WIDTH, VOCABULARY = 16, 11
every = pytest.mark.parametrize(
    "config", [m(layers=n) for m in LANGUAGE_MODELS for n in (1, 3)], ids=lambda c: f"{c.kind}{c.layers}"
)


def build(config) -> LanguageModel:
    torch.manual_seed(0)
    return config.build(width=WIDTH, vocabulary_size=VOCABULARY, pad_id=0).eval()


def run(lm: LanguageModel, states: Tensor, mask: Tensor | None = None, cache=None) -> Tensor:
    """The blocks in a row, as `model.py` runs them."""
    memory = lm.empty_cache() if cache is None else cache
    steps = lm.steps(states, mask, memory)
    for number in range(lm.num_blocks):
        states, memory.blocks[number] = lm.block(number)(
            states, memory.blocks[number], steps, remember=cache is not None
        )
    memory.advance(mask, *states.shape[:2])
    return states


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@every
def test_a_position_depends_on_earlier_ones_only(config):
    lm = build(config)
    states = torch.randn(2, 6, WIDTH)
    changed = states.clone()
    changed[:, 4:] = 3.0
    close(run(lm, changed)[:, :4], run(lm, states)[:, :4])
    assert not torch.allclose(run(lm, changed)[:, 4:], run(lm, states)[:, 4:])


@every
@pytest.mark.parametrize("pieces", [[1] * 40, [3, 1, 1, 35], [39, 1]])
def test_piece_by_piece_equals_all_at_once(config, pieces):
    """40 positions: more than the room that the cache begins with, so that it grows."""
    lm = build(config)
    states = torch.randn(2, 40, WIDTH)
    cache = lm.empty_cache()
    with torch.no_grad():
        parts = [run(lm, part, cache=cache) for part in states.split(pieces, dim=1)]
        close(torch.cat(parts, dim=1), run(lm, states))
    assert cache.length == 40


@every
def test_masked_positions_are_skipped(config):
    """A sequence with masked positions anywhere gives at the real ones what it gives without them."""
    lm = build(config)
    torch.manual_seed(1)
    states = torch.randn(3, 7, WIDTH)
    mask = torch.tensor([[1, 1, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1, 1], [1, 1, 1, 1, 1, 1, 0]], dtype=torch.bool)
    out = run(lm, states, mask)
    for row in range(3):
        close(out[row][mask[row]], run(lm, states[row][mask[row]][None])[0])


@every
def test_going_on_after_masked_positions(config):
    """Previously read prompts of different lengths, padded: the next steps are those of each prompt alone."""
    lm = build(config)
    torch.manual_seed(1)
    states, later = torch.randn(2, 5, WIDTH), torch.randn(2, 3, WIDTH)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    cache = lm.empty_cache()
    with torch.no_grad():
        run(lm, states, mask, cache)
        steps = torch.cat([run(lm, later[:, [t]], cache=cache) for t in range(3)], dim=1)
        for row in range(2):
            alone = torch.cat([states[row][mask[row]], later[row]])[None]
            close(steps[row], run(lm, alone)[0, -3:])


@every
def test_a_cache_can_be_reordered(config):
    lm = build(config)
    states = torch.randn(3, 5, WIDTH)
    rows = torch.tensor([2, 0, 0])
    cache = lm.empty_cache()
    with torch.no_grad():
        run(lm, states[:, :3], cache=cache)
        out = run(lm, states[rows, 3:], cache=cache.select(rows))
        close(out, run(lm, states)[rows, 3:])


@every
def test_a_sequence_does_not_depend_on_its_batch(config):
    lm = build(config)
    states = torch.randn(4, 6, WIDTH)
    close(run(lm, states)[[2]], run(lm, states[[2]]))


@every
def test_every_parameter_gets_a_gradient(config):
    lm = build(config)
    tokens = torch.randint(VOCABULARY, (2, 6))
    lm.logits(lm.finish(run(lm, lm.embed(tokens)))).logsumexp(-1).sum().backward()
    assert [n for n, p in lm.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)] == []


@every
def test_saved_and_loaded(config):
    lm, other = build(config), config.build(width=WIDTH, vocabulary_size=VOCABULARY, pad_id=0).eval()
    other.load_state_dict(lm.state_dict())
    tokens = torch.randint(VOCABULARY, (2, 6))
    assert torch.equal(run(lm, lm.embed(tokens)), run(other, other.embed(tokens)))


@every
def test_the_head_is_the_embedding_or_its_own(config):
    states = torch.randn(2, 3, WIDTH)
    tied = build(config.model_copy(update={"tie_weights": True}))
    close(tied.logits(tied.finish(states)), tied.norm(states) @ tied.embedding.table.T)
    untied = build(config)
    assert untied.head is not None
    assert untied.logits(states).shape == (2, 3, VOCABULARY)


def test_tying_frozen_word_vectors_is_refused():
    config = TransformerConfig(tie_weights=True, embedding=Word2VecConfig(frozen=True))
    with pytest.raises(UserError, match="tie_weights=false"):
        config.build(width=WIDTH, vocabulary_size=VOCABULARY, pad_id=0, vectors=torch.randn(VOCABULARY, WIDTH))


def test_rotary_positions_are_relative():
    """Shifting every position by a constant changes nothing: the prefix of masked positions is the case that Plait meets."""
    lm = build(TransformerConfig(layers=2))
    states = torch.randn(1, 5, WIDTH)
    mask = torch.tensor([[0, 0, 1, 1, 1]], dtype=torch.bool)
    close(run(lm, states, mask)[:, 2:], run(lm, states[:, 2:]))


@every
def test_a_tied_head_is_not_sure_at_the_start_that_words_are_repeated(config):
    """Previously its first loss was 14 bits per token on 59 words: a state begins as its own word's vector."""
    lm = build(config.model_copy(update={"tie_weights": True}))
    tokens = torch.randint(1, VOCABULARY, (4, 6))
    assert float(lm.logits(lm.finish(run(lm, lm.embed(tokens)))).detach().log_softmax(-1).exp().amax()) < 0.6


@pytest.mark.parametrize("member", LANGUAGE_MODELS, ids=lambda m: m.model_fields["kind"].default)
def test_without_the_final_norm_logits_are_linear_in_the_last_states(member):
    left, right = torch.randn(2, 3, 4, WIDTH)
    for final_norm in (False, True):
        lm = build(member(final_norm=final_norm))
        total = lm.logits(lm.finish(left + right))
        parts = lm.logits(lm.finish(left)) + lm.logits(lm.finish(right))
        assert torch.allclose(total, parts, atol=1e-5) != final_norm
