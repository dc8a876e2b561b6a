"""Which encoder it is that features came from.

In: an encoder with its weights, the configurations of the encoder and of the preparation of its inputs.
Out: 16 hexadecimal digits.
Invariant: whatever could change a feature changes them: a number of the weights, an option, the preparation of the inputs, the
code of the encoder or of the preparation (users write encoders of their own), the libraries that decode and compute.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from plait.config import RunConfig
from plait.encoders import Encoder
from plait.environment import version_of
from plait.modalities import Modality

FORMAT = 1
"""Grows when blocks or keys come to mean something else."""

LIBRARIES = ("torch", "numpy", "pillow", "simplejpeg", "soundfile", "soxr", "pillow-heif", "av")


def encoder_id(encoder: Encoder, config: RunConfig, name: str) -> str:
    """The identity of an encoder together with what prepares its inputs."""
    modality = config.data.modality_of(name)
    said = {
        "format": FORMAT,
        "modality": modality.name,
        "encoder": config.encoder_of(name).model_dump(mode="json"),
        "preparation": modality.said_of(config.data.options_of(name)),
        "code": code_of(encoder, modality),
        "libraries": {name: version_of(name) for name in LIBRARIES},
    }
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=8)
    for name, tensor in encoder.state_dict().items():
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def code_of(encoder: Encoder, modality: Modality) -> str:
    """A digest of the files that the classes of the encoder's modules stand in, but for PyTorch's, and of the preparation's."""
    return code_digest(sources(encoder, modality))


def sources(encoder: Encoder, modality: Modality) -> dict[str, Path]:
    """These files, by their modules."""
    names = {base.__module__ for module in encoder.modules() for base in type(module).__mro__}
    names = {name for name in names if name.partition(".")[0] not in ("torch", "builtins", "abc", "typing")}
    found: dict[str, Path] = {}
    for name in sorted({*names, *modality.prepared_by}):
        module = sys.modules.get(name)
        path = None if module is None else inspect.getsourcefile(module)
        if path is not None and Path(path).is_file():
            found[name] = Path(path)
    return found


def code_digest(files: Mapping[str, Path]) -> str:
    """A digest of modules' names and files."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(files):
        digest.update(name.encode() + b"\n" + files[name].read_bytes())
    return digest.hexdigest()


def made_with(encoder: Encoder, modality: Modality) -> dict[str, Any]:
    """What an encoder's identity is made of beside its weights and options, for a later look at whether it can still be made."""
    files = sources(encoder, modality)
    return {
        "format": FORMAT,
        "libraries": {name: version_of(name) for name in LIBRARIES},
        "code": code_digest(files),
        "modules": {name: str(path) for name, path in files.items()},
    }


def outdated(made: object) -> list[str] | None:
    """Why this installation cannot make an identity any more, whatever the weights; None where nothing is known of it."""
    if not isinstance(made, Mapping) or not all(isinstance(made.get(k), Mapping) for k in ("libraries", "modules")):
        return None
    why = [] if made.get("format") == FORMAT else ["another format"]
    for name, before in made["libraries"].items():
        if (now := version_of(str(name))) != before:
            why.append(f"made with {name} {before} (here: {now})")
    files = {str(name): path_now(str(name), Path(str(path))) for name, path in made["modules"].items()}
    gone = [name for name, path in files.items() if not path.is_file()]
    if gone:
        why.append(f"its code is gone: {', '.join(gone)}")
    elif code_digest(files) != made.get("code"):
        why.append("its code was changed since")
    return why


def path_now(module: str, path: Path) -> Path:
    """Where a module of Plait's own lies in this installation; of others, where it lay."""
    top, *rest = module.split(".")
    if top != "plait":
        return path
    base = Path(__file__).resolve().parents[1].joinpath(*rest)
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
