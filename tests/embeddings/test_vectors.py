"""A vocabulary's vectors, their coverage, and the embedding made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from plait.embeddings import (
    EmbeddingConfig,
    GloVeConfig,
    ScratchConfig,
    Word2VecConfig,
    build_embedding,
    vectors_for,
)
from plait.errors import UserError

TOKENS = ["<pad>", "<end>", "cat", "Dog", "unheard"]


@pytest.fixture
def glove(tmp_path: Path) -> GloVeConfig:
    path = tmp_path / "g.txt"
    path.write_text("cat 3 4 0 0\ndog 0 0 3 -4\nDOG 9 9 9 9\n", encoding="utf-8")
    return GloVeConfig(path=str(path))


def test_covered_words_have_the_files_vectors_and_its_width(glove: GloVeConfig) -> None:
    result = vectors_for(glove, TOKENS, [], width=128, seed=0)
    assert result.vectors.shape == (5, 4)
    assert result.covered.tolist() == [False, False, True, True, False]
    assert result.vectors[2].tolist() == [3, 4, 0, 0]
    assert result.vectors[3].tolist() == [0, 0, 3, -4]  # found in lower case
    assert result.coverage == "2 of 5 words (40%)"


def test_missing_words_are_seeded_and_of_the_same_size(tmp_path: Path) -> None:
    known = torch.randn(400, 50) * 3
    lines = [f"w{i} " + " ".join(f"{x:.4f}" for x in row) for i, row in enumerate(known.tolist())]
    (tmp_path / "g.txt").write_text("\n".join(lines), encoding="utf-8")
    tokens = [f"w{i}" for i in range(400)] + [f"missing{i}" for i in range(400)]
    first, again, other = (vectors_for(GloVeConfig(path=str(tmp_path / "g.txt")), tokens, [], 50, s) for s in (0, 0, 1))
    assert torch.equal(first.vectors, again.vectors)
    assert not torch.equal(first.vectors[400:], other.vectors[400:])
    assert torch.equal(first.vectors[:400], other.vectors[:400])
    assert float(first.vectors[400:].std()) == pytest.approx(3.0, rel=0.05)


def test_trained_here_has_the_models_width() -> None:
    sentences = [["a", "cat", "ran"], ["the", "cat", "sat"]] * 5
    for config in (GloVeConfig(epochs=2), Word2VecConfig(epochs=2)):
        result = vectors_for(config, ["<pad>", "cat", "sat"], sentences, width=12, seed=0)
        assert result.vectors.shape == (3, 12)
        assert result.covered.tolist() == [False, True, True]


def test_scratch_covers_nothing() -> None:
    result = vectors_for(ScratchConfig(), TOKENS, [], width=64, seed=0)
    assert result.vectors.shape == (5, 64)
    assert not result.covered.any()
    assert float(result.vectors.std()) == pytest.approx(64**-0.5, rel=0.2)


def test_nothing_covered_is_an_error(glove: GloVeConfig) -> None:
    with pytest.raises(UserError, match="none of the 2 words has a vector"):
        vectors_for(glove, ["猫", "犬"], [], width=4, seed=0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
@pytest.mark.parametrize("width", [24, 40])
def test_an_embedding_begins_at_unit_size(scale: float, width: int) -> None:
    vectors = torch.randn(300, 24) * scale
    embedding = build_embedding(300, width, vectors=vectors, frozen=False, pad_id=0)
    output = embedding(torch.arange(1, 300))
    assert output.shape == (299, width)
    assert float(output.detach().std()) == pytest.approx(1.0, rel=0.1)
    assert torch.nn.functional.cosine_similarity(embedding.table[1:], vectors[1:]).min() > 0.9999
    scratch = build_embedding(300, width, vectors=None, frozen=False, pad_id=0)
    assert float(scratch(torch.arange(1, 300)).detach().std()) == pytest.approx(1.0, rel=0.1)


def test_any_shape_of_ids_and_no_gradient_at_padding() -> None:
    embedding = build_embedding(7, 8, vectors=None, frozen=False, pad_id=3)
    ids = torch.tensor([[1, 3, 2], [3, 3, 6]])
    output = embedding(ids)
    assert output.shape == (2, 3, 8)
    assert (output[ids == 3] == 0).all()
    output.sum().backward()
    assert embedding.table.grad is not None
    assert embedding.table.grad.abs().sum(1).bool().tolist() == [False, True, True, False, False, False, True]
    assert embedding(torch.tensor(1)).shape == (8,)


@pytest.mark.parametrize("width", [8, 12])
def test_logits_read_the_same_table(width: int) -> None:
    """A tied output layer: the transposed map of the input side, up to its scale of √W."""
    embedding = build_embedding(7, width, vectors=torch.randn(7, 8), frozen=False, pad_id=0)
    states = torch.randn(2, 5, width)
    expected = states @ embedding(torch.arange(7)).T / 8**0.5
    torch.testing.assert_close(embedding.logits(states), expected)
    assert embedding.logits(states).shape == (2, 5, 7)


def test_frozen_tables_stay() -> None:
    embedding = build_embedding(7, 12, vectors=torch.randn(7, 8), frozen=True, pad_id=0)
    embedding(torch.arange(7)).square().sum().backward()
    assert embedding.table.grad is None
    assert embedding.projection is not None
    assert embedding.projection.weight.grad is not None


def test_the_given_vectors_are_not_changed() -> None:
    vectors = torch.ones(4, 3) * 5
    build_embedding(4, 3, vectors=vectors, frozen=False, pad_id=1)
    assert (vectors == 5).all()
    assert torch.isfinite(build_embedding(4, 3, vectors=torch.zeros(4, 3), frozen=False, pad_id=0).table).all()
    with pytest.raises(ValueError, match="4 vectors for a vocabulary of 9"):
        build_embedding(9, 3, vectors=vectors, frozen=False, pad_id=1)


def test_chosen_by_kind() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(EmbeddingConfig)
    assert adapter.validate_python("scratch") == ScratchConfig()
    assert adapter.validate_python({"kind": "glove", "path": "g.txt", "frozen": True}).path == "g.txt"
    with pytest.raises(ValidationError, match="Did you mean 'word2vec'"):
        adapter.validate_python({"kind": "word2vce"})
    with pytest.raises(ValidationError, match="frozen"):
        adapter.validate_python({"kind": "scratch", "frozen": True})
