"""A run: one trained model with all that made it, as a folder that can be moved and needs nothing else.

In: a configuration, a tokenizer and a model; or a run's folder.
Out: `config.yaml` (resolved), `tokenizer.json`, `model.safetensors`, `environment.json`, and the `training/` that a
checkpoint fills (`train/checkpoint.py`).
Invariant: every file and folder is written under a temporary name, synced and renamed: whatever happens at whatever
instant, what stands under the right name is whole. No pickle.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plait.build import build_model
from plait.choices import Config, code_of, trusted
from plait.config import RunConfig, apply_overrides, config_yaml, make_config
from plait.config.before import BEFORE, FORMAT, as_written, left_to_run
from plait.config.reading import read_located
from plait.data.text import Tokenizer
from plait.embeddings import ScratchConfig
from plait.environment import environment
from plait.errors import UserError
from plait.layers import set_attention
from plait.model import Model
from plait.trust import Trust, reading_run
from plait.types import Modality

CONFIG, TOKENIZER, MODEL, ENVIRONMENT = "config.yaml", "tokenizer.json", "model.safetensors", "environment.json"
SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CODE = "code"
"""In `environment.json`: the modules of one's own that a run was trained with, and their digests."""

PART = ".part"
"""The ending of a temporary name: what bears it was never finished, and is removed before the next training."""


@dataclass
class Run:
    """A model and all that made it. `config` is resolved: nothing in it depends on the data or the machine any more."""

    folder: Path
    config: RunConfig
    tokenizer: Tokenizer
    model: Model = field(repr=False)

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments that the model says, in order."""
        return tuple(self.tokenizer.segments)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the model reads."""
        return tuple(self.config.data.inputs or ())

    @classmethod
    def create(
        cls,
        config: RunConfig,
        folder: Path,
        *,
        tokenizer: Tokenizer,
        model: Model,
        fill: Callable[[Path], None] = lambda _: None,
    ) -> Run:
        """A new run folder without trained weights yet; an empty folder may stand in its place.

        `fill` puts more into the folder before it gets its name, so that a run is never seen without it.
        """
        refuse_existing(folder)
        with replacing(folder) as part:
            part.mkdir(parents=True)
            write_config(config, part / CONFIG)
            tokenizer.save(part / TOKENIZER)
            write_json(part / ENVIRONMENT, {"format": FORMAT, **environment(config.seed), **noted_code(config)})
            fill(part)
        return cls(folder, config, tokenizer, model)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        device: str | torch.device = "cpu",
        weights: Path | None = None,
        trust_code: bool | Trust = False,
    ) -> Run:
        """The run in `folder`, ready to generate; `weights` names another file than the run's own (a checkpoint's).

        `trust_code`: import the modules that the run names (`kind: my_module:MyConfig`); without it they are refused.
        """
        folder = Path(folder)
        check_folder(folder)
        weights = weights or folder / MODEL
        if not weights.exists():
            raise UserError(
                f"{folder} has no trained weights yet", right=f"Go on training: plait train --resume {folder}"
            )
        config = read_run_config(folder, trust_code=trust_code)
        tokenizer = Tokenizer.load(folder / TOKENIZER, config.data.tokenizer, config.data.segments or ())
        check_vocabulary(weights, tokenizer)
        model = build_model(
            without_vectors(config, weights), tokenizer, config.data.inputs or (), read_weights=False
        ).model
        load_weights(model, weights)
        set_attention(model, "math" if config.train.attention == "math" else "fused")  # as the run was trained
        model.to(device).eval()
        return cls(folder, config, tokenizer, model)


class SavedVectors(Config):
    """Stands in for word vectors whose values come with the weights: nothing is read or trained, only the width counts."""

    kind: Literal["saved"] = "saved"
    frozen: bool
    width: int

    def vectors(
        self, wanted: Iterable[str], _corpus: Iterable[Sequence[str]], *, dimension: int, seed: int
    ) -> dict[str, np.ndarray]:
        """One row of the right width, which is all that building the table needs."""
        return {next(iter(wanted)): np.ones(self.width, dtype=np.float32)}


