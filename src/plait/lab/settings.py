"""The runs of the laboratory: small enough for half a minute on one core, large enough to learn every task.

In: a task, its manifest, a seed, and for the second table a kind of fusion.
Out: a `RunConfig`.
Invariant: nothing is chosen by measuring, so a run is the same on every machine of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plait.choices import KINDS
from plait.config import RunConfig, apply_overrides, make_config
from plait.errors import UserError, did_you_mean
from plait.lab.truth import Task

COMPARED = ("concat", "sum", "attention", "film", "product", "low_rank", "tensor", "bilinear", "gated", "experts")
"""The kinds of the second table, as far as there are such; those that act more than once, or in another place, are none."""

PRODUCT = {"kind": "product", "align": "attend", "at": 1}
PARITY = {"kind": "product", "align": "mean", "at": 1, "plain": True}


def lab_tree(task: Task, manifest: Path, *, seed: int) -> dict[str, Any]:
    """The run that measures what a task's modalities bring: a product after the first of two blocks.

    Where no modality alone gives a hint, `concat` stays at chance for hundreds of steps; `product` finds XOR in 150. A three-way
    parity needs the textbook product of averages (`PARITY`), whose slope does not vanish with the third power of small factors.
    """
    is_pair = len(task.modalities) == 2
    return {
        "data": {
            "manifest": str(manifest),
            "inputs": list(task.modalities),
            "image": {"size": 32},
            "workers": 0,
        },
        "width": 32,
        "encoders": {
            "image": {"kind": "convnet", "channels": [8, 16, 32]},
            "audio": {"kind": "transformer", "layers": 1, "dropout": 0.0},
            "text": {"kind": "transformer", "layers": 0, "dropout": 0.0},
        },
        "fusion": PRODUCT if is_pair else PARITY,
        "lm": {"kind": "transformer", "layers": 2},
        "train": {
            "steps": 400 if is_pair else 600,
            "batch_size": 64,
            "optimiser": "muon",
            "learning_rate": 4e-3,
            "modality_dropout": 0.3,
            "modality_dropout_warmup": 0.0 if is_pair else 0.75,  # with it from the start parity is not found
            "dtype": "fp32",
            "attention": "math",
            "matmul": "highest",
            "device": "cpu",
            "threads": 1,
            "evaluate_every": 100,
            "log_every": 50,
        },
        "seed": seed,
    }


def lab_config(task: Task, manifest: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of the first table."""
    return make_config(apply_overrides(lab_tree(task, manifest, seed=seed), overrides), where="lab")


def fusion_config(kind: str, task: Task, manifest: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of the second table: behind the fusion only a norm and a linear head, before it no mixing.

    The language model has one block; modalities are averaged where the kind aligns, and attention has one head.
    """
    tree = lab_tree(task, manifest, seed=seed)
    fields = KINDS["fusion"][kind].model_fields
    fusion: dict[str, Any] = {"kind": kind, "at": "last"}
    if "align" in fields:
        fusion["align"] = "mean"
    elif "num_heads" in fields:
        fusion["num_heads"] = 1
    tree["fusion"] = fusion
    tree["lm"]["layers"] = 1
    tree["train"] |= {"modality_dropout": 0.0, "steps": 250}
    return make_config(apply_overrides(tree, overrides), where="lab")


def known_fusions(kinds: Sequence[str] | None = None) -> list[str]:
    """The kinds that can be compared, of those named; all where none is named."""
    there = [kind for kind in COMPARED if kind in KINDS["fusion"]]
    for kind in kinds or ():
        if kind not in there:
            raise UserError(f"fusion {kind!r} is not compared here", where="--fusions", right=did_you_mean(kind, there))
    return there if kinds is None else list(kinds)
