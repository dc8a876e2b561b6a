"""The page of a run: what its folder holds, and for what it lacks the command that makes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from report_helpers import read_page, squeezed

import plait
from plait.evaluate import read_record
from plait.report import run_report, words
from plait.report.found import find
from plait.report.run_examples import chosen_rows

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def run(measured: Path, tmp_path: Path) -> Path:
    """A measured run of one's own."""
    return Path(shutil.copytree(measured, tmp_path / "run"))


@pytest.mark.usefixtures("no_plots")
def test_what_was_never_measured_is_said_with_its_command(trained: Path, tmp_path: Path):
    text = squeezed(read_page(run_report(trained, out=tmp_path / "page.html")).text)
    for command in ("evaluate {}", "explain {}", "explain {} --curves"):
        assert f"plait {command.format(trained)}" in text
    assert "was not measured yet" in text
    assert not (trained / "report.html").exists()


def test_the_page_of_a_measured_run_is_whole(measured: Path):
    page = read_page(plait.load(measured).report())
    text = squeezed(page.text)
    assert page.tags["svg"] >= 5
    assert "What is not known yet" not in text
    record = read_record(measured / "records" / "test.parquet").summary
    accuracy = record.metrics["answer"]["accuracy"]
    assert f"Accuracy of answer: {100 * (accuracy.value or 0):.1f} %" in text
    assert accuracy.constant is not None
    assert f"always saying “{accuracy.constant.text}”" in text
    explained = json.loads((measured / "explain" / "test.json").read_text(encoding="utf-8"))
    for segment in explained["segments"]:
        for name in segment["credits"]:
            assert f"{name}" in text
    assert page.pictures
    assert page.sounds


def test_the_parts_of_the_model_add_up(measured: Path):
    found = find(measured)
    model = plait.load(measured).run.model
    assert found.num_parameters == model.num_parameters
    assert found.parts["lm"] == sum(p.numel() for p in model.lm.parameters())
    assert {"encoders.text", "encoders.image", "encoders.audio", "fusion", "lm"} <= set(found.parts)


@pytest.mark.usefixtures("no_plots")
def test_a_damaged_file_is_said_and_the_rest_is_shown(run: Path):
    (run / "explain" / "test.json").write_text('{"split": "test"}', encoding="utf-8")
    (run / "model.safetensors").unlink()
    text = squeezed(read_page(run_report(run)).text)
    assert "The explanation test.json (cannot be read" in text
    assert f"plait train --resume {run}" in text
    assert "Accuracy of answer" in text


@pytest.mark.usefixtures("no_plots")
def test_examples_without_their_data_are_still_shown(run: Path):
    config = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(config.replace("manifest.jsonl", "gone.jsonl"), encoding="utf-8")
    page = read_page(run_report(run))
    assert "examples are without their inputs, because the data cannot be read" in squeezed(page.text)
    assert "right answer" in squeezed(page.text)
    assert not page.pictures


@pytest.mark.usefixtures("no_plots")
def test_inputs_of_the_examples_are_those_of_their_rows(run: Path):
    page = read_page(run_report(run))
    text = squeezed(page.text)
    rows = [
        json.loads(line) for line in Path(find(run).config["data"]["manifest"]).read_text(encoding="utf-8").splitlines()
    ]
    shown = [row for row in rows if row["split"] == "test" and f" {row['id']} " in text]
    assert shown
    assert len(page.sounds) == sum("audio" in row for row in shown)
    assert len(page.pictures) == sum("image" in row for row in shown)


def test_wrong_examples_are_wrong_and_right_ones_right(measured: Path):
    record = read_record(measured / "records" / "test.parquet")
    scores = {
        best: [
            r.segments["answer"].scores["accuracy"] for r in chosen_rows(record, "answer", "accuracy", 99, best=best)
        ]
        for best in (True, False)
    }
    assert set(scores[True]) <= {1.0}
    assert set(scores[False]) <= {0.0}
    assert len(scores[True]) + len(scores[False]) == len(record.rows)
    edits = [r.segments["heard"].scores["wer"] or 0.0 for r in chosen_rows(record, "heard", "wer", 99, best=False)]
    assert edits == sorted(edits, reverse=True)
    assert 0.0 not in edits


@pytest.mark.usefixtures("no_plots")
def test_the_verdicts_lead_and_figures_behind_true_segments_stand_apart(run: Path):
    """Previously, the page did not tell what the model does in use from what it does behind the true transcript."""
    page = squeezed(read_page(run_report(run)).text)
    found = find(run).explanations["test"]
    section = page[page.index("Which inputs are used") :]
    gloss = "With the true “heard” already given (a detail: in use the model has only what it wrote itself)"
    for segment in found.segments:
        for verdict in segment.verdicts:
            said = words.sentence(verdict.plain).removesuffix(".")
            assert said in section
            assert (section.index(said) > section.index(gloss)) == (
                segment.context == "true" and segment.segment == "answer"
            )
    assert section.index(words.sentence(found.primary[0].verdicts[0].plain).removesuffix(".")) < section.index(
        "bits per token ["
    )
    for shown in ("Token by token", "How much the model relies on each input", "Whether an input was left behind"):
        assert shown in section


@pytest.mark.usefixtures("no_plots")
def test_an_explanation_of_the_version_before_is_shown(run: Path):
    shutil.copy(FIXTURES / "before" / "finished" / "explain" / "test.json", run / "explain" / "test.json")
    text = squeezed(read_page(run_report(run)).text)
    assert "Text: not measurably used for “heard”" in text
    assert "With the true “heard” already given" in text
    assert "cannot be read" not in text
