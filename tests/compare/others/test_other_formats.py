"""The contract of every format: the same scores give the same statistics, whatever file they come in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from others_helpers import WRITERS, drawn, speaker

from plait.compare.compared import Settings
from plait.compare.others import FORMATS, compare_others, read_source
from plait.compare.others.compare import gathered
from plait.compare.result import read_result
from plait.compare.statistics import ScoreTable, decide
from plait.errors import UserError

SCORES = drawn()
PLAIN = ("csv", "tsv", "json lines", "parquet")


@pytest.fixture(scope="module")
def expected() -> ScoreTable:
    """The table itself, made without any file."""
    num = 40
    groups = {"speaker": np.arange(num) % 8}
    return ScoreTable(
        tuple(SCORES), (0, 1, 2), tuple(f"q{i}" for i in range(num)), np.stack([*SCORES.values()]), groups,
        split="", segment="quiz", metric="right", higher_is_better=True, percent=True,
    )  # fmt: skip


def averaged(table: ScoreTable) -> ScoreTable:
    """What the logs of others hold: epochs and runs of one model, which are no seeds."""
    note = "each score is the mean over 3 epochs or runs of the same model: nothing is said of models trained again"
    return replace(table, values=table.values.mean(axis=1, keepdims=True), seeds=(0,), notes=(note,))


@pytest.mark.parametrize("kind", WRITERS)
def test_the_same_scores_give_the_same_table(kind: str, expected: ScoreTable, tmp_path: Path):
    """All that the statistics take: they draw nothing at random, so the verdict is the same as well."""
    files = [Path(file) for file in WRITERS[kind](tmp_path, SCORES)]
    _, found, _ = gathered(files, Settings(tmp_path / "out", (0,)), group_by=["speaker"])
    expected = expected if kind in PLAIN else averaged(expected)
    for field in ("arms", "seeds", "segment", "metric", "higher_is_better", "percent", "notes", "split"):
        wanted = "samples" if field == "segment" and kind in PLAIN else getattr(expected, field)
        assert getattr(found.table, field) == wanted, field
    assert [id.removeprefix("q") for id in found.table.ids] == [id.removeprefix("q") for id in expected.ids]
    assert (found.table.values == expected.values).all()
    assert {name: group.tolist() for name, group in found.table.groupings.items()} == {
        name: group.tolist() for name, group in expected.groupings.items()
    }


def test_the_verdict_is_that_of_the_table(expected: ScoreTable, tmp_path: Path):
    files = [Path(file) for file in WRITERS["inspect .eval"](tmp_path, SCORES)]
    result = compare_others(files, Settings(tmp_path / "out", (0,)), group_by=["speaker"])
    expected = averaged(expected)
    told = decide(expected, candidates=expected.arms)
    assert [arm.name for arm in result.arms] == list(told.ranking)
    assert result.decision.kind == told.verdict.kind == "winner"
    assert result.decision.sentence == told.verdict.sentence
    assert result.decision.detectable == pytest.approx(told.verdict.detectable)
    for arm in result.arms[1:]:
        of = told.differences[arm.name]
        assert arm.against is not None
        found = (arm.against.value, arm.against.low, arm.against.high, arm.against.p)
        assert found == pytest.approx((of.value, of.low, of.high, of.p))
    assert dict(result.metric.num_groups) == {"speaker": 8}
    assert read_result(tmp_path / "out") == result


@pytest.mark.parametrize("kind", WRITERS)
def test_every_sample_keeps_its_group_and_target(kind: str, tmp_path: Path):
    for file in WRITERS[kind](tmp_path, SCORES):
        for sheet in read_source(Path(file), ["speaker"]):
            for row in sheet.rows:
                i = int(row.id.removeprefix("q"))
                assert (row.groups, row.target) == ({"speaker": speaker(i)}, f"t{i}")


@pytest.mark.parametrize("kind", WRITERS)
def test_a_key_that_no_sample_has_is_refused_with_those_that_there_are(kind: str, tmp_path: Path):
    file = WRITERS[kind](tmp_path, SCORES)[0]
    with pytest.raises(UserError, match=r"no sample has 'speakr', of --group-by.*Did you mean 'speaker'"):
        read_source(Path(file), ["speakr"])


@pytest.mark.parametrize("kind", WRITERS)
def test_a_copy_of_a_file_is_no_second_run(kind: str, tmp_path: Path):
    """A copy would say that the model answers the same whenever it is asked."""
    files = WRITERS[kind](tmp_path, SCORES)
    with pytest.raises(UserError, match="are the same file"):
        compare_others([Path(file) for file in (*files, files[0])], Settings(tmp_path / "out", (0,)))


def test_every_format_is_written_by_one_of_the_writers(tmp_path: Path):
    """A new format without a writer here would escape the contract."""
    read = set()
    for kind, write in WRITERS.items():
        (tmp_path / kind).mkdir()
        path = Path(write(tmp_path / kind, SCORES)[0])
        read.add(next(one.name for one in FORMATS if one.fits(path, path.read_bytes()[:4096])))
    assert read == {one.name for one in FORMATS}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"hello", "holds no scores of a kind that is read here.*inspect_ai.*lmms-eval.*id and score"),
        ("results.json", b'{"results": {}}', "holds no scores of a kind"),
        ("empty.csv", b" \n", "is empty"),
        ("head.csv", b"id,score\n", "holds no samples"),
        ("other.csv", b"name,points\na,1\n", "has no column id and no column score .it has name, points"),
        ("log.eval", b"nothing", "is not a whole archive"),
        ("log.json", b'{"version": 2, "eval": {}}', "the log holds no samples"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_source(tmp_path / name)
