"""Word2Vec (Mikolov et al. 2013): vectors read from its files, or trained on the corpus by gensim.

In: sentences (sequences of tokens), or a path.
Out: word → vector.
Invariant: training is seeded and runs in one thread, so the same corpus gives the same vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from plait.choices import Config
from plait.embeddings.files import Vectors, read_word2vec
from plait.errors import UserError
from plait.seeds import derive_seed


class Word2VecConfig(Config):
    """Word2Vec: a file of vectors, or without `path` trained here (`pip install 'plait[vectors]'`)."""

    kind: Literal["word2vec"] = "word2vec"
    path: str | None = None
    """A local file in word2vec's format, .bin or text, also .gz. None = train on the corpus."""
    frozen: bool = False
    """Keep the vectors as they are."""
    window: int = Field(default=5, ge=1)
    """Words on each side that count as context."""
    epochs: int = Field(default=20, ge=1)
    min_count: int = Field(default=1, ge=1)
    """Rarer words get no vector."""
    skip_gram: bool = True
    """Predict the context from the word; false = the word from the context (CBOW)."""
    negative: int = Field(default=5, ge=1)
    """Random words told apart from each true one."""

    def vectors(self, wanted: Iterable[str], corpus: Iterable[Sequence[str]], *, dimension: int, seed: int) -> Vectors:
        """The vectors of the wanted words that the file or the corpus has; `dimension` is for training."""
        if self.path:
            return read_word2vec(self.path, wanted)
        return train_word2vec(self, corpus, dimension=dimension, seed=seed)


def train_word2vec(config: Word2VecConfig, corpus: Iterable[Sequence[str]], *, dimension: int, seed: int) -> Vectors:
    """Vectors of every word of the corpus that is frequent enough."""
    try:
        from gensim.models import Word2Vec
    except ImportError as error:
        right = "Run: pip install 'plait[vectors]'"
        raise UserError("training Word2Vec needs gensim", where="embedding.kind", right=right) from error
    sentences = [list(sentence) for sentence in corpus if len(sentence)]
    check_corpus(sentences, min_count=config.min_count)
    model = Word2Vec(
        sentences,
        vector_size=dimension,
        window=config.window,
        epochs=config.epochs,
        min_count=config.min_count,
        sg=int(config.skip_gram),
        negative=config.negative,
        seed=derive_seed(seed, "word2vec") % 2**31,
        workers=1,
    )
    return {str(word): np.array(model.wv[word], dtype=np.float32) for word in model.wv.index_to_key}


def check_corpus(sentences: list[list[str]], *, min_count: int) -> None:
    """Refuse a corpus from which nothing can be learnt."""
    counts = Counter(word for sentence in sentences for word in sentence)
    if not any(count >= min_count for count in counts.values()):
        what = f"no word of the corpus occurs {min_count} times ({len(counts)} words, {counts.total()} in all)"
        raise UserError(what, where="embedding.min_count", right="Lower min_count, or give `path`.")
