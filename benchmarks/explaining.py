"""What the losses under all 2^M subsets of the inputs cost: each encoder once, beside each encoder for every subset that has it.

In: the number of turns; data and configuration are those of `demo_model`.
Out: seconds of both ways, the median of their ratios turn by turn, and how far their bits are apart.
Invariant: both ways answer the same batches, decoded before, with the same untrained model; of each turn the ratio is taken.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.demo_model import demo_config, tokenizer_for, write_data
from benchmarks.measure import in_turns
from plait.build import build_model
from plait.data.manifest import read_manifest
from plait.data.preprocess import Preprocessor
from plait.explain.asked import Asked
from plait.explain.positions import Positions
from plait.run import Run
from plait.types import Batch

BATCH_SIZE, BATCHES = 64, 3
ONE = np.ones(1)


def subset_bits(run: Run, batches: Sequence[Batch], subsets: Sequence[int], *, shared: bool) -> list[torch.Tensor]:
    """The bits of every batch under every subset; `shared`: encoders run once per batch, otherwise for each subset anew."""
    positions, found = Positions.whole(len(run.segments)), []
    for batch in batches:
        rows = torch.arange(len(batch))
        features = run.model.encode(batch.inputs, len(batch)) if shared else {}
        for subset in subsets:
            held = [bool(subset >> k & 1) for k in range(len(run.inputs))]
            if not shared:
                some = {name: batch.inputs[name] for name, has in zip(run.inputs, held, strict=True) if has}
                features = run.model.encode(some, len(batch))
            given = np.tile(np.array(held), (len(batch), 1))
            found.append(Asked(run, batch, features, given, rows, positions).bits("true", ONE))
    return found


@torch.inference_mode()
def measure_explain(*, repeats: int) -> dict[str, Any]:
    """Both ways in turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = demo_config(write_data(folder, BATCH_SIZE * BATCHES))
        dataset = read_manifest(config.data.manifest)
        tokenizer = tokenizer_for(config, dataset)
        model = build_model(config, tokenizer, dataset.modalities).model.eval()
        data = config.data.model_copy(update={"inputs": dataset.modalities})
        run = Run(folder, config.model_copy(update={"data": data}), tokenizer, model)
        preprocessor = Preprocessor(data, tokenizer, dataset.segments, dataset.modalities)
        samples = dataset.split("train")
        batches = [
            preprocessor.batch(samples[at : at + BATCH_SIZE], training=False)
            for at in range(0, len(samples), BATCH_SIZE)
        ]
        every = range(1 << len(run.modalities))
        bits = [subset_bits(run, batches, every, shared=shared) for shared in (True, False)]
        times = in_turns(
            {
                "shared": lambda: subset_bits(run, batches, every, shared=True),
                "separate": lambda: subset_bits(run, batches, every, shared=False),
                "encoders": lambda: [model.encode(batch.inputs, len(batch)) for batch in batches],
                "one_subset": lambda: subset_bits(run, batches, every[-1:], shared=True),
            },
            repeats,
        )
    median = {name: statistics.median(taken) for name, taken in times.items()}
    return {
        "samples": len(samples),
        "subsets": len(every),
        "batches": len(batches),
        **{f"{name}_seconds": value for name, value in median.items()},
        "ratio": statistics.median(s / t for s, t in zip(times["separate"], times["shared"], strict=True)),
        "encoders_share": median["encoders"] / median["shared"],
        "largest_difference_bits": max(float((a - b).abs().max()) for a, b in zip(*bits, strict=True)),
    }
