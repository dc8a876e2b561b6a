"""The contract of every language model: causal, step by step = all at once, masked positions skipped, batch-independent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from plait.choices import own_width
from plait.embeddings import Word2VecConfig
from plait.errors import UserError
from plait.lm import LANGUAGE_MODELS, Block, Cache, CausalLM
from plait.lm.transformer import TransformerConfig
from window_lm import WindowConfig

WIDTH, VOCABULARY = 16, 11
"""The width is that of word vectors; those of the states are the same in Plait's own models and not in `WindowLM`."""

OWN = [m(layers=n) for m in LANGUAGE_MODELS for n in (1, 3)] + [TransformerConfig(activation="swiglu")]
ANY = [*OWN, WindowConfig(width=24, narrow=WIDTH)]


def named(config) -> str:
    return config.kind + "".join(str(getattr(config, key, "")) for key in ("layers", "activation"))


every = pytest.mark.parametrize("config", OWN, ids=named)
behind_the_door = pytest.mark.parametrize("config", ANY, ids=named)


def build(config) -> Any:
    torch.manual_seed(0)
    return config.build(width=own_width(config, WIDTH), vocabulary_size=VOCABULARY, pad_id=0).eval()


def run(lm: CausalLM, states: Tensor, mask: Tensor | None = None, cache=None) -> Tensor:
    """The blocks in a row, as `model.py` runs them."""
    states, steps = lm.enter(states, mask, cache)
    for number in range(lm.num_blocks):
        states = lm.run_block(number, states, steps, cache)
    if cache is not None:
        cache.advance(mask, *states.shape[:2])
    return states


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@behind_the_door
def test_a_position_depends_on_earlier_ones_only(config):
    lm = build(config)
    states = torch.randn(2, 6, WIDTH)
    changed = states.clone()
    changed[:, 4:] = 3.0
    close(run(lm, changed)[:, :4], run(lm, states)[:, :4])
    assert not torch.allclose(run(lm, changed)[:, 4:], run(lm, states)[:, 4:])


@behind_the_door
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


@behind_the_door
def test_a_cache_can_be_reordered(config):
    lm = build(config)
    states = torch.randn(3, 5, WIDTH)
    rows = torch.tensor([2, 0, 0])
    cache = lm.empty_cache()
    with torch.no_grad():
        run(lm, states[:, :3], cache=cache)
        out = run(lm, states[rows, 3:], cache=cache.select(rows))
        close(out, run(lm, states)[rows, 3:])


@behind_the_door
def test_masked_columns_at_the_left_are_skipped(config):
    """Rows aligned at the right: the one place of padding that a model that counts columns skips as well.

    They are read in two pieces, of the first of which two rows have nothing.
    """
    lm = build(config)
    states, later = torch.randn(3, 7, WIDTH), torch.randn(3, 3, WIDTH)
    mask = torch.arange(7) >= torch.tensor([0, 3, 6])[:, None]
    cache = lm.empty_cache()
    with torch.no_grad():
        out = torch.cat([run(lm, states[:, part], mask[:, part], cache) for part in (slice(2), slice(2, 7))], dim=1)
        steps = torch.cat([run(lm, later[:, [t]], cache=cache) for t in range(3)], dim=1)
        for row in range(3):
            alone = run(lm, torch.cat([states[row][mask[row]], later[row]])[None])[0]
            close(torch.cat([out[row][mask[row]], steps[row]]), alone)


def read_by(lm: CausalLM, rows: Tensor, mask: Tensor | None = None) -> Cache:
    """The cache of rows that have been read in two pieces."""
    cache = lm.empty_cache()
    run(lm, rows[:, :1], None if mask is None else mask[:, :1], cache)
    run(lm, rows[:, 1:], None if mask is None else mask[:, 1:], cache)
    return cache


def steps_of(lm: CausalLM, later: Tensor, cache: Cache) -> Tensor:
    """Three more positions, one by one and then two at once."""
    return torch.cat([run(lm, later[:, :1], cache=cache), run(lm, later[:, 1:], cache=cache)], dim=1)


def of_every_age(lm: CausalLM) -> list[Cache]:
    """Caches of 40, 5, 2 and 5 columns; of the last, one row is younger than the other."""
    young = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], dtype=torch.bool)
    generator = torch.Generator().manual_seed(1)
    shapes = [(1, 40, None), (2, 5, None), (1, 2, None), (2, 5, young)]
    return [read_by(lm, torch.randn(rows, size, WIDTH, generator=generator), mask) for rows, size, mask in shapes]


