"""Samples that lm-evaluation-harness and lmms-eval themselves wrote: their own results are the golden values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from others_helpers import FIXTURES

from plait.compare.compared import Settings
from plait.compare.others import compare_others, read_source
from plait.compare.others.compare import gathered
from plait.errors import UserError

HARNESS = sorted((FIXTURES / "lm_eval").glob("*/samples_*.jsonl"))
MULTIMODAL = sorted((FIXTURES / "lmms_eval").glob("*/*_samples_*.jsonl"))


def results_of(samples: Path) -> dict:
    """The results beside the samples."""
    name = samples.name.replace("samples_signs", "results").replace("_samples_signs", "_results").removesuffix("l")
    return json.loads(samples.with_name(name).read_text(encoding="utf-8"))["results"]["signs"]


@pytest.mark.parametrize(
    "path", [*HARNESS, *MULTIMODAL], ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}/{path.name[-12:]}"
)
def test_the_mean_over_questions_is_the_harness_own_figure(path: Path):
    (sheet,) = read_source(path)
    checked = 0
    for name, value in results_of(path).items():
        base, _, filter = name.partition(",")
        if not filter or "stderr" in base:
            continue
        metric = f"{base}.score" if base == "perception" else base
        metric = metric if filter == "none" else f"{metric},{filter}"
        numbers = [sheet.number(row.scores[metric]) for row in sheet.rows if metric in row.scores]
        assert np.mean([n for n in numbers if n is not None]) == pytest.approx(value, rel=1e-12)
        checked += 1
    assert checked == (6 if path in HARNESS else 3)


@pytest.mark.parametrize(
    ("files", "group", "metric"),
    [
        (HARNESS, "picture", "exact_match,strict"),
        (HARNESS, "doc.picture", "exact_match,strict"),
        (MULTIMODAL, "input_media", "exact_match"),
    ],
)
def test_real_samples_are_compared(files: list[Path], group: str, metric: str, tmp_path: Path):
    result = compare_others(files, Settings(tmp_path / "out", (0,)), group_by=[group])
    assert [arm.name for arm in result.arms] == ["acme/large", "acme/small"]
    assert (result.metric.segment, result.metric.name, result.metric.num_samples) == ("signs", metric, 12)
    assert (dict(result.metric.num_groups), result.seeds) == ({group: 6}, (0,))
    terms = {term.name: term for term in result.terms}
    assert terms["settings"].equal
    assert "generation.temperature 0.7" in terms["settings"].detail
    assert "model.dtype bfloat16" in terms["settings"].detail


def test_the_results_say_which_metric_is_better_low(tmp_path: Path):
    """`wer`: the name would say so as well; the file's word needs no note."""
    result = compare_others(MULTIMODAL, Settings(tmp_path / "out", (0,), metric="wer"))
    assert not result.metric.higher_is_better
    assert result.decision.take == "acme/large"
    assert not any("taken to be better" in line for line in result.decision.further)


def test_a_metric_of_part_of_the_questions_is_compared_on_those(tmp_path: Path):
    """As MME has it: a mapping with the picture, the category and the score."""
    wanted = Settings(tmp_path / "out", (0,), metric="perception")
    _, found, _ = gathered(MULTIMODAL, wanted, group_by=["perception.question_id"])
    assert (found.table.metric, len(found.table.ids)) == ("perception.score", 6)
    assert found.table.notes[0] == "left out: 6 of 12 samples: 6 without a score in some arm or seed"


def test_of_several_filters_one_must_be_chosen(tmp_path: Path):
    with pytest.raises(UserError, match=r"several metrics are called 'wer'.*--metric: wer,strict; wer,flexible"):
        compare_others(HARNESS, Settings(tmp_path / "out", (0,), metric="wer"))
    _, found, _ = gathered(HARNESS, Settings(tmp_path / "out", (0,), metric="wer,flexible"))
    assert found.table.metric == "wer,flexible"


def test_without_the_results_the_folder_names_the_model_and_that_is_said(tmp_path: Path):
    place = tmp_path / "acme__large"
    place.mkdir()
    (sheet,) = read_source(Path(shutil.copy(HARNESS[0], place)))
    assert sheet.arm == "acme__large"
    assert "the results beside it were not found" in sheet.notes[0]


def test_a_question_that_stands_twice_is_refused(tmp_path: Path):
    path = tmp_path / "samples_x.jsonl"
    path.write_text('{"doc_id": 1, "acc": 1}\n{"doc_id": 1, "acc": 0}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"samples_x.jsonl:2: the question 1 stands twice"):
        read_source(path)


def test_an_answer_called_c_is_no_score_here(tmp_path: Path):
    """Letters are scores in logs of inspect_ai only: here they are choices."""
    for name, letter in (("a", "C"), ("b", "B")):
        (tmp_path / name).mkdir()
        text = f'{{"doc_id": 1, "pred": "{letter}"}}\n'
        (tmp_path / name / "samples_x.jsonl").write_text(text, encoding="utf-8")
    files = [tmp_path / name / "samples_x.jsonl" for name in "ab"]
    with pytest.raises(UserError, match="the score pred is 'C', which is no number"):
        compare_others(files, Settings(tmp_path / "out", (0,), metric="pred"))
