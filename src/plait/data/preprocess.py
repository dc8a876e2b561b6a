"""Samples → one `Batch`: every input prepared as its modality says, targets to tokens.

In: samples; the run's tokenizer, segments and inputs; for training the seed and the epoch of all random draws.
Out: `Prepared`: the batch, which of the samples are in it, which were left out and why.
Invariant: what a sample becomes depends on the sample, the configuration, the corruption and (seed, epoch) only: not on the samples
beside it, nor on the process, nor on what the cache holds (features that were computed before differ from new ones in last bits).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from plait.data.cache import DecodedCache, cache_key
from plait.data.collate import SegmentTokens, collate_index, collate_targets, num_target_positions
from plait.data.config import DataConfig
from plait.data.draws import Draw
from plait.data.known import KnownFeatures, all_known
from plait.data.manifest import LeftOut
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.modalities.base import Blob, Item, Preparer, stacked
from plait.types import Batch, Items, Sample

MAX_REMEMBERED_TEXTS = 200_000
"""Texts whose ids are remembered; beyond it each is tokenized whenever it is met (about 10 µs a sentence)."""


@runtime_checkable
class Corruption(Protocol):
    """Damage done on purpose to what was decoded of one input, to measure what a model bears.

    `damaged` gives a new tensor of the same shape and type: a wave `(samples,)` or pixels `(3, size, size)`, bytes. It depends on
    the sample and the place of the item in it, so a file that two samples share is damaged for each in its own way.
    """

    @property
    def input(self) -> str: ...

    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor: ...


@dataclass(frozen=True)
class Prepared:
    """What came of a request: `batch` is None where no sample was left; `kept` are the places of those in it."""

    batch: Batch | None
    kept: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = ()
    cut: tuple[str, ...] = ()
    """Ids of the samples of whose text only the beginning is read."""


class _Own(NamedTuple):
    """The key of an item that is changed at random or damaged: each sample's is its own."""

    item: Hashable
    sample_id: str
    place: int


@dataclass
class _Items:
    """One input's items while a batch is gathered: values by key, what each was made from, and each sample's keys.

    `known`: the features of all items of the batch: then nothing is decoded.
    """

    known: Mapping[Hashable, Tensor] | None = None
    values: dict[Hashable, Tensor] = field(default_factory=dict)
    sources: dict[Hashable, tuple[Sample, int]] = field(default_factory=dict)
    rows: list[list[Hashable]] = field(default_factory=list)

    def numbered(self) -> tuple[list[Hashable], list[list[int]]]:
        """The keys in the order of their first use, and each sample's items by number."""
        numbers: dict[Hashable, int] = {}
        rows = [[numbers.setdefault(key, len(numbers)) for key in row] for row in self.rows]
        return list(numbers), rows


