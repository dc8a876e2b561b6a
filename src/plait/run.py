"""A run: one trained model with all that made it, as a folder that can be moved and needs nothing else.

In: a configuration, a tokenizer and a model; or a run's folder.
Out: `config.yaml` (resolved), `tokenizer.json`, `model.safetensors`, `environment.json`, and the `training/` that a
checkpoint fills (`train/checkpoint.py`).
Invariant: every file and folder is written under a temporary name of its own, synced and renamed: whatever happens at whatever
instant, and however many write at once, what stands under the right name is whole. What was changed since is not used without
a word (`digests.py`). No pickle.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from plait.build import build_model
from plait.choices import Config, code_of, trusted
from plait.config import RunConfig, apply_overrides, config_yaml, make_config
from plait.config.before import BEFORE, FORMAT, as_written, left_to_run
from plait.config.reading import read_located, read_tree
from plait.data.text import Tokenizer
from plait.digests import (
    Mismatch,
    config_mismatch,
    digest_of,
    digest_of_value,
    digests_line,
    section_digests,
    tensors_mismatch,
)
from plait.embeddings import ScratchConfig, with_embedding
from plait.environment import environment
from plait.errors import UserError
from plait.files import hint_of, refuse_devices
from plait.layers import set_attention
from plait.locks import PART as PART
from plait.model import Model
from plait.named import START
from plait.tensors import all_metadata, fill, load_tensors, read_metadata, whole
from plait.tensors import load_weights as load_weights
from plait.tensors import save_tensors as save_tensors
from plait.tensors import save_weights as save_weights
from plait.tensors import weights_of as weights_of
from plait.trust import Trust, reading_run
from plait.writing import reason as reason
from plait.writing import remove as remove
from plait.writing import remove_leftovers as remove_leftovers
from plait.writing import replacing as replacing
from plait.writing import sync as sync
from plait.writing import sync_folder as sync_folder
from plait.writing import unwritable as unwritable
from plait.writing import write_json as write_json

CONFIG, TOKENIZER, MODEL, ENVIRONMENT = "config.yaml", "tokenizer.json", "model.safetensors", "environment.json"
CODE = "code"
"""In `environment.json`: the modules of one's own that a run was trained with, and their digests."""


@dataclass
class Run:
    """A model and all that made it. `config` is resolved: nothing in it depends on the data or the machine any more.

    `identity`: the name that the run's files share ('' in a run that was made before they had one); `notes`: what the user has to
    know about what was loaded.
    """

    folder: Path
    config: RunConfig
    tokenizer: Tokenizer
    model: Model = field(repr=False)
    identity: str = ""
    notes: tuple[str, ...] = ()

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments that the model says, in order."""
        return tuple(self.tokenizer.segments)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs that the model reads, in order."""
        return tuple(self.config.inputs)

    @property
    def modalities(self) -> tuple[str, ...]:
        """As `inputs`: for programs written when every input was called as its modality."""
        return self.inputs

    @classmethod
    def create(
        cls,
        config: RunConfig,
        folder: Path,
        *,
        tokenizer: Tokenizer,
        model: Model,
        fill: Callable[[Path], None] = lambda _: None,
        identity: str | None = None,
    ) -> Run:
        """A new run folder without trained weights yet; an empty folder may stand in its place.

        `fill` puts more into the folder before it gets its name, so that a run is never seen without it. `identity`: its name.
        """
        refuse_existing(folder)
        identity = identity or digest_of_value(config.model_dump(mode="json"))
        with replacing(folder) as part:
            part.mkdir(parents=True)
            write_config(config, part / CONFIG, identity)
            tokenizer.save(part / TOKENIZER)
            sections = section_digests(read_tree(part / CONFIG))
            digests = {CONFIG: sections, TOKENIZER: digest_of((part / TOKENIZER).read_bytes())}
            bound = {"run": identity, "digests": digests}
            write_json(
                part / ENVIRONMENT, {"format": FORMAT, **bound, **environment(config.seed), **noted_code(config)}
            )
            fill(part)
        return cls(folder, config, tokenizer, model, identity)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        device: str | torch.device = "cpu",
        weights: Path | None = None,
        trust_code: bool | Trust = False,
        accept_changes: bool = False,
    ) -> Run:
        """The run in `folder`, ready to generate; `weights` names another file than the run's own (a checkpoint's).

        `trust_code`: import the modules that the run names (`kind: my_module:MyConfig`); without it they are refused.
        A file that is not the one that Plait wrote is refused; with `accept_changes` it is taken, and that is noted in the run.
        """
        folder = Path(folder)
        check_folder(folder)
        weights = weights or folder / MODEL
        if not weights.exists():
            raise UserError(
                f"{folder} has no trained weights yet", right=f"Go on training: plait train --resume {folder}"
            )
        config, notes = checked_config(folder, trust_code=trust_code, accept=accept_changes)
        tokenizer = Tokenizer.load(folder / TOKENIZER, config.data.tokenizer, config.data.segments or ())
        check_vocabulary(weights, tokenizer)
        tensors = load_tensors(weights)
        notes += check_tokenizer(folder, accept=accept_changes)
        notes += check_tensors(folder, weights, tensors, accept=accept_changes)
        model = build_model(without_vectors(config, weights), tokenizer, config.inputs, read_weights=False).model
        fill(model, tensors, weights)
        set_attention(model, "math" if config.train.attention == "math" else "fused")  # as the run was trained
        model.to(device).eval()
        return cls(folder, config, tokenizer, model, environment_of(folder).get("run", ""), notes)


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

        def saved(embedding: Any, *tables: str) -> Any:
            if isinstance(embedding, ScratchConfig):
                return embedding
            table = next((table for table in tables if table in names), None)
            if table is None:  # else the file that the configuration names would be read, wherever it lies
                return SavedVectors(frozen=embedding.frozen, width=1)
            return SavedVectors(frozen=embedding.frozen, width=file.get_slice(table).get_shape()[1])

        encoders = config.encoders
        changed = {
            name: with_embedding(own, lambda given, name=name: saved(given, *tables_of(config, name)))
            for name, own in {"text": encoders.text, **encoders.named}.items()
        }
        lm = with_embedding(config.lm, lambda own: saved(own, "lm.embedding.table"))
    return config.model_copy(update={"lm": lm, "encoders": encoders.model_copy(update=changed)})


