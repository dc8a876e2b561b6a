"""GloVe (Pennington, Socher and Manning 2014): vectors read from its files, or trained on the corpus here.

In: sentences (sequences of tokens), or a path.
Out: word → vector; a word's vector is the sum of its two (as a word and as context), as in the paper.
Invariant: the loss is Σ f(X_ij) (w_i · c_j + a_i + b_j − log X_ij)², f(x) = min(1, (x / x_max)^α), over the word pairs that occur
together; training is seeded and does not depend on the number of threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from plait.choices import Config
from plait.embeddings.files import Vectors, read_glove
from plait.embeddings.word2vec import check_corpus
from plait.errors import UserError
from plait.seeds import torch_generator


class GloVeConfig(Config):
    """GloVe: a file of vectors, or without `path` trained here; the figures are the paper's."""

    kind: Literal["glove"] = "glove"
    path: str | None = None
    """A local file in GloVe's format (`glove.6B.100d.txt`), also .gz. None = train on the corpus."""
    frozen: bool = False
    """Keep the vectors as they are."""
    window: int = Field(default=10, ge=1)
    """Words on each side that count as context, d words away by 1/d."""
    epochs: int = Field(default=50, ge=1)
    min_count: int = Field(default=1, ge=1)
    """Rarer words get no vector."""
    x_max: float = Field(default=100.0, gt=0)
    """Pairs that occur together this often, or oftener, count fully."""
    alpha: float = Field(default=0.75, gt=0)
    learning_rate: float = Field(default=0.05, gt=0)

    def vectors(self, wanted: Iterable[str], corpus: Iterable[Sequence[str]], *, dimension: int, seed: int) -> Vectors:
        """The vectors of the wanted words that the file or the corpus has; `dimension` is for training."""
        if self.path:
            return read_glove(self.path, wanted)
        fit = train_glove(self, corpus, dimension=dimension, seed=seed)
        return dict(zip(fit.words, fit.vectors, strict=True))


class GloVeFit(NamedTuple):
    """Trained vectors `(V, W)` of `words`, and the mean loss per pair of each epoch."""

    words: list[str]
    vectors: np.ndarray
    losses: list[float]


class Pairs(NamedTuple):
    """The words that occur together: indices and the summed 1/distance of each pair, in order of the indices."""

    words: np.ndarray
    contexts: np.ndarray
    counts: np.ndarray


def count_pairs(sentences: Sequence[np.ndarray], vocabulary_size: int, window: int) -> Pairs:
    """Both directions of every pair at most `window` apart in a sentence, weighted by 1/distance."""
    words = np.concatenate([np.asarray(s, dtype=np.int64) for s in sentences])
    sentence = np.repeat(np.arange(len(sentences)), [len(s) for s in sentences])
    keys = np.empty(0, dtype=np.int64)
    counts = np.empty(0)
    for distance in range(1, min(window, max(map(len, sentences)) - 1) + 1):
        together = sentence[distance:] == sentence[:-distance]
        left, right = words[:-distance][together], words[distance:][together]
        new = np.concatenate([left * vocabulary_size + right, right * vocabulary_size + left])
        keys, place = np.unique(np.concatenate([keys, new]), return_inverse=True)
        counts = np.bincount(
            place, weights=np.concatenate([counts, np.full(len(new), 1 / distance)]), minlength=len(keys)
        )
    return Pairs(keys // vocabulary_size, keys % vocabulary_size, counts)


def train_glove(config: GloVeConfig, corpus: Iterable[Sequence[str]], *, dimension: int, seed: int) -> GloVeFit:
    """Weighted least squares by AdaGrad, in shuffled batches of pairs."""
    sentences = [list(sentence) for sentence in corpus if len(sentence)]
    check_corpus(sentences, min_count=config.min_count)
    frequency = Counter(word for sentence in sentences for word in sentence)
    words = sorted((w for w, n in frequency.items() if n >= config.min_count), key=lambda w: (-frequency[w], w))
    index = {word: i for i, word in enumerate(words)}
    known = [np.array([index[w] for w in sentence if w in index], dtype=np.int64) for sentence in sentences]
    pairs = count_pairs(known, len(words), config.window)
    if not len(pairs.counts):
        right = "Give longer texts, a lower min_count, or `path`."
        raise UserError("no two words of the corpus stand together", where="embedding", right=right)
    factors = _Factors(len(words), dimension, config, seed)
    return GloVeFit(words, *factors.fit(pairs, seed))


class _Factors:
    """The two tables of vectors with their biases in the last two columns, and AdaGrad's sums of squares.

    A row is [w, a, 1] as a word and [c, 1, b] as context, so that one product gives w · c + a + b; the ones stay.
    """

    def __init__(self, num_words: int, dimension: int, config: GloVeConfig, seed: int) -> None:
        self.config, self.dimension = config, dimension
        generator = torch_generator(seed, "glove", "start")
        self.tables: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.trained: list[Tensor] = []
        for one in (dimension + 1, dimension):
            table = (torch.rand(num_words, dimension + 2, generator=generator) - 0.5) / (dimension + 1)
            table[:, one] = 1
            self.tables.append(table)
            self.squares.append(torch.ones_like(table))
            self.trained.append((torch.arange(dimension + 2) != one).float())

    def fit(self, pairs: Pairs, seed: int) -> tuple[np.ndarray, list[float]]:
        """The vectors and the mean loss of each epoch."""
        rows = (torch.from_numpy(pairs.words), torch.from_numpy(pairs.contexts))
        logs = torch.from_numpy(np.log(pairs.counts)).float()
        weights = torch.from_numpy(np.minimum(1.0, (pairs.counts / self.config.x_max) ** self.config.alpha)).float()
        batch_size = min(1 << 14, max(64, len(logs) // 16))
        losses: list[float] = []
        for epoch in range(self.config.epochs):
            order = torch.randperm(len(logs), generator=torch_generator(seed, "glove", "order", epoch))
            total = sum(
                self._step((rows[0][chosen], rows[1][chosen]), logs[chosen], weights[chosen])
                for chosen in order.split(batch_size)
            )
            losses.append(total / len(logs))
        vectors = (self.tables[0] + self.tables[1])[:, : self.dimension]
        return vectors.numpy(), losses

    def _step(self, rows: tuple[Tensor, Tensor], logs: Tensor, weights: Tensor) -> float:
        """One AdaGrad step on a batch of pairs; the loss before it."""
        sides = [table[side] for table, side in zip(self.tables, rows, strict=True)]
        errors = (sides[0] * sides[1]).sum(1) - logs
        steps = (weights * errors)[:, None]
        for table, squares, trained, side, other in zip(
            self.tables, self.squares, self.trained, rows, reversed(sides), strict=True
        ):
            gradient = torch.zeros_like(table).index_add_(0, side, steps * other * trained)
            table -= self.config.learning_rate * gradient / squares.sqrt()
            squares += gradient.square()
        return float((weights * errors.square()).sum())