class Preprocessor:
    """Makes batches, in any number of threads. `left_out` (by id) and `cut` (ids) hold what `batch` met so far.

    `inputs`: the names of those that are read, in order (`modalities`, as it was called before). `corruption` may be set between
    batches: the cache holds clean values only, so they are decoded once for all of them. `features` by input: what was encoded
    before is not decoded, wherever it is neither changed at random nor damaged.
    """

    def __init__(
        self,
        config: DataConfig,
        tokenizer: Tokenizer,
        segments: Sequence[str],
        inputs: Sequence[str],
        *,
        corruption: Corruption | None = None,
    ) -> None:
        if "video" in inputs:
            raise UserError("video is not read yet", where="data.inputs", right="Take text, image and audio.")
        self.config, self.tokenizer = config, tokenizer
        self.corruption = corruption
        self.features: dict[str, KnownFeatures] = {}
        self.segments = tuple(segments)
        self.inputs = tuple(inputs)
        self.cache = DecodedCache(config.cache_mb * 2**20)
        self.left_out: dict[str, LeftOut] = {}
        self.cut: set[str] = set()
        self._segment_ids = [tokenizer.segment_id(name) for name in self.segments]
        self._ids: dict[str, tuple[int, ...]] = {}
        self.preparers: dict[str, Preparer] = {
            name: config.modality_of(name).preparer(config.options_of(name), self.encode, tokenizer.pad_id)
            for name in self.inputs
        }
        self._preparations = {name: preparer.preparation for name, preparer in self.preparers.items()}

    @property
    def modalities(self) -> tuple[str, ...]:
        """As `inputs`: for programs written when every input was called as its modality."""
        return self.inputs

    def batch(
        self, samples: Sequence[Sample], *, training: bool, seed: int = 0, epoch: int = 0, reference: int | None = None
    ) -> Batch:
        """The batch of these samples, in this order; with `on_error: skip` those that cannot be read go to `left_out`.

        `reference=k` asks for the k-th reference, not the drawn or first one; a sample that has none has no target.
        """
        prepared = self.prepare(samples, Draw(training, seed, epoch, reference))
        self.note(prepared)
        if prepared.batch is None:
            if len(samples) == 1:
                (gone,) = prepared.left_out
                raise UserError(gone.reason, where=gone.where or gone.id)
            reasons = "; ".join(f"{gone.where or gone.id}: {gone.reason}" for gone in prepared.left_out[:3])
            raise UserError(f"none of the batch's {len(samples)} samples can be used ({reasons})")
        return prepared.batch

    def note(self, prepared: Prepared) -> None:
        """Add what a request left out or cut to the lists."""
        self.left_out.update((gone.id or gone.where, gone) for gone in prepared.left_out)
        self.cut.update(prepared.cut)

    def prepare(self, samples: Sequence[Sample], draw: Draw, weights: Sequence[float] | None = None) -> Prepared:
        """The batch, and what became of each sample; nothing is noted. `weights`: of the samples in the loss."""
        found = {name: _Items(known=self._known(name, samples, draw)) for name in self.inputs}
        targets: list[list[SegmentTokens]] = []
        kept: list[int] = []
        left_out: list[LeftOut] = []
        for place, sample in enumerate(samples):
            try:
                target = self.target(sample, draw.reference_of(sample))
                keys = {name: self._gather(name, sample, draw, items) for name, items in found.items()}
            except UserError as error:
                if self.config.on_error == "stop":
                    raise
                left_out.append(LeftOut(where=sample.where, id=sample.id, reason=_reason(error), code="unusable"))
                continue
            kept.append(place)
            targets.append(target)
            for name, of_sample in keys.items():
                found[name].rows.append(of_sample)
        if not kept:
            return Prepared(None, (), tuple(left_out))
        batch = Batch(
            tuple(samples[place].id for place in kept),
            {name: self._collate(name, items, draw) for name, items in found.items()},
            *collate_targets(
                targets, start_id=self._segment_ids[0], end_id=self.tokenizer.end_id, pad_id=self.tokenizer.pad_id
            ),
            torch.tensor([1.0 if weights is None else weights[place] for place in kept], dtype=torch.float32),
        )
        cut = tuple(samples[place].id for place in kept if self.is_cut(samples[place]))
        return Prepared(batch, tuple(kept), tuple(left_out), cut)

    def encode(self, text: str) -> tuple[int, ...]:
        """A text's ids, uncut."""
        ids = self._ids.get(text)
        if ids is None:
            ids = tuple(self.tokenizer.encode(text))
            if len(self._ids) < MAX_REMEMBERED_TEXTS:
                self._ids[text] = ids
        return ids

    def target(self, sample: Sample, reference: int | None) -> list[SegmentTokens]:
        """The tokens of one reference, by segment in the run's order; a target that is too long is refused, not cut."""
        if reference is None:
            return []
        texts = sample.references[reference]
        target = [
            SegmentTokens(place, token, self.encode(texts[name]))
            for place, (name, token) in enumerate(zip(self.segments, self._segment_ids, strict=True))
            if name in texts
        ]
        if not target:
            right = f"Name at least one of: {', '.join(self.segments)}."
            raise UserError(
                f"the target has only the segments {', '.join(texts)}", where=sample.where or sample.id, right=right
            )
        length, limit = num_target_positions(target), self.config.max_target_tokens
        if length > limit:
            raise UserError(
                f"the target has {length} tokens",
                where=sample.where or sample.id,
                right=f"At most {limit} are taken: shorten it, or raise data.max_target_tokens.",
            )
        return target

    def is_cut(self, sample: Sample) -> bool:
        """Whether only the beginning of an input is read (a text that is longer than `max_tokens`)."""
        return any(self.preparers[name].is_cut(item) for name in self.inputs for item in sample.items(name))

    def items_of(self, name: str, sample: Sample) -> tuple[Hashable, ...]:
        """The keys of a sample's items of one input: files, or what a text comes to."""
        preparer = self.preparers[name]
        keys = (preparer.key(item) for item in sample.items(name))
        return tuple(key for key in keys if key is not None)

    def decoded(self, name: str, item: Item) -> Tensor:
        """An item of an input as it was recorded, decoded once; not to be changed in place."""
        preparer = self.preparers[name]
        return self._cached("decoded", name, item, lambda: preparer.decode(item))

    def _gather(self, name: str, sample: Sample, draw: Draw, items: _Items) -> list[Hashable]:
        """Put a sample's items of one input among those of the batch; their keys."""
        if not sample.has(name):
            return []
        preparer, keys = self.preparers[name], []
        # What is changed at random is each sample's own; otherwise one item is one, whoever has it.
        own = self._is_changed(name, draw) or self._is_corrupted(name)
        for place, item in enumerate(sample.items(name)):
            of_item = preparer.key(item)
            if of_item is None:
                continue
            key = _Own(of_item, sample.id, place) if own else of_item
            if key not in items.values:
                if items.known is not None:
                    items.values[key] = items.known[of_item]
                else:
                    try:
                        items.values[key] = self._value(name, item, sample, place, draw)
                    except UserError as error:
                        raise _placed(error, sample, name, item) from error
                items.sources[key] = (sample, place)
            keys.append(key)
        return keys

    def _value(self, name: str, item: Item, sample: Sample, place: int, draw: Draw) -> Tensor:
        """What an item comes to, before it is changed at random: from the cache, or from what was decoded where that changes."""
        preparer = self.preparers[name]
        changes = draw.training and preparer.changes_decoded
        if not (changes or self._is_corrupted(name)):
            return self._cached("value", name, item, lambda: preparer.value(preparer.decode(item)))
        decoded = self.decoded(name, item)
        if self.corruption is not None and self._is_corrupted(name):
            decoded = self.corruption.damaged(decoded, sample, place)
        if changes:
            draws = (
                preparer.decoded_draw
                if name == self.config.modality_of(name).name
                else f"{preparer.decoded_draw} {name}"
            )
            decoded = preparer.change_decoded(decoded, draw.generator(draws, sample, place))
        return preparer.value(decoded)

    def _known(self, name: str, samples: Sequence[Sample], draw: Draw) -> Mapping[Hashable, Tensor] | None:
        """The features of every item of the samples, if all are known and meant as they are."""
        known = self.features.get(name)
        if known is None or self._is_changed(name, draw) or self._is_corrupted(name):
            return None
        return all_known(known, [key for sample in samples for key in self.items_of(name, sample)])

    def _is_changed(self, name: str, draw: Draw) -> bool:
        preparer = self.preparers[name]
        return draw.training and (preparer.changes_decoded or preparer.changes_value)

    def _is_corrupted(self, name: str) -> bool:
        return self.corruption is not None and self.corruption.input == name

    def _cached(self, what: str, name: str, item: Item, make: Callable[[], Tensor]) -> Tensor:
        preparer = self.preparers[name]
        if not preparer.is_kept:
            return make()
        key = cache_key(item, f"{'value' if preparer.decoded_is_value else what} {self._preparations[name]}")
        found = self.cache.get(key)
        if found is None:
            found = make()
            self.cache.put(key, found)
        return found

    def _collate(self, name: str, items: _Items, draw: Draw) -> Items:
        """The items of the samples that are in the batch, changed at random where that is asked for."""
        keys, rows = items.numbered()
        values = [items.values[key] for key in keys]
        if items.known is not None:
            lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
            return Items(
                stacked(values, torch.zeros(1, self.features[name].width)), lengths, collate_index(rows), encoded=True
            )
        preparer, sources = self.preparers[name], None
        if self._is_changed(name, draw):
            sources = _numbers([key.item for key in keys if isinstance(key, _Own)])
            values = [
                preparer.change_value(value, draw.generator(f"augment {name}", *items.sources[key]))
                for key, value in zip(keys, values, strict=True)
            ]
        return Items(*preparer.collate(values), collate_index(rows), sources)


def paths_of(sample: Sample, name: str) -> tuple[Path, ...]:
    """The files of a sample's input."""
    return tuple(item for item in sample.items(name) if isinstance(item, Path))


def _numbers(items: Sequence[Hashable]) -> Tensor:
    """The same number for the same item."""
    numbers: dict[Hashable, int] = {}
    return torch.tensor([numbers.setdefault(item, len(numbers)) for item in items], dtype=torch.long)


def _placed(error: UserError, sample: Sample, name: str, item: Item) -> UserError:
    """The same mistake, said of the sample's row."""
    file = f" {item}" if isinstance(item, Path | Blob) else ""
    file = "" if file.strip() in error.what or file.strip() == sample.where else file
    return UserError(f"{name}{file}: {error.what}", where=sample.where or sample.id, right=error.right)


def _reason(error: UserError) -> str:
    """The message without the place, which stands beside it."""
    return f"{error.what.rstrip('.')}. {error.right}" if error.right else error.what
