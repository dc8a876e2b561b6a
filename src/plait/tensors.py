"""Weights in safetensors files: no pickle, a digest of the content beside it.

In: a module, or tensors by name.
Out: a file; or the module filled from one, or one message why it does not fit.
Invariant: of names that share one tensor (tied weights) only the first is saved, and all of them are filled from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plait.digests import DIGEST, with_digest
from plait.errors import UserError
from plait.named import as_named_now

CONFIG = "config.yaml"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors; of names that share one tensor (tied weights) only the first."""
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach().cpu().contiguous()
    return tensors


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str]) -> None:
    """All of the model's tensors in one safetensors file, with their digest (not atomic by itself: see `run.replacing`)."""
    tensors = weights_of(model)
    save_tensors(tensors, path, with_digest(tensors, metadata))


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """A safetensors file with the rights of an ordinary file: the library itself makes it private to its owner."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, dict(metadata))
    path.chmod(mode)


def all_metadata(path: Path) -> dict[str, str]:
    """What was noted beside the tensors of a safetensors file, their digest included; nothing where there is no such file."""
    if not path.exists():
        return {}
    with whole(path), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_metadata(path: Path) -> dict[str, str]:
    """The same without the digest."""
    return {key: value for key, value in all_metadata(path).items() if key != DIGEST}


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    with whole(path):
        return load_file(path)


def fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill the model, or say in one message why what was read from the file does not fit it."""
    own, tensors = model.state_dict(), as_named_now(model, tensors)
    needed = set(weights_of(model))
    wrong = sorted(needed ^ set(tensors)) or [n for n in sorted(needed) if own[n].shape != tensors[n].shape]
    if wrong:
        raise UserError(
            f"the weights do not fit the model of {CONFIG}: {', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}",
            where=str(path),
            right=f"Put back the {CONFIG} that was made with this model.",
        )
    model.load_state_dict(tensors, strict=False)  # names of tied tensors are filled through the one that was saved


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill the model from a file, whatever its digest."""
    fill(model, load_tensors(path), path)


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """One message for a safetensors file that is cut off or damaged."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise UserError(f"damaged: {error}", where=str(path), right="Copy the file again, or train anew.") from error
