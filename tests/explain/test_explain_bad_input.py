"""What cannot be explained is said in one message; and no subset of inputs is beyond any fusion and language model."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from test_sample import KINDS

import plait
from plait.types import Features
from tiny_model import READ, make_batch, make_model, make_tokenizer

MODELS = ("rnn", "lstm", "gru", "transformer")
SHAPES_THE_MODEL = ("prefix", "resampler", "late")
"""Fusions that give the language model positions or branches of their own; the others only change its states."""


def models_and_fusions() -> list[tuple[str, str]]:
    """Every fusion with one language model, in turn; with all of them where the fusion changes what they run."""
    pairs = [(MODELS[k % len(MODELS)], kind) for k, kind in enumerate(KINDS)]
    return sorted({*pairs, *product(MODELS, SHAPES_THE_MODEL)})


@pytest.mark.parametrize(("lm", "kind"), models_and_fusions())
@torch.no_grad()
def test_every_model_takes_every_subset(kind: str, lm: str):
    """Also when a whole batch lacks an input, as in an evaluation of one subset; the empty one included."""
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, fusion={"kind": kind}, lm={"kind": lm, "layers": 2})
    batch = make_batch(tokenizer, [(True, True, True)] * 2)
    whole = model.encode(batch.inputs, 2)
    found = []
    for subset in range(8):
        features = {
            m: f if subset >> k & 1 else Features(f.values[:, :0], f.mask[:, :0])
            for k, (m, f) in enumerate(whole.items())
        }
        hidden = model.hidden(batch.tokens, model.condition(features))
        assert torch.isfinite(hidden).all()
        found.append(hidden)
    assert len({round(float(hidden.sum()), 4) for hidden in found}) == 8
    assert len(READ) == 3


def test_a_split_without_rows_is_told_with_those_that_have_some(with_dropout: Path, shell: Any):
    path = Path(plait.load(with_dropout).run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    mine = path.parent / "no_tune_rows.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows if row["split"] != "tune"), encoding="utf-8")
    code, out, err = shell("explain", with_dropout, "--manifest", mine, "--split", "val")
    assert (code, out) == (2, "")
    assert err == "plait: --split: no row in split 'tune'. There are test: 16 rows, train: 16 rows\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["explain", "--fail-if-unused", "adio"],
            "--fail-if-unused: this model reads no input 'adio'. Did you mean 'audio'?",
        ),
        (
            ["explain", "--fail-if-unused", "image"],
            "--fail-if-unused: this model reads no input 'image'. Known: audio.",
        ),
        (["evaluate", "--inputs", "adio"], "--inputs: this model reads no input 'adio'. Did you mean 'audio'?"),
        (["evaluate", "--inputs", "image"], "--inputs: this model reads no input 'image'. Known: audio."),
        (["generate", "--inputs", "image,nothing", "--text", "x"], "--inputs: this model reads no input 'image'"),
    ],
)
def test_an_unknown_or_unread_modality_is_named(words: list[str], message: str, one_modality: Path, shell: Any):
    code, out, err = shell(words[0], one_modality, *words[1:])
    assert (code, out) == (2, "")
    assert err.startswith("plait: " + message)
    assert len(err.splitlines()) == 1


def test_with_one_modality_there_is_nothing_to_compare_but_the_ablation(one_modality: Path, shell: Any):
    code, out, _ = shell("explain", one_modality, "--verbose")
    assert code == 0
    assert "reads audio only: there is nothing to compare, its bits are those that are lost without it" in " ".join(
        out.split()
    )
    for row in ("no input", "audio", "constant answer"):
        assert row in out
    assert "interaction" not in out


@pytest.mark.parametrize("command", ["evaluate", "generate"])
def test_inputs_that_were_never_dropped_are_told(command: str, without_dropout: Path, with_dropout: Path, shell: Any):
    picture = next(Path(plait.load(without_dropout).run.config.data.manifest).parent.glob("*.png"))
    extra = ["--image", picture] if command == "generate" else []
    _, out, err = shell(command, without_dropout, *extra, "--inputs", "none")
    assert "trained without modality dropout" in out + err
    _, out, err = shell(command, with_dropout, *extra, "--inputs", "none")
    assert "trained without modality dropout" not in out + err
    _, out, err = shell(command, without_dropout, *extra, "--inputs", "text,image,audio")
    assert "trained without modality dropout" not in out + err
