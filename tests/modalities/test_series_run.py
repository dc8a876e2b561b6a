"""A run over series goes the whole way: manifest → training → record → answers → explanation, the same from the run's folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from series_helpers import SERIES, as_list, field_in, sines, tree_of, wave, write_rows

import plait
from plait.api import TrainedModel
from plait.config import make_config
from plait.data.manifest import read_manifest
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.train import fit


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A manifest, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("series")
    manifest = sines(folder / "data")
    fit(make_config(tree_of(manifest, train={"modality_dropout": 0.2})), folder / "run")
    return manifest, folder / "run"


def accuracy_of(model: TrainedModel) -> float:
    value = model.evaluate("test").summary.metrics["target"]["accuracy"].value
    assert value is not None
    return value


def prepared_in(run: Path, name: str = "series") -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]["prepare"][name]


def test_it_learns_and_the_run_keeps_what_the_training_split_gave(trained: tuple[Path, Path]):
    _, folder = trained
    model = plait.load(folder)
    assert accuracy_of(model) >= 0.9, "chance is 0.5"
    kept = prepared_in(folder)
    every = np.concatenate([wave(k) for k in range(26)])
    assert kept["channels"] == 2
    np.testing.assert_allclose(kept["mean"], np.nanmean(every, axis=0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(kept["std"], np.nanstd(every, axis=0), rtol=1e-9)


def test_it_answers_the_same_for_a_path_bytes_and_a_list_and_when_loaded_again(
    trained: tuple[Path, Path], tmp_path: Path
):
    _, folder = trained
    for number in (0, 1):
        np.save(tmp_path / "one.npy", wave(number))
        expected = {"target": "slow" if number else "fast"}
        for value in (tmp_path / "one.npy", (tmp_path / "one.npy").read_bytes(), as_list(wave(number))):
            assert plait.load(folder).generate(inputs={"series": value}).segments == expected


def test_what_is_wrong_with_a_series_is_said_with_its_row(trained: tuple[Path, Path], tmp_path: Path):
    rows = [{"id": "x", "series": [[1, 2, 3]], "target": "slow", "split": "test"}]
    rows += [{"id": "y", "series": "cut.npy", "target": "fast", "split": "test"}]
    np.save(tmp_path / "cut.npy", wave(0))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    manifest = write_rows(tmp_path, rows)
    config = plait.load(trained[1]).run.config.data
    (one, two) = read_manifest(manifest, inputs=("series",), segments=("target",)).samples
    preprocessor = Preprocessor(
        config, Tokenizer.train(config.tokenizer, ["slow fast"], ["target"]), ["target"], ["series"]
    )
    with pytest.raises(
        UserError, match=r"manifest\.jsonl:1: series the list in series: a series of 3 channels \(1 steps\)"
    ):
        preprocessor.batch([one], training=False)
    with pytest.raises(UserError, match=r"manifest\.jsonl:2: series .*cut\.npy: the series is cut off"):
        preprocessor.batch([two], training=False)


def test_an_interrupted_run_goes_on_to_the_same_weights_with_the_same_file(tmp_path: Path):
    """The configuration file still leaves channels, mean and deviation to the run: that is no change."""
    manifest = sines(tmp_path / "data", 20)

    def tree(steps: int, **data: Any) -> dict[str, Any]:
        return tree_of(manifest, data=data, train={"steps": steps, "warmup": 0, "final_fraction": 1.0})

    whole = fit(make_config(tree(4)), tmp_path / "whole").run.model.state_dict()
    fit(make_config(tree(2)), tmp_path / "cut")
    with pytest.raises(UserError, match=r"data\.prepare\.series\.normalise: 'train' → 'sample'"):
        fit(make_config(tree(4, series={"normalise": "sample"})), tmp_path / "cut", resume=True)
    fit(make_config(tree(3)), tmp_path / "cut", resume=True)
    before = prepared_in(tmp_path / "cut")
    found = fit(make_config(tree(4)), tmp_path / "cut", resume=True).run.model.state_dict()
    assert prepared_in(tmp_path / "cut") == before == prepared_in(tmp_path / "whole")
    for name, tensor in whole.items():
        assert tensor.equal(found[name]), name
    assert fit(None, tmp_path / "cut", resume=True).result.step == 4


def test_features_of_a_frozen_encoder_are_kept(tmp_path: Path):
    manifest = sines(tmp_path / "data", 20)
    parts: dict[str, Any] = {"train": {"steps": 4, "warmup": 0}, "data": {"series": {"source_rate": 10, "rate": 20}}}
    plain = tree_of(manifest, **parts)
    plain["encoders"]["freeze"] = ["series"]
    cached = json.loads(json.dumps(plain))
    cached["encoders"]["cache"] = ["series"]
    runs = [fit(make_config(tree), tmp_path / name).run for name, tree in (("plain", plain), ("cached", cached))]
    for name, tensor in runs[0].model.state_dict().items():
        assert (tensor - runs[1].model.state_dict()[name]).abs().max() < 1e-4, name
    loaded = plait.load(tmp_path / "cached")
    assert accuracy_of(loaded) == accuracy_of(plait.load(tmp_path / "plain"))


def two_inputs(folder: Path, right_channels: int = 2) -> Path:
    """Which of two series is the faster one."""
    rows: list[dict[str, Any]] = []
    for number in range(24):
        left, right = wave(number), wave(number + 1, channels=right_channels)
        split = "test" if number >= 18 else "train"
        rows.append(
            {"id": f"r{number}", "before": as_list(left), "after": as_list(right), "split": split}
            | {"target": "slower" if number % 2 == 0 else "faster"}
        )
    return write_rows(folder, rows)


def test_two_series_share_an_encoder_each_with_its_own_means(tmp_path: Path):
    tree = tree_of(two_inputs(tmp_path), train={"steps": 30})
    tree["data"] |= {
        "inputs": {"left": "series", "right": "series"},
        "columns": {"left": "before", "right": "after"},
        "prepare": {"right": {"max_steps": 100}},
    }
    tree["encoders"] = {"left": tree["encoders"]["series"], "right": {"like": "left"}}
    run = fit(make_config(tree), tmp_path / "run").run
    assert run.model.encoder("left") is run.model.encoder("right")
    left, right = prepared_in(tmp_path / "run", "left"), prepared_in(tmp_path / "run", "right")
    assert left["mean"] != right["mean"]
    assert (left["max_steps"], right["max_steps"]) == (10_000, 100)
    found = plait.load(tmp_path / "run")
    assert accuracy_of(found) >= 5 / 6
    sample = found.generate(inputs={"left": as_list(wave(2)), "right": as_list(wave(3))})
    assert sample.segments == {"target": "slower"}


def test_inputs_of_other_channels_do_not_share_an_encoder(tmp_path: Path):
    tree = tree_of(two_inputs(tmp_path, right_channels=3), train={"steps": 2, "warmup": 0})
    tree["data"] |= {"inputs": {"left": "series", "right": "series"}, "columns": {"left": "before", "right": "after"}}
    tree["encoders"] = {"right": {"like": "left"}}
    with pytest.raises(UserError, match=r"share an encoder .*: left 4, right 6. Give each an encoder of its own"):
        fit(make_config(tree), tmp_path / "run")
    tree["encoders"] = {}
    run = fit(make_config(tree), tmp_path / "run").run
    assert prepared_in(tmp_path / "run", "right")["channels"] == 3
    assert len(run.model.inputs) == 2


def test_what_is_stated_is_not_looked_for(tmp_path: Path):
    manifest = sines(tmp_path / "data", 20)
    given = {"channels": 2, "mean": [7.0, 0.0], "std": [2.0, 1.0]}
    fit(make_config(tree_of(manifest, data={"series": given}, train={"steps": 1, "warmup": 0})), tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert {key: config["data"]["series"][key] for key in given} == given
    assert config["data"]["prepare"] == {}
    wrong = tree_of(manifest, data={"series": {"channels": 4}}, train={"steps": 1, "warmup": 0})
    with pytest.raises(
        UserError, match=r"series: none of the training series can be read.*2 channels.*series\.channels is 4"
    ):
        fit(make_config(wrong), tmp_path / "wrong")


def test_it_is_explained_damaged_and_reported(trained: tuple[Path, Path]):
    model = plait.load(trained[1])
    found = model.explain("test", write=False).segments[0]
    without, with_series = found.losses["no_input"].value, found.losses["series"].value
    assert without is not None
    assert with_series is not None
    assert without - with_series > 0.3, "bits that the series brings"
    one = model.explain_sample("r39", write=False).views[0]
    assert (len(one.labels), one.labels[-1]) == (11, "steps 41–44")
    damaged = {curve.kind.name: curve for curve in model.curves("test", write=False).curves}
    assert set(damaged) == {"noise", "lost channels", "gap", "missing"}
    lost = damaged["gap"].segments["target"]["accuracy"]
    assert lost.clean.value == 1.0
    assert lost.values[-1].value is not None
    assert lost.values[-1].value < 1.0
    assert "image/png" in model.report().read_text(encoding="utf-8")


def test_the_configurations_of_the_documentation_are_right():
    text = (Path(__file__).parents[2] / "docs" / "series.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        config = make_config(yaml.safe_load(block))
        assert set(config.inputs.values()) == {"series"}
    for line in re.findall(r"```json\n(.*?)```", text, re.DOTALL)[0].splitlines():
        assert SERIES.items(json.loads(line)["series"], field_in(Path()))
