"""Logs that inspect_ai itself wrote (see tests/fixtures/others): its own figures are the golden values."""

from __future__ import annotations

import json
import math
import shutil
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from others_helpers import FIXTURES, LARGE, SMALL, drawn, write_inspect_eval, write_inspect_json

from plait.compare.compared import Settings
from plait.compare.others import compare_others, inspect_ai, read_source
from plait.compare.others.compare import gathered
from plait.compare.others.inspect_ai import number
from plait.compare.others.sheet import NoNumber
from plait.errors import UserError


def own_figures(path: Path) -> dict[str, float]:
    """What inspect_ai says of each score: `accuracy` or `mean`."""
    header, _, _ = inspect_ai.archive(path)
    return {
        (one["name"] if one["name"] == one["scorer"] else f"{one['scorer']}.{one['name']}"): value["value"]
        for one in header["results"]["scores"]
        for name, value in one["metrics"].items()
        if name in ("accuracy", "mean")
    }


def test_the_mean_over_samples_and_epochs_is_inspects_own_figure():
    (sheet,) = read_source(SMALL)
    figures = own_figures(SMALL)
    assert set(figures) == {"match", "overlap", "judged.fluent", "judged.graded"}
    for metric, value in figures.items():
        numbers = [sheet.number(row.scores[metric]) for row in sheet.rows]
        assert np.mean([n for n in numbers if n is not None]) == pytest.approx(value, rel=1e-12)


def test_real_logs_are_compared_with_their_epochs_and_speakers(tmp_path: Path):
    result = compare_others([SMALL, LARGE], Settings(tmp_path / "out", (0,)), group_by=["speaker"])
    assert [arm.name for arm in result.arms] == ["mockllm/large", "mockllm/small"]
    assert (result.metric.segment, result.metric.name, result.metric.num_samples) == ("spoken", "match", 11)
    assert dict(result.metric.num_groups) == {"speaker": 6}
    assert result.seeds == (0,), "epochs are no trainings"
    told = " ".join(result.decision.further)
    assert (
        "left out: 1 of 12 samples: 1 without a score in some arm or seed (RuntimeError('the recording cannot" in told
    )
    assert any("also in these files: overlap, judged.fluent, judged.graded" in note for note in result.notes)
    terms = {term.name: term for term in result.terms}
    assert terms["targets"].equal
    assert terms["settings"].detail == "the files differ in task.fails"


def test_a_sample_that_a_scorer_could_not_score_is_left_out_with_its_reason(tmp_path: Path):
    _, found, _ = gathered([SMALL, LARGE], Settings(tmp_path / "out", (0,), metric="overlap"))
    assert len(found.table.ids) == 10
    assert found.table.notes[0] == "left out: 2 of 12 samples: 2 without a score in some arm or seed (no_response)"


def test_both_kinds_of_log_say_the_same():
    (packed,), (text,) = read_source(SMALL, ["speaker"]), read_source(SMALL.with_suffix(".json"), ["speaker"])
    rows = {(row.id, row.seed): row for row in packed.rows}
    assert len(text.rows) == 2 * 3
    assert (text.arm, text.task, dict(text.settings)) == (packed.arm, packed.task, dict(packed.settings))
    for row in text.rows:
        assert row == rows[row.id, row.seed]


def test_words_that_are_no_scores_are_refused_with_file_and_sample(tmp_path: Path):
    with pytest.raises(
        UserError, match=r"inspect_small.eval, sample word-0: the score tone is 'calm', which is no number"
    ):
        compare_others([SMALL, LARGE], Settings(tmp_path / "out", (0,), metric="tone"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("C", 1),
        ("P", 0.5),
        ("I", 0),
        ("N", 0),
        ("yes", 1),
        ("No", 0),
        (True, 1),
        (3, 3),
        ("0.25", 0.25),
        (math.nan, None),
    ],
)
def test_scores_become_numbers_as_inspect_ai_has_them(value: Any, expected: float | None):
    """`value_to_float` of inspect_ai 0.3.285."""
    assert number(value) == expected


@pytest.mark.parametrize("value", ["c", "A", "calm", [1], {"a": 1}, math.inf, 10**400])
def test_what_inspect_ai_would_count_as_zero_is_no_number(value: Any):
    """inspect_ai warns and takes 0 for what it does not know."""
    with pytest.raises(NoNumber):
        number(value)


def rewritten(source: Path, target: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes | None) -> Path:
    """A log with the members that are read, some exchanged or left out."""
    header, samples, _ = inspect_ai.archive(source)
    texts = {"header.json": json.dumps(header).encode(), "summaries.json": json.dumps(samples).encode()}
    texts |= {name.replace("__", "/") + ".json": text for name, text in members.items() if text is not None}
    with zipfile.ZipFile(target, "w", method) as file:
        for name, text in texts.items():
            if members.get(name.removesuffix(".json"), b"") is not None:
                file.writestr(name, text)
    return target


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_older_logs_are_packed_in_other_ways(method: int, tmp_path: Path):
    """The fixtures themselves are packed by Zstandard, which Python 3.11 cannot read."""
    with zipfile.ZipFile(SMALL) as file:
        assert file.getinfo("summaries.json").compress_type == inspect_ai.ZSTANDARD
    (other,), (sheet,) = read_source(rewritten(SMALL, tmp_path / "a.eval", method)), read_source(SMALL)
    assert other.rows == sheet.rows


