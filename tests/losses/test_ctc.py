"""The CTC loss: its definition written out, and which samples it counts."""

from __future__ import annotations

from itertools import groupby, product

import torch

from plait.losses.ctc import CTC
from plait.types import IGNORED, Batch, Features

END, PAD = 2, 0


def batch(*targets: list[int], segments: list[int] | None = None) -> Batch:
    longest = max(map(len, targets))
    padded = torch.tensor([t + [IGNORED] * (longest - len(t)) for t in targets])
    where = torch.where(padded == IGNORED, -1, torch.tensor(segments or [0] * longest))
    return Batch(
        tuple(map(str, range(len(targets)))), {}, torch.zeros_like(padded), padded, where, torch.ones(len(targets))
    )


def build(weight: float = 1.0) -> CTC:
    torch.manual_seed(0)
    return CTC(4, vocabulary_size=6, segment=0, pad_id=PAD, end_id=END, weight=weight)


def longhand(ctc: CTC, features: torch.Tensor, target: list[int]) -> float:
    """−log of the summed probability of every path that reads as the target once repeats and blanks are taken out."""
    p = ctc.head(features).softmax(-1).detach()
    total = 0.0
    for path in product(range(6), repeat=len(features)):
        if [token for token, _ in groupby(path) if token != PAD] == target:
            total += float(torch.stack([p[t, token] for t, token in enumerate(path)]).prod())
    return -float(torch.tensor(total).log())


def test_the_loss_is_its_definition():
    ctc, values = build(), torch.randn(2, 4, 4)
    mask = torch.tensor([[True] * 4, [True, True, True, False]])
    expected = longhand(ctc, values[0], [3, 4]) + longhand(ctc, values[1, :3], [5, 5])
    found = ctc.loss(Features(values, mask), batch([3, 4, END], [5, 5, END]))
    torch.testing.assert_close(found.item(), expected, rtol=1e-4, atol=1e-5)


def test_the_weight_scales_it():
    values, mask = torch.randn(1, 4, 4), torch.ones(1, 4, dtype=torch.bool)
    one, half = (build(w).loss(Features(values, mask), batch([3, 4, END])) for w in (1.0, 0.5))
    torch.testing.assert_close(half, one / 2)


def test_only_the_spoken_segment_and_samples_with_sound_count():
    ctc, values = build(), torch.randn(2, 4, 4)
    heard_then_answer = batch([3, END, 4, END], [3, END, 5, END], segments=[0, 0, 1, 1])
    mask = torch.tensor([[True] * 4, [False] * 4])
    found = ctc.loss(Features(values, mask), heard_then_answer)
    torch.testing.assert_close(found.item(), longhand(ctc, values[0], [3]), rtol=1e-4, atol=1e-5)
    assert ctc.loss(Features(values, torch.zeros_like(mask)), heard_then_answer).item() == 0.0


def test_more_words_than_sound_give_nothing():
    values, mask = torch.randn(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)
    assert build().loss(Features(values, mask), batch([3, 4, 5, 3, END])).item() == 0.0
