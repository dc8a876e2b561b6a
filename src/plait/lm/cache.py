"""What a language model remembers of the positions it has read.

In: rows of different ages: each has read its own number of positions.
Out: the same rows in other batches: selected, joined, without the columns that no row needs.
Invariant: columns are shared and rows right-aligned: what a row read last stands in the last column, and a younger row has
masked columns at its left. `select`, `join` and `compact` give caches of their own, whose further steps do not touch the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass
class Cache:
    """One memory per block, and which columns are real.

    `mask` is None while every column so far was real. `columns`: for each block the axis on which a tensor of its memory has the
    columns (it may have room for more behind them), None where it has one value per row. A language model whose memory is no
    tensor per name overrides `tensors`, `axis` and `holding`, and gets the rest.
    """

    blocks: list[Mapping[str, Shaped[Tensor, "B ..."]]] = field(default_factory=list)
    length: int = 0
    mask: Bool[Tensor, "B past"] | None = None
    columns: Sequence[Mapping[str, int | None]] = ()

    def tensors(self) -> dict[str, Tensor]:
        """All that is remembered, the batch being the first axis."""
        return {f"{n}.{name}": value for n, block in enumerate(self.blocks) for name, value in block.items()}

    def axis(self, name: str) -> int | None:
        """The axis of the columns in one of `tensors`; None where it has one value per row."""
        number, _, inner = name.partition(".")
        try:
            return self.columns[int(number)][inner]
        except (IndexError, KeyError):
            raise NotImplementedError(
                f"the language model's block {number} remembers {inner!r} and does not say in `columns` on which axis its "
                "columns are"
            ) from None

    def holding(self, tensors: Mapping[str, Tensor], *, length: int, mask: Bool[Tensor, "rows length"] | None) -> Cache:
        """A cache of this kind with these tensors in the place of its own."""
        blocks: list[Mapping[str, Tensor]] = [
            {name: tensors[f"{number}.{name}"] for name in block} for number, block in enumerate(self.blocks)
        ]
        return replace(self, blocks=blocks, length=length, mask=mask)

    def advance(self, mask: Bool[Tensor, "B T"] | None, batch_size: int, num_steps: int) -> None:
        """Note that these positions have been read."""
        self.mask = self.joined_mask(mask, batch_size, num_steps)
        self.length += num_steps

    def joined_mask(
        self, mask: Bool[Tensor, "B T"] | None, batch_size: int, num_steps: int
    ) -> Bool[Tensor, "B S"] | None:
        """Which of the past positions and of `num_steps` present ones are real; None where all are."""
        known = self.mask if self.mask is not None else mask
        if known is None:
            return None
        past = self.mask if self.mask is not None else known.new_ones(batch_size, self.length)
        present = mask if mask is not None else known.new_ones(batch_size, num_steps)
        return torch.cat([past, present], dim=1)

    def select(self, rows: Int[Tensor, " rows"]) -> Cache:
        """The memories of the given rows of the batch, in that order, repeats allowed."""
        mask = None if self.mask is None else self.mask[rows]
        tensors = {name: value[rows] for name, value in self.tensors().items()}
        return self.holding(tensors, length=self.length, mask=mask)

    def compact(self) -> Cache:
        """The same memories without the columns that are masked in every row."""
        if self.mask is None:
            tensors = {name: value.clone() for name, value in self.tensors().items()}
            return self.holding(tensors, length=self.length, mask=None)
        kept = self.mask.any(dim=0).nonzero()[:, 0]
        tensors = {}
        for name, value in self.tensors().items():
            axis = self.axis(name)
            tensors[name] = value.clone() if axis is None else value.index_select(axis, kept)
        mask = self.mask[:, kept]
        return self.holding(tensors, length=len(kept), mask=None if bool(mask.all()) else mask)

    @staticmethod
    def join(caches: Sequence[Cache]) -> Cache:
        """The rows of several caches of one language model as one batch, whatever their ages."""
        if not caches or any(cache.length == 0 for cache in caches):
            raise ValueError("only caches that have read something can be joined: the others have no rows yet")
        first, length = caches[0], max(cache.length for cache in caches)
        of_caches = [cache.tensors() for cache in caches]
        tensors = {}
        for name in of_caches[0]:
            axis = first.axis(name)
            parts = zip(of_caches, caches, strict=True)
            tensors[name] = torch.cat([aged(held[name], axis, cache.length, length) for held, cache in parts])
        uneven = any(cache.mask is not None or cache.length < length for cache in caches)
        mask = torch.cat([cache.right_aligned_mask(length) for cache in caches]) if uneven else None
        return first.holding(tensors, length=length, mask=mask)

    def right_aligned_mask(self, length: int) -> Bool[Tensor, "B length"]:
        """Which of `length` columns are real when these are the last of them."""
        some = next(iter(self.tensors().values())) if self.mask is None else self.mask
        mask = some.new_zeros(len(some), length, dtype=torch.bool)
        mask[:, length - self.length :] = True if self.mask is None else self.mask
        return mask


def aged(value: Shaped[Tensor, "B ..."], axis: int | None, length: int, wanted: int) -> Shaped[Tensor, "B ..."]:
    """A memory of `length` columns as the last of `wanted` ones, with zeros before it, which a mask hides."""
    if axis is None:
        return value
    value = value.narrow(axis, 0, length)
    shape = [*value.shape]
    shape[axis] = wanted - length
    return torch.cat([value.new_zeros(shape), value], dim=axis)
