"""A tiny manifest, a tiny configuration, and a language model small enough to check by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plait.config import RunConfig, make_config
from plait.losses import Answer, Ask, LossSums
from plait.types import IGNORED, Batch, Items

WORDS = ["red", "green", "blue", "small", "big", "circle", "square", "is", "the", "a"]


def write_manifest(folder: Path) -> Path:
    """40 rows to train on, 10 held out: a text in, its first word and the whole of it out."""
    draw = random.Random(1)
    rows = []
    for number in range(50):
        text = " ".join(draw.choices(WORDS, k=draw.randint(2, 7)))
        target = {"first": text.split()[0], "said": text}
        split = "train" if number < 40 else "tune"
        rows.append({"id": f"row{number}", "split": split, "text": text, "target": target})
        if number % 5 == 0:
            del rows[-1]["text"]
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tiny_config(manifest: Path, data: dict[str, Any] | None = None, seed: int = 0, **train: Any) -> RunConfig:
    """A model of a few thousand parameters with dropout in it, trained for 10 steps."""
    settings = {
        "steps": 10,
        "batch_size": 8,
        "dtype": "fp32",
        "matmul": "highest",
        "attention": "math",
        "device": "cpu",
        "threads": 1,
        "evaluate_every": 4,
        "checkpoint_every": 3,
        "log_every": 2,
        "modality_dropout": 0.3,
        **train,
    }
    return make_config(
        {
            "data": {"manifest": str(manifest), **(data or {})},
            "width": 16,
            "encoders": {"text": {"kind": "transformer", "layers": 1}},
            "lm": {"kind": "transformer", "layers": 1, "dropout": 0.1},
            "train": settings,
            "seed": seed,
        }
    )


class TinyModel(nn.Module):
    """Embedding, one matrix, logits: p(target | token, mean of the sample's items)."""

    def __init__(self, vocabulary_size: int = 11, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary_size)
        self.poison: float = 0.0
        self.calls: list[int] = []

    def token_losses(self, batch: Batch) -> Tensor:
        """−log p of every target, 0 where it is ignored."""
        self.calls.append(len(batch))
        states = self.embedding(batch.tokens)
        for items in batch.inputs.values():
            values = torch.cat([items.values.float(), items.values.new_zeros(1, items.values.shape[1]).float()])
            states = states + values[items.index].mean((1, 2))[:, None, None]
        losses = nn.functional.cross_entropy(
            self.head(self.norm(states)).flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        poison = torch.tensor([self.poison if i == "poison" else 0.0 for i in batch.ids])
        return losses.view(batch.targets.shape) + poison[:, None]

    def loss(self, batch: Batch, label_smoothing: float = 0.0) -> LossSums:
        """Weighted sums."""
        scored = (batch.targets != IGNORED) * batch.weights[:, None]
        return LossSums(
            (self.token_losses(batch) * scored).sum(), scored.sum(), int((scored > 0).sum()), torch.zeros(())
        )

    def forward(self, batch: Batch, ask: Ask) -> Answer:
        """What is asked for."""
        return Answer(
            self.loss(batch, ask.label_smoothing) if ask.sums else None,
            self.token_losses(batch) if ask.token_losses else None,
        )


def random_batch(num_samples: int, *, seed: int = 0, length: int = 9, vocabulary_size: int = 11) -> Batch:
    """Samples of uneven lengths and weights, some without their text."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(vocabulary_size, (num_samples, length), generator=generator)
    targets = torch.randint(vocabulary_size, (num_samples, length), generator=generator)
    lengths = torch.randint(1, length + 1, (num_samples,), generator=generator)
    padding = torch.arange(length) >= lengths[:, None]
    segments = torch.where(torch.arange(length) < (lengths[:, None] + 1) // 2, 0, 1)
    index = torch.arange(num_samples)[:, None].clone()
    index[::3] = -1
    items = Items(
        torch.randint(1, 9, (num_samples, 4), generator=generator),
        torch.full((num_samples,), 4),
        index,
    )
    return Batch(
        tuple(f"s{i}" for i in range(num_samples)),
        {"text": items},
        tokens.masked_fill(padding, 0),
        targets.masked_fill(padding, IGNORED),
        segments.masked_fill(padding, -1),
        torch.rand(num_samples, generator=generator) + 0.5,
    )
