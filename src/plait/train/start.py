"""Encoders that begin with what those of other runs have learnt (`encoders.start_from`).

In: a new model, its tokenizer, and for each modality the folder of a run that reads it.
Out: the model's encoders with those runs' weights; of a text encoder the rows of the words that both runs know.
Invariant: nothing is loaded unless the whole encoder fits and sees its inputs prepared the same way; the other run is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from plait.choices import trusted
from plait.config import RunConfig
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.modalities.text.words import OWN_WORDS, Words
from plait.model import Model
from plait.named import START
from plait.run import CONFIG, MODEL, TOKENIZER, check_folder, check_tokenizer, checked_tensors, read_run_config
from plait.trust import NOTHING, Trust

TABLE = "embedding.table"
"""The word vectors of a text encoder: the only tensor that depends on the vocabulary."""


def start_encoders(
    model: Model,
    config: RunConfig,
    tokenizer: Tokenizer,
    *,
    trust_code: bool | Trust = False,
    accept_changes: bool = False,
) -> list[str]:
    """Fill the encoders that `config` says, and tell of each in a line; `trust_code`: of the runs that they come from."""
    trust = trusted(trust_code, config)
    for modality in config.encoders.start_from:
        if modality not in model.inputs:
            raise UserError(
                f"the run reads no {modality}",
                where=f"encoders.start_from.{modality}",
                right=f"It reads {', '.join(model.inputs) or 'no inputs'}",
            )
        if isinstance(model.encoder(modality), Words):
            raise UserError(
                f"the encoder of {modality} has no weights to start from: {OWN_WORDS}",
                where=f"encoders.start_from.{modality}",
                right=f"Leave it out, or take encoders.{modality}.kind=transformer",
            )
    return [
        start_encoder(model, config, tokenizer, m, Path(p), trust, accept_changes=accept_changes)
        for m, p in config.encoders.start_from.items()
    ]


def start_encoder(
    model: Model,
    config: RunConfig,
    tokenizer: Tokenizer,
    modality: str,
    folder: Path,
    trust: Trust = NOTHING,
    *,
    accept_changes: bool = False,
) -> str:
    """Fill one encoder from the run in `folder`."""
    where = f"encoders.start_from.{modality}"
    check_folder(folder)
    other = read_run_config(folder, trust_code=trust, accept_changes=accept_changes)
    check_tokenizer(folder, accept=accept_changes)
    theirs = input_of(other, modality, config.data.modality_of(modality).name, folder, where)
    check_prepared_alike(config, other, modality, theirs, folder, where)
    tensors = encoder_tensors(folder, other, theirs, accept_changes=accept_changes)
    encoder = model.encoder(modality)
    known = ""
    if TABLE in tensors:
        before = Tokenizer.load(folder / TOKENIZER, other.data.tokenizer, other.data.segments or ())
        own = encoder.state_dict()[TABLE]
        if own.shape[1] == tensors[TABLE].shape[1]:
            tensors[TABLE], number = shared_rows(own, tensors[TABLE], tokenizer, before)
            known = f", {number} of {tokenizer.size} tokens known"
    wanted = encoder.state_dict()
    wrong = sorted(set(wanted) ^ set(tensors)) or sorted(n for n in wanted if wanted[n].shape != tensors[n].shape)
    if wrong:
        raise UserError(
            f"the {modality} encoder of {folder} is another one: {', '.join(wrong[:4])}{' …' if len(wrong) > 4 else ''}",
            where=where,
            right=f"Give encoders.{modality} and width as they are in {folder / CONFIG}",
        )
    encoder.load_state_dict(tensors)
    return f"{modality}: the encoder starts with the weights of {folder}{known}"


def input_of(other: RunConfig, name: str, modality: str, folder: Path, where: str) -> str:
    """The input of another run whose encoder is meant: of the same name, or the only one of the same modality."""
    alike = [theirs for theirs, of in other.inputs.items() if of == modality]
    if name in alike or len(alike) == 1:
        return name if name in alike else alike[0]
    if alike:
        right = f"Call this one so, or one of its {' and '.join(alike)} {name}"
        raise UserError(
            f"{folder} has several inputs of {modality}, and none is called {name}", where=where, right=right
        )
    raise UserError(
        f"{folder} reads no {modality}", where=where, right="Name a run with this modality among its inputs"
    )


def check_prepared_alike(config: RunConfig, other: RunConfig, name: str, theirs: str, folder: Path, where: str) -> None:
    """One message where the two runs prepare this input in different ways."""
    modality = config.data.modality_of(name)
    said = modality.said_of(config.data.options_of(name)), modality.said_of(other.data.options_of(theirs))
    different = [key for key in said[0] if said[0][key] != said[1].get(key)]
    if different:
        key = different[0]
        raise UserError(
            f"{folder} was trained with data.{modality.name}.{key}={said[1].get(key)}, this run has {said[0][key]}",
            where=where,
            right="Prepare the inputs as that run does",
        )


def encoder_tensors(folder: Path, other: RunConfig, name: str, *, accept_changes: bool = False) -> dict[str, Tensor]:
    """The tensors of the encoder of a run's input by their names in the encoder."""
    path, owner = folder / MODEL, next(n for n in other.inputs if other.owner_of(n) == other.owner_of(name))
    starts = (f"encoders.{START}{owner}.", f"encoders.{owner}.")
    if not path.exists():
        raise UserError(f"{folder} has no trained weights yet", right=f"Go on training: plait train --resume {folder}")
    tensors = checked_tensors(folder, path, accept=accept_changes)
    return {n.removeprefix(start): t for start in starts for n, t in tensors.items() if n.startswith(start)}


def shared_rows(own: Tensor, theirs: Tensor, tokenizer: Tokenizer, before: Tokenizer) -> tuple[Tensor, int]:
    """Our table with the rows of the tokens that the other vocabulary has as well, and how many those are."""
    places: Mapping[str, int] = {token: place for place, token in enumerate(before.vocabulary)}
    rows = torch.tensor([places.get(token, -1) for token in tokenizer.vocabulary])
    found = rows >= 0
    return torch.where(found[:, None], theirs[rows.clamp(min=0)], own), int(found.sum())
