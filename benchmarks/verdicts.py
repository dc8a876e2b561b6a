"""How often `plait explain` contradicts the truth of a trained model: many small test sets of few uneven groups, judged beside all.

In: the number of models, and of draws from each.
Out: per model its truth, and how often each verdict was said; the share of verdicts that contradict the truth.
Invariant: a model's truth is its own: an input that tells nothing by design may harm an overfitted model. It is the credit (and the
other figures behind a verdict) over 2,000 fresh groups; a draw is a few of these groups, judged by the code that users run.

The data: the text tells the answer as often as its speaker is reliable (a beta distribution over speakers); the picture shows a bit
that has nothing to do with it. Training sets are small, so that models overfit.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from plait.config import RunConfig, make_config
from plait.explain.result import SegmentResult, Verdict
from plait.explain.run import Measured, measure, planned_for
from plait.explain.verdict import WORTH
from plait.lab import carriers
from plait.lab.truth import ANSWERS
from plait.seeds import numpy_generator
from plait.train import fit
from plait.train.fit import read_data

FRESH_GROUPS, MEAN_SIZE, PICTURES = 2000, 4, 200
TRAINED_ON, STEPS = (120, 240, 480), (60, 150)
"""Samples and steps, in turns."""
FEWEST, MOST = 6, 20
"""Groups in a draw."""
RELIABLE = (6.0, 2.0)
CLAIMS = ("used", "redundant", "present", "harmful", "negligible")


@dataclass(frozen=True)
class Drawn:
    """A verdict of one draw, and whether it contradicts the truth."""

    modality: str
    status: str
    contradicts: bool


def write_rows(folder: Path, number: int, seed: int, *, fresh_groups: int) -> Path:
    """The manifest of one model: its own training rows; the fresh groups are the same for all."""
    generator = numpy_generator(seed, "verdicts", "train")
    rows = [*rows_of("train", generator, sizes_of(generator, number // 10, 10))]
    fresh = numpy_generator(0, "verdicts", "fresh")
    rows += rows_of("tune", fresh, sizes_of(fresh, 40, MEAN_SIZE))
    rows += rows_of("test", fresh, sizes_of(fresh, fresh_groups, MEAN_SIZE))
    path = folder / f"rows-{seed}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
    return path


def sizes_of(generator: np.random.Generator, groups: int, mean: int) -> list[int]:
    """Log-normal sizes, sd 1."""
    return np.maximum(1, np.rint(mean * np.exp(generator.standard_normal(groups) - 0.5))).astype(int).tolist()


def rows_of(split: str, generator: np.random.Generator, sizes: list[int]) -> Iterator[dict[str, Any]]:
    """Rows of one split, group by group."""
    for group, size in enumerate(sizes):
        reliable = 0.5 + 0.5 * generator.beta(*RELIABLE)
        for k in range(size):
            answer = int(generator.integers(2))
            said = answer if generator.random() < reliable else 1 - answer
            yield {
                "id": f"{split}-{group}-{k}",
                "split": split,
                "group": {"speaker": f"{split}-{group}"},
                "text": carriers.write(said, generator),
                "image": f"pictures/{int(generator.integers(PICTURES))}.png",
                "target": {"answer": ANSWERS[answer]},
            }


def write_pictures(folder: Path) -> None:
    """Discs of either colour."""
    (folder / "pictures").mkdir()
    for k in range(PICTURES):
        pixels = carriers.paint(k % 2, numpy_generator(0, "verdicts", "picture", k))
        Image.fromarray(pixels).save(folder / "pictures" / f"{k}.png")


def config_of(manifest: Path, steps: int, seed: int) -> RunConfig:
    """A model of a few seconds."""
    return make_config(
        {
            "data": {"manifest": str(manifest), "image": {"size": 16}, "workers": 0},
            "width": 24,
            "encoders": {
                "image": {"kind": "vit", "layers": 1, "num_heads": 2, "patch": 4},
                "text": {"kind": "transformer", "layers": 1, "num_heads": 2, "dropout": 0.0},
            },
            "lm": {"kind": "transformer", "layers": 2, "num_heads": 2},
            "train": {
                "steps": steps,
                "batch_size": 32,
                "learning_rate": 3e-3,
                "modality_subsets": 0.4,
                "dtype": "fp32",
                "attention": "math",
                "matmul": "highest",
                "device": "cpu",
                "threads": 1,
                "evaluate_every": None,
                "log_every": 50,
            },
            "seed": seed,
        },
        where="verdicts",
    )


def one(measured: Measured) -> SegmentResult:
    """The only segment."""
    (segment,) = measured.segments(WORTH)
    return segment


def contradicts(verdict: Verdict, truth: SegmentResult) -> bool:
    """Whether a verdict says what is not so of the model: of the sign where an effect is claimed, of the size where none is."""
    own = truth.credits[verdict.modality]
    credit, control, alone = (float(figure.value or 0.0) for figure in (own.credit, own.own, own.alone))
    worth = 0.0 if truth.worth is None else truth.worth.bits
    if verdict.status == "used":
        return credit <= 0 or control <= 0
    if verdict.status in ("redundant", "present"):
        return (alone if verdict.status == "redundant" else credit) <= 0
    if verdict.status == "harmful":
        return credit >= 0
    return verdict.status == "negligible" and abs(control if "its own input" in verdict.sentence else credit) > worth


def draws_of(measured: Measured, truth: SegmentResult, draws: int, seed: int) -> Iterator[Drawn]:
    """The verdicts of test sets of a few whole groups."""
    group = measured.tables.groupings.group["speaker"]
    generator = numpy_generator(seed, "verdicts", "draws")
    order = np.argsort(group, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(group))])
    for _ in range(draws):
        some = generator.choice(len(starts) - 1, generator.integers(FEWEST, MOST + 1), replace=False)
        rows = np.concatenate([order[starts[g] : starts[g + 1]] for g in some])
        for verdict in one(measured.only(rows)).verdicts:
            yield Drawn(verdict.modality, verdict.status, contradicts(verdict, truth))


def measure_model(folder: Path, number: int, *, draws: int, fresh_groups: int = FRESH_GROUPS) -> dict[str, Any]:
    """One row."""
    steps = STEPS[number % len(STEPS)]
    trained_on = TRAINED_ON[number % len(TRAINED_ON)]
    manifest = write_rows(folder, trained_on, number, fresh_groups=fresh_groups)
    run = fit(config_of(manifest, steps, number), folder / f"run-{number}").run
    samples = read_data(run.config).samples
    planned = planned_for(run, seed=number, players=None, orders=None)
    measured = measure(run, samples, split="test", planned=planned, seed=number, batch_size=200)
    truth = one(measured)
    said = list(draws_of(measured, truth, draws, number))
    return {
        "model": number,
        "trained_on": trained_on,
        "steps": steps,
        "fresh": len(measured.tables.samples),
        "worth": 0.0 if truth.worth is None else truth.worth.bits,
        "truth": {m: [own.credit.value, own.credit.low, own.credit.high] for m, own in truth.credits.items()},
        "said": {m: dict(Counter(one.status for one in said if one.modality == m)) for m in truth.credits},
        "wrong": {m: dict(Counter(d.status for d in said if d.modality == m and d.contradicts)) for m in truth.credits},
    }


def measure_verdicts(*, models: int, draws: int) -> dict[str, Any]:
    """All models."""
    with tempfile.TemporaryDirectory() as name:
        write_pictures(Path(name))
        rows = [measure_model(Path(name), number, draws=draws) for number in range(models)]
    found: dict[str, Any] = {}
    for modality in rows[0]["truth"]:
        wrong = sum(sum(row["wrong"][modality].values()) for row in rows)
        number = sum(sum(row["said"][modality].values()) for row in rows)
        interval = binomtest(wrong, number).proportion_ci(0.95, method="exact")
        found[modality] = {"wrong": wrong, "draws": number, "low": float(interval.low), "high": float(interval.high)}
    return {"models": models, "draws": draws, "rows": rows, "contradictions": found}
