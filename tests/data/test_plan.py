"""The plan of an epoch: everyone once, similar lengths together, nothing else put in order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.data.config import SamplingConfig, WeightsConfig
from plait.data.plan import draw_order, labels_of, loss_weights, plan_batches, plan_by_length, sampling_probabilities
from plait.errors import UserError
from plait.types import Sample


def lengths_of(num_samples: int, generator: np.random.Generator, share_of_sound: float = 1.0) -> dict[str, np.ndarray]:
    """Speech of 1.5–4 s, typed questions and targets of 5–12 words; all independent, the hardest case."""
    audio = generator.integers(150, 400, num_samples) * (generator.random(num_samples) < share_of_sound)
    text = generator.integers(5, 13, num_samples) * (audio == 0)
    return {"audio": audio, "text": text, "target": generator.integers(8, 16, num_samples)}


def padding_of(batches: list[np.ndarray], lengths: dict[str, np.ndarray]) -> float:
    filled = sum(int(values.sum()) for values in lengths.values())
    total = sum(int(v[rows].max()) * np.count_nonzero(v[rows]) for rows in batches for v in lengths.values())
    return 1 - filled / total


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 70), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0]))
def test_every_sample_stands_in_the_plan_once(num_samples: int, batch_size: int, epoch: int, share: float):
    generator = np.random.default_rng(epoch)
    lengths = lengths_of(num_samples, generator, share)
    batches = plan_batches(draw_order(num_samples, generator), lengths, batch_size, generator)
    assert sorted(np.concatenate(batches).tolist()) == list(range(num_samples))
    assert [len(rows) for rows in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert len(batches) == -(-num_samples // batch_size)


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(1, 20))
def test_by_length_holds_every_sample_once_the_longest_first(num_samples: int, batch_size: int):
    lengths = lengths_of(num_samples, np.random.default_rng(num_samples))
    batches = plan_by_length(lengths, batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(num_samples))
    assert batches[0][0] == np.argmax(lengths["audio"] + 8 * (lengths["text"] + lengths["target"]))


@pytest.mark.parametrize("share_of_sound", [1.0, 0.6])
@pytest.mark.parametrize("num_samples", [1024, 5000])
def test_padding_is_under_a_tenth_and_half_of_what_chance_gives(num_samples: int, share_of_sound: float):
    generator = np.random.default_rng(1)
    lengths = lengths_of(num_samples, generator, share_of_sound)
    order = draw_order(num_samples, generator)
    planned = padding_of(plan_batches(order, lengths, 64, generator), lengths)
    chance = padding_of([order[at : at + 64] for at in range(0, num_samples, 64)], lengths)
    assert planned < 0.1
    assert planned < chance / 2


def test_samples_without_sound_are_spread_over_the_batches():
    generator = np.random.default_rng(2)
    lengths = lengths_of(2048, generator, 0.5)
    shares = [
        float((lengths["audio"][rows] > 0).mean()) for rows in plan_batches(np.arange(2048), lengths, 64, generator)
    ]
    assert min(shares) > 0.25
    assert max(shares) < 0.75


def test_epochs_put_other_samples_together():
    lengths = lengths_of(2048, np.random.default_rng(3))
    plans = []
    for epoch in range(2):
        generator = np.random.default_rng(epoch)
        batches = plan_batches(draw_order(2048, generator), lengths, 64, generator)
        plans.append(
            {frozenset((a, b)) for rows in batches for a in rows[:8].tolist() for b in rows[:8].tolist() if a < b}
        )
    assert len(plans[0] & plans[1]) < 0.25 * len(plans[0])


def test_temperature_gives_the_stated_probabilities():
    labels = ["en"] * 100 + ["is"] * 4
    for temperature in (0.0, 0.5, 1.0):
        p = sampling_probabilities(labels, SamplingConfig(group="language", temperature=temperature))
        assert p.sum() == pytest.approx(1)
        assert p[100:].sum() == pytest.approx(4**temperature / (4**temperature + 100**temperature))
        assert np.ptp(p[:100]) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_draws_with_replacement_follow_the_probabilities(seed: int):
    p = sampling_probabilities(["a"] * 900 + ["b"] * 100, SamplingConfig(group="g", temperature=0))
    order = draw_order(1000, np.random.default_rng(seed), p)
    assert len(order) == 1000
    assert 400 < (order >= 900).sum() < 600, "6 standard deviations"


def test_inverse_frequency_weights_every_group_alike_with_mean_one():
    labels = ["a"] * 6 + ["b"] * 2
    weights = loss_weights(labels, WeightsConfig(group="g", inverse_frequency=True))
    assert weights.mean() == pytest.approx(1)
    assert weights[:6].sum() == pytest.approx(weights[6:].sum())
    given_values = loss_weights(labels, WeightsConfig(group="g", values={"b": 3.0}))
    assert given_values.tolist() == [1.0] * 6 + [3.0] * 2


def test_labels_come_from_a_group_or_a_segment():
    sample = Sample("1", "train", references=({"answer": "yes"},), groups={"speaker": "m1"}, where="m.jsonl:1")
    assert labels_of([sample], WeightsConfig(group="speaker", inverse_frequency=True)) == ["m1"]
    assert labels_of([sample], WeightsConfig(segment="answer", inverse_frequency=True)) == ["yes"]
    tagged = replace(sample, tags={"pattern": "spoken"})
    assert labels_of([tagged], WeightsConfig(tag="pattern", inverse_frequency=True)) == ["spoken"]


def test_what_does_not_exist_is_named_with_the_nearest():
    sample = Sample("1", "train", references=({"answer": "yes"},), groups={"speaker": "m1"}, where="m.jsonl:1")
    with pytest.raises(UserError, match=r"m\.jsonl:1: no group 'speakers'.*Did you mean 'speaker'"):
        labels_of([sample], SamplingConfig(group="speakers"))
    with pytest.raises(UserError, match=r"no target segment 'answers'"):
        labels_of([sample], SamplingConfig(segment="answers"))
    with pytest.raises(UserError, match=r"'c' has a weight but no sample"):
        loss_weights(["a", "b"], WeightsConfig(group="g", values={"c": 2.0}))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"temperature": 0.5}, "name one of"),
        ({"group": "a", "segment": "b"}, "name one of"),
        ({"group": "a", "tag": "b"}, "name one of"),
        ({"group": "a", "temperature": -1}, "greater than or equal to 0"),
    ],
)
def test_a_sampling_that_says_nothing_is_refused(config: dict, said: str):
    with pytest.raises(ValueError, match=said):
        SamplingConfig(**config)


@pytest.mark.parametrize(
    "config", [{"group": "a"}, {"group": "a", "values": {"x": -1.0}}, {"group": "a", "values": {"x": float("nan")}}]
)
def test_weights_that_say_nothing_or_are_negative_are_refused(config: dict):
    with pytest.raises(ValueError, match=r"say inverse_frequency|at least 0"):
        WeightsConfig(**config)