@behind_the_door
@torch.no_grad()
def test_rows_of_different_ages_join_and_go_on_as_they_would_alone(config):
    lm = build(config)
    caches, later = of_every_age(lm), torch.randn(6, 3, WIDTH)
    joined = Cache.join(caches)
    assert joined.length == 40
    assert joined.mask is not None
    assert joined.mask.sum(dim=1).tolist() == [40, 5, 5, 2, 3, 5]
    assert bool(joined.mask[:, -2:].all())
    together = steps_of(lm, later, joined)
    parts = zip(caches, later.split([1, 2, 1, 2]), strict=True)
    apart = [
        steps_of(lm, part, cache) for cache, part in parts
    ]  # none of the joined one's steps was written into these
    close(together, torch.cat(apart))


@behind_the_door
@torch.no_grad()
def test_rows_of_one_age_join_without_a_mask(config):
    lm = build(config)
    rows = torch.randn(3, 4, WIDTH)
    joined = Cache.join([read_by(lm, rows[:1]), read_by(lm, rows[1:])])
    assert joined.mask is None
    later = torch.randn(3, 3, WIDTH)
    close(steps_of(lm, later, joined), steps_of(lm, later, read_by(lm, rows)))


@behind_the_door
@torch.no_grad()
def test_columns_that_no_row_needs_are_dropped(config):
    lm = build(config)
    joined = Cache.join(of_every_age(lm))
    young = joined.select(torch.tensor([3, 4]))
    assert young.length == 40
    small = young.compact()
    assert small.length == 3
    later = torch.randn(2, 3, WIDTH)
    close(steps_of(lm, later, small), steps_of(lm, later, young))
    alone = joined.select(torch.tensor([5])).compact()
    assert (alone.length, alone.mask) == (5, None)
    same = alone.compact()
    steps_of(lm, later[:1], same)
    assert (alone.length, same.length) == (5, 8)


@behind_the_door
@torch.no_grad()
def test_selecting_rows_leaves_the_cache_alone(config):
    """Also when both go on, in whatever order: some models write into their memory in place."""
    lm = build(config)
    rows, later, other = torch.randn(2, 5, WIDTH), torch.randn(2, 3, WIDTH), torch.randn(2, 3, WIDTH)
    expected = steps_of(lm, later, read_by(lm, rows))
    cache = read_by(lm, rows)
    chosen = cache.select(torch.tensor([0, 1]))
    steps_of(lm, other, chosen)
    assert cache.length == 5
    close(steps_of(lm, later, cache), expected)
    again = read_by(lm, rows)
    chosen = again.select(torch.tensor([0, 1]))
    steps_of(lm, other, again)
    close(steps_of(lm, later, chosen), expected)


def test_a_memory_that_does_not_say_its_columns_is_not_joined():
    """A block of a user's own, written before caches could be joined: it can be selected, and is not joined wrongly."""
    cache = Cache([{"keys": torch.zeros(1, 2, 3)}], 3, columns=[Block.columns])
    assert cache.select(torch.tensor([0, 0])).blocks[0]["keys"].shape == (2, 2, 3)
    with pytest.raises(NotImplementedError, match="block 0 remembers 'keys' and does not say in `columns`"):
        Cache.join([cache, cache])
    with pytest.raises(ValueError, match="no rows yet"):
        Cache.join([cache, Cache([{}])])


@behind_the_door
def test_a_sequence_does_not_depend_on_its_batch(config):
    lm = build(config)
    states = torch.randn(4, 6, WIDTH)
    close(run(lm, states)[[2]], run(lm, states[[2]]))


@behind_the_door
def test_every_parameter_gets_a_gradient(config):
    lm = build(config)
    tokens = torch.randint(VOCABULARY, (2, 6))
    lm.logits(lm.finish(run(lm, lm.embed(tokens)))).logsumexp(-1).sum().backward()
    assert [n for n, p in lm.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)] == []


@behind_the_door
def test_saved_and_loaded(config):
    lm, other = build(config), build(config)
    with torch.no_grad():
        next(other.parameters()).zero_()
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
