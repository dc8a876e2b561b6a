"""Tiny models and batches for the tests of `plait.build`, `plait.model` and `plait.generate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import torch

from plait.build import build_model
from plait.config import make_config
from plait.data.text import Tokenizer
from plait.model import Model
from plait.types import IGNORED, Batch, Items
from window_lm import WindowConfig

SEGMENTS = ("heard", "answer")
TEXTS = ["a red square.", "the blue circle is small", "what is it?", "red or green", "green square. blue circle."]
SUBSETS = list(product([True, False], repeat=3))
READ = ("text", "image", "audio")
ENCODERS = {
    "text": {"kind": "transformer", "layers": 1, "num_heads": 2},
    "image": {"kind": "vit", "layers": 1, "num_heads": 2, "patch": 8},
    "audio": {"kind": "transformer", "layers": 1, "num_heads": 2},
}


def make_tokenizer() -> Tokenizer:
    """The words of `TEXTS`."""
    return Tokenizer.train(make_config({"data": {"manifest": "m"}}).data.tokenizer, TEXTS, SEGMENTS)


def make_model(tokenizer: Tokenizer, modalities: Sequence[str] = READ, **parts: Any) -> Model:
    """A model of width 16 whose every parameter is off its first value, ready to be asked."""
    tree = {"data": {"manifest": "m"}, "width": 16, "encoders": ENCODERS, "lm": {"num_heads": 2}, **parts}
    model = build_model(make_config(tree), tokenizer, modalities).model.eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def lm_of(kind: str) -> Any:
    """A language model of Plait's, or the one that is not."""
    return WindowConfig(width=24) if kind == "window" else {"kind": kind}


def make_batch(tokenizer: Tokenizer, subsets: Sequence[Sequence[bool]] = tuple(SUBSETS), seed: int = 1) -> Batch:
    """One sample per subset of text, image and audio, with targets of uneven lengths."""
    draw = torch.Generator().manual_seed(seed)
    size = len(subsets)
    values = {
        "text": torch.randint(1, tokenizer.size, (size, 5), generator=draw),
        "image": torch.randn(size, 3, 32, 32, generator=draw),
        "audio": torch.randn(size, 24, 80, generator=draw),
    }
    lengths = {
        "text": torch.arange(size) % 5 + 1,
        "image": torch.ones(size, dtype=torch.long),
        "audio": 24 - torch.arange(size) % 8,
    }
    inputs = {}
    for place, modality in enumerate(READ):
        rows = [row for row, subset in enumerate(subsets) if subset[place]]
        index = torch.full((size, 1), -1)
        index[rows, 0] = torch.arange(len(rows))
        inputs[modality] = Items(values[modality][rows], lengths[modality][rows], index)
    tokens, targets, segments = zip(*(sequence(tokenizer, row) for row in range(size)), strict=True)
    return Batch(
        tuple(f"s{row}" for row in range(size)),
        inputs,
        padded(tokens, tokenizer.pad_id),
        padded(targets, IGNORED),
        padded(segments, -1),
        torch.ones(size),
    )


def long_sound(batch: Batch, frames: int = 96) -> Batch:
    """The batch with sounds that have room for every word, as the CTC loss needs them."""
    items = batch.inputs["audio"]
    values = torch.randn(len(items.lengths), frames, 80, generator=torch.Generator().manual_seed(2))
    lengths = frames - torch.arange(len(items.lengths)) % 8
    return replace(batch, inputs={**batch.inputs, "audio": Items(values, lengths, items.index)})


def sequence(tokenizer: Tokenizer, row: int) -> tuple[list[int], list[int], list[int]]:
    """Tokens, targets and segments of one sample, as `types.Batch` says."""
    texts = {"heard": TEXTS[row % len(TEXTS)], "answer": TEXTS[(row + 2) % len(TEXTS)]}
    return longhand(tokenizer, texts)


def longhand(tokenizer: Tokenizer, texts: Mapping[str, str]) -> tuple[list[int], list[int], list[int]]:
    """The shifted target of these segments."""
    tokens: list[int] = []
    targets: list[int] = []
    segments: list[int] = []
    for number, (name, text) in enumerate(texts.items()):
        ids = tokenizer.encode(text)
        tokens += [tokenizer.segment_id(name), *ids]
        targets += [*ids, tokenizer.end_id]
        segments += [number] * (len(ids) + 1)
    return tokens, targets, segments


def padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows of one length."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def rows_of(batch: Batch, rows: Sequence[int], *, share: bool = True) -> Batch:
    """Some samples of a batch; with `share` the items stay as they are, without it only those that are used are kept."""
    inputs = {}
    for modality, items in batch.inputs.items():
        index = items.index[list(rows)]
        values, lengths = items.values, items.lengths
        if not share:
            used = [int(i) for i in index[:, 0] if i >= 0]
            index = torch.tensor([[used.index(int(i)) if i >= 0 else -1] for i in index[:, 0]])
            values, lengths = values[used], lengths[used]
        inputs[modality] = Items(values, lengths, index)
    chosen = list(rows)
    return Batch(
        tuple(batch.ids[row] for row in chosen),
        inputs,
        batch.tokens[chosen],
        batch.targets[chosen],
        batch.segments[chosen],
        batch.weights[chosen],
    )
