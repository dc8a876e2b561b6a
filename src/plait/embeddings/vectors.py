"""A vocabulary's starting vectors, wherever they come from, and which words they cover.

In: the choice of embedding, the vocabulary's tokens, the corpus as token sequences.
Out: vectors `(V, W)` and which rows were found `(V,)`; W is the file's own, or the model's width for vectors trained here.
Invariant: a word that is not covered gets normal numbers of the same size as the covered ones', from the run's seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from plait.embeddings.files import Vectors
from plait.embeddings.module import ScratchConfig
from plait.errors import UserError
from plait.seeds import torch_generator


class VectorsResult(NamedTuple):
    """Vectors of a vocabulary; `covered` is False where a word had none and began at random."""

    vectors: Float[Tensor, "V W"]
    covered: Bool[Tensor, " V"]

    @property
    def coverage(self) -> str:
        """'31 of 40 words (78 %)', to be printed."""
        num_covered, size = int(self.covered.sum()), len(self.covered)
        return f"{num_covered} of {size} words ({num_covered / max(size, 1):.0%})"


@runtime_checkable
class VectorSource(Protocol):
    """A configuration that knows where vectors come from: Word2Vec, GloVe, or a user's own."""

    @property
    def frozen(self) -> bool:
        """Whether the vectors stay as they are."""
        ...

    def vectors(self, wanted: Iterable[str], corpus: Iterable[Sequence[str]], *, dimension: int, seed: int) -> Vectors:
        """Word → vector, of as many of the wanted words as there are."""
        ...


def vectors_for(
    config: ScratchConfig | VectorSource,
    tokens: Sequence[str],
    corpus: Iterable[Sequence[str]],
    width: int,
    seed: int,
) -> VectorsResult:
    """The vectors of `tokens` in their order; a token that is not found as it stands is looked for in lower case."""
    if isinstance(config, ScratchConfig):
        found: Vectors = {}
    else:
        wanted = {form for token in tokens for form in (token, token.lower())}
        found = config.vectors(wanted, corpus, dimension=width, seed=seed)
    rows = [found.get(token, found.get(token.lower())) for token in tokens]
    known = [row for row in rows if row is not None]
    if not known and not isinstance(config, ScratchConfig):
        right = "Are the file's language and the tokenizer's kind (word) the right ones?"
        raise UserError(f"none of the {len(tokens)} words has a vector", where="embedding", right=right)
    dimension = len(known[0]) if known else width
    size = float(np.sqrt(np.mean(np.square(known)))) if known else width**-0.5
    generator = torch_generator(seed, "embedding", "missing")
    vectors = torch.randn(len(tokens), dimension, generator=generator) * size
    covered = torch.tensor([row is not None for row in rows], dtype=torch.bool)
    if known:
        vectors[covered] = torch.from_numpy(np.stack(known)).float()
    return VectorsResult(vectors, covered)
