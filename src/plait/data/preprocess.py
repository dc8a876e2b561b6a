"""Samples → one `Batch`: text to ids, pictures to pixels, sound to log-mel, targets to tokens.

In: samples; the run's tokenizer, segments and modalities; for training the seed and the epoch of all random draws.
Out: `Prepared`: the batch, which of the samples are in it, which were left out and why.
Invariant: what a sample becomes depends on the sample, the configuration, the corruption and (seed, epoch) only: not on the samples
beside it, nor on the process, nor on what the cache holds (features that were computed before differ from new ones in last bits).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from plait.modalities.audio.prepare import augment_wave, load_audio, log_mels, spec_augment
from plait.data.cache import CacheKey, DecodedCache, cache_key
from plait.data.collate import SegmentTokens, collate_index, collate_sequences, collate_targets, num_target_positions
from plait.data.config import DataConfig
from plait.data.draws import Draw
from plait.modalities.image.prepare import augment_image, load_image, normalise_images
from plait.data.known import Item, KnownFeatures, all_known
from plait.data.manifest import LeftOut
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.types import Batch, Items, Sample

MAX_REMEMBERED_TEXTS = 200_000
"""Texts whose ids are remembered; beyond it each is tokenized whenever it is met (about 10 µs a sentence)."""


@runtime_checkable
class Corruption(Protocol):
    """Damage done on purpose to what was decoded of one modality, to measure what a model bears.

    `damaged` gives a new tensor of the same shape and type: a wave `(samples,)` or pixels `(3, size, size)`, bytes. It depends on
    the sample and the place of the item in it, so a file that two samples share is damaged for each in its own way.
    """

    @property
    def modality(self) -> str: ...

    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor: ...


@dataclass(frozen=True)
class Prepared:
    """What came of a request: `batch` is None where no sample was left; `kept` are the places of those in it."""

    batch: Batch | None
    kept: tuple[int, ...]
    left_out: tuple[LeftOut, ...] = ()
    cut: tuple[str, ...] = ()
    """Ids of the samples whose text input was longer than `max_tokens`."""


@dataclass
class _Items:
    """One modality's items while a batch is gathered: values by key, what each was made from, and each sample's keys.

    `waves` are clips whose log-mel is still to be computed, with the place in the cache that it is to take. `known`: the features
    of all items of the batch: then nothing is decoded.
    """

    known: Mapping[Hashable, Tensor] | None = None
    values: dict[Hashable, Tensor] = field(default_factory=dict)
    sources: dict[Hashable, tuple[Sample, int]] = field(default_factory=dict)
    waves: dict[Hashable, tuple[Tensor, CacheKey | None]] = field(default_factory=dict)
    rows: list[list[Hashable]] = field(default_factory=list)

    def numbered(self) -> tuple[list[Hashable], list[list[int]]]:
        """The keys in the order of their first use, and each sample's items by number."""
        numbers: dict[Hashable, int] = {}
        rows = [[numbers.setdefault(key, len(numbers)) for key in row] for row in self.rows]
        return list(numbers), rows


