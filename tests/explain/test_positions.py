"""Credits token by token and tag by tag: they add up to the segment's, and each is what a longhand sum says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import plait
from plait.api import TrainedModel
from plait.evaluate.answerer import RunAnswerer
from plait.explain import Explanation
from plait.explain import positions as module
from plait.explain.credit import shapley, usable_information
from plait.explain.losses import BITS_PER_NAT, Temperatures, subset_losses
from plait.explain.positions import Positions
from plait.model import token_losses
from plait.run import Run
from plait.types import Sample

SEGMENTS = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1], [0, 1, 1, -1, -1, -1, -1, -1], [1, 1, 1, 1, 1, 1, 1, 1]])
TEMPERATURES = np.linspace(0.5, 2, 8)[:, None]


@pytest.fixture
def samples(run: Run) -> list[Sample]:
    return [s for s in TrainedModel(run).dataset().samples if s.split == "test"]


def test_every_token_has_one_position():
    positions = Positions((2, 1))
    assert positions.names(0) == ["1", "2", "3+", "end"]
    assert positions.names(1) == ["1", "2+", "end"]
    assert positions.of(SEGMENTS).tolist() == [
        [0, 1, 2, 3, 4, 5, 6, -1],
        [3, 4, 6, -1, -1, -1, -1, -1],
        [4, 5, 5, 5, 5, 5, 5, 6],
    ]
    whole = Positions.whole(2).of(SEGMENTS)
    assert torch.equal(whole, SEGMENTS)


def test_sums_over_positions_are_those_of_segments():
    positions = Positions((3, 0, None))
    values = np.arange(24.0).reshape(3, 8)
    np.testing.assert_array_equal(
        positions.by_segment(values), np.stack([values[:, :5].sum(1), values[:, 5:7].sum(1), values[:, 7]], axis=1)
    )


def test_a_position_needs_enough_samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIN_SAMPLES", 3)
    monkeypatch.setattr(module, "MAX_APART", 4)
    assert Positions.choose([[1, 2, 2, 2], [9, 9, 9], [1, 1], []]).num_apart == (2, 4, 0, 0)


@torch.no_grad()
def test_credits_at_positions_are_the_longhand_ones(run: Run, samples: list[Sample]):
    """One sample, every subset answered anew: the Shapley value of each token's loss."""
    positions = Positions((2, 1))
    found = subset_losses(run, samples, {"true": TEMPERATURES}, batch_size=5, positions=positions)
    row, sample = next((r, s) for r, s in enumerate(samples) if len(s.present) == 3 and len(s.references) == 1)
    bits = np.zeros((1, 8, positions.offsets[-1]))
    for subset in range(8):
        given = sample.only({m for k, m in enumerate(run.modalities) if subset >> k & 1})
        (batch,) = RunAnswerer(run).batches([given], 1)
        hidden = run.model.states(batch) / float(
            TEMPERATURES[subset, 0]
        )  # the head is linear, so this divides the logits
        losses = token_losses(run.model.lm, hidden, batch.targets)[0] * BITS_PER_NAT
        numbers = positions.of(batch.segments)[0]
        for place in range(positions.offsets[-1]):
            bits[0, subset, place] = float(losses[numbers == place].sum())
    for place in range(positions.offsets[-1]):
        expected = shapley(usable_information(bits[:, :, place]))[0]
        np.testing.assert_allclose(found.credits_at["true"][row, :, place], expected, atol=1e-5)


def test_credits_at_positions_add_up(run: Run, samples: list[Sample]):
    """Also with several references, with lacking inputs, and after the model's own words."""
    positions = Positions((1, 2))
    temperatures: Temperatures = {"true": TEMPERATURES, "own": TEMPERATURES[::-1]}
    found = subset_losses(run, samples, temperatures, batch_size=5, positions=positions)
    plain = subset_losses(run, samples, temperatures, batch_size=5)
    assert plain.tokens_at is None
    assert found.tokens_at is not None
    np.testing.assert_allclose(positions.by_segment(found.tokens_at), plain.num_tokens, atol=1e-12)
    for context in ("true", "own"):
        np.testing.assert_allclose(found.bits[context], plain.bits[context], atol=1e-9)
        for segment in range(2) if context == "true" else [1]:
            whole = shapley(usable_information(found.bits[context][:, :, 0, segment]))
            parts = found.credits_at[context][:, :, positions.range_of(segment)].sum(axis=2)
            np.testing.assert_allclose(parts, whole, atol=1e-9)


def test_positions_and_tags_of_an_explanation_add_up(with_dropout: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MIN_SAMPLES", 2)
    found = plait.load(with_dropout).explain(manifest=tagged(with_dropout), write=False)
    assert [p.position for p in found.segments[0].positions] == ["1", "2", "3", "4", "end"]
    for segment in found.segments:
        assert segment.positions[0].num_samples == segment.num_samples
        assert sum(p.num_tokens for p in segment.positions) == pytest.approx(segment.num_tokens, abs=1e-9)
        for name, credit in segment.credits.items():
            total = sum((p.credits[name].value or 0.0) * p.num_tokens for p in segment.positions)
            assert total == pytest.approx((credit.credit.value or 0.0) * segment.num_tokens, abs=1e-9)
    check_tags(found)


def test_pooled_positions_are_said_and_samples_without_tags_are_told_apart_by_their_inputs(explained: Explanation):
    found = explained
    assert "inputs=text+image+audio" in found.segments[0].by
    assert "inputs=none" in found.segments[0].by
    assert [p.position for p in found.segments[0].positions] == ["1+", "end"]
    assert any("taken together: 1+ of heard, 1+ of answer" in note for note in found.notes)


def tagged(folder: Path) -> Path:
    """The manifest with a tag `colour` whose values part the samples."""
    path = Path(plait.load(folder).run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["tags"] = {"colour": ("red", "blue")[number % 3 == 0], "silent": str("audio" not in row)}
    mine = path.parent / "tagged.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return mine


def check_tags(found: Explanation) -> None:
    """Credits by tag add up, and a modality that no sample of a tag has, has none."""
    for segment in found.segments:
        assert list(segment.by) == ["colour=blue", "colour=red", "silent=False", "silent=True"]
        for name, credit in segment.credits.items():
            parts = [segment.by[f"colour={colour}"] for colour in ("red", "blue")]
            total = sum((part.credits[name].value or 0.0) * part.num_tokens for part in parts)
            assert total == pytest.approx((credit.credit.value or 0.0) * segment.num_tokens, abs=1e-9)
        none = segment.by["silent=True"].credits["audio"]
        assert (none.value, none.note) == (None, "no sample among them has it")
    shown = plait.explain.render(found, verbose=True)
    assert "silent=True" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_without_credit_reliance_is_told_by_tag(without_dropout: Path):
    found = plait.load(without_dropout).explain(manifest=tagged(without_dropout), write=False)
    for segment in found.segments:
        assert set(segment.by) == {"colour=blue", "colour=red", "silent=False", "silent=True"}
        assert segment.positions == ()