def tables_of(config: RunConfig, name: str) -> list[str]:
    """The names that the word vectors of an encoder may have in a run's weights: under the first input that has the encoder."""
    said = config.encoders.named.get(name, config.encoders.of_modality("text") if name == "text" else None)
    readers = [one for one in config.inputs if config.encoder_of(one) == said] or [name]
    return [f"encoders.{start}{one}.embedding.table" for one in readers for start in (START, "")]


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
        right = hint_of(folder) or "Give the folder that plait train wrote."
        raise UserError(f"there is no run folder {folder}", right=right)
    missing = [name for name in (CONFIG, TOKENIZER, ENVIRONMENT) if not (folder / name).is_file()]
    if len(missing) == 3 and (runs := sorted(folder.glob("runs/*/seed-*"))):
        raise UserError(f"{folder} is a comparison", right=f"Give one of its runs, such as {runs[0]}")
    if missing:
        raise UserError(
            f"{folder} is not a complete run: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            right="Give the folder that plait train wrote; if it is a copy, copy it again with everything in it.",
        )
    refuse_devices(folder)
    format_of(folder)


def environment_of(folder: Path) -> dict[str, Any]:
    """What a run says of itself and of the machine that made it, or one message for a file that is not whole."""
    path = folder / ENVIRONMENT
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(made, dict):
            raise ValueError("it holds no mapping of keys")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"half written: {error}", where=str(path), right="Copy the folder again, or train anew."
        ) from error
    for key in ("packages", "hardware", "digests"):
        if not isinstance(made.get(key, {}), dict):
            raise UserError(f"{key} must be a mapping", where=str(path), right="Copy the folder again, or train anew.")
    return made


def format_of(folder: Path) -> int:
    """The format of a run folder, or one message for one that this Plait cannot read."""
    made = environment_of(folder)
    format = made.get("format")
    if not isinstance(format, int) or format not in (*BEFORE, FORMAT):
        raise UserError(
            f"{folder} has run format {format} (plait {made.get('plait', '?')}); this plait reads formats up to {FORMAT}",
            right="Use the plait that made it, or train anew.",
        )
    return format


def read_run_config(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    trust_code: bool | Trust = False,
    accept_changes: bool = False,
) -> RunConfig:
    """The configuration of a run; a key that it does not state has the default of the version that wrote it.

    Code of its own (`kind: my_module:MyConfig`) is imported only as far as it is trusted: a run may come from anywhere.
    """
    return checked_config(folder, overrides, trust_code=trust_code, accept=accept_changes)[0]


def noted_code(config: RunConfig) -> dict[str, Any]:
    """The modules of one's own that a run uses, as they are noted in it: a later change of a file is seen."""
    codes = code_of(config)
    if not codes:
        return {}
    return {CODE: {code.module: {"file": code.path, "sha256": code.digest} for code in codes}}


def code_noted_by(folder: Path) -> Mapping[str, Any]:
    """Module → what the run in a folder noted of it."""
    noted = environment_of(folder).get(CODE)
    return noted if isinstance(noted, Mapping) else {}


def checked_config(
    folder: Path, overrides: Sequence[str] = (), *, trust_code: bool | Trust = False, accept: bool
) -> tuple[RunConfig, tuple[str, ...]]:
    """The configuration of a run, and what has to be said of it; refused where it is not the one that was written."""
    path, format = folder / CONFIG, format_of(folder)
    tree = apply_overrides(as_written(read_located(path), format), overrides)
    with reading_run(folder, trusted(trust_code), code_noted_by(folder)):
        config = make_config(tree, where=str(path))  # before its digests: that it names code is the graver news
    return left_to_run(config, format), check_config(folder, accept=accept)


