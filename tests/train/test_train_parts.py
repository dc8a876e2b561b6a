"""Learning rates and freezing of any part: the longer name decides, what is said is what happens, and it is checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from plait.build import build_model
from plait.compare.arms import arms_of
from plait.config import RunConfig, apply_overrides, make_config
from plait.config.parts import PartConfig, decided, is_frozen
from plait.config.reading import read_config
from plait.errors import UserError
from plait.features.use import can_cache
from plait.model import Model
from plait.named import name_before
from plait.parts import rates_of, rows_of, table
from plait.run import Run
from plait.train import fit
from plait.train.checkpoint import newest
from plait.train.optimiser import build_optimiser, set_learning_rate
from plait.train.progress import Quiet
from plait.train.watch import Watch
from tiny_model import ENCODERS, READ, make_batch, make_tokenizer

MANY = {"lm": {"learning_rate": 1e-4}, "lm.embedding": {"freeze": True}, "fusion": {"learning_rate": 0.01}}


def config_of(parts: dict[str, Any], **tree: Any) -> RunConfig:
    """A tiny run with dropout everywhere, of which this is said."""
    encoders = {m: {**ENCODERS[m], "dropout": 0.1} if m != "image" else ENCODERS[m] for m in READ}
    base = {
        "data": {"manifest": "m", "inputs": ["image", "audio", "text"]},
        "width": 16,
        "encoders": encoders,
        "lm": {"num_heads": 2, "dropout": 0.1},
        "train": {"parts": parts, "weight_decay": 0.0, "warmup": 0, "steps": 10},
    }
    return make_config({**base, **tree})


def model_of(parts: dict[str, Any], **tree: Any) -> Model:
    """Its model, in training."""
    return build_model(config_of(parts, **tree), make_tokenizer(), READ).model.train()


def tensors(model: Model) -> dict[str, Tensor]:
    """A copy of its parameters by the names of parts."""
    return {name_before(model, name): p.detach().clone() for name, p in model.named_parameters()}


# --- what is said --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lm.head.weight", PartConfig(freeze=False, learning_rate=1e-4)),
        ("lm.embedding.table", PartConfig(freeze=True)),
        ("lm.embedding", PartConfig(freeze=True)),
        ("lm.embeddings.table", PartConfig(freeze=False, learning_rate=1e-4)),
        ("lmx", PartConfig()),
        ("encoders.image.patches", PartConfig(freeze=True)),
        ("encoders.image.norm.weight", PartConfig(freeze=False, learning_rate=2e-3)),
        ("encoders.audio.norm", PartConfig(freeze=False, learning_rate=2e-3)),
    ],
)
def test_the_longer_name_decides(name: str, expected: PartConfig):
    said = {
        "lm": {"learning_rate": 1e-4, "embedding": {"freeze": True}},
        "encoders": {"learning_rate": 2e-3},
        "encoders.image": {"freeze": True},
        "encoders.image.norm": {"freeze": False},
    }
    parts = make_config({"data": {"manifest": "m"}, "train": {"parts": said}}).train.parts
    assert decided(parts, name) == expected
    assert decided(dict(reversed(parts.items())), name) == expected
    assert not is_frozen(parts, "encoders.image")
    assert is_frozen(parts, "encoders.image.patches")
    assert is_frozen(parts, "lm.embedding")
    assert not is_frozen(parts, "lm")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"lm": 5}, r"train\.parts: lm must be a mapping, such as \{freeze: true\}, not 5"),
        ({"lm": {"frezee": True}}, r"train\.parts: lm: unknown key 'frezee'\. Did you mean 'freeze'"),
        ({"lm": {"freeze": True, "learning_rate": 1}}, r"train\.parts\.lm: a frozen part has no learning rate"),
        ({"lm": {"learning_rate": 0}}, r"train\.parts\.lm\.learning_rate: .*greater than 0"),
        (
            {"lm.embedding": {"freeze": True}, "lm": {"embedding": {"freeze": False}}},
            r"lm\.embedding\.freeze is stated twice, as True and as False",
        ),
        ({"encoders.image": {"learning_rate": 1}}, r"encoders\.freeze keeps the encoder of image as it begins"),
        (
            {"encoders.image.norm": {"freeze": False}},
            r"train\.parts trains encoders\.image\.norm: leave one of the two",
        ),
    ],
)
def test_what_makes_no_sense_is_one_message(parts: Any, message: str):
    with pytest.raises(UserError, match=message):
        config_of(parts, encoders={"freeze": ["image"]})


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"encoders.imgae": {"freeze": True}},
            r"the model has no part 'encoders\.imgae'\. Did you mean 'encoders\.image'",
        ),
        ({"lm.embeding": {"freeze": True}}, r"Did you mean 'lm\.embedding'\? Its parts: encoders\.text, .*fusion, lm,"),
        ({"links": {"freeze": True}}, r"the model has no part 'links'"),
        ({"encoders.text.embedding": {"learning_rate": 1e-3}}, r"nothing of encoders\.text\.embedding trains: its own"),
    ],
)
def test_a_part_that_is_none_or_cannot_train_is_one_message(parts: Any, message: str):
    pytest.importorskip("gensim")
    vectors = {"kind": "word2vec", "frozen": True}
    config = config_of(parts, encoders={**ENCODERS, "text": {**ENCODERS["text"], "embedding": vectors}})
    with pytest.raises(UserError, match=rf"train\.parts: .*{message}"):
        build_model(config, make_tokenizer(), READ, lambda: [["a", "red"]] * 40)


def test_encoders_freeze_and_the_same_said_again_agree():
    config = config_of({"encoders.image": {"freeze": True}}, encoders={**ENCODERS, "freeze": ["image"]})
    assert config.frozen_inputs == ("image",)


def test_overrides_name_parts_as_they_stand(tmp_path: Path):
    """A key with dots in it is found, and one that is not there yet is written in pieces."""
    path = tmp_path / "run.yaml"
    path.write_text("data: {manifest: m}\ntrain: {parts: {encoders.image: {freeze: true}}}\n", encoding="utf-8")
    words = ["train.parts.encoders.image.freeze=false", "train.parts.lm.embedding.learning_rate=0.5", "train.steps=7"]
    config = read_config(path, words)
    assert config.train.parts["encoders.image"] == PartConfig(freeze=False)
    assert config.train.parts["lm.embedding"] == PartConfig(learning_rate=0.5)
    assert config.train.steps == 7


def test_a_run_with_fewer_inputs_says_nothing_of_the_others():
    tree = {
        "data": {"manifest": "m", "inputs": ["image", "text"]},
        "train": {"parts": {"encoders": {"image": {"freeze": True}}, "encoders.text": {"freeze": True}, **MANY}},
    }
    fewer = make_config(apply_overrides(tree, ["data.inputs=[text]"])).train.parts
    assert set(fewer) == {"encoders.text", *MANY}
    arms = {arm.name: arm.config for arm in arms_of(tree, [], modalities=("image", "text"))}
    assert set(arms["image only"].train.parts) == {"encoders.image", *MANY}
    assert set(arms["no input"].train.parts) == {"lm", "lm.embedding"}


# --- what happens --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_part_moves_in_proportion_to_its_rate_and_a_frozen_one_not_at_all(optimiser: str):
    """The first update of both optimisers is as long as the rate, whatever the gradient."""
    moved = []
    for parts in ({}, MANY):
        model = model_of(parts).eval()
        options = {"parts": parts, "optimiser": optimiser, "weight_decay": 0.0, "warmup": 0, "steps": 10}
        config = config_of(parts, train=options).train
        before = tensors(model)
        made = build_optimiser(model, config)
        model(make_batch(make_tokenizer())).sums.total.backward()
        set_learning_rate(made, config.learning_rate)
        made.step()
        moved.append({name: p - before[name] for name, p in tensors(model).items()})
    for name, step in moved[0].items():
        scale = 10.0 if name.startswith("fusion") else 0.1 if name.startswith("lm") else 1.0
        if name == "lm.embedding.table":
            assert step.any()
            assert not moved[1][name].any()
        else:
            torch.testing.assert_close(moved[1][name], scale * step, rtol=2e-2, atol=1e-6 * scale, msg=name)


def test_a_rate_rises_and_falls_as_the_runs_does():
    model = model_of(MANY)
    optimiser = build_optimiser(model, config_of(MANY).train)
    for height in (1e-3, 5e-4, 0.0):
        set_learning_rate(optimiser, height)
        rates = {
            name_before(model, name): group["lr"]
            for group in optimiser.param_groups
            for name, p in model.named_parameters()
            if any(p is other for other in group["params"])
        }
        assert rates["lm.head.weight"] == pytest.approx(0.1 * height)
        assert {rate for name, rate in rates.items() if name.startswith("fusion")} == {10 * height}
        assert {rate for name, rate in rates.items() if name.startswith("encoders")} == {height}


def test_without_parts_the_groups_are_those_of_before():
    """Three groups in the order that older runs had, without anything new in them."""
    model = model_of({})
    for optimiser, number in (("adamw", 2), ("muon", 3)):
        config = config_of({}).train.model_copy(update={"optimiser": optimiser})
        groups = build_optimiser(model, config).param_groups
        assert len(groups) == number
        assert not any("scale" in group for group in groups)


def test_what_is_frozen_is_without_dropout_and_nothing_else_is():
    model = model_of({"lm": {"freeze": True}, "lm.head": {"freeze": False}, "encoders.text": {"freeze": True}})
    assert model.frozen == ("text",)
    for _ in range(2):
        states = {name_before(model, name): module.training for name, module in model.named_modules()}
        assert states["lm.head"]
        assert states["encoders.audio"]
        assert states["fusion"]
        assert not states["encoders.text"]
        assert not any(states[name] for name in states if name.startswith(("lm.blocks", "lm.dropout", "lm.embedding")))
        model.eval()
        model.train()


def test_an_encoder_frozen_by_parts_is_frozen_in_every_way():
    """Its features may be computed once, as with `encoders.freeze`."""
    config = config_of(
        {"encoders.image": {"freeze": True}, "encoders.text": {"freeze": True, "norm": {"freeze": False}}}
    )
    assert config.frozen_inputs == ("image",)
    assert not can_cache(config, "image")
    assert "trains" in can_cache(config, "text")
    assert build_model(config, make_tokenizer(), READ).model.frozen == ("image",)


# --- shared encoders -----------------------------------------------------------------------------------------------------


def shared(parts: dict[str, Any], **encoders: Any) -> Model:
    """Two pictures that one encoder reads."""
    tree = {
        "data": {"manifest": "m", "inputs": {"before": "image", "after": "image"}},
        "encoders": {"before": ENCODERS["image"], "after": {"like": "before"}, **encoders},
    }
    config = config_of(parts, **tree)
    return build_model(config, make_tokenizer(), config.inputs).model


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"freeze": True}, {"learning_rate": 1e-4}, "but the one is said to stay frozen, the other to train at 0.0001"),
        (
            {"learning_rate": 1e-3},
            {"learning_rate": 1e-4},
            "but the one is said to train at 0.001, the other to train at 0.0001",
        ),
        ({"freeze": True}, {"freeze": False}, "but the one is said to stay frozen, the other to train"),
    ],
)
def test_contradictions_about_a_shared_encoder_are_refused(one: Any, other: Any, message: str):
    with pytest.raises(UserError, match=rf"encoders\.before and encoders\.after are one encoder, {message}"):
        shared({"encoders.before": one, "encoders.after": other})


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_shared_encoder_is_spoken_of_by_either_name(name: str):
    slow = shared({f"encoders.{name}": {"learning_rate": 1e-4}})
    (row,) = [
        row for row in rows_of(slow, {f"encoders.{name}": PartConfig(learning_rate=1e-4)}) if "before" in row.name
    ]
    assert (row.name, row.rate) == ("encoders.before = encoders.after", 1e-4)
    assert row.num_parameters == sum(p.numel() for p in slow.encoder("before").parameters())
    assert shared({f"encoders.{name}": {"freeze": True}}).frozen == ("before", "after")
    assert shared({f"encoders.{name}": {"freeze": False}, "encoders": {"freeze": True}}).frozen == ()
    general = {"encoders": {"learning_rate": 1.0}, f"encoders.{name}": {"learning_rate": 1e-4}}
    rates = rates_of(shared(general), make_config({"data": {"manifest": "m"}, "train": {"parts": general}}).train.parts)
    assert set(rates.values()) == {1e-4}
    both = {"encoders.before": {"learning_rate": 1e-4}, "encoders.after": {"learning_rate": 1e-4}}
    assert shared(both).frozen == ()


# --- what is told and checked --------------------------------------------------------------------------------------------


def test_the_table_counts_every_parameter_once():
    model = model_of(MANY)
    rows = rows_of(model, config_of(MANY).train.parts)
    assert [row.name for row in rows] == [*(f"encoders.{m}" for m in READ), "fusion", "lm.embedding", "lm"]
    assert sum(row.num_parameters for row in rows) == model.num_parameters
    assert sum(row.num_trained for row in rows) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    lines = table(rows, learning_rate=1e-3)
    assert lines[0].startswith(
        f"trains: {sum(row.num_trained for row in rows):,} of {model.num_parameters:,} parameters ("
    )
    told = {line.split()[0]: line.split(maxsplit=2)[2] for line in lines[1:]}
    assert told == {
        **dict.fromkeys([f"encoders.{m}" for m in READ], "learning rate 0.001"),
        "fusion": "learning rate 0.01",
        "lm.embedding": "frozen",
        "lm": "learning rate 0.0001",
    }
    assert table(rows_of(model_of({}), {}), learning_rate=1e-3) == []


def after_a_step(model: Model, config: RunConfig) -> None:
    """An update."""
    optimiser = build_optimiser(model, config.train)
    model(make_batch(make_tokenizer())).sums.total.backward()
    set_learning_rate(optimiser, config.train.learning_rate)
    optimiser.step()


def test_a_frozen_part_that_changes_ends_the_training_with_its_name():
    model, config = model_of(MANY), config_of(MANY)
    watch = Watch(model, config.train)
    after_a_step(model, config)
    assert watch.look(1, rate=1e-3, is_line=True) == []
    watch = Watch(model, config.train)
    with torch.no_grad():
        model.lm.embedding.table[3, 4] += 1e-6
    with pytest.raises(UserError, match=r"train\.parts: lm\.embedding is frozen, and step 1 changed it"):
        watch.look(1, rate=1e-3, is_line=False)


def test_a_part_that_does_not_move_is_told_of_once_and_why():
    parts = {"lm": {"learning_rate": 1e-30}}
    model, config = model_of(parts), config_of(parts)
    model.encoder("audio").requires_grad_(True)
    watch = Watch(model, config.train)
    batch = make_batch(make_tokenizer(), [(True, True, False)] * 4)
    optimiser = build_optimiser(model, config.train)
    said: list[str] = []
    for step in range(1, 25):
        optimiser.zero_grad(set_to_none=True)
        model(batch).sums.total.backward()
        set_learning_rate(optimiser, 1e-3)
        optimiser.step()
        said += watch.look(step, rate=1e-3, is_line=step % 4 == 0)
        assert bool(said) == (step >= 12)
    assert said == [
        "encoders.audio trains, but has not changed in 12 steps: no loss reaches it, or no sample of these steps has its input",
        "lm trains, but has not changed in 12 steps: at a learning rate of 1e-30 its updates are too small for its numbers",
    ]


def test_a_rate_of_0_says_nothing_of_a_part():
    """The last step of a cosine that falls to 0 moves nothing, and a resumed run may do that step alone."""
    watch = Watch(model_of({}), config_of({}).train)
    assert [watch.look(step, rate=0.0, is_line=True) for step in range(1, 30)] == [[]] * 29
    assert watch.still


class Heard(Quiet):
    """Notes what is said; may die after a step."""

    def __init__(self, dies_at: int = 0) -> None:
        self.said: list[str] = []
        self.dies_at = dies_at

    def say(self, message: str) -> None:
        self.said.append(message)

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        if step == self.dies_at:
            raise KeyboardInterrupt


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_run_keeps_it_over_a_resume(config: Any, optimiser: str, tmp_path: Path):
    """Resumed is as never stopped; what is frozen has its first bits at the end; the run's folder says it and may not unsay it."""
    parts = {"lm": {"learning_rate": 1e-4}, "encoders.text": {"freeze": True}, "lm.head": {"learning_rate": 5e-3}}
    made = config(optimiser=optimiser, parts=parts)
    heard = Heard()
    run = fit(made, tmp_path / "straight", progress=heard).run
    assert any(line.startswith("trains: ") for line in heard.said)
    assert any(line.split()[0] == "encoders.text" and line.endswith("frozen") for line in heard.said)
    first = tensors(build_model(run.config, run.tokenizer, run.inputs).model)
    last = tensors(run.model)
    for name in first:
        assert torch.equal(first[name], last[name]) == name.startswith("encoders.text"), name
    with pytest.raises(KeyboardInterrupt):
        fit(made, tmp_path / "killed", progress=Heard(dies_at=7))
    fit(made, tmp_path / "killed", resume=True)
    one, other = (newest(tmp_path / name) for name in ("straight", "killed"))
    for file in ("model.safetensors", "optimiser.safetensors"):
        a, b = load_file(one / file), load_file(other / file)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), file
    assert Run.load(tmp_path / "killed").model.frozen == ("text",)
    with pytest.raises(UserError, match=r"changed since this run began: train\.parts\.lm\.learning_rate: 0\.0001"):
        fit(
            config(optimiser=optimiser, parts={**parts, "lm": {"learning_rate": 1e-3}}),
            tmp_path / "killed",
            resume=True,
        )


def test_a_run_of_which_nothing_is_said_is_told_nothing(config: Any, tmp_path: Path):
    heard = Heard()
    fit(config(steps=2), tmp_path / "run", progress=heard)
    assert not any(line.startswith("trains: ") for line in heard.said)


def test_the_same_rate_said_of_a_part_gives_the_same_bits(config: Any, tmp_path: Path):
    plain = fit(config(steps=4), tmp_path / "plain").run
    said = fit(config(steps=4, parts={"lm": {"learning_rate": 1e-3}}), tmp_path / "said").run
    for (name, p), q in zip(plain.model.named_parameters(), said.model.parameters(), strict=True):
        assert torch.equal(p, q), name
