"""Runs of many inputs with names of their own: players, sampled orders beside exact credits, files that are read once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from many_inputs import NAMES, fitted

import plait
from plait.api import TrainedModel
from plait.explain.losses import moved_losses, subset_losses
from plait.explain.plan import Exact
from plait.explain.players import Players
from plait.explain.reliance import partners_of, shuffled
from plait.explain.store import Store
from plait.modalities.audio.prepare import AudioPreparer
from plait.modalities.image.prepare import ImagePreparer
from plait.run import Run

FOUR_AND_REST = [*([name] for name in NAMES[:4]), NAMES[4:]]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures and four texts, trained with evenly drawn subsets."""
    kinds = {name: "image" if k % 2 else "text" for k, name in enumerate(NAMES)}
    return fitted(tmp_path_factory.mktemp("eight"), kinds, steps=40, evaluate_every=40)


def test_by_default_the_inputs_of_a_modality_are_one_player(eight: Path, shell: Any):
    code, out, _ = shell("explain", eight)
    assert code == 0
    data = json.loads((eight / "explain" / "test.json").read_text(encoding="utf-8"))
    assert data["players"] == {
        "before+type+train+float": list(NAMES[::2]),
        "after+values+left_eye+items": list(NAMES[1::2]),
    }
    assert data["inputs"]["left_eye"] == "image"
    assert (data["orders"], data["kind"]) == (None, "credit")
    assert out.splitlines()[0].startswith("before+type+train+float: ")


def test_eight_inputs_are_credited_each(eight: Path, shell: Any):
    code, out, _ = shell("explain", eight, "--sampled", "-v")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    data = json.loads((eight / "explain" / "test.json").read_text(encoding="utf-8"))
    assert (tuple(data["modalities"]), data["orders"], data["kind"]) == (NAMES, 8, "credit")
    assert any("8 orders of the 8 players" in note and "58 subsets of 256" in note for note in data["notes"])
    for segment in data["segments"]:
        total = sum(credit["credit"]["value"] for credit in segment["credits"].values())
        assert total == pytest.approx(segment["together"]["value"], abs=1e-9)
        assert {len(one["members"]) for one in segment["interactions"]} == {2}
        assert all(one["index"] is None for one in segment["interactions"])
        assert list(segment["losses"]) == ["no_input", *NAMES, "+".join(NAMES)]
    assert set(data["temperatures"]["true"]) == {f"{k} of 8 players" for k in range(9)}


def test_sampled_credits_are_the_exact_ones_within_their_intervals(eight: Path):
    """Five players, measured both ways with the same temperatures; the exact value lies in each sampled interval."""
    model = plait.load(eight)
    exact = model.explain(players=FOUR_AND_REST, manifest=no_tuning(model), write=False)
    many = model.explain(players=FOUR_AND_REST, orders=8, manifest=no_tuning(model), write=False)
    assert (exact.orders, many.orders) == (None, 8)
    (one,), (other,) = exact.segments, many.segments
    assert one.together == other.together
    for name, credit in one.credits.items():
        sampled = other.credits[name]
        assert credit.alone == sampled.alone
        assert credit.marginal == sampled.marginal
        assert credit.own.value == pytest.approx(sampled.own.value, abs=1e-6)
        assert sampled.credit.value == pytest.approx(credit.credit.value, abs=0.02)
        assert sampled.credit.low is not None
        assert sampled.credit.high is not None
        assert sampled.credit.low <= (credit.credit.value or 0.0) <= sampled.credit.high
    again = model.explain(players=FOUR_AND_REST, orders=8, manifest=no_tuning(model), write=False)
    assert again == many


def no_tuning(model: TrainedModel) -> Path:
    """The manifest without its tuning split: then all temperatures are 1, whatever they are fitted by."""
    path = Path(model.run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    mine = path.parent / "no_tune.jsonl"
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows if row["split"] != "tune"), encoding="utf-8")
    return mine


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--players", "before+aftr"), "--players: this model reads no input 'aftr'. Did you mean 'after'?"),
        (("--players", "before+after,before"), "--players: before is named twice"),
        (("--players", "+"), "--players: '+' names no players"),
        (("--fail-if-unused", "tpye"), "--fail-if-unused: this model reads no input 'tpye'"),
        (
            ("--fail-if-unused", "type"),
            "--fail-if-unused: type is credited together with others, as before+type+train+float",
        ),
        (("--sample", "row2", "--players", "before"), "--sample does not go with --players"),
        (("--curves", "--sampled"), "--sampled: says nothing of curves"),
    ],
)
def test_what_cannot_be_asked_is_one_message(words: tuple[str, ...], message: str, eight: Path, shell: Any):
    code, out, err = shell("explain", eight, *words)
    assert (code, out) == (2, "")
    assert err.startswith("plait: " + message)
    assert len(err.splitlines()) == 1