def without_vectors(config: RunConfig, weights: Path) -> RunConfig:
    """The configuration with saved vectors in the place of Word2Vec and GloVe, so that a run needs no corpus and no file."""
    with whole(weights), safe_open(weights, framework="pt") as file:
        names = set(file.keys())

        def saved(embedding: Any, table: str) -> Any:
            if isinstance(embedding, ScratchConfig):
                return embedding
            if table not in names:  # else the file that the configuration names would be read, wherever it lies
                return SavedVectors(frozen=embedding.frozen, width=1)
            return SavedVectors(frozen=embedding.frozen, width=file.get_slice(table).get_shape()[1])

        text, lm = config.encoders.text, config.lm
        text = text.model_copy(update={"embedding": saved(text.embedding, "encoders.text.embedding.table")})
        lm = lm.model_copy(update={"embedding": saved(lm.embedding, "lm.embedding.table")})
    return config.model_copy(update={"lm": lm, "encoders": config.encoders.model_copy(update={"text": text})})


def refuse_existing(folder: Path) -> None:
    """One message for a folder that is already there."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        known = (folder / ENVIRONMENT).exists()
        raise UserError(
            f"{folder} exists already" + ("" if known else " and is not a run"),
            right=(f"Go on with it (plait train --resume {folder}) or take" if known else "Take") + " another name.",
        )


def make_folder(folder: Path, *, option: str) -> None:
    """A folder to write into, or one message why there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        right = "Give a folder that may be written"
        raise UserError(f"{folder} cannot be made: {error.strerror}", where=option, right=right) from None


def check_folder(folder: Path) -> None:
    """One message for a folder that is no run, half a run, or a run of another format."""
    if not folder.is_dir():
        raise UserError(f"there is no run folder {folder}", right="Give the folder that plait train wrote.")
    missing = [name for name in (CONFIG, TOKENIZER, ENVIRONMENT) if not (folder / name).is_file()]
    if len(missing) == 3 and (runs := sorted(folder.glob("runs/*/seed-*"))):
        raise UserError(f"{folder} is a comparison", right=f"Give one of its runs, such as {runs[0]}")
    if missing:
        raise UserError(
            f"{folder} is no whole run: it lacks {', '.join(missing)}",
            right="Copy the folder again, with everything in it, or train anew under another name.",
        )
    format_of(folder)


def format_of(folder: Path) -> int:
    """The format of a run folder, or one message for one that this Plait cannot read."""
    try:
        made = dict(json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"half written: {error}", where=str(folder / ENVIRONMENT), right="Copy the folder again, or train anew."
        ) from error
    format = made.get("format")
    if format not in (*BEFORE, FORMAT):
        raise UserError(
            f"{folder} has run format {format} (plait {made.get('plait', '?')}); this plait reads formats up to {FORMAT}",
            right="Use the plait that made it, or train anew.",
        )
    return int(format)


def read_run_config(folder: Path, overrides: Sequence[str] = (), *, trust_code: bool | Trust = False) -> RunConfig:
    """The configuration of a run; a key that it does not state has the default of the version that wrote it.

    Code of its own (`kind: my_module:MyConfig`) is imported only as far as it is trusted: a run may come from anywhere.
    """
    path, format = folder / CONFIG, format_of(folder)
    tree = apply_overrides(as_written(read_located(path), format), overrides)
    with reading_run(folder, trusted(trust_code), code_noted_by(folder)):
        return left_to_run(make_config(tree, where=str(path)), format)


def noted_code(config: RunConfig) -> dict[str, Any]:
    """The modules of one's own that a run uses, as they are noted in it: a later change of a file is seen."""
    codes = code_of(config)
    if not codes:
        return {}
    return {CODE: {code.module: {"file": code.path, "sha256": code.digest} for code in codes}}


