"""`plait compare` from the configuration to the result, and everything that must not be done twice or wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from compare_helpers import ARMS
from safetensors.torch import load_file

import plait
from plait.compare import collect
from plait.compare.arms import CONSTANT
from plait.compare.records import lean
from plait.compare.result import ComparisonResult, Price, read_result
from plait.compare.statistics import Cost, score_table
from plait.evaluate import Row, read_record

NAMES = {"concat", "product", "text only", "image only", "audio only", "no input", "constant answer"}


@pytest.fixture(scope="session")
def result(compared: Path) -> ComparisonResult:
    return read_result(compared)


def own_copy(compared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compared, tmp_path / "compared"))


def assert_same_weights(one: Path, other: Path) -> None:
    """Bit for bit; the files' own order of their metadata is the library's business."""
    ours, theirs = load_file(one), load_file(other)
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_every_arm_is_there_at_every_seed(result: ComparisonResult):
    assert {arm.name for arm in result.arms} == NAMES
    assert all(arm.status == "done" and [s.seed for s in arm.seeds] == [0, 1] for arm in result.arms)
    assert result.arm("text only").role == "text only"
    scores = [arm.score for arm in result.arms]
    assert scores == sorted(scores, reverse=True)
    assert [arm.against is None for arm in result.arms] == [True] + [False] * (len(NAMES) - 1)


def test_scores_are_those_of_the_records(result: ComparisonResult, compared: Path):
    for arm in result.arms:
        if arm.role == "constant":
            continue
        values = []
        for seed in arm.seeds:
            assert seed.folder is not None
            summary = read_record(compared / seed.folder / "records" / "test.parquet").summary
            figure = summary.metrics["answer"]["accuracy"].value
            assert seed.score == pytest.approx(figure, abs=1e-12)
            values.append(seed.score)
        assert arm.score == pytest.approx(np.mean(values), abs=1e-12)


def test_the_constant_answer_scores_what_the_evaluation_says_of_it(result: ComparisonResult, compared: Path):
    summary = read_record(compared / "runs" / "concat" / "seed-0" / "records" / "test.parquet").summary
    constant = summary.metrics["answer"]["accuracy"].constant
    assert constant is not None
    assert result.arm("constant answer").score == pytest.approx(constant.value, abs=1e-12)


def test_an_arm_is_what_plait_train_makes_of_it(config: Path, compared: Path, tmp_path: Path):
    plait.train(config, tmp_path / "run", overrides=["fusion.kind=product", "seed=1"])
    assert_same_weights(
        tmp_path / "run" / "model.safetensors", compared / "runs" / "product" / "seed-1" / "model.safetensors"
    )


def test_the_scores_of_all_samples_are_in_one_table(result: ComparisonResult, compared: Path):
    table = parquet.read_table(compared / "scores.parquet")
    assert table.num_rows == len(NAMES) * 2 * result.metric.num_samples
    for arm in result.arms:
        rows = [
            share
            for name, share in zip(table["arm"].to_pylist(), table["share"].to_pylist(), strict=True)
            if name == arm.name
        ]
        assert np.mean(rows) == pytest.approx(arm.score, abs=1e-12)


def test_the_constant_answer_has_no_score_of_another_arm(result: ComparisonResult, compared: Path):
    """Previously its column `score` held what the first arm had scored."""
    rows = parquet.read_table(compared / "scores.parquet").to_pylist()
    mine = [row for row in rows if row["arm"] == "constant answer"]
    assert {row["score"] for row in mine} == {None}
    assert len({row["output"] for row in mine}) == 1


def test_prices_that_could_not_be_measured_are_measured_the_next_time(
    config: Path, compared: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    """Previously the failure was kept, and no price was ever shown in that folder."""
    folder = own_copy(compared, tmp_path)
    (folder / "prices.json").unlink()
    monkeypatch.setattr(collect, "price_task", json.loads)  # any function that fails
    code, out, _ = shell("compare", config, "--folder", folder, *ARMS)
    assert (code, "prices could not be measured: TypeError" in out) == (0, True)
    assert not (folder / "prices.json").exists()


def test_what_was_equal_was_found_out(result: ComparisonResult):
    terms = {term.name: term for term in result.terms}
    assert terms["training"].equal
    assert terms["numerics"].equal
    assert not terms["samples and their order"].equal
    assert "the same batches in concat and product" in terms["samples and their order"].detail


def test_the_best_arm_that_reads_something_is_explained(result: ComparisonResult):
    explained = [arm for arm in result.arms if arm.credits]
    assert len(explained) == 1
    assert all(credit.bits is not None for credit in explained[0].credits)


def stamps(folder: Path) -> dict[str, int]:
    """When each file of the runs was written."""
    return {str(path): path.stat().st_mtime_ns for path in sorted((folder / "runs").rglob("*")) if path.is_file()}


def test_the_same_command_trains_nothing_again(config: Path, compared: Path, tmp_path: Path, shell: Any):
    folder = own_copy(compared, tmp_path)
    before = stamps(folder)
    code, out, err = shell("compare", config, "--folder", folder, *ARMS, "--json")
    assert code == 0, err
    assert stamps(folder) == before
    again, first = json.loads(out), json.loads((compared / "result.json").read_text(encoding="utf-8"))
    assert [arm["score"] for arm in again["arms"]] == [arm["score"] for arm in first["arms"]]
    assert "Verdict: " in err


def test_a_seed_and_an_arm_more_are_added(config: Path, compared: Path, tmp_path: Path, shell: Any):
    folder = own_copy(compared, tmp_path)
    before = stamps(folder)
    words = (
        "--arms",
        "fusion.kind=concat,product,sum",
        "--no-baselines",
        "--seeds",
        3,
        "--price-seconds",
        0,
        "--explain",
        0,
    )
    code, _, err = shell("compare", config, "--folder", folder, *words, "--json")
    assert code == 0, err
    after = stamps(folder)
    assert {path: after[path] for path in before} == before
    made = {Path(path).parent.relative_to(folder / "runs") for path in set(after) - set(before) if "model" in path}
    runs = {Path("concat/seed-2"), Path("product/seed-2"), *(Path(f"sum/seed-{seed}") for seed in range(3))}
    assert runs <= made


def test_another_configuration_is_refused(config: Path, compared: Path, shell: Any):
    code, _, err = shell("compare", config, "train.steps=5", "--folder", compared, *ARMS)
    assert code == 2
    assert "was trained with another configuration:\n  train.steps: 4 → 5" in err
    assert "Take another --folder" in err


def test_an_arm_that_cannot_be_built_is_a_row_with_its_reason(config: Path, tmp_path: Path, shell: Any):
    words = ("--arms", "fusion.at=1,7", "--no-baselines", "--seeds", 1, "--price-seconds", 0, "--explain", 0)
    for match in ("parameters", "none"):
        folder = tmp_path / match
        code, _, err = shell("compare", config, "lm.layers=2", "--folder", folder, *words, "--match", match)
        assert code == 2
        assert "nothing is left to compare (at=7:" in err
        assert "place 7 does not exist: the language model has 2 blocks" in err
    code, out, _ = shell("compare", config, "--folder", tmp_path / "row", *words, "--arms", "width=16,24")
    assert code == 0
    assert "at=7 16: failed: " in out.replace("width=", "")
    assert len(read_result(tmp_path / "row").arms) == 4


def test_learning_rates_are_tried_alike(config: Path, tmp_path: Path, shell: Any):
    folder = tmp_path / "rates"
    words = ("--arms", "fusion.kind=concat,sum", "--no-baselines", "--seeds", 1, "--price-seconds", 0, "--explain", 0)
    code, _, err = shell("compare", config, "--folder", folder, *words, "--learning-rates", "1e-5,1e-2")
    assert code == 0, err
    trials = sorted(
        str(path.parent.relative_to(folder / "trials")) for path in folder.glob("trials/*/*/model.safetensors")
    )
    assert trials == ["concat/lr-0.01", "concat/lr-1e-05", "sum/lr-0.01", "sum/lr-1e-05"]
    for arm in read_result(folder).arms:
        assert arm.seeds[0].folder is not None
        assert plait.load(folder / arm.seeds[0].folder).run.config.train.learning_rate == 1e-2
        assert "learning rate 0.01, of trials with held-out bits per token 1e-05: " in arm.notes[0]


def test_a_race_drops_only_what_is_measurably_worse(config: Path, tmp_path: Path, shell: Any):
    folder = tmp_path / "race"
    arms = tmp_path / "arms.yaml"
    arms.write_text(
        "good: {train.learning_rate: 0.01}\nalike: {train.learning_rate: 0.011}\nbad: {train.learning_rate: 1.0e-9}\n",
        encoding="utf-8",
    )
    words = ("--arms", arms, "--no-baselines", "--seeds", 2, "--price-seconds", 0, "--explain", 0, "--race")
    code, out, err = shell("compare", config, "train.steps=80", "train.evaluate_every=80", "--folder", folder, *words)
    assert code == 0, err
    result = read_result(folder)
    assert {arm.name: arm.status for arm in result.arms} == {"good": "done", "alike": "done", "bad": "dropped"}
    found = re.search(r"steps (\S+) bits per token \[(\S+), (\S+)\] worse than", result.arm("bad").reason)
    assert found is not None
    value, low, high = map(float, found.groups())
    assert 0 < low < value < high
    assert "the race " in result.saved
    assert not (folder / "runs" / "bad").exists()
    assert "bad: dropped: after 20 steps" in " ".join(out.split())


def test_a_race_between_tokenizers_is_run_by_characters_and_leaves_two(config: Path, tmp_path: Path, shell: Any):
    """Previously the first rung ended in a message (bits per token cannot be compared), or all arms but one were dropped."""
    axes = ("--arms", "data.tokenizer.kind=word,character", "--arms", "fusion.kind=concat,product")
    words = (*axes, "--no-baselines", "--seeds", 1, "--price-seconds", 0, "--explain", 0, "--race")
    code, _, err = shell("compare", config, "--folder", tmp_path / "race", *words)
    assert code == 0, err
    result = read_result(tmp_path / "race")
    assert sum(arm.status == "done" for arm in result.arms) >= 2
    assert all("bits per character" in arm.reason for arm in result.arms if arm.status == "dropped")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learning-rates", "fast"], "--learning-rates: 'fast' is no list of numbers"),
        (["--learning-rates", "1e-3,-1"], "Give each rate once, above 0"),
        (["--learning-rates", "1e-3,nan"], "Give each rate once, above 0"),
        (["--arms", "data.inputs=null,[text, image, audio]"], "are the same configuration with everything stated"),
        (
            ["--arms", "train.learning_rate=0.1,0.2", "--learning-rates", "0.1,0.2"],
            "are the same configuration with the rates that all arms try",
        ),
        (["--match", "weight"], "--match: 'weight' cannot be matched"),
        (["--arms", "fusion.kind=concat,concat"], "are the same configuration"),
        (["--arms", "fusion.kind=sum", "--no-baselines"], "--arms: 'sum' is the only arm"),
        (["--segment", "anser"], "no segment 'anser'"),
        (["--metric", "accurcy"], "no metric 'accurcy'"),
        (["evaluate.metrics={answer: bleu}", "--metric", "bleu"], "bleu is no sum over samples"),
        (["--from", "/nowhere"], "run.yaml: these runs are trained already"),
        (
            ["--arms", "evaluate.split=test,tune"],
            "--arms: 'split=tune' is evaluated on the split 'tune', others on 'test'",
        ),
        (["--from", "/nowhere", "--race"], "--from beside --race: these runs are trained already"),
    ],
)
def test_mistakes_are_one_message(words: list[str], message: str, config: Path, tmp_path: Path, shell: Any):
    code, out, err = shell("compare", config, "--folder", tmp_path / "c", "--json", *words, "--seeds", 1)
    assert code == 2
    assert message in err
    assert json.loads(out)["exit_code"] == 2
    assert not list(tmp_path.rglob("model.safetensors")), "the mistake could have been told before anything was trained"


def test_a_split_too_small_is_refused_before_anything_is_trained(tmp_path: Path, config: Path, shell: Any):
    rows = [json.loads(line) for line in (config.parent / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [row for i, row in enumerate(rows) if row["split"] != "test" or i == 5]
    manifest = config.parent / "small.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    code, _, err = shell("compare", config, f"data.manifest={manifest}", "--folder", tmp_path / "c", *ARMS)
    assert code == 2
    assert "1 sample in split 'test': too small for any verdict" in err
    assert not (tmp_path / "c").exists()


def test_samples_of_one_speaker_are_compared_and_the_verdict_says_so(tmp_path: Path, config: Path, shell: Any):
    """Leave one speaker out is the standard in speech. Previously it was refused."""
    rows = [json.loads(line) for line in (config.parent / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    manifest = config.parent / "one_voice.jsonl"
    rows = [{**row, "group": {"speaker": "anna"}} if row["split"] == "test" else row for row in rows]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, out, _ = shell("compare", config, f"data.manifest={manifest}", "--folder", tmp_path / "c", *ARMS)
    assert code == 0
    assert "of these samples only, which share one speaker: nothing is said about another" in " ".join(out.split())


def test_what_a_kill_left_half_written_is_no_hindrance(config: Path, compared: Path, tmp_path: Path, shell: Any):
    """Previously `.result.json.part` made the folder "no comparison", so that a killed one could not go on."""
    folder = own_copy(compared, tmp_path)
    for name in (".result.json.part", ".report.html.part", "for-anna.html"):
        (folder / name).write_text("half", encoding="utf-8")
    code, _, err = shell("compare", config, "--folder", folder, *ARMS)
    assert code == 0, err


def test_runs_are_not_compared_into_a_file_or_a_strange_folder(compared: Path, tmp_path: Path, shell: Any):
    (tmp_path / "file").touch()
    for folder, message in (
        (tmp_path / "file", "is a file"),
        (tmp_path, "holds 'file', so it is no comparison"),
        (compared, "holds a comparison with its own trainings"),
    ):
        code, _, err = shell("compare", "--from", compared / "runs" / "concat" / "seed-0", "--folder", folder)
        assert code == 2
        assert message in err


def test_another_folder_is_not_touched(tmp_path: Path, config: Path, shell: Any):
    (tmp_path / "photo.jpg").touch()
    code, _, err = shell("compare", config, "--folder", tmp_path, *ARMS)
    assert (code, sorted(p.name for p in tmp_path.iterdir())) == (2, ["photo.jpg"])
    assert "holds 'photo.jpg', so it is no comparison" in err


def test_runs_that_exist_are_compared_alike(compared: Path, result: ComparisonResult, tmp_path: Path, shell: Any):
    runs = sorted(compared.glob("runs/*/seed-*"))
    code, out, err = shell(
        "compare", "--from", *runs, "--folder", tmp_path / "c", "--price-seconds", 0, "--explain", 0, "--json"
    )
    assert code == 0, err
    again = {arm["name"]: arm for arm in json.loads(out)["arms"]}
    for arm in result.arms:
        other = again[arm.name]
        assert (other["score"], other["role"]) == (arm.score, arm.role)
        assert [seed["score"] for seed in other["seeds"]] == [seed.score for seed in arm.seeds]
    assert out.count('"p":') == len(NAMES) - 1
    assert "in place of" not in err
    code, out, _ = shell("compare", "--from", *runs, "--folder", tmp_path / "c", "--price-seconds", 0, "--explain", 0)
    assert code == 0
    assert "in place of what" in out


def test_seconds_of_a_clock_decide_nothing():
    told = collect.cost_of("a", Price(parameters=10, train_seconds=3.0))
    assert told == Cost(10, None)
    assert collect.cost_of("a", Price(parameters=10, train_seconds=3.0, step_seconds=0.1)) == Cost(10, 3.0)
    assert collect.cost_of(CONSTANT, Price()) == Cost(0, 0.0)


def test_records_are_held_once_and_say_the_same(compared: Path):
    records = {
        seed: read_record(compared / "runs" / "concat" / f"seed-{seed}" / "records" / "test.parquet") for seed in (0, 1)
    }
    other = {seed: replace(one, rows=one.rows[::-1]) for seed, one in records.items()}
    known: dict[str, Row] = {}
    held = {
        arm: {seed: lean(one, "heard", known) for seed, one in of.items()}
        for arm, of in {"a": records, "b": other}.items()
    }
    ours, theirs = (score_table(some, segment="heard", metric="wer") for some in (held, {"a": records, "b": other}))
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.ids == theirs.ids
    assert held["a"][1].rows[0].groups is held["b"][0].rows[-1].groups
    assert held["a"][1].rows[0].segments.keys() == {"heard"}
    assert lean(records[0], "no such", {}) is records[0]


@pytest.mark.parametrize(
    ("segment", "metric"), [("answer", "bits_per_token"), ("heard", "bits_per_token"), ("answer", "accuracy")]
)
def test_a_loss_behind_a_true_transcript_is_said_to_be_one(
    segment: str, metric: str, compared: Path, tmp_path: Path, shell: Any
):
    runs = [compared / "runs" / arm / "seed-0" for arm in ("concat", "product")]
    words = ["--segment", segment, "--metric", metric, "--price-seconds", 0, "--explain", 0, "--json"]
    code, out, err = shell("compare", "--from", *runs, "--folder", tmp_path / "c", *words)
    assert code == 0, err
    code, text, _ = shell("compare", "--from", *runs, "--folder", tmp_path / "c", *words[:-1])
    assert code == 0
    assert ("constant answer: not scored: " in text) is (metric != "accuracy")
    said = any("with the true `heard` before it" in note for note in json.loads(out)["notes"])
    assert said is ((segment, metric) == ("answer", "bits_per_token"))


def test_encoders_of_other_runs_stay_as_they_are_and_are_computed_once(
    config: Path, compared: Path, tmp_path: Path, shell: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    runs = {m: compared / "runs" / f"{m}-only" / "seed-0" for m in ("image", "audio")}
    words = [*ARMS, "--no-baselines", "--explain", 0, "--seeds", 1, "--price-seconds", 1, "--json"]
    froms = [word for run in runs.values() for word in ("--encoders-from", run)]
    code, out, err = shell("compare", config, "--folder", tmp_path / "c", *words, *froms)
    assert code == 0, err
    found = json.loads(out)
    learnt = {term["name"]: term["detail"] for term in found["terms"] if term["name"].endswith("encoder")}
    assert learnt == dict.fromkeys(("image encoder", "audio encoder"), "learnt in a run that reads nothing else")
    assert any(note.startswith("features of audio and image come from the cache") for note in found["notes"])
    for arm in ("concat", "product"):
        ours = load_file(tmp_path / "c" / "runs" / arm / "seed-0" / "model.safetensors")
        for modality, run in runs.items():
            theirs = {
                k: v
                for k, v in load_file(run / "model.safetensors").items()
                if k.startswith(f"encoders.input_{modality}.")
            }
            assert theirs
            assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert len(list((tmp_path / "cache" / "features").iterdir())) == len(runs)


def test_runs_of_different_samples_are_refused(compared: Path, tmp_path: Path, config: Path, shell: Any):
    rows = [json.loads(line) for line in (config.parent / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows[:12]:
        row["split"] = "train" if row["split"] == "test" else row["split"]
    other = config.parent / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    plait.train(config, tmp_path / "run", overrides=[f"data.manifest={other}", "width=24"]).evaluate()
    code, _, err = shell(
        "compare", "--from", compared / "runs" / "concat" / "seed-0", tmp_path / "run", "--folder", tmp_path / "c"
    )
    assert code == 2
    assert "6 of 8 sample ids are shared" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_it_goes_on_and_ends_the_same(
    number: signal.Signals, config: Path, compared: Path, tmp_path: Path
):
    """Killed again and again until it gets through: the same weights and scores as if it had never been."""
    folder, printed = tmp_path / "killed", tmp_path / "printed"
    words = [sys.executable, "-m", "plait", "compare", str(config), "--folder", str(folder), *ARMS]
    environment, kills = {**os.environ, "OMP_NUM_THREADS": "1"}, 0
    while True:
        with printed.open("w", encoding="utf-8") as file:
            child = subprocess.Popen(words, stdout=file, stderr=file, env=environment, start_new_session=True)
            try:
                code = child.wait(timeout=6 * 1.6**kills)
                break
            except subprocess.TimeoutExpired:
                child.send_signal(number)
                child.wait(timeout=30)
                time.sleep(2.5)  # its tasks end within a second or two
                kills += 1
        assert kills < 20
    assert code == 0, printed.read_text(encoding="utf-8")
    assert kills > 0
    for path in sorted(compared.glob("runs/*/*/model.safetensors")):
        assert_same_weights(folder / path.relative_to(compared), path)
    assert [(a.name, a.score) for a in read_result(folder).arms] == [
        (a.name, a.score) for a in read_result(compared).arms
    ]
