"""Targeted augmentation: a part of the input is hidden, of the modality that is ahead (or of a named one) and of no other.

In: a batch, and for `auto` the losses with each modality alone, measured every few steps.
Out: the batch with parts of that modality's items hidden.
Invariant: a draw depends on the seed, the step and the sample's id; what is ahead follows from running means that are kept with
every checkpoint. It is done before the batch is cut into micro-batches, on what the encoder reads, beside what
`data.*.augment` does.

Each item of that modality is touched with `chance`, and loses a share of itself drawn between 0 and `strength`: a picture a
rectangle of that share of its area (set to the mean colour; random erasing, Zhong et al. 2017, arXiv 1708.04896), a sound a
stretch of that share of its time (set to its own mean), a text each word with that chance (at least one stays). So the strong
modality does not say everything in every step, and the loss that is left is learnt from the others.

`auto`: the running means (each measurement counts half) of the losses in bits per token with each modality alone; the lowest is
ahead if it is lower than the mean of the others by more than `margin`, otherwise nothing is hidden. A measurement is a pass
without gradients per modality, every `every` steps. The model should have seen inputs missing (`train.modality_subsets`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from plait.errors import UserError, did_you_mean
from plait.losses.balance import WHERE, Balance, BalanceOptions, Encoding
from plait.seeds import torch_generator
from plait.types import Batch

DECAY = 0.5
"""What a measurement leaves of the running mean before it."""


class TargetedAugmentationConfig(BalanceOptions):
    """Hide parts of one modality's input: of `modality`, or of the one that is ahead (`auto`)."""

    kind: Literal["targeted_augmentation"] = "targeted_augmentation"
    modality: str | Literal["auto"] = "auto"
    chance: float = Field(default=0.5, ge=0, le=1, description="that an item is touched")
    strength: float = Field(default=0.8, ge=0, le=1, description="share of the item that is hidden at most")
    margin: float = Field(default=0.1, ge=0, description="bits per token by which a modality must be ahead (auto)")
    every: int = Field(default=10, ge=1, description="steps between two measurements of who is ahead (auto)")
    advice: ClassVar[str] = "a modality that says nearly everything and drowns the others"
    num_modalities: ClassVar[int] = 2

    def changes(self, modality: str) -> bool:
        """The modality that is named, or any."""
        return self.modality in ("auto", modality)

    def build(self, model: Encoding, *, steps: int, seed: int, state: Mapping[str, float] | None = None) -> Balance:
        """See the module."""
        self.refuse_few(model)
        if self.modality != "auto" and self.modality not in model.inputs:
            raise UserError(
                f"the run reads no {self.modality}",
                where=WHERE.replace("kind", "modality"),
                right=did_you_mean(self.modality, ["auto", *model.inputs]),
            )
        return TargetedAugmentation(self, seed=seed, state=state)


class TargetedAugmentation(Balance):
    """See the module. `state`: running means in nats per token by modality."""

    def __init__(self, config: TargetedAugmentationConfig, *, seed: int, state: Mapping[str, float] | None) -> None:
        super().__init__(state=state)
        self.config, self.seed = config, seed

    def asks(self, step: int) -> bool:
        """At the first step and every few after it."""
        return self.config.modality == "auto" and (step - 1) % self.config.every == 0

    def hear(self, alone: Mapping[str, float]) -> None:
        """Take a measurement into the running means."""
        if self.config.modality == "auto":
            for modality, nats in alone.items():
                before = self.state.get(modality, nats)
                self.state[modality] = DECAY * before + (1 - DECAY) * nats

    @property
    def ahead(self) -> str | None:
        """The modality whose inputs are hidden now."""
        if self.config.modality != "auto":
            return self.config.modality
        if len(self.state) < 2:
            return None
        best = min(self.state, key=lambda name: self.state[name])
        others = [nats for name, nats in self.state.items() if name != best]
        lead = (sum(others) / len(others) - self.state[best]) / math.log(2)
        return best if lead > self.config.margin else None

    def changed(self, batch: Batch, step: int) -> Batch:
        """The batch with parts hidden."""
        if self.ahead is None or not self.config.chance:
            return batch
        return hide(
            batch, self.ahead, chance=self.config.chance, strength=self.config.strength, seed=self.seed, step=step
        )

    @property
    def figures(self) -> dict[str, Any]:
        """Which modality is hidden, if any."""
        return {"hides": None if self.ahead is None else self.ahead}


def hide(batch: Batch, modality: str, *, chance: float, strength: float, seed: int, step: int) -> Batch:
    """The batch with parts of one modality's items hidden; an item of several samples is drawn by the first of them."""
    items = batch.inputs.get(modality)
    if items is None or not len(items.lengths):
        return batch
    owners: dict[int, tuple[str, int]] = {}
    for id, row in zip(batch.ids, items.index.tolist(), strict=True):
        for place, item in enumerate(row):
            if item >= 0:
                owners.setdefault(item, (id, place))
    values, lengths = items.values.clone(), items.lengths.clone()
    for item, (id, place) in owners.items():
        generator = torch_generator(seed, "hide", step, id, modality, place)
        touched, share = torch.rand(2, generator=generator).tolist()
        if touched < chance:
            length = int(lengths[item])
            values[item], lengths[item] = without_part(values[item], length, strength * share, generator)
    return replace(batch, inputs={**batch.inputs, modality: replace(items, values=values, lengths=lengths)})


def without_part(value: Tensor, length: int, share: float, generator: torch.Generator) -> tuple[Tensor, int]:
    """One item with a share of it hidden, and its new length: ids `(S,)`, pixels `(C, Y, X)`, or a row of vectors `(F, M)`."""
    if value.ndim == 1:
        return fewer_words(value, length, share, generator)
    if value.ndim == 3:
        return covered(value, share, generator), length
    return silenced(value, length, share, generator), length


def fewer_words(
    ids: Int[Tensor, " S"], length: int, share: float, generator: torch.Generator
) -> tuple[Int[Tensor, " S"], int]:
    """A text without some of its words; those that are left move together, at least one."""
    drawn = torch.rand(length, generator=generator)
    kept = drawn >= min(share, float(drawn.max()))  # the largest stays
    order = torch.argsort((~kept).to(ids.device).int(), stable=True)
    return torch.cat([ids[:length][order], ids[length:]]), int(kept.sum())


def silenced(mel: Float[Tensor, "F M"], length: int, share: float, generator: torch.Generator) -> Float[Tensor, "F M"]:
    """A sound with a stretch of its time set to its mean; or the tokens of an item that is encoded already."""
    frames = min(round(share * length), length)
    start = int(torch.randint(length - frames + 1, (), generator=generator))
    hidden = mel.clone()
    hidden[start : start + frames] = mel[:length].mean()
    return hidden


def covered(pixels: Float[Tensor, "C Y X"], share: float, generator: torch.Generator) -> Float[Tensor, "C Y X"]:
    """A picture with a rectangle of its own proportions set to the mean colour, which is 0 once pixels are normalised."""
    rows, columns = (min(round(math.sqrt(share) * size), size) for size in pixels.shape[1:])
    top = int(torch.randint(pixels.shape[1] - rows + 1, (), generator=generator))
    left = int(torch.randint(pixels.shape[2] - columns + 1, (), generator=generator))
    hidden = pixels.clone()
    hidden[:, top : top + rows, left : left + columns] = 0
    return hidden
