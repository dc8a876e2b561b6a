"""Text read by the language model's own word vectors: shared, counted once, and before the text a prompt."""

from __future__ import annotations

import copy
import json
import re
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
import torch

import plait
from plait.build import build_model
from plait.cli.app import run as command
from plait.compare.match import Counter, Lengths
from plait.config import GenerateConfig, make_config
from plait.errors import UserError
from plait.fusion import FUSIONS
from plait.generate import generate
from plait.model import Model
from plait.run import load_weights, save_weights
from plait.tensors import load_tensors
from plait.train.optimiser import build_optimiser, optimiser_tensors
from plait.train.step import Asked, Facts, train_step
from plait.types import Batch, Condition, Items
from tiny_data import make_manifest, tiny_tree
from tiny_model import ENCODERS, READ, SEGMENTS, make_batch, make_tokenizer, rows_of
from window_lm import WindowConfig

TOKENIZER = make_tokenizer()
KINDS = [member.model_fields["kind"].default for member in FUSIONS]
WORDS = {**ENCODERS, "text": "words"}
LMS: tuple[Any, ...] = ("transformer", "lstm", "gru", "rnn", WindowConfig(width=24, narrow=12))


def made(modalities: tuple[str, ...] = READ, seed: int = 0, text: object = "words", **parts: Any) -> Model:
    """A model that reads text by its own words."""
    data = {"manifest": "m", "inputs": [*READ], "segments": [*SEGMENTS], "image": {"size": 32}}
    tree = {"data": data, "width": 16, "encoders": {**ENCODERS, "text": text}, "lm": {"num_heads": 2}, **parts}
    return build_model(make_config({**tree, "seed": seed}), TOKENIZER, modalities).model


@pytest.mark.parametrize("lm", LMS, ids=str)
@torch.no_grad()
def test_a_prefix_of_words_is_a_prompt(lm: Any):
    """The question's ids before those of the text, through the language model alone, give the same states."""
    model = made(("text",), fusion={"kind": "prefix"}, lm=lm if isinstance(lm, WindowConfig) else {"kind": lm}).eval()
    batch = make_batch(TOKENIZER, [(True, False, False)] * 5)
    found = model.states(batch)
    items = batch.inputs["text"]
    for row, length in enumerate(items.lengths.tolist()):
        prompt = items.values[row, :length]
        states = model.hidden(torch.cat([prompt, batch.tokens[row]])[None], Condition())
        torch.testing.assert_close(found[row], states[0, length:], rtol=1e-5, atol=1e-5)


def test_before_the_text_they_are_not_projected_and_other_inputs_are():
    """As in LLaVA: a picture is projected, the question is words. Only the absent token of the words is learnt."""
    alone, both = made(("text",), fusion={"kind": "prefix"}), made(("text", "image"), fusion={"kind": "prefix"})
    assert alone.fusion is not None
    assert both.fusion is not None
    assert [name for name, _ in alone.fusion.named_parameters()] == ["absent_words.input_text"]
    names = {name for name, _ in both.fusion.named_parameters()}
    assert names == {
        "absent_words.input_text",
        "project.weight",
        "project.bias",
        *(f"tokens.{part}.input_image.{kind}" for part in ("norms", "projections") for kind in ("weight", "bias")),
        "tokens.absent.input_image",
    }
    batch = make_batch(TOKENIZER, [(True, True, False), (False, True, False), (True, False, False)])
    features = both.encode(batch.inputs, 3)
    prefix = both.condition(features).prefix
    assert prefix is not None
    length = features["text"].values.shape[1]
    here = features["text"].mask
    assert torch.equal(prefix.values[:, :length][here], both.lm.word_vectors(batch.inputs["text"].values)[here[[0, 2]]])
    assert torch.equal(prefix.values[1, 0], both.fusion.get_parameter("absent_words.input_text"))
    assert prefix.mask[1, :length].tolist() == [True] + [False] * (length - 1)


@pytest.mark.parametrize(("kind", "expected"), [("prefix", False), *((k, True) for k in KINDS if k != "prefix")])
@torch.no_grad()
def test_words_are_told_their_place_where_tokens_are_read_as_a_set(kind: str, expected: bool):
    """`prefix` leaves counting to the language model; everywhere else the order of the words would be lost."""
    model = made(fusion={"kind": kind}).eval()
    batch = make_batch(TOKENIZER, [(True, False, False)] * 5)
    items = batch.inputs["text"]
    values = model.encode({"text": items}, 5)["text"].values
    plain = model.lm.word_vectors(items.values)
    mask = torch.arange(5) < items.lengths[:, None]
    assert torch.equal(values[mask], plain[mask]) != expected
    given = made(fusion={"kind": kind}, text={"kind": "words", "positions": not expected}).eval()
    assert torch.equal(given.encode({"text": items}, 5)["text"].values[mask], plain[mask]) == expected


