"""The text encoder: causality, and word vectors of another width, frozen or not."""

from __future__ import annotations

import torch

from plait.embeddings import GloVeConfig, Word2VecConfig
from plait.encoders import TextTransformerConfig
from plait.types import Items


def words(*rows: list[int]) -> Items:
    lengths = torch.tensor([len(row) for row in rows])
    values = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return Items(values, lengths, torch.arange(len(rows))[:, None])


def test_causal_tokens_read_nothing_later() -> None:
    encoder = TextTransformerConfig(causal=True).build(16, vocabulary_size=9, pad_id=0).eval()
    first, second = encoder(words([1, 2, 3, 4])).values, encoder(words([1, 2, 5, 6])).values
    torch.testing.assert_close(first[:, :2], second[:, :2], rtol=0, atol=1e-6)
    assert not torch.allclose(first[:, 2:], second[:, 2:])
    both = TextTransformerConfig().build(16, vocabulary_size=9, pad_id=0).eval()
    assert not torch.allclose(both(words([1, 2, 3, 4])).values[:, 0], both(words([1, 2, 5, 6])).values[:, 0])


def test_the_order_of_words_is_read() -> None:
    encoder = TextTransformerConfig().build(16, vocabulary_size=9, pad_id=0).eval()
    assert not torch.allclose(encoder(words([1, 2])).values[0, 0], encoder(words([2, 1])).values[0, 1], atol=1e-3)


def test_vectors_of_another_width_are_projected_and_frozen_ones_stay() -> None:
    vectors = torch.randn(9, 6)
    encoder = TextTransformerConfig(embedding=GloVeConfig(frozen=True)).build(
        16, vocabulary_size=9, pad_id=0, vectors=vectors
    )
    assert not encoder.embedding.table.requires_grad
    encoder(words([1, 2, 3])).values.pow(2).sum().backward()
    assert encoder.embedding.projection is not None
    assert encoder.embedding.projection.weight.grad is not None
    open_encoder = TextTransformerConfig(embedding=Word2VecConfig()).build(
        16, vocabulary_size=9, pad_id=0, vectors=vectors
    )
    assert open_encoder.embedding.table.requires_grad


def test_chosen_by_kind() -> None:
    config = TextTransformerConfig.model_validate({"embedding": {"kind": "word2vec", "frozen": True}, "causal": True})
    assert config.embedding == Word2VecConfig(frozen=True)
    assert TextTransformerConfig.model_validate({"embedding": "glove"}).embedding == GloVeConfig()
