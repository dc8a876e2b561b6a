"""Word vectors: from scratch, Word2Vec or GloVe, and the module that turns ids into them.

In: a vocabulary and, where vectors are trained, a corpus.
Out: `VectorsResult` for `build_embedding`, whose `Embedding` maps ids to vectors.
"""

from typing import TYPE_CHECKING

from plait.choices import one_of
from plait.embeddings.glove import GloVeConfig
from plait.embeddings.module import Embedding, ScratchConfig, build_embedding, embedding_of, with_embedding
from plait.embeddings.vectors import VectorsResult, vectors_for
from plait.embeddings.word2vec import Word2VecConfig

if TYPE_CHECKING:
    EmbeddingConfig = ScratchConfig | Word2VecConfig | GloVeConfig
else:
    EmbeddingConfig = one_of("embedding", ScratchConfig, Word2VecConfig, GloVeConfig)

__all__ = [
    "Embedding",
    "EmbeddingConfig",
    "GloVeConfig",
    "ScratchConfig",
    "VectorsResult",
    "Word2VecConfig",
    "build_embedding",
    "embedding_of",
    "vectors_for",
    "with_embedding",
]
