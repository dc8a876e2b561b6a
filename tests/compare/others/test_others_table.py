"""Which samples are compared, what is refused, and what a metric's name says: on plain tables, whose rules all formats share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from others_helpers import drawn, write_csv

from plait.compare.compared import Settings
from plait.compare.others import compare_others
from plait.compare.others.compare import gathered
from plait.compare.others.sheet import NoNumber, plain_number
from plait.errors import UserError


def compare(tmp_path: Path, text: str, **options: Any) -> Any:
    """Two arms in one table."""
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    wanted = Settings(tmp_path / "out", (0,), metric=options.pop("metric", None), segment=options.pop("segment", None))
    _, found, notes = gathered([tmp_path / "t.csv"], wanted, **options)
    return found.table, notes


def rows(*lines: str) -> str:
    return "\n".join(lines) + "\n"


FIVE = [f"{arm},{i},{(i + (arm == 'b')) % 2}" for arm in "ab" for i in range(5)]


def test_samples_that_an_arm_lacks_are_left_out_of_all_and_counted(tmp_path: Path):
    table, _ = compare(tmp_path, rows("arm,id,score", *FIVE, "a,5,1", "b,6,1", "a,7,1", "b,7,"))
    assert len(table.ids) == 5
    assert (
        "left out: 3 of 8 samples: 2 missing in some arm or seed, 1 without a score in some arm or seed" in table.notes
    )


def test_seeds_that_an_arm_lacks_are_left_out_and_named(tmp_path: Path):
    lines = [f"{line},{seed}" for line in FIVE for seed in (0, 1, 2) if seed < 2 or line[0] == "a"]
    table, _ = compare(tmp_path, rows("arm,id,score,seed", *lines))
    assert table.seeds == (0, 1)
    assert "left out: a at seed 2, which other arms lack" in table.notes


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["arm,id,score", *FIVE, "a,1,1"], r"t.csv:12: the sample 1 of a at seed 0 stands twice"),
        (["arm,id,score", "a,1,1", "b,2,1"], "no sample is in every arm and seed"),
        (["arm,id,score", "a,1,1", "a,2,1"], r"one arm alone \(a\): nothing to compare"),
        (["arm,id,score", *FIVE, "a,9,x"], "these files have no metric of numbers in common"),
        (["arm,id,score,seed", "a,1,1,0", "b,1,1,1"], r"no seed that all arms have \(a: 0; b: 1\)"),
        (["arm,id,score,seed", "a,1,1,x"], r"t.csv:2: `seed` must be a whole number, not 'x'"),
        (["arm,id,score,target", "a,1,1,yes", "b,1,1,no"], r"1 of 1 samples have other targets than in other arms, the first"),
        (["arm,id,score,group.v", "a,1,1,x", "b,1,1,y"], r"1 of 1 samples have other groups than in other arms"),
        (["arm,id,score,segment", "a,1,1,x", "b,1,1,y"], r"these files hold 2 tasks. Choose one with --segment: x, y"),
        (["arm,id,score", 'a,1,"1'], "t.csv:2: is no table"),
        (["arm,id,score", "a,1,1,7"], r"t.csv:2: has 4 columns. A row has 3 columns"),
        (["arm,id,id,score", "a,1,1,7"], "two columns have the same name"),
        (["arm,id,score", "a,,1"], "`id` '' cannot be used"),
        (["arm,id,score,role", "a,1,1,boss"], "unknown role 'boss'. Known: candidate"),
        (["arm,id,score", "a,1,inf", "b,1,1"], "no metric of numbers"),
    ],
)  # fmt: skip
def test_what_is_refused(lines: list[str], message: str, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        compare(tmp_path, rows(*lines))


def test_a_wrong_score_is_named_with_file_and_sample(tmp_path: Path):
    with pytest.raises(UserError, match=r"t.csv, sample 3: the score m is '0,5', which is no number"):
        compare(tmp_path, rows("arm,id,metric,score", "a,2,m,1", "b,2,m,1", 'a,3,m,"0,5"', "b,3,m,1"), metric="m")


def test_one_task_of_several_is_chosen_by_its_name(tmp_path: Path):
    lines = [f"{line},{task}" for line in FIVE for task in ("x", "y")]
    table, notes = compare(tmp_path, rows("arm,id,score,segment", *lines), segment="y")
    assert table.segment == "y"
    assert "left out: other tasks (x)" in notes


@pytest.mark.parametrize(
    ("metric", "higher"),
    [
        ("accuracy", True),
        ("wer", False),
        ("my_loss", False),
        ("cer.strict", False),
        ("perplexity", False),
        ("answer", True),
    ],
)
def test_the_name_says_whether_more_is_better(metric: str, higher: bool, tmp_path: Path):
    lines = [f"{line},{metric}" for line in FIVE]
    table, _ = compare(tmp_path, rows("arm,id,score,metric", *lines))
    assert table.higher_is_better == higher
    assert any("lower is taken to be better" in line for line in table.notes) == (not higher)
    other, _ = compare(tmp_path, rows("arm,id,score,metric", *lines), lower_is_better=higher)
    assert other.higher_is_better != higher


@pytest.mark.parametrize(
    ("metric", "scores", "percent"), [("m", "01", True), ("m", "02", False), ("loss", "01", False), ("wer", "01", True)]
)
def test_shares_are_shown_as_percent(metric: str, scores: str, percent: bool, tmp_path: Path):
    lines = [f"{arm},{i},{scores[(i + (arm == 'b')) % 2]},{metric}" for arm in "ab" for i in range(5)]
    assert compare(tmp_path, rows("arm,id,score,metric", *lines))[0].percent == percent


@pytest.mark.parametrize(
    ("value", "number"),
    [("1", 1), (" 0.5 ", 0.5), ("TRUE", 1), ("false", 0), (True, 1), ("NA", None), ("", None), (None, None)],
)
def test_what_tables_hold_becomes_a_number(value: Any, number: float | None):
    """R writes TRUE and NA, pandas True and an empty cell."""
    assert plain_number(value) == number


@pytest.mark.parametrize("value", ["C", "yes", "1,5", "inf", "1e999", [1], {"a": 1}, b"1"])
def test_anything_else_is_no_number(value: Any):
    with pytest.raises(NoNumber):
        plain_number(value)


def test_a_table_from_a_spreadsheet_is_read(tmp_path: Path):
    """Excel writes a byte order mark, semicolons and \\r\\n."""
    text = "\ufeff" + rows("arm;id;score", *(line.replace(",", ";") for line in FIVE)).replace("\n", "\r\n")
    assert len(compare(tmp_path, text)[0].ids) == 5


def test_a_name_makes_an_arm_of_a_file(tmp_path: Path):
    """Also of files whose models have the same name."""
    files = []
    for name in "xy":
        (tmp_path / name).mkdir()
        scores = drawn(arms={"acme/one": 0.0}, seed=ord(name))
        files.append(Path(f"{name}=1={write_csv(tmp_path / name, scores)[0]}"))
    _, found, _ = gathered(files, Settings(tmp_path / "out", (0,)))
    assert found.table.arms == ("x=1", "y=1")


def test_a_name_for_a_table_of_several_arms_is_refused(tmp_path: Path):
    (path,) = write_csv(tmp_path, drawn())
    with pytest.raises(UserError, match=r"holds 3 arms: acme/weak, acme/strong, acme/other. Leave the name out"):
        compare_others([Path(f"mine={path}")], Settings(tmp_path / "out", (0,)))


def test_a_comparison_with_trainings_is_not_written_over(tmp_path: Path):
    (path,) = write_csv(tmp_path, drawn())
    (tmp_path / "out" / "runs").mkdir(parents=True)
    with pytest.raises(UserError, match="holds a comparison with its own trainings"):
        compare_others([Path(path)], Settings(tmp_path / "out", (0,)))
