"""Every pass of training is one call of the model: what is wrapped around it sees them all, and it is asked for nothing else."""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import plait.train.loop as loop_module
from plait.build import build_model
from plait.choices import kind_of
from plait.config import TrainConfig, make_config
from plait.losses import BALANCES
from plait.model import Model
from plait.train import fit
from plait.train.checkpoint import newest
from plait.train.estimate import estimate
from plait.train.heldout import HeldOut, held_out
from plait.train.metrics import read_metrics
from plait.train.optimiser import build_optimiser
from plait.train.probe import choose
from plait.train.step import Asked, Facts, NonFinite, StepResult, forward_backward, train_step
from tiny_data import make_manifest, tiny_tree
from tiny_model import ENCODERS, READ, long_sound, make_batch, make_tokenizer, rows_of

KINDS = [kind_of(member) for member in BALANCES]
OPTIONS: dict[str, dict[str, Any]] = {
    "temperature_sampling": {"tag": "pattern"},
    "inverse_frequency": {"tag": "pattern"},
    "targeted_augmentation": {"margin": 0.0, "every": 2},
    "ogm_ge": {"until": 0.7},
}
BESIDE = [(None, None), ({"segment": "heard"}, None), (None, {"weight": 0.1}), ({"segment": "heard"}, {"weight": 0.1})]
CONFIG = TrainConfig(
    steps=10, batch_size=8, dtype="fp32", warmup=0, modality_subsets=0.4, segment_weights={"answer": 3.0}
)

OF_MODULES = {
    *("train", "eval", "training", "parameters", "named_parameters", "buffers", "named_buffers", "modules"),
    *("named_modules", "zero_grad", "state_dict", "requires_grad_", "apply", "to"),
}
"""What may be asked of any module, and so of what is wrapped around one."""


class Wrapper(nn.Module):
    """Counts the calls that go through it and refuses to be asked for what is its model's own; `module` is there for saving."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *words: Any, **named: Any) -> Any:
        """One call."""
        self.calls += 1
        return self.module(*words, **named)

    def __getattr__(self, name: str) -> Any:
        if hasattr(Model, name) and name not in OF_MODULES:
            raise AssertionError(f"training asked a wrapped model for {name}")
        return super().__getattr__(name)


def test_the_wrapper_refuses_what_is_the_models_own():
    wrapper = Wrapper(build())
    for name in ("loss", "token_losses", "encode", "encoder", "loss_of", "token_weights"):
        with pytest.raises(AssertionError, match=f"asked a wrapped model for {name}"):
            getattr(wrapper, name)
    assert list(wrapper.parameters())
    assert not isinstance(wrapper, Model)


def build(ctc: dict | None = None, alignment: dict | None = None, **parts: Any) -> Model:
    """A tiny model with dropout in it, in training."""
    encoders = {m: {**ENCODERS[m], "dropout": 0.1} if m != "image" else ENCODERS[m] for m in READ}
    tree = {
        "data": {"manifest": "m"},
        "width": 16,
        "encoders": encoders,
        "lm": {"num_heads": 2, "dropout": 0.1},
        "train": {"ctc": ctc, "alignment": alignment, "segment_weights": {"answer": 3.0}},
        **parts,
    }
    return build_model(make_config(tree), make_tokenizer(), READ).model.train()


def trained(
    kind: str, ctc: dict | None, alignment: dict | None, wrap: Callable[[nn.Module], nn.Module]
) -> tuple[list[StepResult], HeldOut, dict[str, Tensor], dict[str, Tensor], nn.Module]:
    """Three steps in micro-batches of five (of eight samples) and a held-out loss, by the model behind `wrap`."""
    model = build(ctc, alignment)
    tree = {"data": {"manifest": "m"}, "balance": {"kind": kind, **OPTIONS.get(kind, {})}}
    balance = make_config(tree).balance.build(model, steps=4, seed=3)
    optimiser, facts, called = build_optimiser(model, CONFIG), Facts.of(model), wrap(model)
    batch = long_sound(make_batch(make_tokenizer()))
    results = [
        train_step(
            called,
            optimiser,
            batch,
            CONFIG,
            seed=3,
            step=step,
            micro_batch_size=5,
            say=pytest.fail,
            balance=balance,
            asked=Asked(encoder_norms=True, alone=step == 2),
            facts=facts,
        )
        for step in (1, 2, 3)
    ]
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    found = held_out(called, [batch], ["heard", "answer"], dtype="fp32", micro_batch_size=3)
    return results, found, gradients, model.state_dict(), called


def check_same(one: Any, other: Any) -> None:
    """Bit for bit."""
    assert one[:2] == other[:2]
    for a, b in zip(one[2:4], other[2:4], strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("ctc", "alignment"), BESIDE)
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapped_model_trains_the_same_bits_and_every_pass_is_one_call(kind: str, ctc: Any, alignment: Any):
    """Previously balance, the losses alone and the held-out loss called methods past whatever was wrapped around the model."""
    plain = trained(kind, ctc, alignment, lambda model: model)
    wrapped = trained(kind, ctc, alignment, Wrapper)
    check_same(plain, wrapped)
    assert set(plain[0][0].encoder_norms) == set(READ)
    assert set(plain[0][1].alone) == set(READ)
    asks_before = {"targeted_augmentation": 2}.get(kind, 0) + (0 if kind in ("unimodal", "ogm_ge", "mmpareto") else 1)
    if kind == "targeted_augmentation":  # it asks at steps 1 and 3 by itself, and step 2 is asked for
        asks_before = 3
    assert isinstance(wrapped[4], Wrapper)
    assert wrapped[4].calls == 3 * 2 + 2 * asks_before + 3


@pytest.fixture
def gloo(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_ddp_gives_the_same_gradients(kind: str, gloo: None):
    """Gradients, weights and figures; every pass goes through the forward of DDP, whose hooks then see each backward."""
    beside = ({"segment": "heard"}, {"weight": 0.1})
    wrap = nn.parallel.DistributedDataParallel
    plain = trained(kind, *beside, lambda model: model)
    check_same(plain, trained(kind, *beside, lambda model: wrap(model, find_unused_parameters=True)))


@pytest.mark.parametrize("kind", KINDS)
def test_probes_and_estimates_and_culprits_only_call(kind: str):
    batch, config = make_batch(make_tokenizer()), CONFIG.model_copy(update={"micro_batch_size": None})
    model = build({"segment": "heard"}, {"weight": 0.1})
    tree = {"data": {"manifest": "m"}, "balance": {"kind": kind, **OPTIONS.get(kind, {})}}
    balance = make_config(tree).balance.build(model, steps=4, seed=3)
    wrapper = Wrapper(model)
    estimate(wrapper, batch, config, micro_batch_size=8, balance=balance)
    assert wrapper.calls == 3  # the activations, and two timed passes
    choose(wrapper, batch, config, budget=0.01)
    assert wrapper.calls > 3
    with torch.no_grad():
        model.lm.embedding.table.fill_(float("nan"))
    before = wrapper.calls
    with pytest.raises(NonFinite, match="the loss is nan"):
        train_step(
            wrapper,
            build_optimiser(model, config),
            batch,
            config,
            seed=3,
            step=2,
            micro_batch_size=8,
            say=pytest.fail,
            balance=balance,
            facts=Facts.of(model),
        )
    assert wrapper.calls == before + 1 + len(batch)


@pytest.mark.parametrize("kind", ["none", "mmpareto"])
def test_a_whole_training_through_a_wrapper_is_the_same_run(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Weights, optimiser, metrics: what is saved is the model itself, under its own names."""
    manifest = make_manifest(tmp_path, 24)
    tree = tiny_tree(manifest, balance={"kind": kind})
    tree["train"] |= {"steps": 4, "log_every": 1, "alone_every": 2, "evaluate_every": 2, "alignment": {"weight": 0.1}}
    fit(make_config(copy.deepcopy(tree)), tmp_path / "plain")
    wrappers: list[Wrapper] = []

    def wrap(model: nn.Module) -> nn.Module:
        wrappers.append(Wrapper(model))
        return wrappers[-1]

    real = loop_module.train
    monkeypatch.setattr(
        sys.modules["plait.train.fit"], "train", lambda *words, **named: real(*words, **named, wrap=wrap)
    )
    fit(make_config(tree), tmp_path / "wrapped")
    assert len(wrappers) == 1
    assert wrappers[0].calls == 4 + 2 + 2 * (kind == "none")  # steps, evaluations, the losses alone
    one, other = (newest(tmp_path / name) for name in ("plain", "wrapped"))
    for file in ("model.safetensors", "optimiser.safetensors"):
        a, b = load_file(one / file), load_file(other / file)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), file
    first, second = (
        [json.dumps({k: v for k, v in line.items() if "second" not in k}) for line in read_metrics(tmp_path / name)]
        for name in ("plain", "wrapped")
    )
    assert first == second