def check_config(folder: Path, *, accept: bool) -> tuple[str, ...]:
    """Refuse a configuration that is not the one that was written; what has to be said of it."""
    path, found, is_free = folder / CONFIG, None, False
    made = environment_of(folder)
    sections = made.get("digests", {}).get(CONFIG, {})
    for _ in range(2):  # a second look: a training may have written it anew between reading its values and its digests
        text = path.read_text(encoding="utf-8")
        found, is_free = config_mismatch(path, read_tree(path), text, made.get("run", ""), sections)
        if found is None:
            break
    if found is not None and is_free and not accept:
        known = found.now in accepted(folder)
        return () if known else (f"{path}: {found.what}; it is used as it is now",)
    return settle(folder, found, accept=accept)


def check_tokenizer(folder: Path, *, accept: bool) -> tuple[str, ...]:
    """Refuse a tokenizer that is not the run's."""
    path = folder / TOKENIZER
    was = environment_of(folder).get("digests", {}).get(TOKENIZER)
    now = digest_of(path.read_bytes())
    if was is None or now == was:
        return ()
    return settle(folder, Mismatch(path, "was changed since the run was made", now, str(was)), accept=accept)


def check_tensors(folder: Path, path: Path, tensors: Mapping[str, Tensor], *, accept: bool = False) -> tuple[str, ...]:
    """Refuse tensors, read from a file of the run in `folder`, that are not those that were written."""
    found = tensors_mismatch(path, tensors, all_metadata(path), environment_of(folder).get("run", ""))
    return settle(folder, found, accept=accept)


def checked_tensors(folder: Path, path: Path, *, accept: bool = False) -> dict[str, Tensor]:
    """The tensors of a file of the run in `folder`; refused where they are not those that were written."""
    tensors = load_tensors(path)
    check_tensors(folder, path, tensors, accept=accept)
    return tensors


def accept(folder: Path) -> tuple[str, ...]:
    """Take the configuration, the tokenizer and the weights of a run as they are now; what was noted."""
    notes = check_config(folder, accept=True) + check_tokenizer(folder, accept=True)
    if (folder / MODEL).exists():
        notes += check_tensors(folder, folder / MODEL, load_tensors(folder / MODEL), accept=True)
    return notes


def settle(folder: Path, found: Mismatch | None, *, accept: bool) -> tuple[str, ...]:
    """Refuse a file that is not the one that was written, unless the user takes it or has taken it before; what was noted."""
    if found is None or found.now in accepted(folder):
        return ()
    if not accept:
        raise UserError(
            found.what,
            where=str(found.path),
            right="Put back the file that the run was made with, or take it as it is now: --accept-changes "
            "(Python: accept_changes=True). That is noted in the run and can be undone by putting the file back.",
        )
    try:
        note_accepted(folder, found)
    except UserError as error:  # a run that only may be read
        return (f"{found.path}: {found.what}; it is used as it is now. This could not be noted: {error.what}",)
    return (f"{found.path}: {found.what}; it is used as it is now, as noted in {ENVIRONMENT}",)


def accepted(folder: Path) -> set[str]:
    """The digests of changed files that the user has taken."""
    notes = environment_of(folder).get("accepted", [])
    return {str(one.get("digest")) for one in notes if isinstance(one, dict)} if isinstance(notes, list) else set()


def note_accepted(folder: Path, found: Mismatch) -> None:
    """Note in the run that the user takes a changed file: the digest that was written stays, so the old file is right as well."""
    made = environment_of(folder)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    name = found.path.relative_to(folder).as_posix() if found.path.is_relative_to(folder) else str(found.path)
    note = {"file": name, "digest": found.now, "was": found.was, "noted": when}
    with replacing(folder / ENVIRONMENT) as part:
        write_json(part, {**made, "accepted": [*made.get("accepted", []), note]})


def check_vocabulary(path: Path, tokenizer: Tokenizer) -> None:
    """One message for a tokenizer of another size than the model's."""
    saved = read_metadata(path).get("vocabulary_size")
    if saved is not None and saved != str(tokenizer.size):
        raise UserError(
            f"the tokenizer has {tokenizer.size} tokens, but the model was trained with {saved}",
            where=str(path.parent),
            right=f"Put back the {TOKENIZER} that was made with this model.",
        )


def write_config(config: RunConfig, path: Path, identity: str) -> None:
    """The configuration with every value stated, and its digests (not atomic by itself: see `replacing`)."""
    path.write_text(config_yaml(config), encoding="utf-8", newline="\n")
    line = digests_line(read_tree(path), identity)
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(line)
