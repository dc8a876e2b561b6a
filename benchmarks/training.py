"""Training one network with Plait and with Hugging Face's Trainer: the same weights, data and settings.

In: sizes, the steps of a turn, the number of turns.
Out: samples per second of every way (median step), each one's share of the matrix-product peak, and how far their first
losses are apart.
Invariant: all ways take turns in one process; a step's time runs from the end of the step before, batches included.
"""

from __future__ import annotations

import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from benchmarks.measure import matmul_peak, num_flops
from benchmarks.network import Sizes, build, configuration, converted, hugging_face
from plait.config import TrainConfig
from plait.layers import set_attention
from plait.model import Model
from plait.train.optimiser import build_optimiser
from plait.train.probe import Combination, bf16_is_usable, choose, matmul_precision
from plait.train.step import forward_backward, train_step
from plait.types import Batch, Items

SETTINGS: dict[str, Any] = {
    "learning_rate": 1e-4,
    "warmup": 0,
    "final_fraction": 1.0,
    "weight_decay": 0.0,
    "betas": (0.9, 0.999),
    "clip": 1.0,
}
"""Those of the Trainer, at a constant rate."""

PAD = START = 0


class Captions(Dataset[dict[str, Tensor]]):
    """Random pictures and random words, in memory."""

    def __init__(self, num_samples: int, sizes: Sizes) -> None:
        generator = torch.Generator().manual_seed(1)
        self.pixels = torch.randn(num_samples, 3, sizes.pixels, sizes.pixels, generator=generator)
        self.labels = torch.randint(1, sizes.vocabulary, (num_samples, sizes.tokens), generator=generator)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[index], "labels": self.labels[index]}


def to_batch(samples: Sequence[dict[str, Tensor]]) -> Batch:
    """Samples as Plait's batch, the targets shifted as the other library shifts its labels."""
    parts = default_collate(list(samples))
    pixels, labels = parts["pixel_values"], parts["labels"]
    num = len(labels)
    items = Items(pixels, torch.ones(num, dtype=torch.long), torch.arange(num)[:, None])
    tokens = torch.cat([torch.full((num, 1), START), labels[:, :-1]], dim=1)
    ids = tuple(map(str, range(num)))
    return Batch(ids, {"image": items}, tokens, labels, torch.zeros_like(labels), torch.ones(num))


def batch_at(data: Captions, number: int, batch_size: int) -> Batch:
    """Batch `number`, in file order, beginning again at the end."""
    first = number * batch_size % len(data)
    return to_batch([data[i] for i in range(first, first + batch_size)])


class PlaitWay:
    """Plait's step over one model, with the precision and attention given."""

    def __init__(self, model: Model, data: Captions, batch_size: int, combination: Combination) -> None:
        self.model, self.data, self.batch_size = model, data, batch_size
        self.combination = combination
        self.config = TrainConfig(steps=1_000_000, batch_size=batch_size, dtype=combination.dtype, **SETTINGS)  # pyright: ignore[reportArgumentType]
        self.optimiser = build_optimiser(model, self.config)
        self.step = 0

    def turn(self, steps: int) -> tuple[list[float], list[float]]:
        """(Losses, seconds) of some steps, the first one's time left away: it warms up."""
        set_attention(self.model, "math" if self.combination.attention == "math" else "fused")
        self.model.train()
        losses, ends = [], []
        with matmul_precision(self.combination.matmul):
            for _ in range(steps):
                batch = batch_at(self.data, self.step, self.batch_size)
                self.step += 1
                result = train_step(
                    self.model,
                    self.optimiser,
                    batch,
                    self.config,
                    seed=0,
                    step=self.step,
                    micro_batch_size=self.batch_size,
                    say=print,
                )
                losses.append(result.loss)
                ends.append(time.perf_counter())
        return losses, [after - before for before, after in itertools.pairwise(ends)]


class TrainerWay:
    """Hugging Face's Trainer over one model."""

    def __init__(self, model: Any, data: Captions, batch_size: int, **arguments: Any) -> None:
        self.model, self.data, self.batch_size, self.arguments = model, data, batch_size, arguments

    def turn(self, steps: int) -> tuple[list[float], list[float]]:
        """(Losses, seconds) of some steps of a new Trainer, the first one's time left away."""
        from transformers import Trainer, TrainerCallback, TrainingArguments

        ends: list[float] = []

        class Clock(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
                ends.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=self.batch_size,
                learning_rate=SETTINGS["learning_rate"],
                lr_scheduler_type="constant",
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                save_strategy="no",
                dataloader_pin_memory=False,
                **{"logging_strategy": "no", **self.arguments},
            )
            trainer = Trainer(model=self.model, args=arguments, train_dataset=self.data, callbacks=[Clock()])
            for callback in list(trainer.callback_handler.callbacks):
                if type(callback).__name__ == "PrinterCallback":
                    trainer.remove_callback(callback)
            trainer.train()
        losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
        return losses, [after - before for before, after in itertools.pairwise(ends)]


