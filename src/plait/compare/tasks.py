"""What the processes of a comparison do: train and evaluate a run, take its held-out losses, explain it, choose by measuring.

In: a configuration as plain data, and the folder of the run.
Out: plain data; the run, its records and its explanation are in its folder.
Invariant: whatever is there already is not made again; what was begun is gone on with.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from plait.build import build_model
from plait.choices import trusted
from plait.compare.drive import Tell
from plait.compare.price import measure_prices, peak_memory, reset_peak
from plait.config import EvaluateConfig, RunConfig, make_config
from plait.config.before import left_to_run
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.evaluate.record import Record, read_record, record_path
from plait.evaluate.whole import evaluate_run
from plait.explain import Explanation, explain
from plait.run import CONFIG, MODEL, Run, format_of, read_run_config, replacing, write_json
from plait.train import Interrupted, fit
from plait.train.fit import first_batch, loaders_for, read_data, texts_of, usable_device
from plait.train.loop import settings
from plait.train.probe import choose
from plait.train.resume import changes
from plait.trust import NOTHING, Trust
from plait.writing import read_json

Scored = Literal["split", "losses", "nothing"]
"""What is evaluated: the run's own split; only the losses of the split `tune`; nothing."""

COST = "cost.json"
"""In a run's folder: what its training took, and the held-out loss that it reached."""

TOLD_EVERY = 0.5
"""Seconds between two lines of news of a training."""


class TaskProgress:
    """A training's progress, told to the process that shows it; what it says is printed (into the task's log)."""

    def __init__(self, tell: Tell) -> None:
        self.tell, self.told, self.steps, self.bits = tell, 0.0, 0, 0.0

    def start(self, step: int, steps: int) -> None:
        """The first step."""
        self.steps = steps
        self.tell({"state": "training", "step": step, "steps": steps})

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        """A step is done; the loss is smoothed over about 20 steps."""
        self.bits = 0.95 * self.bits + 0.05 * bits if self.bits else bits
        if time.monotonic() - self.told > TOLD_EVERY or step == self.steps:
            self.told = time.monotonic()
            self.tell({"state": "training", "step": step, "steps": self.steps, "bits": self.bits})

    def say(self, message: str) -> None:
        """Into the log."""
        print(time.strftime("%H:%M:%S"), message, flush=True)

    def finish(self) -> None:
        """Nothing."""


def train_task(
    tell: Tell, *, tree: Mapping[str, Any], folder: Path, scored: Scored = "split", trust_code: bool = False
) -> dict[str, Any]:
    """Train a run and evaluate it; what it took is written into its folder (`cost.json`) and returned."""
    config, began = make_config(tree), time.monotonic()
    torch.set_num_threads(config.train.threads or 1)
    check_same(folder, config, trust_code=trust_code)
    tell({"state": "preparing"})
    reset_peak(config.train.device)
    begun = folder.exists() and any(folder.iterdir())
    try:
        run, result = fit(
            None if begun else config,
            folder,
            resume=begun,
            progress=TaskProgress(tell),
            trust_code=trusted(trust_code, config),
        )
    except Interrupted as stopped:
        raise KeyboardInterrupt(f"saved after step {stopped.step}") from None
    peak = peak_memory(config.train.device)
    evaluation = evaluation_of(config, scored)
    if evaluation is not None and not path_of_record(folder, config, evaluation).exists():
        tell({"state": "evaluating"})

        def count(done: int, of: int) -> None:
            tell({"state": "evaluating", "step": done, "steps": of})

        evaluate_run(run, read_data(run.config), config=evaluation, progress=count)
    found = {
        "best_bits": result.best_bits,
        "train_seconds": result.seconds,
        "seconds": time.monotonic() - began,
        "parameters": run.model.num_parameters,
        "peak_bytes": peak,
    }
    with replacing(facts_path(folder)) as part:
        write_json(part, found)
    return found


def evaluation_of(config: RunConfig, scored: Scored) -> EvaluateConfig | None:
    """What is evaluated after the training."""
    if scored == "nothing":
        return None
    if scored == "split":
        return config.evaluate
    nothing = dict.fromkeys(config.data.segments or (), ())
    return config.evaluate.model_copy(update={"split": "tune", "metrics": nothing})


def facts_path(folder: Path) -> Path:
    """Where stands what a training took."""
    return folder / COST


