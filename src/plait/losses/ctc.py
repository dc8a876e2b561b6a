"""The CTC loss (connectionist temporal classification): it teaches an encoder which words are where in the sound.

In: features of the sound `(B, L, E)`, and the tokens of the segment that was spoken.
Out: Σ −log p(tokens | sound) over the samples that have both, in nats; p sums over all ways to lay the words, in order, along the
sound.
Invariant: it touches training only: what the model says and its held-out loss come from the language model alone.

Graves et al. 2006; joined to an attention decoder as in Watanabe et al. 2017 (hybrid CTC/attention), because attention alone
takes many times more steps to find the words in the sound (LOG.md has the figures).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from plait.errors import UserError, did_you_mean
from plait.layers import OutputHead
from plait.losses.base import Beside, Given, LossOptions, WordVectors
from plait.types import IGNORED, Batch, Features

SPOKEN = "audio"
"""The modality that is heard where nothing else is said."""


class CTCConfig(LossOptions):
    """Beside the language model's loss, the CTC loss of the segment that was spoken: which of its words are where in the sound.

    `input`: the input in which it was spoken; null = the run's only sound.
    """

    stated_as: ClassVar[str] = "train.ctc"
    kept_as: ClassVar[str] = "ctc"

    segment: str
    weight: Annotated[float, Field(gt=0.0)] = 0.3
    input: str | None = None

    def beside(self, given: Given) -> CTC:
        """See the module."""
        tokenizer = given.tokenizer
        if self.segment not in tokenizer.segments:
            right = did_you_mean(self.segment, tokenizer.segments)
            raise UserError(f"no segment {self.segment!r}", where=f"{self.stated_as}.segment", right=right)
        heard = self.heard(given.modalities)
        return CTC(
            given.widths[heard],
            input=heard,
            vocabulary_size=tokenizer.size,
            segment=tokenizer.segments.index(self.segment),
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
            weight=self.weight,
        )

    def heard(self, modalities: Mapping[str, str]) -> str:
        """The input in which the segment was spoken, among a run's inputs and their modalities."""
        if self.input is not None:
            if self.input not in modalities:
                right = did_you_mean(self.input, modalities)
                raise UserError(f"the run reads no {self.input}", where=f"{self.stated_as}.input", right=right)
            return self.input
        sounds = [name for name, modality in modalities.items() if modality == SPOKEN]
        if not sounds:
            right = "Leave it out, or add audio to data.inputs"
            raise UserError("there is no audio for the CTC loss", where=self.stated_as, right=right)
        if len(sounds) > 1:
            raise UserError(
                f"the run hears {', '.join(sounds)}: the segment {self.segment!r} was spoken in one of them",
                where=self.stated_as,
                right=f"Say which: {self.stated_as}.input={sounds[0]}",
            )
        return sounds[0]


class CTC(Beside):
    """A linear layer from sound features to the vocabulary, `<pad>` being the blank, and its loss."""

    def __init__(
        self,
        width: int,
        *,
        vocabulary_size: int,
        segment: int,
        pad_id: int,
        end_id: int,
        weight: float,
        input: str = SPOKEN,
    ) -> None:
        super().__init__()
        self.head = OutputHead(width, vocabulary_size)
        self.segment, self.pad_id, self.end_id, self.weight = segment, pad_id, end_id, weight
        self.input = input

    def forward(self, features: Mapping[str, Features], batch: Batch, embedding: WordVectors) -> Float[Tensor, ""]:
        """The loss of the input that was spoken."""
        return self.loss(features[self.input], batch)

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
