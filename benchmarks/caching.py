"""What a comparison of fusions over frozen encoders costs with the cache of features, beside the same trainings without it.

In: the number of turns; data and configuration are those of `demo_model`, the encoders those of a run that is made here.
Out: seconds of the trainings one by one without the cache, of one extraction alone, of the comparison that begins with an empty
cache, and of its trainings alone (the features are there); per turn the comparison's cost ratio and its speed-up, and medians.
Invariant: every way is whole calls of `fit` in this process, in turns; the cache lies in a folder of the benchmark's own.
"""

from __future__ import annotations

import itertools
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.demo_model import demo_config, write_data
from benchmarks.measure import seconds
from plait.config import RunConfig, apply_overrides, make_config
from plait.features import FeatureCache
from plait.features.place import VARIABLE
from plait.run import Run
from plait.train import fit
from plait.train.fit import loaders_for, read_data, resolved

SAMPLES, BATCH_SIZE, STEPS = 512, 64, 20
FUSIONS = ("concat", "product", "sum")
MEDIA = ("image", "audio")


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """The cache in this folder."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def config_for(manifest: Path, threads: int, **changes: Any) -> RunConfig:
    """The demo's configuration without random changes and with nothing left to choose."""
    keys = {
        "data.audio.augment": "{}",
        "train.steps": STEPS,
        "train.batch_size": BATCH_SIZE,
        "train.evaluate_every": "null",
        "train.dtype": "fp32",
        "train.matmul": "highest",
        "train.attention": "fused",
        "train.threads": threads,
        **changes,
    }
    tree = demo_config(manifest).model_dump(mode="json")
    return make_config(apply_overrides(tree, [f"{key}={value}" for key, value in keys.items()]))


def frozen(start: Path, cached: Sequence[str]) -> dict[str, Any]:
    """The overrides of a run over the frozen encoders of another."""
    return {
        "encoders.start_from": f"{{image: {start}, audio: {start}}}",
        "encoders.freeze": f"[{', '.join(MEDIA)}]",
        "encoders.cache": f"[{', '.join(cached)}]",
    }


def extraction(config: RunConfig, run: Run) -> Callable[[], None]:
    """Everything that the trainings will want, and nothing else."""
    dataset = read_data(config)
    loaders = loaders_for(resolved(config, dataset), dataset, run.tokenizer)
    return lambda: FeatureCache(config, run.model, loaders.train.preprocessor).fill(loaders.train.samples)


def measure_caching(*, repeats: int, threads: int) -> dict[str, Any]:
    """The turns; each begins with an empty cache."""
    turns: list[dict[str, float]] = []
    steps: dict[str, list[float]] = {"without": [], "with": []}
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = write_data(folder, SAMPLES)
        start = fit(config_for(manifest, threads, **{"train.steps": 1}), folder / "start").run

        def train_all(cached: Sequence[str], kind: str) -> float:
            """Every fusion once; the seconds that their loops took are noted."""
            taken = 0.0
            for fusion in FUSIONS:
                config = config_for(manifest, threads, **frozen(start.folder, cached), **{"fusion.kind": fusion})
                result = fit(config, folder / f"run{next(numbers)}").result
                taken += result.seconds
                steps[kind].append(result.seconds / STEPS)
            return taken

        for turn in range(repeats):
            config = config_for(manifest, threads, **frozen(start.folder, MEDIA))
            with cache_in(folder / f"alone{turn}"):
                alone = seconds(extraction(config, start))
            with cache_in(folder / f"cache{turn}"):
                without = seconds(lambda: train_all((), "without"))
                whole = seconds(lambda: train_all(MEDIA, "with"))
                loops: list[float] = []
                trainings = seconds(lambda loops=loops: loops.append(train_all(MEDIA, "with")))
            turns.append(
                {
                    "extraction_seconds": alone,
                    "without_seconds": without,
                    "comparison_seconds": whole,
                    "trainings_seconds": trainings,
                    "loops_seconds": loops[0],
                    "cost_ratio": whole / (alone + trainings),
                    "cost_ratio_to_loops": whole / (alone + loops[0]),
                    "speed_up": without / whole,
                }
            )
    medians = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
    return {
        **medians,
        "step_seconds_without": statistics.median(steps["without"]),
        "step_seconds_with": statistics.median(steps["with"]),
        "trainings": len(FUSIONS),
        "steps": STEPS,
        "samples": SAMPLES,
        "turns": len(turns),
    }