def test_players_of_the_configuration(eight: Path):
    model = plait.load(eight)
    players = (("before", "after"), "type", tuple(NAMES[3:]))
    explain = model.run.config.explain.model_copy(update={"players": players})
    model.run.config = model.run.config.model_copy(update={"explain": explain})
    assert model.explain(write=False).modalities[:2] == ("before+after", "type")


def test_one_input_can_be_asked_about_by_naming_it(eight: Path, shell: Any):
    code, _, err = shell("explain", eight, "--players", "type", "--fail-if-unused", "type", "--sampled")
    assert (code, "type is" in err) in ((0, False), (1, True))


@pytest.mark.parametrize("most_bytes", [2**30, 20_000, 0])
def test_moved_inputs_are_those_of_samples_that_have_them(with_dropout: Path, most_bytes: int):
    """Whether another sample's input comes from memory or is read again, it is as if the sample had come with it."""
    run = Run.load(with_dropout)
    samples = [s for s in TrainedModel(run).dataset().samples if s.split == "test"]
    plan, temperatures = Exact(Players.each(run.inputs)), {"true": np.ones((8, 1)), "own": np.ones((8, 1))}
    store = Store(run, samples, batch_size=4, keeps=True, most_bytes=most_bytes)
    subset_losses(run, samples, temperatures, batch_size=4, plan=plan, store=store)
    for k, name in enumerate(run.inputs):
        partners, _ = partners_of(samples, (name,), seed=1)
        moved, _ = shuffled(samples, name, seed=1)
        found = moved_losses(run, store, {name: partners}, temperatures, batch_size=4, under=[1 << k, 7], plan=plan)
        expected = subset_losses(run, moved, temperatures, batch_size=4, under=[1 << k, 7])
        for context in ("true", "own"):
            np.testing.assert_allclose(found.bits[context], expected.bits[context], rtol=1e-5)


def test_each_file_is_decoded_once(with_dropout: Path, monkeypatch: pytest.MonkeyPatch):
    """Previously each was decoded once more for every input of the run, and for every reference."""
    decoded: Counter[object] = Counter()
    for preparer in (ImagePreparer, AudioPreparer):
        decode = preparer.decode

        def counted(self: Any, item: Any, decode: Any = decode) -> Any:
            decoded[item] += 1
            return decode(self, item)

        monkeypatch.setattr(preparer, "decode", counted)
    model = plait.load(with_dropout)
    model.run.config = model.run.config.model_copy(
        update={"data": model.run.config.data.model_copy(update={"cache_mb": 0})}
    )
    samples = [s for s in model.dataset().samples if s.split in ("tune", "test")]
    decoded.clear()
    model.explain(write=False)
    assert set(decoded) == {path for sample in samples for path in sample.files}
    assert set(decoded.values()) == {1}


def test_an_input_that_cannot_be_read_is_nobodys(with_dropout: Path, tmp_path: Path):
    """Who would have got it is missing from the reliance of that input, and from nothing else. Previously there was none at all."""
    model = plait.load(with_dropout)
    path = Path(model.run.config.data.manifest)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    broken = next(row for row in rows if row["split"] == "test" and "image" in row)
    (path.parent / "broken.png").write_bytes(b"nothing")
    mine = path.parent / "broken.jsonl"
    changed = [{**row, "image": "broken.png"} if row is broken else row for row in rows]
    mine.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
    data = model.run.config.data.model_copy(update={"on_error": "skip"})
    model.run.config = model.run.config.model_copy(update={"data": data})
    whole, found = model.explain(write=False), model.explain(manifest=mine, write=False)
    assert any(broken["id"] in note or "broken.png" in note for note in found.notes)
    assert found.segments[0].num_samples == whole.segments[0].num_samples - 1
    assert found.segments[0].reliance["image"].n == whole.segments[0].reliance["image"].n - 2
    text = whole.segments[0].reliance["text"].n - ("text" in broken)
    assert found.segments[0].reliance["text"].n == text
