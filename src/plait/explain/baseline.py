"""The best constant answer in bits: one distribution over texts, said whatever the input is.

In: the training targets of a segment as token ids, and the vocabulary's size.
Out: the bits of any text.
Invariant: it sums to at most one over all texts, none has probability 0, and the evaluated split has no part in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import log2

Ids = tuple[int, ...]


class ConstantAnswer:
    """A mixture: whole training texts by how often they occur, and texts spelled token by token, each token by its frequency.

    The second part has the share of training texts that occur once (Good and Turing's guess of the share that is new); its
    tokens are counted once more than they occur, the end of a text among them.
    """

    def __init__(self, texts: Sequence[Ids], *, vocabulary_size: int) -> None:
        self.texts, self.num_texts = Counter(texts), len(texts)
        self.tokens = Counter(token for text in texts for token in text)
        self.num_tokens = sum(self.tokens.values()) + len(texts) + vocabulary_size
        self.new = (sum(count == 1 for count in self.texts.values()) + 1) / (len(texts) + 1)

    def bits(self, text: Ids) -> float:
        """−log2 of the text's probability, its end included."""
        spelled = -log2(self.new)
        spelled -= sum(log2((self.tokens[token] + 1) / self.num_tokens) for token in text)
        spelled -= log2((self.num_texts + 1) / self.num_tokens)
        if text not in self.texts or self.new >= 1:
            return spelled
        whole = (1 - self.new) * self.texts[text] / self.num_texts
        return -log2(whole + 2.0**-spelled)
