"""What the version before wrote goes on working: runs, records, half a training, half a comparison, answers, a cache.

`fixtures/before/make.py` says how it was made. Numbers are held within what processors differ in; texts exactly.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from typer.testing import CliRunner

import plait
from plait.cli.app import app
from plait.evaluate import read_record
from plait.named import as_named_now
from plait.run import read_run_config

FIXTURES = Path(__file__).parent / "fixtures" / "before"
MADE_IN = "/tmp/before"
TEXTS = (".yaml", ".json", ".jsonl")


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the fixtures whose absolute paths are its own."""
    folder = tmp_path / "before"
    shutil.copytree(FIXTURES, folder)
    for path in folder.rglob("*"):
        if path.suffix in TEXTS:
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(MADE_IN, str(folder)), encoding="utf-8", newline="\n")
    monkeypatch.setenv("PLAIT_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)
    return folder


def run(*words: str) -> Result:
    """A command that must work."""
    found = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found


def expected() -> dict[str, Any]:
    """What the version before said."""
    return json.loads((FIXTURES / "expected.json").read_text(encoding="utf-8"))


def same(found: Any, wanted: Any, place: str = "") -> None:
    """Everything that is wanted is there and equal; numbers within 1e-4. What is new beside it is no difference."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in found, f"{place}.{key} is missing"
            same(found[key], value, f"{place}.{key}")
    elif isinstance(wanted, list):
        assert len(found) == len(wanted), place
        for number, value in enumerate(wanted):
            same(found[number], value, f"{place}[{number}]")
    elif isinstance(wanted, float):
        assert math.isclose(found, wanted, rel_tol=1e-4, abs_tol=1e-4), f"{place}: {found}, before {wanted}"
    else:
        assert found == wanted, f"{place}: {found}, before {wanted}"


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """The values of an evaluation's metrics, and how many samples they are of."""
    metrics = {
        segment: {name: {key: found[key] for key in ("value", "n", "num_groups")} for name, found in by_name.items()}
        for segment, by_name in record["metrics"].items()
    }
    return {"n": record["n"], "split": record["split"], "metrics": metrics}


def test_a_run_means_what_its_own_version_meant(before: Path):
    """NFKC text, the old folding, 64 tokens: a key that a run does not state has the default of the version that wrote it."""
    config = read_run_config(before / "finished").model_dump(mode="json")
    same(config, json.loads(json.dumps(expected()["finished"]["run"]).replace(MADE_IN, str(before))))


@pytest.mark.parametrize("name", ["finished", "frozen"])
def test_a_finished_run_scores_as_before(before: Path, name: str):
    """Also with encoders whose features lie in a cache of before."""
    found = json.loads(run("evaluate", name, "--json").stdout)
    same(figures(found), figures(expected()[name]))
    run("cache")


def test_a_finished_run_is_explained_and_reported_as_before(before: Path):
    found = json.loads(run("explain", "finished", "--json").stdout)
    for segment, wanted in zip(found["segments"], expected()["explained"]["segments"], strict=True):
        losses = ({key: one["value"] for key, one in where["losses"].items()} for where in (segment, wanted))
        same(*losses, f"{wanted['segment']}/{wanted['context']}")
    run("report", "finished")


def test_records_and_explanations_of_before_are_read(before: Path):
    record = read_record(before / "finished" / "records" / "test.parquet")
    same(figures(record.summary.to_json()), figures(expected()["finished"]))
    run("report", "finished")
    run("compare", "--from", "finished", "--from", "frozen", "--folder", "of-records", "--price-seconds", "0")


def test_answers_of_before_are_gone_on_with_in_their_own_form(before: Path):
    run("generate", "finished", "--manifest", "data/ask.jsonl", "--out", "answers.jsonl")
    lines = (before / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    same([json.loads(line) for line in lines[:-1]], expected()["answers"])


def test_half_a_training_of_before_ends_as_it_would_have(before: Path):
    run("train", "--resume", "unfinished")
    found, wanted = (
        load_file(p) for p in (before / "unfinished" / "model.safetensors", before / "resumed.safetensors")
    )
    wanted = as_named_now(plait.load(before / "unfinished").run.model, wanted)
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-4, atol=1e-4)
    same(figures(json.loads(run("evaluate", "unfinished", "--json").stdout)), figures(expected()["resumed"]))


def test_half_a_training_of_before_goes_on_from_its_own_yaml(before: Path):
    """What the YAML does not state means what the run means: no key that is new may look like a change."""
    run("train", "unfinished.yaml", "--resume", "unfinished")
    assert (before / "unfinished" / "training" / "step-00000012").is_dir()


def test_a_comparison_of_before_takes_more_seeds(before: Path):
    """Its first runs are not trained again, and the new ones mean what they mean."""
    kept = {path: path.stat().st_mtime_ns for path in (before / "comparison").rglob("model.safetensors")}
    run("compare", *expected()["words"], "--seeds", "2")
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())
    found = json.loads((before / "comparison" / "result.json").read_text(encoding="utf-8"))
    for arm, wanted in zip(found["arms"], expected()["compared"]["arms"], strict=True):
        same({k: arm[k] for k in ("name", "score", "others")}, {k: wanted[k] for k in ("name", "score", "others")})
        assert read_run_config(before / "comparison" / arm["seeds"][1]["folder"]) == read_run_config(
            before / "comparison" / arm["seeds"][0]["folder"]
        ).model_copy(update={"seed": 1})


def test_the_python_calls_of_before(before: Path):
    model = plait.load(before / "finished")
    answer = model.generate(text="how large is field number 1²?", image=before / "data" / "4.png")
    assert set(answer.segments) == {"heard", "answer"}
    assert model.evaluate().summary.metrics
