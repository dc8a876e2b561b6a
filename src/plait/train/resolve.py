"""A configuration with everything stated that follows from the data and the machine.

In: a configuration as the user wrote it, and the data that it names.
Out: one that says the same wherever and whenever it is read.
Invariant: what the user stated stays; a device or an input that is not there is one message.
"""

from __future__ import annotations

from pathlib import Path

import torch

from plait.config import RunConfig
from plait.data.manifest import Dataset
from plait.errors import UserError


def resolved(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with everything stated that follows from the data and the machine."""
    inputs = config.data.inputs
    dataset.refuse_missing(config.inputs, config.data.columns)
    data = {"inputs": dataset.inputs if inputs is None else inputs, "segments": dataset.segments}
    config = config.model_copy(update={"data": config.data.model_copy(update=data)})
    threads = config.train.threads or torch.get_num_threads()
    return with_train(resolved_paths(config), device=usable_device(config.train.device), threads=threads)


def resolved_paths(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths of the manifest and of other runs."""
    manifest = str(Path(config.data.manifest).resolve())
    start_from = {m: str(Path(p).resolve()) for m, p in config.encoders.start_from.items()}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"manifest": manifest}),
            "encoders": config.encoders.model_copy(update={"start_from": start_from}),
        }
    )


def with_train(config: RunConfig, **values: object) -> RunConfig:
    """The configuration with other values under `train`."""
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def usable_device(wanted: str, *, where: str = "train.device") -> str:
    """The device to compute on, refused where this machine lacks it."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        right = "This machine has: cpu" + ", cuda" * torch.cuda.is_available() + ". Leave it at auto."
        raise UserError(f"cannot use the device {wanted!r}: {first_line(error)}", where=where, right=right) from error
    return wanted


def first_line(error: BaseException) -> str:
    """What an error says, without its explanations."""
    return str(error).partition("\n")[0]
