"""The runs of the laboratory: small enough for half a minute on one core, large enough to learn every task.

In: a task, its manifest, a seed, and for the second table a kind of fusion.
Out: a `RunConfig`.
Invariant: fusion and language model are the defaults (`concat`, `attend`, after the first of two blocks) wherever no kind of
fusion is asked for; nothing is chosen by measuring, so a run is the same on every machine of one kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plait.choices import KINDS
from plait.config import RunConfig, apply_overrides, make_config
from plait.errors import UserError, did_you_mean
from plait.lab.make import lesson_path
from plait.lab.truth import Task

COMPARED = ("concat", "sum", "attention", "film", "product", "low_rank", "tensor", "bilinear", "gated", "experts")
"""The kinds of the second table, as far as there are such; those that act more than once, or in another place, are none."""


def lab_tree(task: Task, manifest: Path, *, seed: int) -> dict[str, Any]:
    """What all runs of the laboratory have in common."""
    return {
        "data": {
            "manifest": str(manifest),
            "inputs": list(task.modalities),
            "image": {"size": 32},
            "workers": 0,
        },
        "width": 64,
        "encoders": {
            "image": {"kind": "convnet", "channels": [8, 16, 32]},
            "audio": {"kind": "transformer", "layers": 1, "dropout": 0.0},
            "text": {"kind": "transformer", "layers": 0, "dropout": 0.0},
        },
        "train": {
            "steps": 400,
            "batch_size": 64,
            "optimiser": "muon",
            "learning_rate": 8e-3,
            "modality_subsets": 0.4,
            "modality_dropout_warmup": 0.75,  # XOR is found while both inputs are there
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


def is_taught(task: Task) -> bool:
    """Whether each encoder first learns its own bit, and then stays as it is.

    A parity of three gives no encoder a hint before all three and the layers behind the fusion fit together: trained from
    nothing, the default architecture learns the training rows by heart, or nothing (LOG.md).
    """
    return len(task.modalities) > 2


def lesson_config(task: Task, modality: str, manifest: Path, *, seed: int, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that teaches one encoder the bit of its modality."""
    tree = lab_tree(task, lesson_path(manifest, modality), seed=seed)
    tree["data"]["inputs"] = [modality]
    tree = apply_overrides(tree, overrides)
    tree["train"] |= {"steps": min(60, tree["train"]["steps"]), "modality_subsets": 0.0}
    return make_config(tree, where="lab")


def lab_config(
    task: Task,
    manifest: Path,
    *,
    seed: int = 0,
    overrides: Sequence[str] = (),
    taught: Mapping[str, Path] | None = None,
) -> RunConfig:
    """The configuration of the first table; `taught`: the runs in which the encoders had their lessons."""
    tree = lab_tree(task, manifest, seed=seed)
    if taught:
        tree["encoders"] |= {"start_from": {m: str(path) for m, path in taught.items()}, "freeze": list(taught)}
        tree["train"] |= {"steps": 450, "batch_size": 256}  # with batches of 64 the plateau lasts for hundreds of steps
    return make_config(apply_overrides(tree, overrides), where="lab")


def fusion_config(kind: str, task: Task, manifest: Path, *, seed: int = 0, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration of the second table: behind the fusion only a linear head, before it no mixing.

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
    tree["lm"] = {"kind": "transformer", "layers": 1, "final_norm": False}  # a norm would multiply what the fusion adds
    tree["train"] |= {"modality_subsets": 0.0, "steps": 250}
    return make_config(apply_overrides(tree, overrides), where="lab")


def known_fusions(kinds: Sequence[str] | None = None) -> list[str]:
    """The kinds that can be compared, of those named; all where none is named."""
    there = [kind for kind in COMPARED if kind in KINDS["fusion"]]
    for kind in kinds or ():
        if kind not in there:
            raise UserError(f"fusion {kind!r} is not compared here", where="--fusions", right=did_you_mean(kind, there))
    return there if kinds is None else list(kinds)