@pytest.mark.parametrize(("kind", "tied"), [*product(["prefix", "concat"], [False, True])])
def test_they_are_the_language_models_and_counted_once(kind: str, tied: bool, tmp_path: Path):
    """Neither the optimiser nor a file of weights sees them twice; gradients from both uses are added."""
    parts = {"fusion": {"kind": kind}, "lm": {"tie_weights": tied, "num_heads": 2}}
    model = made(**parts)
    assert not list(model.encoder("text").parameters())
    assert not list(model.encoder("text").state_dict())
    assert [n for n, p in model.named_parameters(remove_duplicate=False) if p.shape == (TOKENIZER.size, 16)] == [
        "lm.embedding.table",
        *([] if tied else ["lm.head.weight"]),
    ]
    config = make_config({"data": {"manifest": "m"}, **parts}).train
    optimiser = build_optimiser(model, config)
    batch = make_batch(TOKENIZER)
    train_step(model.train(), optimiser, batch, config, seed=0, step=1, micro_batch_size=8, say=pytest.fail)
    assert len([n for n in optimiser_tensors(model, optimiser) if n.startswith("lm.embedding.table.exp_avg")]) == 2
    save_weights(model, tmp_path / "model.safetensors", {})
    other = made(seed=3, **parts)
    load_weights(other, tmp_path / "model.safetensors")
    assert not any("input_text" in name and "encoders" in name for name in load_tensors(tmp_path / "model.safetensors"))
    assert torch.equal(other.eval().token_losses(batch), model.eval().token_losses(batch))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.lm.get_parameter("embedding.table").mul_(2)
    ours, theirs = (m.encode(batch.inputs, len(batch))["text"].values for m in (model, twin))
    assert not torch.equal(ours, theirs), "a copy reads its own words"


def test_the_question_reaches_the_word_vectors():
    model = made(("text",), fusion={"kind": "prefix"}).eval()
    batch = make_batch(TOKENIZER, [(True, False, False)] * 5)
    model.loss(batch).total.backward()
    asked = set(batch.inputs["text"].values[torch.arange(5) < batch.inputs["text"].lengths[:, None]].tolist())
    gradient = model.lm.get_parameter("embedding.table").grad
    assert gradient is not None
    assert asked - set(batch.tokens.flatten().tolist()), "some words stand in the question alone"
    assert all(bool(gradient[word].abs().sum() > 0) for word in asked)


@pytest.mark.parametrize(
    ("kind", "lm", "text", "learnt"),
    [
        ("prefix", "transformer", "words", True),
        ("prefix", "gru", "words", True),
        ("concat", "gru", "words", True),
        ("concat", "gru", {"kind": "words", "positions": False}, False),
    ],
)
def test_it_learns_what_only_the_order_of_the_words_tells(kind: str, lm: str, text: object, learnt: bool):
    """The second of two words is to be said; every pair comes in both orders, so a set of words tells it in half the cases."""
    questions = torch.tensor(list(permutations(range(4, 9), 2)))
    size, said = len(questions), questions[:, 1]
    items = Items(questions, torch.full((size,), 2), torch.arange(size)[:, None])
    tokens = torch.stack([torch.full((size,), TOKENIZER.segment_id("answer")), said], dim=1)
    targets = torch.stack([said, torch.full((size,), TOKENIZER.end_id)], dim=1)
    ids = tuple(map(str, range(size)))
    batch = Batch(ids, {"text": items}, tokens, targets, torch.zeros_like(targets), torch.ones(size))
    train = make_config({"data": {"manifest": "m"}, "train": {"learning_rate": 0.01, "warmup": 0, "steps": 100}}).train
    model = made(("text",), text=text, fusion={"kind": kind}, lm={"kind": lm, "layers": 2}, width=32).train()
    optimiser = build_optimiser(model, train)
    for step in range(1, 101):
        train_step(model, optimiser, batch, train, seed=0, step=step, micro_batch_size=size, say=pytest.fail)
    right = float((model.eval().lm.logits(model.states(batch))[:, 0].argmax(dim=-1) == said).float().mean())
    assert (right > 0.8) if learnt else (right <= 0.6)


