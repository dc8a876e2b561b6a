"""Samples → one vector for every distinct item of a side.

In: a run that was trained with links (`train.alignment`), and samples.
Out: `Entries` of a side: vectors `(R, D)` of length 1, and the entries that each sample has.
Invariant: an item is encoded once, whoever has it, and its vector depends on that item alone. The same file, the same tokens of a
text, or the same words of a target in any order (their vector is a mean over words) are one item.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from plait.data.draws import Draw
from plait.data.manifest import LeftOut
from plait.data.preprocess import Preprocessor
from plait.errors import UserError
from plait.features import FeatureCache
from plait.losses.links import TARGET, Links
from plait.modalities.base import stacked
from plait.run import Run
from plait.types import Features, Sample

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Entries:
    """The distinct items of one side. `items`: a text, or the files of an item. `of_samples`: the entries of each sample, of a
    target one for each reference; none where it lacks the side. `left_out`: items that could not be read, with the reason;
    `num_unread`: samples that have such an item and no other.
    """

    side: str
    vectors: Float[Tensor, "R D"]
    items: tuple[str | tuple[Path, ...], ...]
    of_samples: tuple[tuple[int, ...], ...]
    left_out: tuple[LeftOut, ...] = ()
    num_unread: int = 0


class Item(NamedTuple):
    """One item: what makes it distinct, what it is, and a sample that has nothing else (of a target: its tokens)."""

    key: Hashable
    content: str | tuple[Path, ...]
    sample: Sample
    tokens: tuple[int, ...] = ()


class Words(NamedTuple):
    """The vector of words as a target, and those of them that the model never learnt."""

    vector: Float[Tensor, " D"]
    unknown: tuple[str, ...]


def check_links(run: Run) -> Links:
    """The run's links, or what to do to have some."""
    if run.model.links is None:
        raise UserError(
            f"{run.folder} was trained without links between its modalities, so nothing in it can be compared",
            right="Train with a section `train: {alignment: {weight: 0.1}}`, or the override train.alignment.weight=0.1.",
        )
    return run.model.links


@torch.inference_mode()
def entries(
    run: Run, samples: Sequence[Sample], side: str, *, batch_size: int, progress: Progress = lambda done, of: None
) -> Entries:
    """The distinct items of `side` among the samples, with their vectors."""
    links = check_links(run)
    preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs)
    FeatureCache(run.config, run.model, preprocessor)
    of_samples = [items_of(run, preprocessor, sample, side) for sample in samples]
    distinct: dict[Hashable, Item] = {}
    for items in of_samples:
        for item in items:
            distinct.setdefault(item.key, item)
    chosen = list(distinct.values())
    parts: list[Tensor] = []
    numbers: dict[Hashable, int] = {}
    left_out: list[LeftOut] = []
    for start in range(0, len(chosen), batch_size):
        part = chosen[start : start + batch_size]
        if side == TARGET:
            kept, features = range(len(part)), words(run, [item.tokens for item in part])
        else:
            kept, features, gone = encoded(run, preprocessor, [item.sample for item in part], side)
            left_out += gone
        for place in kept:
            numbers[part[place].key] = len(numbers)
        if features is not None:
            parts.append(links.vectors(side, features).cpu())
        progress(start + len(part), len(chosen))
    return Entries(
        side,
        torch.cat(parts) if parts else torch.zeros(0, links.width),
        tuple(item.content for item in chosen if item.key in numbers),
        tuple(tuple(dict.fromkeys(numbers[i.key] for i in items if i.key in numbers)) for items in of_samples),
        tuple(left_out),
        sum(bool(items) and all(i.key not in numbers for i in items) for items in of_samples),
    )


def items_of(run: Run, preprocessor: Preprocessor, sample: Sample, side: str) -> list[Item]:
    """A sample's items of one side: at most one of an input (several pictures are one), one of a target's each reference."""
    if side == TARGET:
        links = check_links(run)
        names = run.segments if links.segment is None else run.segments[links.segment : links.segment + 1]
        found = []
        for reference in sample.references:
            texts = [reference[name] for name in names if name in reference]
            tokens = tuple(sorted(i for text in texts for i in preprocessor.encode(text)))
            if tokens:
                found.append(Item(tokens, " / ".join(texts), sample, tokens))
        return found
    keys = preprocessor.items_of(side, sample)
    if not keys:
        return []
    alone = Sample(sample.id, sample.split, where=sample.where, inputs={side: sample.items(side)})
    texts = [item for item in sample.items(side) if isinstance(item, str)]
    files = tuple(item for item in sample.items(side) if isinstance(item, Path))
    content = files or " / ".join(texts or map(str, sample.items(side)))
    return [Item(keys[0] if len(keys) == 1 and texts else tuple(sorted(keys, key=str)), content, alone)]


def encoded(
    run: Run, preprocessor: Preprocessor, samples: Sequence[Sample], name: str
) -> tuple[Sequence[int], Features | None, tuple[LeftOut, ...]]:
    """The features of the samples that could be read, and their places; the others with `data.on_error: skip`."""
    prepared = preprocessor.prepare(samples, Draw(training=False))
    if prepared.batch is None:
        return (), None, prepared.left_out
    batch = prepared.batch.to(run.model.lm.device)
    return prepared.kept, run.model.encode_one(name, batch.inputs[name], len(batch)), prepared.left_out


def words(run: Run, tokens: Sequence[Sequence[int]]) -> Features:
    """The language model's vectors of some words."""
    device = run.model.lm.device
    empty = torch.full((1,), -1)
    ids = stacked([torch.tensor(row, dtype=torch.long) for row in tokens], empty, -1).to(device)
    return Features(run.model.lm.word_vectors(ids.clamp(min=0)), ids >= 0)


@torch.inference_mode()
def embed(run: Run, sample: Sample) -> Float[Tensor, " D"]:
    """The vector of a sample that has one modality and nothing else."""
    links = check_links(run)
    (modality,) = sample.present
    preprocessor = Preprocessor(run.config.data, run.tokenizer, run.segments, run.inputs)
    batch = preprocessor.batch([sample], training=False).to(run.model.lm.device)
    features = run.model.encode_one(modality, batch.inputs[modality], 1)
    if not bool(features.mask.any()):
        raise UserError(f"the {modality} is empty", right="Give one with something in it.")
    return links.vectors(modality, features)[0].cpu()


@torch.inference_mode()
def say_words(run: Run, text: str) -> Words:
    """The vector of words as a target; words that the tokenizer does not know are left out of it and named."""
    links, tokenizer = check_links(run), run.tokenizer
    unknown = tuple(dict.fromkeys(word for word in text.split() if tokenizer.unknown_id in tokenizer.encode(word)))
    tokens = [i for i in tokenizer.encode(text) if i != tokenizer.unknown_id]
    if not tokens:
        what = f"the model knows none of these words: {text!r}" if unknown else "there are no words to search for"
        raise UserError(what, right=f"It learnt {tokenizer.size} tokens from the targets and texts of its training.")
    return Words(links.vectors(TARGET, words(run, [tokens]))[0].cpu(), unknown)
