"""Word2Vec and GloVe trained on a small corpus: words of like context come near, the loss falls, the seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plait.embeddings import GloVeConfig, Word2VecConfig
from plait.embeddings.glove import _Factors, count_pairs, train_glove
from plait.embeddings.word2vec import train_word2vec
from plait.errors import UserError

GROUPS = {
    "colour": (["red", "green", "blue", "teal"], "the paint on the wall is {} today"),
    "animal": (["cat", "dog", "fox", "hen"], "a hungry {} ran over our field"),
    "number": (["one", "two", "three", "four"], "they counted up to {} and then stopped"),
}


def corpus() -> list[list[str]]:
    rng = np.random.default_rng(0)
    sentences = []
    for _ in range(600):
        words, pattern = list(GROUPS.values())[rng.integers(3)]
        sentences.append(pattern.format(words[rng.integers(4)]).split())
    return sentences


def likeness(vectors: dict[str, np.ndarray]) -> tuple[float, float]:
    """The least cosine within a group, the greatest across groups."""
    within, across = [], []
    members = [(word, group) for group, (words, _) in GROUPS.items() for word in words]
    for word, group in members:
        for other, other_group in members:
            if word != other:
                a, b = vectors[word], vectors[other]
                cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                (within if group == other_group else across).append(cosine)
    return min(within), max(across)


def test_glove_loss_falls_and_like_words_are_near() -> None:
    fit = train_glove(GloVeConfig(window=4, epochs=60, x_max=20), corpus(), dimension=16, seed=3)
    assert fit.losses[-1] < 0.1 * fit.losses[0]
    assert all(later < earlier * 1.1 for earlier, later in zip(fit.losses, fit.losses[1:], strict=False))
    within, across = likeness(dict(zip(fit.words, fit.vectors, strict=True)))
    assert within > across


def test_word2vec_like_words_are_near() -> None:
    vectors = train_word2vec(Word2VecConfig(window=4, epochs=30), corpus(), dimension=16, seed=3)
    within, across = likeness(vectors)
    assert within > across


@pytest.mark.parametrize(
    "config", [GloVeConfig(epochs=3), Word2VecConfig(epochs=3), Word2VecConfig(epochs=2, skip_gram=False)]
)
def test_seeded(config: GloVeConfig | Word2VecConfig) -> None:
    sentences = corpus()[:100]
    first, again, other = (config.vectors([], sentences, dimension=8, seed=seed) for seed in (1, 1, 2))
    assert first.keys() == again.keys()
    assert all(np.array_equal(first[word], again[word]) for word in first)
    assert any(not np.array_equal(first[word], other[word]) for word in first)
    assert all(vector.shape == (8,) and vector.dtype == np.float32 for vector in first.values())


def test_glove_does_not_depend_on_threads() -> None:
    sentences = corpus()[:100]
    one = train_glove(GloVeConfig(epochs=3), sentences, dimension=8, seed=1).vectors
    torch.set_num_threads(2)
    two = train_glove(GloVeConfig(epochs=3), sentences, dimension=8, seed=1).vectors
    assert np.array_equal(one, two)


def test_pairs_are_counted_as_defined() -> None:
    """Against the definition written out: every two places of a sentence, 1/distance, both ways."""
    rng = np.random.default_rng(0)
    sentences = [rng.integers(0, 6, size=size) for size in (1, 7, 2, 12)]
    for window in (1, 3, 20):
        expected = np.zeros((6, 6))
        for sentence in sentences:
            for i, word in enumerate(sentence):
                for j, context in enumerate(sentence):
                    if 0 < abs(i - j) <= window:
                        expected[word, context] += 1 / abs(i - j)
        pairs = count_pairs(sentences, 6, window)
        table = np.zeros((6, 6))
        table[pairs.words, pairs.contexts] = pairs.counts
        np.testing.assert_allclose(table, expected, rtol=1e-12)
        assert (pairs.counts > 0).all()


def test_the_first_adagrad_step_is_the_papers() -> None:
    """One epoch of one batch against w ← w − η f(X) (w·c + a + b − log X) c / √1, written out."""
    sentence = [["a", "b", "c", "a"]]
    config = GloVeConfig(epochs=1, window=1, x_max=5.0)
    start = train_glove(config.model_copy(update={"learning_rate": 0.0}), sentence, dimension=2, seed=0)
    step = train_glove(config, sentence, dimension=2, seed=0)
    assert start.words == step.words == ["a", "b", "c"]
    words, contexts = (table.numpy() for table in _Factors(3, 2, config, 0).tables)
    counts = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=float)
    change, loss = np.zeros((3, 2)), 0.0
    for i in range(3):
        for j in range(3):
            if counts[i, j]:
                error = words[i, :2] @ contexts[j, :2] + words[i, 2] + contexts[j, 3] - np.log(counts[i, j])
                weight = (counts[i, j] / 5.0) ** 0.75
                change[i] -= config.learning_rate * weight * error * contexts[j, :2]
                change[j] -= config.learning_rate * weight * error * words[i, :2]
                loss += weight * error**2
    np.testing.assert_allclose(step.vectors - start.vectors, change, atol=1e-6)
    assert step.losses[0] == pytest.approx(loss / 6, rel=1e-5)


def test_min_count_drops_rare_words() -> None:
    sentences = [["often", "often", "rare"], ["often", "seen", "seen"]]
    for config in (GloVeConfig(min_count=2, epochs=1), Word2VecConfig(min_count=2, epochs=1)):
        assert set(config.vectors([], sentences, dimension=4, seed=0)) == {"often", "seen"}


@pytest.mark.parametrize("config", [GloVeConfig(min_count=5), Word2VecConfig(min_count=5)])
@pytest.mark.parametrize("sentences", [[], [[]], [["a", "b"]]])
def test_a_corpus_too_small(config: GloVeConfig | Word2VecConfig, sentences: list[list[str]]) -> None:
    with pytest.raises(UserError, match="no word of the corpus occurs 5 times"):
        config.vectors([], sentences, dimension=4, seed=0)


def test_words_that_never_stand_together() -> None:
    with pytest.raises(UserError, match="no two words of the corpus stand together"):
        GloVeConfig().vectors([], [["a"], ["b"]], dimension=4, seed=0)


def test_without_gensim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gensim.models", None)
    with pytest.raises(UserError, match=r"pip install 'plait\[vectors\]'"):
        Word2VecConfig().vectors([], [["a", "b"]], dimension=4, seed=0)
