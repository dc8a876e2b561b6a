"""A language model that is not Plait's goes the whole way: nothing asks more of it than the door says."""

from __future__ import annotations

import json
import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import plait
import window_lm
from plait.build import build_model, fusion_costs
from plait.cli.app import run as command
from plait.compare.match import Counter, Lengths
from plait.config import make_config, read_config
from plait.errors import UserError
from plait.fusion import FUSIONS
from plait.lm import CausalLM
from plait.train import fit
from plait.train.optimiser import build_optimiser
from plait.train.step import train_step
from plait.types import Condition
from tiny_data import make_manifest, tiny_tree
from tiny_model import ENCODERS, READ, SEGMENTS, SUBSETS, make_batch, make_model, make_tokenizer
from window_lm import WindowConfig

TOKENIZER = make_tokenizer()
KINDS = [member.model_fields["kind"].default for member in FUSIONS]
LENGTHS = Lengths(positions=7, words=5, seconds=0.25)
OWN = WindowConfig(width=24, narrow=12)


def tree(**parts: Any) -> dict[str, Any]:
    """A configuration with the language model of `window_lm.py`."""
    data = {"manifest": "m", "inputs": [*READ], "segments": [*SEGMENTS], "image": {"size": 32}}
    return {"data": data, "width": 16, "encoders": ENCODERS, "lm": OWN, **parts}


def test_the_door_is_all_that_there_is():
    """A class that lacks a part of it cannot be made, and one that has all of it needs nothing of Plait's own models."""
    wanted = {"num_blocks", "word_vectors", "enter", "run_block", "finish", "logits", "empty_cache"}
    assert wanted == CausalLM.__abstractmethods__
    lm = OWN.build(width=24, vocabulary_size=9, pad_id=0)
    assert not {"blocks", "embedding", "norm", "head", "dropout", "steps", "block"} & {*dir(lm)}
    assert lm.device == torch.device("cpu")
    assert (lm.width, lm.embed_width) == (24, 12)


@pytest.mark.parametrize("balance", ["none", "unimodal", "mmpareto"])
def test_every_auxiliary_loss_trains_with_it(balance: str):
    train = {
        "learning_rate": 0.01,
        "warmup": 0,
        "dtype": "fp32",
        "alignment": {"weight": 0.1},
        "ctc": {"segment": "heard"},
    }
    config = make_config(tree(train=train, fusion={"kind": "prefix"}, balance={"kind": balance}))
    model, batch = build_model(config, TOKENIZER, READ).model.train(), make_batch(TOKENIZER)
    optimiser = build_optimiser(model, config.train)
    how = config.balance.build(model, steps=4, seed=0)
    options = {"seed": 0, "micro_batch_size": 5, "say": pytest.fail, "balance": how}
    steps = [train_step(model, optimiser, batch, config.train, step=step, **options) for step in range(1, 5)]
    assert steps[-1].loss < steps[0].loss
    assert all(math.isfinite(step.gradient_norm) for step in steps)


@pytest.mark.parametrize("kind", KINDS)
def test_what_fusions_cost_and_models_count_is_what_they_are(kind: str):
    """Previously, both were computed for the run's one width."""
    config = make_config(tree(fusion={"kind": kind}))
    model = build_model(config, TOKENIZER, READ).model
    own = sum(p.numel() for p in model.fusion.parameters()) if model.fusion else 0
    costs = {row.kind: row.cost for row in fusion_costs(config, num_positions=7, num_words=5, seconds=0.25).rows}
    found = costs[kind]
    assert found is not None
    assert found.parameters == own
    assert Counter(TOKENIZER, "parameters", LENGTHS).whole(config) == model.num_parameters
    assert Counter(TOKENIZER, "flops", LENGTHS).whole(config) > found.flops


def test_late_fusion_needs_a_linear_head():
    with pytest.raises(
        UserError, match=r"late fusion adds logits, and this language model's output head is not linear"
    ):
        make_model(TOKENIZER, lm=WindowConfig(width=24, cap=5.0), fusion={"kind": "late"})
    model = make_model(TOKENIZER, lm=WindowConfig(width=24, cap=5.0), fusion={"kind": "concat"})
    batch = make_batch(TOKENIZER)
    assert torch.isfinite(model.token_losses(batch)).all()
    branches = Condition(branches=torch.ones(len(batch), 2))  # of a fusion of a user's own, which does not say so
    with pytest.raises(UserError, match="not linear"):
        model.hidden(batch.tokens, branches)


@pytest.mark.parametrize(("lm", "kind"), [*product(["transformer", "gru"], ["concat", "prefix", "late"])])
def test_the_language_model_has_a_width_of_its_own(lm: str, kind: str):
    parts = {"lm": {"kind": lm, "width": 24, "embedding": "word2vec"}, "fusion": {"kind": kind}}
    config = make_config(tree(**parts, train={"alignment": {"weight": 0.1}}))
    corpus = [["a", "red", "square"]] * 4
    model = build_model(config, TOKENIZER, READ, lambda: corpus).model
    assert {model.encoder(name).width for name in READ} == {16}
    assert (model.lm.width, model.lm.embed_width) == (24, 24)
    batch = make_batch(TOKENIZER)
    assert model.states(batch).shape == (len(SUBSETS), batch.tokens.shape[1], 24)
    sums = model.loss(batch)
    (sums.total + sums.auxiliary).backward()
    assert Counter(TOKENIZER, "parameters", LENGTHS).whole(config) == model.num_parameters


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the language model's file, data and a trained run."""
    top = tmp_path_factory.mktemp("own")
    code = Path(window_lm.__file__).read_text(encoding="utf-8")
    (top / "own_window.py").write_text(code.replace("window_lm:", "own_window:"), encoding="utf-8")
    settings = tiny_tree(make_manifest(top / "data"))
    settings |= {"lm": {"kind": "own_window:WindowConfig", "width": 24, "narrow": 12}, "fusion": {"kind": "prefix"}}
    settings["train"] = {
        **settings["train"],
        "alignment": {"weight": 0.5, "segment": "answer"},
        "modality_dropout": 0.2,
    }
    (top / "run.yaml").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(top)
        fit(read_config(Path("run.yaml")), Path("run"))
    return top


@pytest.mark.parametrize(
    "words",
    [
        ["fusions", "run.yaml"],
        ["evaluate", "run"],
        ["explain", "run"],
        ["explain", "run", "--sample", "row5"],
        ["generate", "run", "--text", "which colour?"],
        ["generate", "run", "--text", "which colour?", "--method", "beam", "--beams", "2"],
        ["train", "run.yaml", "--resume", "run"],
        ["report", "run"],
    ],
    ids=lambda words: "-".join(words),
)
def test_every_command_takes_it(
    folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(folder)
    assert command([*words, "--trust-code"]) == 0, capsys.readouterr().err


def test_it_is_searched(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    found = plait.load("run", trust_code=True).search("low tone", manifest="data/manifest.jsonl", of="image")
    assert all(-1 <= hit.likeness <= 1 for hit in found.hits["image"])
