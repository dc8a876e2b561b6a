"""The audio encoder: causality, its price, and what its settings refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from plait.encoders import AudioTransformerConfig
from plait.errors import UserError
from plait.types import Items


def clips(*lengths: int, num_mels: int = 10) -> Items:
    sizes = torch.tensor(lengths)
    return Items(torch.randn(len(lengths), max(lengths), num_mels), sizes, torch.arange(len(lengths))[:, None])


@pytest.mark.parametrize("stride", [4, 8])
def test_causal_tokens_read_nothing_behind_their_own_frames(stride: int) -> None:
    encoder = AudioTransformerConfig(causal=True, stride=stride, layers=2).build(16, num_mels=10).eval()  # pyright: ignore[reportArgumentType]
    items = clips(64)
    before = encoder(items).values
    for token in (0, 1, 4):
        changed = items.values.clone()
        changed[:, stride * (token + 1) :] = torch.randn_like(changed[:, stride * (token + 1) :])
        after = encoder(Items(changed, items.lengths, items.index)).values
        torch.testing.assert_close(after[:, : token + 1], before[:, : token + 1], rtol=0, atol=1e-6)
        assert not torch.allclose(after[:, token + 1 :], before[:, token + 1 :], atol=1e-3)


def test_bidirectional_tokens_read_everything() -> None:
    encoder = AudioTransformerConfig(layers=1).build(16, num_mels=10).eval()
    items = clips(64)
    changed = items.values.clone()
    changed[:, 60:] += 1
    after = encoder(Items(changed, items.lengths, items.index)).values
    assert not torch.allclose(after[:, 0], encoder(items).values[:, 0], atol=1e-5)


def test_the_stem_is_cheap() -> None:
    """2.5 s at width 128: 10 million multiply-adds for the stem."""
    encoder = AudioTransformerConfig(layers=0).build(128, num_mels=80).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(clips(250, num_mels=80))
    assert counter.get_total_flops() / 2e6 < 10


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 40), st.sampled_from([4, 8]))
def test_a_clip_alone_equals_the_clip_in_a_padded_batch(length: int, more: int, stride: int) -> None:
    torch.manual_seed(0)
    encoder = AudioTransformerConfig(layers=1, stride=stride).build(16, num_mels=10).eval()  # pyright: ignore[reportArgumentType]
    items = clips(length, length + more)
    alone = encoder(Items(items.values[:1, :length], items.lengths[:1], items.index[:1])).values[0]
    together = encoder(items)
    assert together.mask[0].sum() == len(alone) == encoder.num_tokens(length) == -(-length // stride)
    torch.testing.assert_close(together.values[0, : len(alone)], alone, rtol=1e-5, atol=1e-5)


def test_order_of_sounds_is_heard() -> None:
    """Transcription reads the tokens as a set, so the time has to be in their values."""
    encoder = AudioTransformerConfig(layers=1).build(32, num_mels=10).eval()
    silent = Items(torch.zeros(1, 400, 10), torch.tensor([400]), torch.zeros(1, 1).long())
    tokens = encoder(silent).values[0]
    assert torch.cdist(tokens, tokens).fill_diagonal_(9).min() > 0.05


def test_refused_settings() -> None:
    with pytest.raises(ValidationError, match="stride"):
        AudioTransformerConfig.model_validate({"stride": 5})
    with pytest.raises(UserError, match=r"encoders\.audio\.num_heads: 3 heads cannot share a width of 16"):
        AudioTransformerConfig(num_heads=3).build(16, num_mels=10)
