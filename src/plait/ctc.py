"""The CTC loss (connectionist temporal classification): it teaches the audio encoder which words are where in the sound.

In: features of the sound `(B, L, E)`, and the tokens of the segment that was spoken.
Out: Σ −log p(tokens | sound) over the samples that have both, in nats; p sums over all ways to lay the words, in order, along the
sound.
Invariant: it touches training only: what the model says and its held-out loss come from the language model alone.

Graves et al. 2006; joined to an attention decoder as in Watanabe et al. 2017 (hybrid CTC/attention), because attention alone
takes many times more steps to find the words in the sound (LOG.md has the figures).
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from plait.layers import OutputHead
from plait.types import IGNORED, Batch, Features


class CTC(nn.Module):
    """A linear layer from sound features to the vocabulary, `<pad>` being the blank, and its loss."""

    def __init__(
        self, width: int, *, vocabulary_size: int, segment: int, pad_id: int, end_id: int, weight: float
    ) -> None:
        super().__init__()
        self.head = OutputHead(width, vocabulary_size)
        self.segment, self.pad_id, self.end_id, self.weight = segment, pad_id, end_id, weight

    def loss(self, features: Features, batch: Batch) -> Float[Tensor, ""]:
        """`weight` × the summed loss; samples without sound, or with more words than tokens of sound, give nothing."""
        spoken = (batch.segments == self.segment) & (batch.targets != IGNORED) & (batch.targets != self.end_id)
        rows = (features.mask.any(dim=1) & spoken.any(dim=1)).nonzero()[:, 0]
        if len(rows) == 0:
            return features.values.new_zeros(())
        scores = self.head(features.values[rows]).float().log_softmax(dim=-1).transpose(0, 1)
        losses = F.ctc_loss(
            scores,
            batch.targets[rows][spoken[rows]],
            features.mask[rows].sum(dim=1),
            spoken[rows].sum(dim=1),
            blank=self.pad_id,
            reduction="none",
            zero_infinity=True,
        )
        return self.weight * (losses * batch.weights[rows]).sum()
