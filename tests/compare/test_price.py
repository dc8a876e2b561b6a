"""Prices: measured in turns on real samples, of runs that stay as they are."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plait.compare import price
from plait.compare.price import Asker, Clock, Material, in_turns, measure_alone, measure_prices, peak_memory, reset_peak
from plait.config import make_config
from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.run import Run
from plait.train import fit
from plait.types import Batch, Sample
from tiny_data import make_manifest, tiny_tree


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[dict[str, Run], list[Sample]]:
    """Two trained runs that differ in their fusion, and one that reads pictures only."""
    folder = tmp_path_factory.mktemp("price")
    manifest = make_manifest(folder / "data")
    inputs = {"image only": ["image"]}
    runs = {}
    for name in ("sum", "experts", "image only"):
        kind = name if name not in inputs else "sum"
        tree = tiny_tree(manifest, fusion={"kind": kind})
        tree["data"]["inputs"] = inputs.get(name, ["text", "image", "audio"])
        runs[name] = fit(make_config(tree), folder / name.replace(" ", "_")).run
    return runs, list(read_manifest(manifest, inputs=None, segments=None, split=runs["sum"].config.data.split).samples)


@pytest.fixture
def few(monkeypatch) -> None:
    """Few samples: with all annotations checked everything is slow."""
    monkeypatch.setattr(price, "NUM_ALONE", (2, 2))
    monkeypatch.setattr(price, "NUM_COUNTED", 2)
    monkeypatch.setattr(price, "NUM_BATCHES", 1)


def digest(folder: Path) -> str:
    """Of all files' names and contents."""
    parts = [path.relative_to(folder).as_posix().encode() + path.read_bytes() for path in sorted(folder.rglob("*.*"))]
    return hashlib.blake2b(b"".join(parts)).hexdigest()


def test_every_price_is_measured_and_no_run_changes(made, few):
    runs, samples = made
    before = {name: (digest(run.folder), [p.clone() for p in run.model.parameters()]) for name, run in runs.items()}
    told: list[tuple[int, int]] = []
    found = measure_prices(
        runs, samples, seconds=1.0, progress=lambda done, all_: told.append((done, all_)), peaks={"sum": 123}
    )
    assert list(found) == list(runs)
    for name, run in runs.items():
        assert found[name].parameters == run.model.num_parameters
        assert found[name].fusion_parameters == sum(p.numel() for n, p in run.model.named_parameters() if "fusion" in n)
        measured = replace(found[name], peak_bytes=1)
        assert all(value is not None and math.isfinite(value) and value > 0 for value in vars(measured).values())
        assert found[name].train_seconds == pytest.approx(2 * found[name].step_seconds)
        assert found[name].latency_p50_ms <= found[name].latency_p95_ms
        digested, weights = before[name]
        assert digest(run.folder) == digested
        assert all(torch.equal(a, b) for a, b in zip(weights, run.model.parameters(), strict=True))
        assert not run.model.training
    assert found["sum"].peak_bytes == 123
    assert found["experts"].peak_bytes is None
    assert found["experts"].flops > found["sum"].flops
    assert told[-1] == (1, 1)


def test_all_arms_are_measured_on_the_same_samples(made):
    runs, samples = made
    found = price.material(runs, samples, samples)
    assert found["sum"] is found["experts"]  # prepared once
    assert [b.ids for b in found["image only"].alone] == [b.ids for b in found["sum"].alone]
    trained = {name: {i for b in arm.batches for i in b.ids} for name, arm in found.items()}
    assert trained["image only"] == trained["sum"] == {sample.id for sample in samples}


def test_nothing_to_measure_on_is_the_users_mistake(made):
    runs, _ = made
    with pytest.raises(UserError, match="no sample"):
        measure_prices(runs, [], seconds=1.0)
    assert measure_prices({}, [], seconds=1.0) == {}


def test_a_run_whose_step_fails_has_no_step_price(made, few):
    runs, samples = made
    broken = Run.load(runs["sum"].folder)
    with torch.no_grad():
        broken.model.lm.embedding.table.fill_(float("nan"))
    found = measure_prices({"broken": broken, "sum": runs["sum"]}, samples, seconds=0.0)
    assert found["broken"].step_seconds is found["broken"].train_seconds is None
    assert found["sum"].step_seconds is not None


# -- turns --


def test_turns_are_whole_and_everybody_begins_in_turn():
    order: list[str] = []
    times = {"a": 1.0, "b": 2.0, "c": 3.0}

    def action(name: str) -> price.Action:
        def act(turn: int) -> float:
            order.append(f"{name}{turn}")
            return times[name] + turn

        return act

    has = iter([True] * 5 + [False] * 9)
    found = in_turns({name: action(name) for name in times}, lambda: next(has), most=40)
    assert order[:9] == ["a0", "b0", "c0", "b1", "c1", "a1", "c2", "a2", "b2"]
    assert found == {name: [start + turn for turn in (1, 2, 3, 4)] for name, start in times.items()}  # no warm-up
    order.clear()
    in_turns({"a": action("a")}, lambda: False, most=40)
    assert order == ["a0", "a1", "a2", "a3"]  # the least there is, though the time is up
    order.clear()
    in_turns({"a": action("a")}, lambda: True, most=7)
    assert order[-1] == "a7"


def test_an_action_that_fails_is_asked_no_more_and_the_others_go_on():
    asked: list[int] = []

    def failing(turn: int) -> float:
        asked.append(turn)
        if turn == 2:
            raise UserError("the loss is nan")
        return 1.0

    found = in_turns({"bad": failing, "good": lambda _: 2.0}, lambda: False, most=9)
    assert found == {"bad": [], "good": [2.0, 2.0, 2.0]}
    assert asked == [0, 1, 2]


class SlowSample(Asker):
    """Ten samples: the last takes long; one turn of the first falls into a busy moment."""

    def __init__(self) -> None:
        one: Any = [Batch((str(n),), {}, *[torch.zeros(1, 1, dtype=torch.long)] * 3, torch.ones(1)) for n in range(10)]
        self.found, self.turns = Material([], one, []), [0] * 10

    def alone(self, turn: int) -> float:
        self.turns[turn] += 1
        if turn == 0 and self.turns[0] == 3:
            return 500.0
        return 2.0 if turn == 9 else 1.0


def test_the_95th_percentile_tells_of_long_answers_and_not_of_busy_moments():
    found = measure_alone({"arm": SlowSample()}, Clock(price.monotonic(), 1.0, None))["arm"]
    assert sorted(found) == [1.0] * 9 + [2.0]
    assert price.percentile(found, 50) == 1.0
    assert price.percentile(found, 95) == pytest.approx(1.55)


# -- memory --


def test_the_peak_is_what_was_held_at_the_worst_moment():
    reset_peak()
    before = peak_memory()
    assert before is not None
    assert before > 50e6  # Python and PyTorch
    block = torch.ones(40_000_000)
    del block
    grown = peak_memory()
    assert grown is not None
    assert 140e6 < grown - before < 400e6
    if Path("/proc/self/clear_refs").exists():
        reset_peak()
        after = peak_memory()
        assert after is not None
        assert after < grown - 100e6