def first_losses(sizes: Sizes, *, batch_size: int, steps: int, seed: int = 0) -> tuple[list[float], list[float]]:
    """The losses of the first steps in fp32 from the same weights, on the same batches: (Plait, Trainer)."""
    torch.manual_seed(seed)
    theirs = hugging_face(sizes, start_id=START, pad_id=PAD)
    ours = build(configuration(sizes), sizes)
    ours.load_state_dict(converted(theirs.state_dict(), sizes))
    data = Captions(steps * batch_size, sizes)
    ways = (
        PlaitWay(ours, data, batch_size, Combination("fp32", "highest", "fused")),
        TrainerWay(
            theirs, data, batch_size, train_sampling_strategy="sequential", logging_strategy="steps", logging_steps=1
        ),
    )
    plait, trainer = (way.turn(steps)[0] for way in ways)
    return plait, trainer


def trainer_ways(sizes: Sizes, data: Captions, batch_size: int, *, with_bf16: bool) -> dict[str, TrainerWay]:
    """The Trainer as it comes, and tuned."""
    torch.manual_seed(0)
    model = hugging_face(sizes, start_id=START, pad_id=PAD)
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    ways = {
        "Trainer fp32 (default)": TrainerWay(model, data, batch_size),
        "Trainer fp32, eager attention": TrainerWay(eager, data, batch_size),
    }
    if with_bf16:
        ways["Trainer bf16"] = TrainerWay(copy.deepcopy(model), data, batch_size, bf16=True)
        ways["Trainer bf16, eager attention"] = TrainerWay(copy.deepcopy(eager), data, batch_size, bf16=True)
    return ways


def measure_training(
    *, repeats: int, steps: int, batch_size: int = 32, sizes: Sizes | None = None, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """All ways in turns."""
    sizes = sizes or Sizes()
    with_bf16 = bf16_is_usable(torch.device("cpu"))
    data = Captions(8 * batch_size, sizes)
    theirs = trainer_ways(sizes, data, batch_size, with_bf16=with_bf16)
    ours = build(configuration(sizes), sizes)
    ours.load_state_dict(converted(theirs["Trainer fp32 (default)"].model.state_dict(), sizes))
    batch = batch_at(data, 0, batch_size)
    # more time than a run gives it: the figures here stand for long trainings
    choice = choose(ours, batch, TrainConfig(batch_size=batch_size), budget=12.0)
    set_attention(ours, "math")
    flops = num_flops(
        lambda: forward_backward(ours, batch, micro_batch_size=batch_size, dtype="fp32", label_smoothing=0.0)
    )
    ways: dict[str, PlaitWay | TrainerWay] = {**theirs, "Plait": PlaitWay(ours, data, batch_size, choice.chosen)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name] += way.turn(steps + 1)[1]
    peaks = {"fp32": matmul_peak(torch.float32)}
    if with_bf16:
        peaks["bf16"] = matmul_peak(torch.bfloat16)
    rows: dict[str, dict[str, float]] = {}
    default = statistics.median(times["Trainer fp32 (default)"])
    for name, taken in times.items():
        median = statistics.median(taken)
        dtype = choice.chosen.dtype if name == "Plait" else ("bf16" if "bf16" in name else "fp32")
        rows[name] = {
            "samples_per_second": batch_size / median,
            "step_seconds": median,
            "fastest_step_seconds": min(taken),
            "share_of_peak": flops / median / peaks[dtype],
            "ratio_to_default": default / median,
        }
    tuned = max(theirs, key=lambda name: rows[name]["samples_per_second"])
    fastest = max(peaks.values())
    plait, trainer = first_losses(sizes, batch_size=batch_size, steps=3)
    return {
        "rows": rows,
        "peak_gflops": {name: value / 1e9 for name, value in peaks.items()},
        "gflop_per_step": flops / 1e9,
        "bf16_left_out": not with_bf16,
        "chosen": choice.chosen._asdict(),
        "tuned": tuned,
        "ratio_to_tuned": rows[tuned]["step_seconds"] / rows["Plait"]["step_seconds"],
        "ratio_to_default": rows["Plait"]["ratio_to_default"],
        "ceiling_to_default": fastest * default / flops,
        "largest_loss_difference": max(abs(a - b) for a, b in zip(plait, trainer, strict=True)),
    }