class Preprocessor:
    """Makes batches. `left_out` (by id) and `cut` (ids of samples whose text was cut) hold what `batch` met so far.

    `corruption` may be set between batches: the cache holds clean values only, so they are decoded once for all of them. `features`
    by modality: what was encoded before is not decoded, wherever it is neither changed at random nor damaged.
    """

    def __init__(
        self,
        config: DataConfig,
        tokenizer: Tokenizer,
        segments: Sequence[str],
        modalities: Sequence[str],
        *,
        corruption: Corruption | None = None,
    ) -> None:
        if "video" in modalities:
            raise UserError("video is not read yet", where="data.inputs", right="Take text, image and audio.")
        self.config, self.tokenizer = config, tokenizer
        self.corruption = corruption
        self.features: dict[str, KnownFeatures] = {}
        self.segments = tuple(segments)
        self.modalities = tuple(modalities)
        self.cache = DecodedCache(config.cache_mb * 2**20)
        self.left_out: dict[str, LeftOut] = {}
        self.cut: set[str] = set()
        self._segment_ids = [tokenizer.segment_id(name) for name in self.segments]
        self._ids: dict[str, tuple[int, ...]] = {}
        augments = {"image": config.image.augment, "audio": config.audio.augment}
        self._augmented = frozenset(m for m, augment in augments.items() if augment != type(augment)())
        self._image_preparation = "image" + config.image.model_dump_json(exclude={"augment"})
        self._audio_preparation = "audio" + config.audio.model_dump_json(exclude={"augment"})

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
        items = {modality: _Items(known=self._known(modality, samples, draw)) for modality in self.modalities}
        targets: list[list[SegmentTokens]] = []
        kept: list[int] = []
        left_out: list[LeftOut] = []
        for place, sample in enumerate(samples):
            try:
                target = self.target(sample, draw.reference_of(sample))
                keys = {modality: self._gather(modality, sample, draw, found) for modality, found in items.items()}
            except UserError as error:
                if self.config.on_error == "stop":
                    raise
                left_out.append(LeftOut(where=sample.where, id=sample.id, reason=_reason(error), code="unusable"))
                continue
            kept.append(place)
            targets.append(target)
            for modality, of_sample in keys.items():
                items[modality].rows.append(of_sample)
        if not kept:
            return Prepared(None, (), tuple(left_out))
        batch = Batch(
            tuple(samples[place].id for place in kept),
            {modality: self._collate(modality, found, draw) for modality, found in items.items()},
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
        """Whether the text input is longer than `max_tokens`, so that only its beginning is read."""
        text = sample.text if "text" in self.modalities else None
        return text is not None and len(self.encode(text)) > self.config.text.max_tokens

    def _gather(self, modality: str, sample: Sample, draw: Draw, items: _Items) -> list[Hashable]:
        """Put a sample's items of one modality among those of the batch; their keys."""
        if not sample.has(modality):
            return []
        if modality == "text":
            return self._gather_text(sample.text or "", items)
        keys: list[Hashable] = []
        for place, path in enumerate(paths_of(sample, modality)):
            if items.known is not None:
                items.values[path] = items.known[path]
                keys.append(path)
                continue
            # What is changed at random is each sample's own; otherwise one file is one item, whoever has it.
            own = self._is_augmented(modality, draw) or self._is_corrupted(modality)
            key = (path, sample.id, place) if own else path
            if key not in items.sources:
                items.sources[key] = (sample, place)
                try:
                    if modality == "image":
                        items.values[key] = self._damaged(modality, self._pixels(path), sample, place)
                    else:
                        self._sound(path, key, draw, items)
                except UserError as error:
                    del items.sources[key]
                    raise _placed(error, sample, modality, path) from error
            keys.append(key)
        return keys

    def _gather_text(self, text: str, items: _Items) -> list[Hashable]:
        ids = self.encode(text)[: self.config.text.max_tokens]
        if not ids:
            return []
        if ids not in items.values:
            items.values[ids] = torch.tensor(ids, dtype=torch.long) if items.known is None else items.known[ids]
        return [ids]

    def items_of(self, modality: str, sample: Sample) -> tuple[Item, ...]:
        """The files of a sample's modality, or the ids of its text as they are read."""
        if modality != "text":
            return paths_of(sample, modality)
        ids = self.encode(sample.text or "")[: self.config.text.max_tokens]
        return (ids,) if ids else ()

    def _known(self, modality: str, samples: Sequence[Sample], draw: Draw) -> Mapping[Hashable, Tensor] | None:
        """The features of every item of the samples, if all are known and meant as they are."""
        known = self.features.get(modality)
        if known is None or self._is_augmented(modality, draw) or self._is_corrupted(modality):
            return None
        return all_known(known, [item for sample in samples for item in self.items_of(modality, sample)])

    def _is_augmented(self, modality: str, draw: Draw) -> bool:
        return draw.training and modality in self._augmented

    def _pixels(self, path: Path) -> Tensor:
        """A picture, decoded and resized, as bytes."""
        key = cache_key(path, self._image_preparation)
        return self._cached(key, lambda: load_image(path, self.config.image))

    def _is_corrupted(self, modality: str) -> bool:
        return self.corruption is not None and self.corruption.modality is modality

    def _damaged(self, modality: str, decoded: Tensor, sample: Sample, place: int) -> Tensor:
        """What was decoded, with the damage that was asked for; it never goes into the cache."""
        if self.corruption is None or self.corruption.modality is not modality:
            return decoded
        return self.corruption.damaged(decoded, sample, place)

    def wave(self, path: Path) -> Tensor:
        """A clip as it was recorded, decoded once; not to be changed in place."""
        key = cache_key(path, "wave " + self._audio_preparation)
        return self._cached(key, lambda: load_audio(path, self.config.audio))

    def _sound(self, path: Path, key: Hashable, draw: Draw, items: _Items) -> None:
        """A clip's log-mel if it is at hand, otherwise its wave, to become one; with noise or damage, from the wave each time."""
        noisy = draw.training and self.adds_noise
        if noisy or self._is_corrupted("audio"):
            wave = self._damaged("audio", self.wave(path), *items.sources[key])
            if noisy:
                generator = draw.generator("noise", *items.sources[key])
                wave = augment_wave(wave, self.config.audio.augment, generator)
            items.waves[key] = (wave, None)
            return
        place = cache_key(path, "log-mel " + self._audio_preparation)
        mel = self.cache.get(place)
        if mel is None:
            items.waves[key] = (load_audio(path, self.config.audio), place)
        else:
            items.values[key] = mel

    def _cached(self, key: CacheKey | None, decode: Callable[[], Tensor]) -> Tensor:
        found = self.cache.get(key)
        if found is None:
            found = decode()
            self.cache.put(key, found)
        return found

    def _collate(self, modality: str, items: _Items, draw: Draw) -> Items:
        """The items of the samples that are in the batch, changed at random where that is asked for."""
        keys, rows = items.numbered()
        if items.known is not None:
            values, width = [items.values[key] for key in keys], self.features[modality].width
            lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
            return Items(collate_sequences(values, torch.zeros(1, width)), lengths, collate_index(rows), encoded=True)
        augmented = self._is_augmented(modality, draw)
        if modality == "audio":
            self._add_mels(items, keys)
        values = [items.values[key] for key in keys]
        sources = _numbers([key[0] for key in keys if isinstance(key, tuple)]) if augmented else None
        if modality == "image":
            config = self.config.image
            if augmented:
                values = [
                    augment_image(value, config.augment, draw.generator("augment image", *items.sources[key]))
                    for key, value in zip(keys, values, strict=True)
                ]
            pixels = torch.stack(values) if values else torch.zeros(0, 3, config.size, config.size, dtype=torch.uint8)
            lengths = torch.ones(len(values), dtype=torch.long)
            return Items(normalise_images(pixels, config), lengths, collate_index(rows), sources)
        if augmented:
            values = [
                spec_augment(value, self.config.audio.augment, draw.generator("augment audio", *items.sources[key]))
                for key, value in zip(keys, values, strict=True)
            ]
        empty, fill = torch.zeros(1, self.config.audio.num_mels), 0
        if modality == "text":
            empty, fill = torch.zeros(1, dtype=torch.long), self.tokenizer.pad_id
        lengths = torch.tensor([len(value) for value in values], dtype=torch.long)
        return Items(collate_sequences(values, empty, fill), lengths, collate_index(rows), sources)

    def _add_mels(self, items: _Items, keys: Sequence[Hashable]) -> None:
        """The log-mels of all clips that are still waves."""
        waiting = [key for key in keys if key in items.waves]
        mels = log_mels([items.waves[key][0] for key in waiting], self.config.audio) if waiting else []
        for key, mel in zip(waiting, mels, strict=True):
            items.values[key] = mel
            self.cache.put(items.waves[key][1], mel)

    @property
    def adds_noise(self) -> bool:
        """Whether training adds noise to waves, so that waves are cached and not log-mels."""
        return self.config.audio.augment.noise > 0


def paths_of(sample: Sample, modality: str) -> tuple[Path, ...]:
    """The files of a sample's pictures or of its sound."""
    paths = sample.image if modality == "image" else (sample.audio,)
    return tuple(path for path in paths if path is not None)


def _numbers(paths: Sequence[Path]) -> Tensor:
    """The same number for the same path."""
    numbers: dict[Path, int] = {}
    return torch.tensor([numbers.setdefault(path, len(numbers)) for path in paths], dtype=torch.long)


def _placed(error: UserError, sample: Sample, modality: str, path: Path) -> UserError:
    """The same mistake, said of the sample's row."""
    file = "" if str(path) in error.what or str(path) == sample.where else f" {path}"
    return UserError(f"{modality}{file}: {error.what}", where=sample.where or sample.id, right=error.right)


def _reason(error: UserError) -> str:
    """The message without the place, which stands beside it."""
    return f"{error.what.rstrip('.')}. {error.right}" if error.right else error.what
