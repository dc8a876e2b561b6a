"""Records of arms that answer by rule, and tables of plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from plait.compare.statistics.table import ScoreTable
from plait.evaluate import EvaluateConfig, Record, SegmentLoss, evaluate_outputs
from plait.types import Sample

NUM = 48
ARMS = ("--arms", "fusion.kind=concat,product", "--seeds", "2", "--jobs", "2", "--explain", "1", "--price-seconds", "1")
"""What the tiny comparison of the tests compares, and how."""
CONFIG = EvaluateConfig(metrics={"heard": ("wer", "cer"), "answer": ("accuracy",)}, num_resamples=100)


@dataclass
class Said:
    segments: dict[str, str]
    log_probability: dict[str, float] = field(default_factory=dict)


def samples(num: int = NUM) -> list[Sample]:
    """Questions of different lengths about pictures (three samples each), by six speakers; every eighth has no speaker."""
    return [
        Sample(
            f"q{i}",
            "test",
            text="typed",
            references=({"heard": " ".join(["word"] * (2 + i % 5)), "answer": "red"},),
            groups={"picture": str(i // 3)} | ({"speaker": str(i % 6)} if i % 8 else {}),
        )
        for i in range(num)
    ]


def record(wrong: float, seed: int, *, config: EvaluateConfig = CONFIG, given: list[Sample] | None = None) -> Record:
    """A model that errs on about this share of the samples, more on some pictures."""
    generator, given = np.random.default_rng(seed), samples() if given is None else given
    outputs, losses = [], []
    for i, sample in enumerate(given):
        heard = sample.references[0]["heard"]
        errs = generator.random() < wrong * (2 if i // 3 % 2 else 1)
        outputs.append(Said({"heard": "wurd" + heard[4:] if errs else heard, "answer": "blue" if errs else "red"}))
        bits = float(generator.gamma(2.0, 1.0 + wrong))
        losses.append({"heard": SegmentLoss(bits, 3 + i % 5), "answer": SegmentLoss(bits / 4, 2)})
    return evaluate_outputs(given, outputs, losses, config=config)


def records(shares: Mapping[str, float], num_seeds: int = 3) -> dict[str, dict[int, Record]]:
    """Arms with their share of wrong answers."""
    return {
        arm: {seed: record(wrong, 100 * a + seed) for seed in range(num_seeds)}
        for a, (arm, wrong) in enumerate(shares.items())
    }


def table(values: np.ndarray, groupings: Mapping[str, np.ndarray] | None = None, **changes: object) -> ScoreTable:
    """A table of plain numbers (A, S, n)."""
    num_arms, num_seeds, n = values.shape
    settings: dict = {
        "arms": tuple("ABCDEFGHIJKL"[:num_arms]),
        "seeds": tuple(range(num_seeds)),
        "ids": tuple(map(str, range(n))),
        "values": values,
        "groupings": groupings if groupings is not None else {"sample": np.arange(n)},
        "split": "test",
        "segment": "answer",
        "metric": "accuracy",
        "higher_is_better": True,
        "percent": True,
    }
    return ScoreTable(**(settings | changes))


def noisy(
    leads: list[float], num_seeds: int = 5, n: int = 200, *, seed: int = 0, seed_sd: float = 0.01, sd: float = 0.2
) -> np.ndarray:
    """Arms (A, S, n) with these mean scores, seeds and samples that vary."""
    generator = np.random.default_rng(seed)
    shape = (len(leads), num_seeds, n)
    means = np.asarray(leads)[:, None, None]
    return means + seed_sd * generator.standard_normal((*shape[:2], 1)) + sd * generator.standard_normal(shape)
