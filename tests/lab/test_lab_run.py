"""The laboratory end to end: tiny runs through the command, and one real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plait.cli.app import run
from plait.fusion.base import FusionOptions
from plait.lab.make import LabSize, make_task_data
from plait.lab.measure import measure_task, right_and_bits, subset_bits
from plait.lab.report import largest_error, task_rows, task_table
from plait.lab.settings import fusion_config, known_fusions, lab_config
from plait.lab.truth import TASKS, subsets
from plait.run import Run
from plait.types import Modality

TINY = ["train.steps=2", "train.batch_size=8", "train.evaluate_every=2"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows."""
    monkeypatch.setattr("plait.lab.make.LabSize", lambda: LabSize(train=24, tune=8, test=16))


def leave_code(*words: object) -> int:
    return run(["lab", *map(str, words)])


@pytest.mark.usefixtures("small")
def test_the_command_tells_every_row_and_fails_on_untrained_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lab"
    words = ["--tasks", "xor,parity", "--fusions", "product", "--folder", folder, "--json", *TINY]
    assert leave_code(*words) == 1  # two steps teach nothing
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["largest_error_bits"] > 0.06
    errors = [abs(row["error"]) for row in found["rows"] if row["quantity"] == "information"]
    assert found["largest_error_bits"] == pytest.approx(max(errors), rel=1e-12)
    assert len(errors) == 3 + 7
    assert all(row["error"] == pytest.approx(row["measured"] - row["truth"], abs=1e-12) for row in found["rows"])
    assert [row["fusion"] for row in found["fusions"]] == ["product"]
    assert json.loads((folder / "lab.json").read_text()) == found
    assert "xor, seed 0" in printed.err
    assert leave_code("--folder", folder) == 2
    assert "exists already" in capsys.readouterr().err
    assert (
        leave_code("--tasks", "xor", "--fusions", "none", "--folder", folder, "--fresh", "--tolerance", 9, *TINY) == 0
    )
    assert "interaction(image, audio)" in capsys.readouterr().out


def test_what_is_no_laboratory_is_not_thrown_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert leave_code("--folder", tmp_path, "--fresh") == 2
    assert "not thrown away" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(("option", "name"), [("--tasks", "xr"), ("--fusions", "concat,prefix")])
def test_unknown_names_are_refused(option: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave_code(option, name) == 2
    assert f"{option}: " in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_hidden_modality_is_one_that_was_never_there(tmp_path: Path) -> None:
    """Masking features gives the loss of samples that lack the inputs, and all inputs give the plain loss."""
    task = TASKS["xor"]
    manifest = make_task_data(task, tmp_path / "data")
    row = measure_task(task, manifest, tmp_path / "run", overrides=TINY)
    trained = Run.load(tmp_path / "run")
    found = subset_bits(trained, "test")
    assert found == pytest.approx(row.cross_entropy, abs=1e-6)
    assert list(found) == list(subsets(task.modalities))
    assert right_and_bits(trained, "test")[1] == pytest.approx(found[task.modalities], abs=1e-6)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    manifest.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "audio"}) + "\n" for r in rows))
    assert subset_bits(trained, "test")[("image",)] == pytest.approx(found[("image",)], abs=1e-6)
    assert right_and_bits(trained, "test")[1] == pytest.approx(found[("image",)], abs=1e-6)


@pytest.mark.parametrize("kind", known_fusions())
def test_nothing_mixes_beside_the_compared_fusion(kind: str, tmp_path: Path) -> None:
    config = fusion_config(kind, TASKS["xor"], tmp_path / "manifest.jsonl")
    fusion = config.fusion
    assert isinstance(fusion, FusionOptions)
    assert config.lm.layers == 1
    built = fusion.build(width=32, feature_widths={Modality.IMAGE: 8, Modality.AUDIO: 8}, num_blocks=1)
    assert built.at == (1,)
    told = fusion.model_dump()
    assert told.get("align", "mean") == "mean"
    assert "align" in told or told.get("num_heads", 1) == 1


@pytest.mark.slow
def test_a_small_model_finds_the_known_bits(tmp_path: Path) -> None:
    task = TASKS["and"]
    row = measure_task(task, make_task_data(task, tmp_path / "data"), tmp_path / "run")
    assert largest_error([row]) <= 0.06, task_table([row])
    assert len(task_rows([row])) == 3 + 2 + 1


def test_seeds_and_overrides_reach_the_run(tmp_path: Path) -> None:
    config = lab_config(TASKS["xor"], tmp_path / "manifest.jsonl", seed=5, overrides=["train.steps=7"])
    assert (config.seed, config.train.steps) == (5, 7)
