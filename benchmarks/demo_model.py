"""The demo's model on data of the demo's shapes: training speed, the loader beside it, and the share of padding.

In: nothing; it writes pictures of 64 px, clips of about 2 s and questions of about 9 words to a temporary folder.
Out: samples per second and the share of the matrix-product peak, seconds of a batch from files, from the cache, and of a step.
Invariant: the configuration is the demo's own file, the data go through the ordinary manifest, preprocessor and loader.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import yaml
from PIL import Image

from benchmarks.measure import matmul_peak, num_flops, seconds
from plait.build import build_model
from plait.config import RunConfig
from plait.data.collate import positions
from plait.data.loader import Loader
from plait.data.manifest import Dataset, read_manifest
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer
from plait.layers import set_attention
from plait.modalities.audio.prepare import SAMPLE_RATE
from plait.train.optimiser import build_optimiser
from plait.train.probe import choose, matmul_precision
from plait.train.step import forward_backward, train_step

BATCHES = 6
WORDS = 60


def write_data(folder: Path, num_samples: int) -> Path:
    """A manifest whose rows are spoken, typed and both, in turn."""
    generator = np.random.default_rng(0)
    lines: list[str] = []
    for number in range(num_samples):
        words = [f"w{word}" for word in generator.integers(0, WORDS, generator.integers(5, 14))]
        picture, clip = f"{number}.png", f"{number}.wav"
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(folder / picture)
        row: dict[str, Any] = {
            "id": str(number),
            "split": "train",
            "image": picture,
            "target": {"heard": " ".join(words), "answer": f"w{number % WORDS}"},
        }
        if number % 3 != 1:
            length = int((0.35 + 0.18 * len(words)) * SAMPLE_RATE)
            soundfile.write(folder / clip, 0.1 * generator.standard_normal(length), SAMPLE_RATE, subtype="PCM_16")
            row["audio"] = clip
        if number % 3 != 0:
            row["text"] = " ".join(words)
        lines.append(json.dumps(row))
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def demo_config(manifest: Path) -> RunConfig:
    """The demo's configuration over this manifest."""
    tree = yaml.safe_load((files("plait.demo") / "demo.yaml").read_text(encoding="utf-8"))
    tree["data"]["manifest"] = str(manifest)
    return RunConfig.model_validate(tree)


def tokenizer_for(config: RunConfig, dataset: Dataset) -> Tokenizer:
    """Trained on the targets."""
    texts = [text for s in dataset.samples for reference in s.references for text in reference.values()]
    return Tokenizer.train(config.data.tokenizer, texts, dataset.segments)


def loader_times(loader: Loader, num_batches: int) -> list[float]:
    """Seconds of each of the next batches."""
    stream = loader.batches()
    return [seconds(lambda: next(stream)) for _ in range(num_batches)]


def measure_demo(*, repeats: int) -> dict[str, Any]:
    """Steps and batches in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = demo_config(write_data(folder, BATCHES * 64))
        dataset = read_manifest(config.data.manifest)
        samples, size = dataset.split("train"), config.train.batch_size
        tokenizer = tokenizer_for(config, dataset)
        model = build_model(config, tokenizer, dataset.modalities).model.train()
        preprocessor = Preprocessor(config.data, tokenizer, dataset.segments, dataset.modalities)
        loader = Loader(samples, preprocessor, batch_size=size, seed=0, training=True)
        _ = loader.lengths  # measured once, before the first batch
        from_files = loader_times(loader, BATCHES)
        batches = [batch for _, batch in itertools.islice(loader.batches(), BATCHES)]
        choice = choose(model, batches[0], config.train, budget=6.0)
        set_attention(model, "math")
        flops = [
            num_flops(lambda b=b: forward_backward(model, b, micro_batch_size=size, dtype="fp32", label_smoothing=0.0))
            for b in batches
        ]
        set_attention(model, "math" if choice.chosen.attention == "math" else "fused")
        train = config.train.model_copy(update=choice.chosen._asdict())
        optimiser = build_optimiser(model, train)
        steps: list[float] = []
        from_cache: list[float] = []
        with matmul_precision(choice.chosen.matmul):
            for turn in range(repeats + 1):
                cached = loader_times(loader, BATCHES)
                taken = [
                    seconds(
                        lambda batch=batch, turn=turn: train_step(
                            model, optimiser, batch, train, seed=0, step=turn + 1, micro_batch_size=size, say=print
                        )
                    )
                    for batch in batches
                ]
                if turn:
                    steps += taken
                    from_cache += cached
        peak = matmul_peak(torch.bfloat16 if train.dtype == "bf16" else torch.float32)
        counts = [positions(batch) for batch in batches]
    step = statistics.median(steps)
    parts = sorted({part for count in counts for part in count})
    return {
        "samples_per_second": size / step,
        "step_seconds": step,
        "share_of_peak": statistics.mean(flops) / step / peak,
        "gflop_per_step": statistics.mean(flops) / 1e9,
        "parameters": model.num_parameters,
        "chosen": choice.chosen._asdict(),
        "batch_from_files_seconds": statistics.median(from_files),
        "batch_from_cache_seconds": statistics.median(from_cache),
        "loader_from_files_to_step": statistics.median(from_files) / step,
        "loader_to_step": statistics.median(from_cache) / step,
        "padding": {
            part: 1 - sum(c[part].filled for c in counts if part in c) / sum(c[part].total for c in counts if part in c)
            for part in parts
        },
    }