def code_noted_by(folder: Path) -> Mapping[str, Any]:
    """Module → what the run in a folder noted of it."""
    noted = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")).get(CODE)
    return noted if isinstance(noted, Mapping) else {}


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
    """All of the model's tensors in one safetensors file (not atomic by itself: see `replacing`)."""
    save_tensors(weights_of(model), path, metadata)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """A safetensors file with the rights of an ordinary file: the library itself makes it private to its owner."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path, dict(metadata))
    path.chmod(mode)


def read_metadata(path: Path) -> dict[str, str]:
    """What was noted beside the tensors of a safetensors file; nothing where there is no such file."""
    if not path.exists():
        return {}
    with whole(path), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def check_vocabulary(path: Path, tokenizer: Tokenizer) -> None:
    """One message for a tokenizer of another size than the model's."""
    saved = read_metadata(path).get("vocabulary_size")
    if saved is not None and int(saved) != tokenizer.size:
        raise UserError(
            f"the tokenizer has {tokenizer.size} tokens, but the model was trained with {saved}",
            where=str(path.parent),
            right=f"Put back the {TOKENIZER} that was made with this model.",
        )


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill the model, or say in one message why the file does not fit it."""
    with whole(path):
        tensors = load_file(path)
    own = model.state_dict()
    needed = set(weights_of(model))
    wrong = sorted(needed ^ set(tensors)) or [n for n in sorted(needed) if own[n].shape != tensors[n].shape]
    if wrong:
        raise UserError(
            f"the weights do not fit the model of {CONFIG}: {', '.join(wrong[:5])}{' …' if len(wrong) > 5 else ''}",
            where=str(path),
            right=f"Put back the {CONFIG} that was made with this model.",
        )
    model.load_state_dict(tensors, strict=False)  # names of tied tensors are filled through the one that was saved


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """One message for a safetensors file that is cut off or damaged."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise UserError(f"damaged: {error}", where=str(path), right="Copy the file again, or train anew.") from error


def write_config(config: RunConfig, path: Path) -> None:
    """The configuration with every value stated (not atomic by itself: see `replacing`)."""
    path.write_text(config_yaml(config), encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Readable JSON (not atomic by itself: see `replacing`)."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write a file or a folder to; when the block ends, it is synced and renamed to `path`.

    On any failure the temporary is removed and what stood at `path` stays whole; failures of the disk become one message.
    A new folder may only take the place of an empty one.
    """
    part = path.with_name(f".{path.name}{PART}")
    remove(part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        sync(part)
        os.replace(part, path)  # noqa: PTH105 - tests fail this very call
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        remove(part)
        raise unwritable(path, error) from error
    except BaseException:
        remove(part)
        raise


def unwritable(path: Path, error: BaseException) -> UserError:
    """One message for a write that failed."""
    right = "What was saved before is whole. " + remedy(error, path.parent)
    return UserError(f"cannot write {path.name}: {reason(error)}", where=str(path.parent), right=right)


def reason(error: BaseException) -> str:
    """The failure in a few words."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def remedy(error: BaseException, folder: Path) -> str:
    """What the user can do about a failed write."""
    numbers = [error.errno] if isinstance(error, OSError) else [n for n in SPACE if f"(os error {n})" in str(error)]
    if not set(numbers) & set(SPACE):
        return "Mend that and give the command again; a training that had begun goes on with --resume."
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB are free)"
    except OSError:
        free = ""
    return f"Make room on the disk{free} and give the command again; a training that had begun goes on with --resume."


def remove(path: Path) -> None:
    """A file or folder gone, if it was there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """What an earlier crash left unfinished."""
    for part in [*folder.glob(f".*{PART}"), *folder.glob(f"training/.*{PART}")]:
        remove(part)


def sync(path: Path) -> None:
    """Everything under `path` on the disk."""
    if path.is_dir():
        for inner in sorted(path.iterdir()):
            sync(inner)
        sync_folder(path)
    else:
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """A folder's list of names on the disk (Windows cannot open a folder and needs no such call)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
