"""Losses under subsets: those of a batch that really lacks the inputs, each encoder run once, temperatures that fit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from plait.api import TrainedModel
from plait.evaluate.answerer import RunAnswerer
from plait.explain.losses import (
    BITS_PER_NAT,
    GRID,
    Fit,
    SubsetLosses,
    best_temperature,
    fit_temperatures,
    segment_bits,
    subset_losses,
    subset_name,
)
from plait.generate import generate
from plait.model import token_losses
from plait.run import Run
from plait.types import Sample
from tiny_model import longhand, make_model, make_tokenizer, padded

ONES = np.ones((8, 1))


@pytest.fixture
def samples(run: Run) -> list[Sample]:
    return [s for s in TrainedModel(run).dataset().samples if s.split == "test"]


def given(run: Run, sample: Sample, subset: int) -> Sample:
    """The sample with the inputs of the subset only."""
    return sample.only({m for k, m in enumerate(run.modalities) if subset >> k & 1})


def evaluated(run: Run, sample: Sample) -> list[float]:
    """What `plait evaluate` takes as the loss of each segment, over one reference."""
    answerer = RunAnswerer(run)
    (batch,) = answerer.batches([sample], 1)
    (losses,) = answerer.token_losses(batch)
    return [losses[name][0] for name in run.segments]


def test_every_subset_is_the_batch_that_really_lacks_the_inputs(run: Run, samples: list[Sample]):
    found = subset_losses(run, samples, {"true": ONES}, batch_size=5)
    for row, sample in enumerate(samples):
        if len(sample.references) > 1:
            continue
        for subset in range(8):
            expected = evaluated(run, given(run, sample, subset))
            np.testing.assert_allclose(found.bits["true"][row, subset, 0], expected, rtol=1e-5)


def test_the_full_subset_is_the_models_own_loss(run: Run, samples: list[Sample]):
    answerer = RunAnswerer(run)
    (batch,) = answerer.batches(samples, len(samples))
    own = run.model.token_losses(batch).detach().double().sum(dim=1).numpy() * BITS_PER_NAT
    found = subset_losses(run, samples, {"true": ONES}, batch_size=len(samples))
    single = [row for row, sample in enumerate(samples) if len(sample.references) == 1]
    np.testing.assert_allclose(found.bits["true"][single, -1, 0].sum(axis=1), own[single], rtol=1e-5)


def test_references_are_averaged(run: Run, samples: list[Sample]):
    row, sample = next((row, sample) for row, sample in enumerate(samples) if len(sample.references) == 2)
    found = subset_losses(run, samples, {"true": ONES}, batch_size=4)
    each = [evaluated(run, replace(sample, references=(reference,))) for reference in sample.references]
    np.testing.assert_allclose(found.bits["true"][row, -1, 0], np.mean(each, axis=0), rtol=1e-5)
    assert found.num_tokens[row, 1] == np.mean([2, 4])


def test_what_a_sample_lacks_changes_nothing(run: Run, samples: list[Sample]):
    found = subset_losses(run, samples, {"true": np.linspace(0.5, 2, 8)[:, None], "own": ONES}, batch_size=4)
    assert not found.present.all(axis=1).all()
    for row, held in enumerate(found.held):
        for subset in range(8):
            for table in found.bits.values():
                np.testing.assert_array_equal(table[row, subset], table[row, subset & held])


def test_each_encoder_runs_once_per_batch(run: Run, samples: list[Sample]):
    calls: Counter[str] = Counter()
    hooks = [
        encoder.register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name, encoder in run.model.encoders.items()
    ]
    whole = [sample for sample in samples if len(sample.present) == 3]
    subset_losses(run, whole * 3, {"true": ONES, "own": ONES}, batch_size=2)
    for hook in hooks:
        hook.remove()
    assert calls == dict.fromkeys(("text", "image", "audio"), -(-3 * len(whole) // 2))


@torch.no_grad()
def test_own_words_are_those_that_are_written_from_the_same_inputs(run: Run, samples: list[Sample]):
    found = subset_losses(run, samples, {"own": ONES}, batch_size=4)
    assert np.isnan(found.bits["own"][..., 0]).all()
    row, sample = next((r, s) for r, s in enumerate(samples) if len(s.present) == 3 and len(s.references) == 1)
    for subset in range(8):
        (batch,) = RunAnswerer(run).batches([given(run, sample, subset)], 1)
        (said,) = generate(run.model, run.tokenizer, batch, run.config.generate)
        tokens, targets, _ = longhand(run.tokenizer, {"heard": "", "answer": sample.references[0]["answer"]})
        written = list(said.token_ids["heard"])
        tokens, targets = [tokens[0], *written, *tokens[1:]], [-100] * (len(written) + 1) + targets[1:]
        condition = run.model.condition(run.model.encode(batch.inputs, 1))
        hidden = run.model.hidden(padded([tokens], 0), condition)
        bits = float(token_losses(run.model.lm, hidden, padded([targets], 0)).sum()) * BITS_PER_NAT
        assert found.bits["own"][row, subset, 0, 1] == pytest.approx(bits, rel=1e-5)


def test_complete_inputs_only(run: Run, samples: list[Sample]):
    everything = subset_losses(run, samples, {"true": ONES}, batch_size=4)
    complete = subset_losses(run, samples, {"true": ONES}, batch_size=4, under=[7])
    np.testing.assert_allclose(complete.bits["true"][:, -1], everything.bits["true"][:, -1], rtol=1e-6)
    assert np.isnan(complete.bits["true"][:, :-1]).all()


def test_only_the_subsets_that_are_asked_for(run: Run, samples: list[Sample]):
    everything = subset_losses(run, samples, {"true": ONES}, batch_size=4)
    some = subset_losses(run, samples, {"true": ONES}, batch_size=4, under=[2, 7])
    np.testing.assert_allclose(some.bits["true"][:, [2, 7]], everything.bits["true"][:, [2, 7]], rtol=1e-6)
    assert np.isnan(some.bits["true"][:, [0, 1, 3, 4, 5, 6]]).all()


@torch.no_grad()
def test_a_planted_temperature_is_recovered():
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    nn.init.normal_(model.lm.head.weight, std=0.7)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 10, 16, generator=generator)
    segments = torch.zeros(300, 10, dtype=torch.long)
    for planted in (0.6, 1.0, 2.3):
        probabilities = (model.lm.logits(hidden) / planted).softmax(dim=-1).flatten(0, 1)
        targets = torch.multinomial(probabilities, 1, generator=generator).reshape(300, 10)
        bits = segment_bits(model, hidden, targets, segments, GRID, 1).numpy()
        table = np.stack([bits, bits], axis=1)
        losses = SubsetLosses({"true": table}, np.full((300, 1), 10.0), np.ones((300, 1), dtype=bool))
        fit = fit_temperatures(losses, "true", ["audio"])
        np.testing.assert_allclose(fit.temperatures, planted, rtol=0.06)
        fine = np.geomspace(0.95, 1.05, 201) * fit.temperatures[0]
        totals = segment_bits(model, hidden, targets, segments, fine, 1).sum(dim=(0, 2)).numpy()
        assert fit.temperatures[0] == pytest.approx(fine[totals.argmin()], rel=1e-2)
        assert totals[100] <= totals.min() * (1 + 1e-4)  # what the parabola leaves on the table


def test_the_edge_of_what_is_tried_is_told_and_not_passed_over():
    assert best_temperature(GRID, GRID) == (0.25, True)
    assert best_temperature(GRID, -GRID) == (4.0, True)
    losses = SubsetLosses({"true": np.zeros((1, 2, 25, 1))}, np.ones((1, 1)), np.zeros((1, 1), dtype=bool))
    losses.bits["true"][:, 0] = np.log(GRID)[:, None] ** 2 + 1
    fit = fit_temperatures(losses, "true", ["audio"])
    assert isinstance(fit, Fit)
    np.testing.assert_allclose(fit.temperatures, [1, 1])
    assert fit.notes == ("temperature of audio: 1, no sample of the tuning split has it",)


def test_names_of_subsets():
    modalities = ("image", "audio")
    assert [subset_name(s, modalities) for s in range(4)] == ["no_input", "image", "audio", "image+audio"]
