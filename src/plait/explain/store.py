"""The inputs of samples, decoded and encoded once: what a sample's inputs are to the model, kept for when another one gets them.

In: a run and samples.
Out: `Part`s: samples with features `(B, L, E)` and targets; or the same with some inputs taken from other samples.
Invariant: a file is decoded and encoded once, as long as the features of all samples fit into `MOST_BYTES` of memory; what does not
fit is read again where it is needed. A sample's features do not depend on who stands beside it (1e-6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from plait.data.collate import SegmentTokens, collate_targets
from plait.data.draws import Draw
from plait.data.loader import Loader
from plait.data.manifest import LeftOut
from plait.data.preprocess import Preprocessor
from plait.errors import UserError
from plait.features import FeatureCache
from plait.run import Run
from plait.types import Batch, Features, Sample

MOST_BYTES = 2**30


class Part(NamedTuple):
    """Samples, one row for each of their references. `where`: the sample of each row; `has`: the inputs that it has."""

    where: Int[np.ndarray, " B"]
    has: Bool[np.ndarray, "B inputs"]
    features: Mapping[str, Features]
    batch: Batch


class Targets(NamedTuple):
    """The targets of a part, for when it is asked again."""

    where: Int[np.ndarray, " B"]
    has: Bool[np.ndarray, "B inputs"]
    batch: Batch


class Store:
    """See the module. `keeps`: whether features are kept; otherwise only the parts are made."""

    def __init__(
        self, run: Run, samples: Sequence[Sample], *, batch_size: int, keeps: bool = False, most_bytes: int = MOST_BYTES
    ) -> None:
        self.run, self.samples, self.batch_size = run, list(samples), batch_size
        self.preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs)
        FeatureCache(run.config, run.model, self.preprocessor)
        self.device = run.model.lm.device
        self.left_out: dict[str, LeftOut] = {}
        self.room = most_bytes if keeps else 0
        self.keeps = keeps
        self.kept: dict[tuple[str, int], Tensor] = {}
        self.read: dict[tuple[str, int], Tensor] = {}
        self.targets: list[Targets] = []

    def parts(self) -> Iterator[Part]:
        """Every sample with a target, encoded, in the order that pads least; its features are kept, as far as there is room."""
        asked = [place for place, sample in enumerate(self.samples) if sample.references]
        loader = Loader(
            [self.samples[place] for place in asked],
            self.preprocessor,
            batch_size=self.batch_size,
            seed=0,
            training=False,
            workers=self.run.config.data.workers,
        )
        for numbers, batch in loader.indexed_batches():
            self.left_out.update(loader.left_out)
            where = np.array([asked[number] for number in numbers])
            has = np.stack([(batch.inputs[m].index >= 0).any(dim=1).numpy() for m in self.run.inputs], axis=1)
            batch = batch.to(self.device)
            features = self.run.model.encode(batch.inputs, len(batch))
            if self.keeps:
                self.keep(where, features)
            for rows, targets in self.referenced(where, batch):
                if self.keeps:
                    self.targets.append(Targets(where[rows], has[rows], targets))
                chosen = torch.as_tensor(rows, device=self.device)
                whole = len(rows) == len(where) and bool((rows == np.arange(len(where))).all())
                taken = {m: f if whole else Features(f.values[chosen], f.mask[chosen]) for m, f in features.items()}
                yield Part(where[rows], has[rows], taken, targets)
        self.left_out.update(loader.left_out)

    def referenced(
        self, where: Int[np.ndarray, " B"], batch: Batch
    ) -> Iterator[tuple[Int[np.ndarray, " rows"], Batch]]:
        """The batch with the targets of all references, at most a batch's number of rows at once: its rows, and their targets."""
        several = [(row, k) for row, place in enumerate(where) for k in range(len(self.samples[place].references))]
        if len(several) == len(where):
            yield np.arange(len(where)), Batch(batch.ids, {}, *targets_in(batch))
            return
        for start in range(0, len(several), self.batch_size):
            rows, targets = [], []
            for row, reference in several[start : start + self.batch_size]:
                sample = self.samples[where[row]]
                try:
                    targets.append(self.preprocessor.target(sample, reference))
                except UserError as error:
                    if self.run.config.data.on_error == "stop":
                        raise
                    self.left_out[sample.id] = LeftOut(sample.where, sample.id, error.what, "unusable")
                    continue
                rows.append(row)
            if rows:
                yield np.array(rows), self.collated([batch.ids[row] for row in rows], targets)

    def collated(self, ids: Sequence[str], targets: Sequence[Sequence[SegmentTokens]]) -> Batch:
        """A batch of targets alone."""
        tokenizer = self.run.tokenizer
        found = collate_targets(
            targets,
            start_id=tokenizer.segment_id(self.run.segments[0]),
            end_id=tokenizer.end_id,
            pad_id=tokenizer.pad_id,
        )
        return Batch(tuple(ids), {}, *found, torch.ones(len(ids))).to(self.device)

    def keep(self, where: Int[np.ndarray, " B"], features: Mapping[str, Features]) -> None:
        """The real tokens of each sample's features, while there is room."""
        for name, of in features.items():
            values, mask = of.values.cpu(), of.mask.cpu()
            for row, place in enumerate(where.tolist()):
                found = values[row][mask[row]]
                if found.nbytes > self.room:
                    continue
                self.room -= found.nbytes
                self.kept[name, place] = found

    def moved(self, partners: Mapping[str, Int[np.ndarray, " n"]]) -> Iterator[Part]:
        """The parts again, with the inputs `partners` those of other samples; rows that cannot get them are missing."""
        for where, has, batch in self.targets:
            wanted = {m: partners[m][where] if m in partners else where for m in self.run.inputs}
            self.read_missing(wanted)
            readable = [all((m, int(of[row])) in self.read for m, of in wanted.items()) for row in range(len(where))]
            rows = np.flatnonzero(readable)
            if not len(rows):
                continue
            features = {m: self.padded(m, of[rows]) for m, of in wanted.items()}
            chosen = torch.as_tensor(rows, device=self.device)
            part = Batch(
                tuple(batch.ids[row] for row in rows),
                {},
                *(value[chosen] for value in (batch.tokens, batch.targets, batch.segments, batch.weights)),
            )
            yield Part(where[rows], has[rows], features, part)

    def read_missing(self, wanted: Mapping[str, Int[np.ndarray, " B"]]) -> None:
        """Have at hand what is wanted; what was not kept is decoded and encoded for this part alone."""
        self.read = {}
        for name, of in wanted.items():
            places = dict.fromkeys(of.tolist())
            self.read |= {(name, place): self.kept[name, place] for place in places if (name, place) in self.kept}
            missing = [place for place in places if (name, place) not in self.kept]
            if not missing:
                continue
            samples = [replace(self.samples[place].only([name]), references=()) for place in missing]
            prepared = self.preprocessor.prepare(samples, Draw(training=False))
            if prepared.batch is not None:
                batch = prepared.batch.to(self.device)
                found = self.run.model.encode_one(name, batch.inputs[name], len(batch))
                for row, number in enumerate(prepared.kept):
                    self.read[name, missing[number]] = found.values[row][found.mask[row]]

    def padded(self, name: str, places: Int[np.ndarray, " B"]) -> Features:
        """The features of one input of these samples, side by side."""
        found = [self.read[name, place] for place in places.tolist()]
        longest = max(len(values) for values in found)
        width = self.run.model.encoder(name).width
        values = torch.zeros(len(found), longest, width, device=self.device)
        mask = torch.zeros(len(found), longest, dtype=torch.bool, device=self.device)
        for row, of in enumerate(found):
            values[row, : len(of)] = of.to(self.device)
            mask[row, : len(of)] = True
        return Features(values, mask)


def targets_in(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The target's part of a batch."""
    return batch.tokens, batch.targets, batch.segments, batch.weights