ROWS = ([0, 1, 2, 4], [0, 3, 5, 6])
"""What each of two processes is given: other samples, and not the same inputs among them."""


def mmpareto_of(rank: int, wrap: Callable[[nn.Module], nn.Module]) -> tuple[Model, Any, Any, Any]:
    """Its model, what is called, the balance, the batch."""
    torch.manual_seed(0)
    model = build().eval()
    balance = make_config({"data": {"manifest": "m"}, "balance": {"kind": "mmpareto"}}).balance
    return model, wrap(model), balance.build(model, steps=4, seed=3), rows_of(make_batch(make_tokenizer()), ROWS[rank])


def one_of_two(rank: int, folder: str) -> None:
    """A process: a step's gradients under DDP, into a file."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)

    def wrap(model: nn.Module) -> nn.Module:
        return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)

    model, called, balance, batch = mmpareto_of(rank, wrap)
    balance.begin(1)
    forward_backward(called, batch, micro_batch_size=2, dtype="fp32", label_smoothing=0.0, balance=balance)
    balance.finish(1)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file(found, f"{folder}/{rank}.safetensors")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_mmpareto_of_two_processes_combines_the_means_of_both(tmp_path: Path):
    """DDP averages one backward pass for each call; the second one's gradients were each process's own."""
    torch.multiprocessing.spawn(one_of_two, args=(str(tmp_path),), nprocs=2)
    one, other = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    made = []
    for rank in (0, 1):
        model, _, balance, batch = mmpareto_of(rank, lambda model: model)
        balance.begin(1)
        forward_backward(model, batch, micro_batch_size=2, dtype="fp32", label_smoothing=0.0, balance=balance)
        made.append((model, balance))
    (model, balance), (second, others) = made
    for kind in ("joint", "own"):
        for modality, sums in getattr(balance, kind).items():
            theirs = getattr(others, kind)[modality]
            for place in {*sums, *theirs}:
                values = [found[place] for found in (sums, theirs) if place in found]
                sums[place] = torch.stack(values).sum(0) / 2
    balance.finish(1)
    encoders = {id(p) for parameters in balance.encoders.values() for p in parameters}
    for (name, p), q in zip(model.named_parameters(), second.parameters(), strict=True):
        if name in one:
            halves = [g for g in (p.grad, None if id(p) in encoders else q.grad) if g is not None]
            expected = halves[0] if id(p) in encoders else torch.stack(halves).sum(0) / 2
            torch.testing.assert_close(one[name], expected, rtol=1e-4, atol=1e-6, msg=name)