def is_done(folder: Path, config: RunConfig, scored: Scored = "split", *, trust_code: bool = False) -> bool:
    """Whether the run in a folder is trained and evaluated; refused where it was trained with another configuration."""
    check_same(folder, config, trust_code=trust_code)
    evaluation = evaluation_of(config, scored)
    there = evaluation is None or path_of_record(folder, config, evaluation).exists()
    return there and (folder / MODEL).exists() and facts_path(folder).exists()


def check_same(folder: Path, config: RunConfig, *, trust_code: bool = False) -> None:
    """One message where a folder holds a run of another configuration."""
    if not (folder / CONFIG).exists():
        return
    known = read_run_config(folder, trust_code=trusted(trust_code, config))
    found = changes(known, left_to_run(config, format_of(folder)))
    if found:
        raise UserError(
            "was trained with another configuration:\n" + "\n".join(f"  {change}" for change in found[:8]),
            where=str(folder),
            right="Take another --folder, or put the configuration back",
        )


def explain_task(tell: Tell, *, folder: Path, split: str, trust: Trust = NOTHING) -> dict[str, Any]:
    """How many bits each modality brings to a run, as `plait explain` finds it; read where it is there."""
    path = folder / "explain" / f"{split}.json"
    if not path.exists():
        run = Run.load(folder, trust_code=trust)
        run.model.to(usable_device(run.config.train.device))  # where it was trained
        torch.set_num_threads(run.config.train.threads or 1)
        found: Explanation = explain(
            run,
            read_data(run.config).samples,
            split=split,
            seed=run.config.seed,
            batch_size=run.config.evaluate.batch_size,
            progress=lambda done, of: tell({"state": "explaining", "step": done, "steps": of}),
        )
        found.write(folder)
    return read_json(path, right=f"Remove it: {split} is then explained again.")


def choose_task(tell: Tell, *, tree: Mapping[str, Any]) -> dict[str, Any]:
    """The number type, attention and matrix products that are fastest for a configuration: all arms then use them."""
    config = make_config(tree)
    torch.set_num_threads(config.train.threads or 1)
    tell({"state": "measuring"})
    dataset = read_data(config)
    samples = dataset.split("train", needed=True)
    tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(samples), config.data.segments or ())
    built = build_model(
        config, tokenizer, config.inputs, lambda: [tokenizer.tokens(text) for text in texts_of(samples)]
    )
    model = built.model.to(config.train.device)
    batch = first_batch(loaders_for(config, dataset, tokenizer).train).to(config.train.device)
    with settings(config.train):
        return dict(choose(model, batch, config.train).chosen._asdict())


def orders_task(tell: Tell, *, trees: Sequence[Mapping[str, Any]]) -> list[str]:
    """A digest of each configuration's first two epochs: which samples, in which order, in which batches."""
    tell({"state": "reading"})
    found = []
    for tree in trees:
        config = make_config(tree)
        dataset = read_data(config)
        samples = dataset.split("train", needed=True)
        tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(samples), config.data.segments or ())
        loader, digest = loaders_for(config, dataset, tokenizer).train, hashlib.blake2b(digest_size=16)
        for epoch in range(2):
            for numbers in loader.plan(epoch):
                digest.update(" ".join(samples[int(n)].id for n in numbers).encode() + b"\n")
        found.append(digest.hexdigest())
    return found


def path_of_record(folder: Path, config: RunConfig, evaluation: EvaluateConfig) -> Path:
    """Where the record of an evaluation of a run stands."""
    return record_path(folder, evaluation.split, evaluation.inputs, order=tuple(config.inputs))


def record_of(folder: Path, config: RunConfig, scored: Scored = "split") -> Record:
    """The record of a run's evaluation."""
    evaluation = evaluation_of(config, scored)
    assert evaluation is not None
    return read_record(path_of_record(folder, config, evaluation))


def price_task(
    tell: Tell, *, folders: Mapping[str, str], split: str, seconds: float, trust: Mapping[str, Trust]
) -> dict[str, Any]:
    """What each arm costs, all measured together."""
    runs = {name: Run.load(folder, trust_code=trust.get(name, NOTHING)) for name, folder in folders.items()}
    first = next(iter(runs.values()))
    torch.set_num_threads(first.config.train.threads or 1)
    dataset = read_data(first.config)

    def count(done: int, of: int) -> None:
        tell({"state": "measuring (seconds)", "step": done, "steps": of})

    asked, trained = dataset.split(split, needed=True), dataset.split("train")
    found = measure_prices(runs, asked, seconds=seconds, progress=count, train_samples=trained or None)
    return {name: asdict(price) for name, price in found.items()}
