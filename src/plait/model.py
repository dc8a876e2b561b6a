"""The model: encoders, a fusion and a language model composed. The only place that knows all three.

In: a `Batch`, and what is asked about it.
Out: summed losses, token losses, the losses with each input alone; hidden states `(B, T, D)` and logits.
Invariant: what a sample gets does not depend on the other samples of its batch, on padding, or on values behind a mask. Every pass
of training, whatever it is for, is one call of the model: what wraps it sees them all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from plait.encoders import Encoder
from plait.fusion import Fusion
from plait.fusion.base import check_adds_up
from plait.lm import Cache, CausalLM
from plait.losses.alone import absent as absent
from plait.losses.alone import alone_as_asked
from plait.losses.alone import select as select
from plait.losses.base import Answer, Ask, Beside, LossSums, token_weights
from plait.losses.links import Links
from plait.modalities.encoder import length_mask
from plait.named import ByName
from plait.types import IGNORED, Batch, Condition, Features, Items


class Model(nn.Module):
    """See the module. A model without encoders has no fusion and is a plain language model.

    `encoders`: by input, in order; one that stands there several times is shared (`owners`: input → the first one with its
    encoder). `beside`: losses that training adds, by the names that their parts have in the model. `segment_weights`: what a
    token of each segment counts in the training loss; empty = all alike. `frozen`: the inputs whose encoders stay as they are.
    """

    links: Links | None
    """The links between the sides of a sample, where the run has them."""

    def __init__(
        self,
        *,
        encoders: Mapping[str, Encoder],
        fusion: Fusion | None,
        lm: CausalLM,
        beside: Mapping[str, Beside] | None = None,
        segment_weights: Sequence[float] = (),
        frozen: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.inputs = tuple(encoders)
        first = {id(encoder): name for name, encoder in reversed([*encoders.items()])}
        self.owners = {name: first[id(encoder)] for name, encoder in encoders.items()}
        self.encoders = ByName({name: encoders[name] for name in self.inputs if self.owners[name] == name})
        self.frozen = tuple(m for m in self.inputs if m in frozen)
        for modality in self.frozen:
            self.encoder(modality).requires_grad_(False)
        self.fusion = fusion
        self.lm = lm
        self.beside = tuple(beside or ())
        for name, loss in (beside or {}).items():
            self.register_module(name, loss)
        if "links" not in self.beside:
            self.register_module("links", None)
        self.segment_weights = tuple(segment_weights)
        self.kept: tuple[nn.Module, ...] = ()
        """Other modules that stay as they are."""

    def train(self, mode: bool = True) -> Model:
        """As `nn.Module.train`, but what is frozen stays without dropout."""
        super().train(mode)
        for modality in self.frozen:
            self.encoder(modality).eval()
        for module in self.kept:
            module.eval()
        return self

    @property
    def modalities(self) -> tuple[str, ...]:
        """As `inputs`: for programs written when every input was called as its modality."""
        return self.inputs

    def encoder(self, modality: str) -> Encoder:
        """The encoder of one input."""
        return self.encoders[self.owners[modality]]

    def encode(self, inputs: Mapping[str, Items], batch_size: int) -> dict[str, Features]:
        """Features `(B, L, E)` of every modality of the model; L = 0 where no sample of the batch has it.

        Each item is encoded once, however many samples share it, and only if a sample uses it.
        """
        return {m: self.encode_one(m, inputs.get(m), batch_size) for m in self.inputs}

    def encode_one(self, modality: str, items: Items | None, batch_size: int) -> Features:
        """The features of one modality."""
        encoder = self.encoder(modality)
        used = items and only_used(items)
        if used is None:
            device = self.lm.device
            values = torch.zeros(batch_size, 0, encoder.width, device=device)
            return Features(values, torch.zeros(batch_size, 0, dtype=torch.bool, device=device))
        if used.encoded:
            assert modality in self.frozen, f"features of the {modality} encoder, which trains"
            return gather(Features(used.values, length_mask(used.lengths, used.values.shape[1])), used.index)
        return gather(encoder(used), used.index)

    def condition(self, features: Mapping[str, Features]) -> Condition:
        """What the fusion computes once per sample."""
        return Condition() if self.fusion is None else self.fusion.condition(features)

    def hidden(
        self,
        tokens: Int[Tensor, "B T"],
        condition: Condition,
        *,
        mask: Bool[Tensor, "B T"] | None = None,
        cache: Cache | None = None,
        seen: dict[int, Tensor] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """The finished states at the text positions, for the output head; with a `cache`, positions follow those it remembers.

        The blocks run in order; the fusion acts at its places, on the text; a prefix stands before the first position, aligned at
        the right. `mask`: which tokens are real; those at the left of a row are where the others are longer. `seen` is filled
        with the states that the fusion is given at each place.
        """
        lm, fusion, num_branches = self.lm, self.fusion, condition.num_branches
        if condition.branches is not None:
            check_adds_up(lm.linear_head)
        states, given, num_prefix = lm.embed(tokens), None, 0
        if num_branches > 1:
            states = states.repeat_interleave(num_branches, dim=0)
            mask = None if mask is None else mask.repeat_interleave(num_branches, dim=0)
        if condition.prefix is not None and (cache is None or cache.length == 0):
            num_prefix = condition.prefix.values.shape[1]
            states, mask, given = before_text(condition.prefix, states, mask)
        states, steps = lm.enter(states, mask, cache)
        places = () if fusion is None else fusion.at
        for place in range(lm.num_blocks + 1):
            if fusion is not None and place in places:
                text = states[:, num_prefix:] if num_prefix else states
                if seen is not None:
                    seen[place] = text
                fused = fusion.fuse(text, condition, place)
                if given is not None:
                    fused = torch.where(given[..., None], text, fused)
                states = torch.cat([states[:, :num_prefix], fused], dim=1) if num_prefix else fused
            if place < lm.num_blocks:
                states = lm.run_block(place, states, steps, cache)
        if cache is not None:
            cache.advance(mask, *states.shape[:2])
        states = lm.finish(states[:, num_prefix:] if num_prefix else states)
        if condition.branches is None:
            return states
        weights = condition.branches.to(states.dtype)[..., None, None]
        return (states.unflatten(0, (-1, num_branches)) * weights).sum(dim=1)

    def forward(self, batch: Batch, ask: Ask = Ask()) -> Answer:  # noqa: B008 - it is frozen
        """Every pass of training: encoders once, fusion and language model, and what was asked for of it."""
        features = self.encode(batch.inputs, len(batch))
        sums = losses = None
        if ask.sums or ask.token_losses:
            hidden = self.hidden(batch.tokens, self.condition(features))
            sums = self.sums(hidden, features, batch, ask.label_smoothing) if ask.sums else None
            losses = token_losses(self.lm, hidden, batch.targets) if ask.token_losses else None
        if ask.alone is None:
            return Answer(sums, losses)
        return Answer(sums, losses, alone_as_asked(self, features, batch, ask))

    def sums(
        self, hidden: Float[Tensor, "B T D"], features: Mapping[str, Features], batch: Batch, label_smoothing: float
    ) -> LossSums:
        """Weighted token losses, summed, and all that stands beside them."""
        logits, targets = self.logits_at(hidden, batch)
        losses = F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
        weights = token_weights(batch, self.segment_weights)[batch.targets != IGNORED]
        total = (losses * weights).sum()
        auxiliary = total.new_zeros(())
        for name in self.beside:
            auxiliary = auxiliary + self.get_submodule(name)(features, batch, self.lm.word_vectors)
        added = None if self.fusion is None else self.fusion.auxiliary()
        if added is not None:
            auxiliary = auxiliary + added * weights.sum()
        return LossSums(total, weights.sum(), len(losses), auxiliary)

    def states(self, batch: Batch) -> Float[Tensor, "B T D"]:
        """Hidden states of a whole batch."""
        return self.hidden(batch.tokens, self.condition(self.encode(batch.inputs, len(batch))))

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        """Weighted token losses, summed."""
        found = self(batch, Ask(label_smoothing=label_smoothing)).sums
        assert found is not None
        return found

    def loss_of(self, features: Mapping[str, Features], batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        """`loss`, of samples whose inputs are encoded."""
        return self.sums(self.hidden(batch.tokens, self.condition(features)), features, batch, label_smoothing)

    def scored_logits(
        self, features: Mapping[str, Features], batch: Batch
    ) -> tuple[Float[Tensor, "N V"], Int[Tensor, " N"]]:
        """The logits at the scored positions only, row by row, and the targets there."""
        return self.logits_at(self.hidden(batch.tokens, self.condition(features)), batch)

    def logits_at(self, hidden: Float[Tensor, "B T D"], batch: Batch) -> tuple[Float[Tensor, "N V"], Int[Tensor, " N"]]:
        """`scored_logits`, of states that are there."""
        scored = batch.targets != IGNORED
        return self.lm.logits(hidden[scored]).float(), batch.targets[scored]

    def token_weights(self, batch: Batch) -> Float[Tensor, "B T"]:
        """What each target token counts in training."""
        return token_weights(batch, self.segment_weights)

    def token_losses(self, batch: Batch) -> Float[Tensor, "B T"]:
        """The loss of every target token in nats, 0 where the target is ignored."""
        found = self(batch, Ask(sums=False, token_losses=True)).token_losses
        assert found is not None
        return found

    @property
    def num_parameters(self) -> int:
        """Trained and frozen numbers, shared ones once."""
        return sum(p.numel() for p in self.parameters())


def token_losses(lm: CausalLM, hidden: Float[Tensor, "B T D"], targets: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """−log p(target) at every scored position, 0 elsewhere."""
    scored = targets != IGNORED
    losses = F.cross_entropy(lm.logits(hidden[scored]).float(), targets[scored], reduction="none")
    return torch.zeros(targets.shape, device=losses.device).masked_scatter(scored, losses)


def before_text(
    prefix: Features, states: Float[Tensor, "B T E"], mask: Bool[Tensor, "B T"] | None
) -> tuple[Float[Tensor, "B PT E"], Bool[Tensor, "B PT"], Bool[Tensor, "B T"] | None]:
    """A prefix before the states of a text, row by row directly before its first real token, padding at the far left.

    The text keeps its columns. Returned with them: which columns are real, and which of the text's columns hold a prefix (None:
    none do), as they may where the text has padding at its left.
    """
    values = prefix.values.to(states.dtype)
    if mask is None:
        order = prefix.mask.long().argsort(dim=1, stable=True)
        real = torch.cat([prefix.mask.gather(1, order), prefix.mask.new_ones(states.shape[:2])], dim=1)
        return torch.cat([columns(values, order), states], dim=1), real, None
    whole, begun = torch.cat([prefix.mask, mask], dim=1), mask.cumsum(dim=1) > 0
    order = torch.cat([prefix.mask, begun], dim=1).long().argsort(dim=1, stable=True)
    moved = whole.gather(1, order)
    return columns(torch.cat([values, states], dim=1), order), moved, moved[:, values.shape[1] :] & ~begun


def columns(values: Float[Tensor, "B T E"], order: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
    """Each row with its columns in its own order."""
    return values.gather(1, order[..., None].expand_as(values))


def only_used(items: Items) -> Items | None:
    """The items that some sample uses, and the index into them; None where none is used."""
    used = items.index[items.index >= 0].unique()
    if len(used) == 0:
        return None
    if len(used) == len(items.values):
        return items
    position = torch.full((len(items.values),), -1, dtype=torch.long, device=used.device)
    position[used] = torch.arange(len(used), device=used.device)
    index = torch.where(items.index >= 0, position[items.index.clamp(min=0)], -1)
    sources = None if items.sources is None else items.sources[used]
    return Items(items.values[used], items.lengths[used], index, sources, items.encoded)


def gather(features: Features, index: Int[Tensor, "B K"]) -> Features:
    """Features of items `(R, L, E)` → features of samples `(B, K·L, E)`; places without an item are masked."""
    rows = index.clamp(min=0)
    values = features.values[rows].flatten(1, 2)
    mask = (features.mask[rows] & (index >= 0)[..., None]).flatten(1, 2)
    return Features(values, mask)