@pytest.mark.parametrize("kind", ["unimodal", "mmpareto", "ogm_ge", "dropout_schedule"])
def test_balance_leaves_them_to_the_language_model(kind: str):
    """They are no encoder's own, so there is no gradient of an encoder to measure or to change; their loss alone is known."""
    balance = {"kind": kind}
    config = make_config({"data": {"manifest": "m"}, "balance": balance, "train": {"warmup": 0, "dtype": "fp32"}})
    model, batch = made(balance=balance).train(), make_batch(TOKENIZER)
    step = train_step(
        model,
        build_optimiser(model, config.train),
        batch,
        config.train,
        seed=0,
        step=1,
        micro_batch_size=8,
        say=pytest.fail,
        balance=config.balance.build(model, steps=4, seed=0),
        asked=Asked(encoder_norms=True, alone=True),
        facts=Facts.of(model),
    )
    assert set(step.encoder_norms) == {"image", "audio"}
    assert set(step.alone) == set(READ)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_fusion_takes_them(kind: str):
    model, batch = made(fusion={"kind": kind}).eval(), make_batch(TOKENIZER)
    whole = model.token_losses(batch)
    assert torch.isfinite(whole).all()
    for row in range(len(batch)):
        torch.testing.assert_close(
            model.token_losses(rows_of(batch, [row], share=False))[0], whole[row], rtol=1e-4, atol=1e-5
        )
    for method in ("greedy", "beam"):
        written = generate(model, TOKENIZER, batch, GenerateConfig(max_tokens=3, method=method, beams=2))
        assert len(written) == len(batch)
    config = make_config(
        {
            "data": {"manifest": "m", "inputs": [*READ], "segments": [*SEGMENTS], "image": {"size": 32}},
            "width": 16, "encoders": WORDS, "lm": {"num_heads": 2}, "fusion": {"kind": kind},
        }
    )  # fmt: skip
    assert Counter(TOKENIZER, "parameters", Lengths()).whole(config) == model.num_parameters


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        (
            {"freeze": ["text"]},
            r"encoders.freeze: the encoder of text has no weights to freeze: it is the word vectors",
        ),
        (
            {"start_from": {"text": "nowhere"}},
            r"encoders.start_from.text: the encoder of text has no weights to start from",
        ),
        ({"cache": ["text"]}, r"encoders.cache: text: the encoder of text computes nothing: it is the word vectors"),
        ({"freeze": ["text"], "cache": ["text"]}, r"the encoder of text (has no weights|computes nothing)"),
        ({"text": {"kind": "words", "layers": 2}}, r"unknown key 'layers'"),
    ],
)
def test_what_it_cannot_do_is_refused(encoders: dict[str, Any], message: str, tmp_path: Path, capsys: Any):
    tree = tiny_tree(make_manifest(tmp_path / "data"))
    tree["encoders"] = {**tree["encoders"], "text": "words", **encoders}
    (tmp_path / "run.yaml").write_text(json.dumps(tree), encoding="utf-8")
    assert command(["train", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "run").exists()


def test_a_run_with_it_goes_the_whole_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Also with given word vectors that are frozen, and encoders of other runs beside it."""
    tree = tiny_tree(make_manifest(tmp_path / "data", 12), fusion={"kind": "prefix"})
    tree["encoders"]["text"] = "words"
    tree["lm"]["embedding"] = {"kind": "word2vec", "frozen": True}
    tree["train"]["modality_dropout"] = 0.2
    tree["train"]["alignment"] = {"weight": 0.1}
    path, folder = tmp_path / "run.yaml", tmp_path / "run"
    path.write_text(json.dumps(tree), encoding="utf-8")
    for words in (
        ["train", path, "--out", folder],
        ["evaluate", folder],
        ["explain", folder],
        ["explain", folder, "--sample", "row5"],
        ["generate", folder, "--text", "which colour?"],
    ):
        assert command([str(word) for word in words]) == 0, capsys.readouterr().err
    run = plait.load(folder).run
    assert run.model.encoder("text").width == 16
    tree["encoders"] = {**tree["encoders"], "text": {"kind": "transformer"}, "start_from": {"text": str(folder)}}
    with pytest.raises(UserError, match=r"the text encoder of .* is another one"):
        plait.train(make_config(tree), tmp_path / "other")


def test_padding_of_a_text_changes_nothing():
    model = made(("text",), text={"kind": "words", "positions": True}).eval()
    encoder = model.encoder("text")
    items = make_batch(TOKENIZER, [(True, False, False)] * 5).inputs["text"]
    longer = type(items)(torch.cat([items.values, torch.full((5, 3), 7)], dim=1), items.lengths, items.index)
    found, more = encoder(items), encoder(longer)
    assert torch.equal(more.values[:, :5], found.values)
    assert not more.values[:, 5:].any()
    assert not more.mask[:, 5:].any()
    assert encoder.num_tokens(7) == 7
