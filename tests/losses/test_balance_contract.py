"""What every kind of balance keeps: micro-batches, draws, missing inputs, frozen encoders, resuming; also a kind to come."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from balance_helpers import KINDS, balance_of, one_step, without
from safetensors.torch import load_file

from plait.config import config_yaml, json_schema, make_config
from plait.config.reading import read_config
from plait.errors import UserError
from plait.losses.balance import trained_encoders
from plait.model import Model
from plait.run import Run
from plait.train import fit
from plait.train.checkpoint import newest
from plait.train.metrics import read_metrics
from plait.train.progress import Quiet
from plait.types import Batch
from tiny_data import make_manifest, tiny_tree
from tiny_model import READ, SUBSETS, make_batch, make_model, make_tokenizer

NEEDS_TWO = ("unimodal", "ogm_ge", "mmpareto", "targeted_augmentation")
CHANGES_DATA = ("dropout_schedule", "targeted_augmentation")
"""Kinds that train on another batch, so that their loss is another one."""


@pytest.fixture(scope="module")
def model() -> Model:
    """Text, image and audio; nothing in it drops out."""
    return make_model(make_tokenizer())


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Two samples of every subset of the inputs, of uneven lengths and weights."""
    found = make_batch(make_tokenizer(), [*SUBSETS, *SUBSETS])
    return Batch(*list(vars(found).values())[:-1], torch.rand(len(found)) + 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("micro", [5, 1])
def test_micro_batches_give_the_same_step(model: Model, batch: Batch, kind: str, micro: int):
    whole, parts = one_step(model, batch, kind), one_step(model, batch, kind, micro=micro)
    assert parts[0].loss == pytest.approx(whole[0].loss, rel=1e-5)
    assert parts[0].alone == pytest.approx(whole[0].alone, rel=1e-4)
    assert bool(whole[0].alone) == (kind in ALONE_AT)
    assert parts[0].encoder_norms == pytest.approx(whole[0].encoder_norms, rel=1e-3)
    assert set(whole[0].encoder_norms) == set(READ)
    assert parts[2].keys() == whole[2].keys()
    for name, gradient in whole[2].items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(parts[2][name], gradient, rtol=1e-3, atol=2e-4 * scale + 1e-7, msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_follows_from_its_number_alone(model: Model, batch: Batch, kind: str):
    first = one_step(model, batch, kind, step=5)[1]
    torch.manual_seed(99)
    torch.rand(7)
    again = one_step(model, batch, kind, step=5)[1]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_reported_loss_is_the_one_with_all_inputs(model: Model, batch: Batch, kind: str):
    found, plain = one_step(model, batch, kind)[0], one_step(model, batch)[0]
    if kind in CHANGES_DATA:
        assert found.loss != plain.loss
    else:
        assert found.loss == pytest.approx(plain.loss, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gone", [("audio",), ("audio", "text"), READ], ids=str)
def test_samples_may_lack_modalities(model: Model, batch: Batch, kind: str, gone: tuple[str, ...]):
    result, trained, gradients = one_step(model, without(batch, *gone), kind)
    assert torch.isfinite(torch.tensor(result.loss))
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert all(p.isfinite().all() for p in trained.parameters())
    for modality in gone:
        assert not any(name.startswith(f"encoders.input_{modality}.") and g.any() for name, g in gradients.items())


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_encoders_are_exempt(batch: Batch, kind: str):
    model = make_model(make_tokenizer(), encoders={"freeze": ["image"], **tiny_tree(Path("m"))["encoders"]})
    before = {name: p.clone() for name, p in model.named_parameters()}
    _, trained, gradients = one_step(model, batch, kind)
    assert "image" not in trained_encoders(trained)
    assert not any(name.startswith("encoders.input_image.") for name in gradients)
    moved = {name for name, p in trained.named_parameters() if not torch.equal(p, before[name])}
    assert not any(name.startswith("encoders.input_image.") for name in moved)
    assert any(name.startswith("encoders.input_audio.") for name in moved)


@pytest.mark.parametrize("kind", KINDS)
def test_one_modality_is_refused_where_two_are_needed(kind: str):
    model = make_model(make_tokenizer(), ["image"])
    options = balance_of(kind)
    assert (options.num_modalities == 2) == (kind in NEEDS_TWO)
    if kind in NEEDS_TWO:
        with pytest.raises(UserError, match=rf"balance\.kind: {kind} balances.*reads image\. Take balance\.kind=none"):
            options.build(model, steps=10, seed=0)
    else:
        options.build(model, steps=10, seed=0)


@pytest.mark.parametrize("kind", ["ogm_ge", "mmpareto"])
def test_kinds_that_change_encoders_refuse_a_model_without_any_to_train(kind: str):
    model = make_model(make_tokenizer(), encoders={"freeze": list(READ), **tiny_tree(Path("m"))["encoders"]})
    with pytest.raises(UserError, match="all of this run are frozen"):
        balance_of(kind).build(model, steps=10, seed=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_reads_back(kind: str, tmp_path: Path):
    tree = {"data": {"manifest": "m"}, "balance": balance_of(kind).model_dump(mode="json")}
    config = make_config(tree)
    (tmp_path / "run.yaml").write_text(config_yaml(config), encoding="utf-8")
    assert read_config(tmp_path / "run.yaml").balance == config.balance == balance_of(kind)
    kinds = {
        d["properties"]["kind"]["const"] for d in json_schema()["$defs"].values() if "kind" in d.get("properties", {})
    }
    assert kind in kinds
    assert config.balance.advice


ALONE_AT = {
    "unimodal": {1, 2, 3, 4, 5},
    "ogm_ge": {1, 2, 3, 4, 5},
    "mmpareto": {1, 2, 3, 4, 5},
    "targeted_augmentation": {1, 2, 3, 4, 5},
}
"""The steps whose line says the losses alone, where the kind needs them more often than `train.alone_every: 2` says."""


class Killed(BaseException):
    """Stands in for a crash."""


class At(Quiet):
    """Dies after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        if step == self.step:
            raise Killed


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with every subset of three inputs, each with a tag."""
    path = make_manifest(tmp_path_factory.mktemp("data"), 24)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["tags"] = {"pattern": "rare" if number % 8 == 0 else "usual"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_as_never_stopped(manifest: Path, kind: str, tmp_path: Path):
    tree = tiny_tree(manifest, balance=balance_of(kind).model_dump(mode="json"))
    tree["train"] |= {"steps": 5, "checkpoint_every": 2, "evaluate_every": None, "log_every": 1, "alone_every": 2}
    config = make_config(tree)
    run = fit(config, tmp_path / "straight").run
    with pytest.raises(Killed):
        fit(config, tmp_path / "killed", progress=At(3))
    fit(config, tmp_path / "killed", resume=True)
    one, other = (newest(tmp_path / name) for name in ("straight", "killed"))
    for file in ("model.safetensors", "optimiser.safetensors"):
        a, b = load_file(one / file), load_file(other / file)
        assert all(torch.equal(a[key], b[key]) for key in a), file
    first, second = (metrics(tmp_path / name) for name in ("straight", "killed"))
    assert first == second
    state = json.loads((other / "state.json").read_text(encoding="utf-8"))["balance"]
    assert bool(state) == (kind == "targeted_augmentation")
    assert Run.load(tmp_path / "killed").config.balance == run.config.balance
    assert all(set(line["encoder_norms"]) == {"text", "image", "audio"} for line in first)
    measured = {line["step"] for line in first if "alone" in line}
    assert measured == ALONE_AT.get(kind, {2, 4, 5})


def metrics(folder: Path) -> list[dict]:
    """The metrics without what a clock says."""
    return [{k: v for k, v in line.items() if "second" not in k} for line in read_metrics(folder)]
