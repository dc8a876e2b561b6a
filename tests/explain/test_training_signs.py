"""Whether a modality was left behind in training: the rule on constructed metrics, healthy and not, and its place in the output."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plait
from plait.explain import render
from plait.explain.result import Explanation
from plait.explain.training import fall_of, signs
from plait.train.metrics import read_metrics

BOTH = {"image": True, "audio": True}
Curve = Callable[[float], float]


def metrics(
    *,
    image_norm: Curve,
    audio_norm: Curve,
    image: Curve,
    audio: Curve,
    joint: Curve = lambda t: 0.1 + math.exp(-8 * t),
    num: int = 40,
    every: int = 2,
    noise: float = 0.02,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """`num` lines of a training, the losses alone on every second; t runs from 0 to 1."""
    draw = np.random.default_rng(seed)
    lines: list[dict[str, Any]] = []
    for number in range(num):
        t = number / (num - 1)
        size = float(np.exp(0.3 * draw.standard_normal()))
        line = {
            "step": 10 * (number + 1),
            "bits": joint(t),
            "encoder_norms": {"image": image_norm(t) * size, "audio": audio_norm(t) * size},
        }
        if number % every == 1:
            line["alone"] = {m: c(t) + noise * draw.standard_normal() for m, c in (("image", image), ("audio", audio))}
        lines.append(line)
    return lines


def falling(start: float, end: float) -> Curve:
    """A line from `start` to `end`."""
    return lambda t: start + (end - start) * t


def quickly(start: float, end: float) -> Curve:
    """Done within a fifth of the training."""
    return lambda t: end + (start - end) * math.exp(-15 * t)


def level(value: float) -> Curve:
    """Always the same."""
    return lambda t: value


CASES: dict[str, tuple[dict[str, Curve], str]] = {
    "dried up and still falling": (
        {
            "image_norm": level(1.0),
            "audio_norm": quickly(0.8, 0.03),
            "image": quickly(2, 0.2),
            "audio": falling(2, 0.8),
        },
        "under-trained",
    ),
    "both converged": (
        {
            "image_norm": quickly(1, 0.02),
            "audio_norm": quickly(1, 0.02),
            "image": quickly(2, 0.2),
            "audio": quickly(2, 0.4),
        },
        "no sign",
    ),
    "one converged early, the other goes on": (
        {"image_norm": level(1.0), "audio_norm": quickly(1, 0.02), "image": falling(2, 0.3), "audio": quickly(2, 0.4)},
        "no sign",
    ),
    "nothing to learn from it": (
        {"image_norm": level(1.0), "audio_norm": quickly(1, 0.02), "image": quickly(2, 0.2), "audio": level(2.0)},
        "no sign",
    ),
    "stopped too early, both still learning": (
        {"image_norm": level(1.0), "audio_norm": level(0.7), "image": falling(2, 1), "audio": falling(2, 1)},
        "no sign",
    ),
    "small by its form, from the first step on": (
        {"image_norm": level(1.0), "audio_norm": level(0.05), "image": quickly(2, 0.2), "audio": falling(2, 0.8)},
        "no sign",
    ),
    "falling to what all inputs reach": (
        {
            "image_norm": level(1.0),
            "audio_norm": quickly(0.8, 0.03),
            "image": quickly(2, 0.2),
            "audio": falling(0.3, 0.08),
        },
        "no sign",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule_on_constructed_trainings(name: str):
    curves, expected = CASES[name]
    image, audio = signs(metrics(**curves), BOTH, BOTH)  # pyright: ignore[reportArgumentType]
    assert (image.modality, audio.modality) == ("image", "audio")
    assert image.status == "no sign"
    assert audio.status == expected
    if expected == "under-trained":
        assert "audio is under-trained: its encoder's gradient norm fell to" in audio.sentence
        assert "of that of image" in audio.sentence
        assert audio.norm_last is not None
        assert audio.norm_last < 0.1


def test_noise_is_seldom_taken_for_a_trend():
    """Level losses with much noise beside a dried-up gradient: the trend alone decides, at three standard errors."""
    alarms = 0
    for seed in range(200):
        lines = metrics(
            image_norm=level(1.0),
            audio_norm=quickly(1, 0.02),
            image=level(0.3),
            audio=level(1.0),
            noise=0.3,
            every=3,
            seed=seed,
        )
        alarms += signs(lines, BOTH, BOTH)[1].status == "under-trained"
    assert alarms <= 8


def test_a_line_is_fitted_as_by_hand():
    steps, values = np.array([10.0, 20.0, 30.0, 40.0]), np.array([1.0, 0.8, 0.7, 0.3])
    slope, _ = np.polyfit(steps, values, 1)
    fall, errors = fall_of(steps, values)
    assert fall == pytest.approx(-slope * 30, rel=1e-12)
    left = values - np.polyval(np.polyfit(steps, values, 1), steps)
    assert errors == pytest.approx(-slope / math.sqrt((left**2).sum() / 2 / ((steps - 25) ** 2).sum()), rel=1e-9)


def test_a_run_that_never_lacked_an_input_is_not_judged():
    curves, _ = CASES["dried up and still falling"]
    found = signs(metrics(**curves), {"image": False, "audio": True}, BOTH)  # pyright: ignore[reportArgumentType]
    assert {s.status for s in found} == {"not judged"}
    assert "image was never left out in training" in found[0].sentence


def test_too_few_lines_are_not_judged():
    curves, _ = CASES["dried up and still falling"]
    (_, audio) = signs(metrics(**curves, num=10), BOTH, BOTH)  # pyright: ignore[reportArgumentType]
    assert audio.status == "not judged"
    assert "10 lines" in audio.sentence


def test_an_unused_modality_without_a_sign_says_how_to_find_out():
    curves, _ = CASES["nothing to learn from it"]
    (image, audio) = signs(metrics(**curves), BOTH, {"image": True, "audio": False})  # pyright: ignore[reportArgumentType]
    assert "data.inputs=[audio]" in audio.sentence
    assert "data.inputs" not in image.sentence


def test_metrics_of_older_runs_and_of_one_encoder_say_nothing():
    assert signs([{"step": 1, "bits": 2.0}], BOTH, BOTH) == ()
    assert signs([{"step": 1, "bits": 2.0, "encoder_norms": {"audio": 1.0}}], BOTH, BOTH) == ()


def test_explain_reads_the_metrics_of_its_run(with_dropout: Path, explained: Explanation):
    assert [set(line["encoder_norms"]) for line in read_metrics(with_dropout) if "bits" in line] == [
        {"text", "image", "audio"}
    ]
    assert [sign.modality for sign in explained.training] == ["text", "image", "audio"]
    assert {sign.status for sign in explained.training} == {"not judged"}
    assert explained.to_json()["training"][0]["status"] == "not judged"
    text = " ".join(render(explained, verbose=True).split())
    assert "training: whether it is under-trained is not judged (1 lines with gradient norms" in text
    curves, _ = CASES["dried up and still falling"]
    said = signs(metrics(**curves), BOTH, BOTH)  # pyright: ignore[reportArgumentType]
    lines = render(Explanation(**{**vars(explained), "training": said})).splitlines()
    assert any(line.startswith("audio is under-trained") for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_run_of_one_modality_says_nothing(one_modality: Path):
    assert plait.load(one_modality).explain(write=False).training == ()