def test_a_log_of_a_killed_evaluation_is_read_as_far_as_its_journal_goes(tmp_path: Path):
    header, samples, _ = inspect_ai.archive(SMALL)
    start = {"version": 2, "eval": header["eval"], "plan": header["plan"]}
    again = {**samples[0], "scores": {"match": {"value": "N"}}}
    path = rewritten(
        SMALL,
        tmp_path / "a.eval",
        header=None,
        summaries=None,
        _journal__start=json.dumps(start).encode(),
        _journal__summaries__1=json.dumps(samples[:5]).encode(),
        _journal__summaries__10=json.dumps([again]).encode(),
        _journal__summaries__2=json.dumps(samples[5:8]).encode(),
    )
    (sheet,) = read_source(path)
    assert len(sheet.rows) == 8
    assert sheet.rows[0].scores == {"match": "N"}, "the last of two that were run"
    assert "the evaluation did not finish (started)" in sheet.notes[0]


def bomb(path: Path, method: int, num_mib: int) -> Path:
    """An archive of a few KB whose summaries are far larger."""
    with zipfile.ZipFile(
        path, "w", zipfile.ZIP_DEFLATED if method == zipfile.ZIP_DEFLATED else zipfile.ZIP_STORED
    ) as file:
        file.writestr("header.json", "{}")
        if method == zipfile.ZIP_DEFLATED:
            with file.open("summaries.json", "w") as inner:
                for _ in range(num_mib):
                    inner.write(bytes(2**20))
            return path
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            for _ in range(num_mib):
                stream.write(bytes(2**20))
        file.writestr("summaries.json", sink.getvalue().to_pybytes())
    data = bytearray(path.read_bytes())
    place = data.rfind(b"PK\x01\x02")
    data[place + 10 : place + 12] = struct.pack("<H", method)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, inspect_ai.ZSTANDARD])
def test_a_member_that_unpacks_to_far_more_than_a_log_is_refused(method: int, tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(inspect_ai, "FREE_BYTES", 2**20)
    with pytest.raises(UserError, match=r"summaries.json: unpacks to more than [\d,]+ bytes"):
        read_source(bomb(tmp_path / "a.eval", method, 64))


def test_names_in_an_archive_lead_nowhere(tmp_path: Path):
    """Only members of known names are read, and nothing is written."""
    path = rewritten(SMALL, tmp_path / "a.eval", **{"..__..__evil": b"[]"})
    before = sorted(tmp_path.parent.rglob("*"))
    read_source(path)
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_damaged_member_is_told_by_its_checksum(tmp_path: Path):
    path = rewritten(SMALL, tmp_path / "a.eval", zipfile.ZIP_STORED)
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"value": "C"', b'"value": "I"', 1))
    with pytest.raises(UserError, match="is damaged: its checksum differs"):
        read_source(path)


def test_a_copy_of_a_log_under_another_name_is_the_same_evaluation(tmp_path: Path):
    """Previously it would have counted as epochs that agree in everything."""
    copy = Path(shutil.copy(SMALL, tmp_path / "again.eval"))
    with pytest.raises(UserError, match=r"again.eval: is the same evaluation as .*inspect_small.eval"):
        compare_others([SMALL, copy, LARGE], Settings(tmp_path / "out", (0,)))


def test_settings_make_arms_of_one_model_and_name_them(tmp_path: Path):
    scores = drawn(arms={"acme/one": 0.0, "acme/two": 0.0})
    paths = [Path(path) for path in write_inspect_json(tmp_path, scores)]
    for temperature, path in zip((0.0, 0.7), paths, strict=True):
        log = json.loads(path.read_text(encoding="utf-8"))
        log["eval"] |= {"model": "acme/one", "model_generate_config": {"temperature": temperature, "seed": temperature}}
        path.write_text(json.dumps(log), encoding="utf-8")
    _, found, _ = gathered(paths, Settings(tmp_path / "out", (0,)))
    assert set(found.table.arms) == {
        "acme/one, config.temperature=0.0",
        "acme/one, config.temperature=0.7",
    }


def test_logs_of_one_model_are_one_arm_and_its_seeds_are_counted_on(tmp_path: Path):
    scores = drawn(num_seeds=4, arms={"acme/one": 0.0, "acme/two": 0.5})
    halves = [{arm: values[half] for arm, values in scores.items()} for half in (slice(0, 2), slice(2, 4))]
    paths = []
    for i, half in enumerate(halves):
        (tmp_path / str(i)).mkdir()
        for path in map(Path, write_inspect_eval(tmp_path / str(i), half)):
            header, _, _ = inspect_ai.archive(path)
            header["eval"]["eval_id"] += str(i)
            paths.append(rewritten(path, path.with_suffix(".2.eval"), header=json.dumps(header).encode()))
    result = compare_others(paths, Settings(tmp_path / "out", (0,)))
    assert result.seeds == (0,)
    for arm in result.arms:
        assert [seed.score for seed in arm.seeds] == [pytest.approx(float(scores[arm.name].mean()))]
    assert any("the mean over 4 epochs or runs of the same model" in one for one in result.decision.further)


def test_metadata_that_the_log_left_out_cannot_group(tmp_path: Path):
    (path,) = map(Path, write_inspect_json(tmp_path, drawn(arms={"a": 0.0})))
    path.write_text(path.read_text(encoding="utf-8").replace('"s1"', f'"{inspect_ai.REMOVED}"'), encoding="utf-8")
    with pytest.raises(UserError, match="the metadata 'speaker' are too large to group by"):
        read_source(path, ["speaker"])


def test_the_fixtures_are_there():
    assert {path.suffix for path in FIXTURES.glob("inspect_*")} == {".eval", ".json"}
