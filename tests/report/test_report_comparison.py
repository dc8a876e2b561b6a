"""The page of a comparison: everything of the result is in it, as text, whatever it is called; and nothing asks the network."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_helpers import HOSTILE, comparison, read_page, squeezed

from plait.compare.result import Credit, Metric, Point
from plait.report import comparison_report
from plait.report.comparison import credit_cell, definition
from plait.report.comparison_plots import mean_curve, near


def test_the_page_is_whole_and_asks_for_nothing(compared: Path):
    page = read_page(compared)
    assert page.tags["svg"] >= 2 * 3
    assert page.tags["table"] >= 3
    assert len(page.pictures) == len(page.sounds) == 1
    assert page.pictures[0].startswith("data:image/png;base64,")
    assert page.sounds[0].startswith("data:audio/")


def test_what_a_user_wrote_is_shown_as_it_is_and_never_run(compared: Path):
    page = read_page(compared)
    text = squeezed(page.text)
    for name in HOSTILE:
        assert text.count(squeezed(name)) >= 3, name
    assert page.tags["b"] == len(re.findall(r"<b>", page.source))
    assert "<script>alert" not in page.source
    assert "49" not in re.findall(r"\b49\b", text), "a template ran what a user wrote"


def test_everything_that_was_found_is_said(compared: Path):
    text = squeezed(read_page(compared).text)
    for part in (
        "No measurable difference between",
        "One “seed”.",
        "90.0 %",
        "−1.0 points",
        "worse than the leader after 20 steps",
        "baseline: one input only",
        "baseline: constant answer",
        "3 seeds: 90.0 to 90.2",
        "Simultaneous interval",
        "Adjusted p",
        "≠ not equal",
        "= equal",
        "✓ right",
        "✗ wrong",
        "not scored",
        "1 h 6 min",
        "The race saved 61 % of the steps.",
        "hardware cores",
    ):
        assert part in text, part


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("kind", ["winner", "level", "modalities do not help", "too little to tell"])
@pytest.mark.parametrize(
    ("name", "percent", "higher"),
    [("accuracy", True, True), ("wer", True, False), ("bits_per_token", False, False), ("cider_d", False, True)],
)
def test_every_verdict_and_every_kind_of_score_has_a_page(
    kind: str, name: str, percent: bool, higher: bool, tmp_path: Path
):
    result = comparison()
    result = replace(
        result,
        metric=Metric("answer", name, higher, percent, "test", 48, {}, 0.9),
        decision=replace(result.decision, kind=kind),
        examples=(replace(result.examples[0], right={HOSTILE[0]: 0.25, HOSTILE[1]: 0.5}),),
    )
    text = squeezed(read_page(comparison_report(result, tmp_path)).text)
    assert ("90.0 %" in text) == percent
    assert ("points" in text) == percent
    assert ("0.900 bits per token" in text) == (name == "bits_per_token")
    assert "matplotlib is not installed" in text


@pytest.mark.usefixtures("no_plots")
def test_a_result_with_nothing_but_one_arm_has_a_page(tmp_path: Path):
    result = comparison()
    bare = replace(
        result.arms[0], credits=(), others={}, price=replace(result.arms[5].price), seeds=(), overrides=(), notes=()
    )
    result = replace(
        result, arms=(bare,), terms=(), frontier={}, examples=(), notes=(), environment={}, config={}, saved=""
    )
    text = squeezed(read_page(comparison_report(result, tmp_path)).text)
    assert "Nothing is known about the terms" in text
    assert "None" not in text.replace("None", "", text.count(": None"))


@pytest.mark.usefixtures("no_plots")
def test_the_same_result_makes_the_same_page(tmp_path: Path):
    pages = {comparison_report(comparison(), tmp_path, out=tmp_path / f"{k}.html").read_bytes() for k in range(2)}
    assert len(pages) == 1


def test_plots_are_the_same_at_every_call(compared: Path):
    again = comparison_report(comparison(), compared.parent, out=compared.parent / "again.html").read_text(
        encoding="utf-8"
    )
    first = compared.read_text(encoding="utf-8")
    assert re.findall(r"<svg.*?</svg>", first, re.DOTALL) == re.findall(r"<svg.*?</svg>", again, re.DOTALL)


@pytest.mark.usefixtures("no_plots")
def test_media_that_are_gone_or_broken_are_said(tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF nonsense")
    text = squeezed(
        read_page(comparison_report(comparison("/gone/a.png", str(tmp_path / "broken.wav")), tmp_path)).text
    )
    assert "the picture /gone/a.png: the file is not there any more" in text
    assert f"the sound {tmp_path / 'broken.wav'}: it cannot be read" in text


def test_the_policy_names_the_script_that_is_there(compared: Path):
    source = compared.read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"sha256-{digest}" in html.unescape(source)


POINTS = st.dictionaries(st.integers(1, 50), st.floats(0, 9), min_size=1, max_size=8)


@given(st.lists(POINTS, min_size=1, max_size=4))
def test_the_mean_curve_is_the_mean_where_all_seeds_have_a_point(curves: list[dict[int, float]]):
    found = mean_curve([tuple(Point(*one) for one in curve.items()) for curve in curves])
    assert [point.step for point in found] == sorted(set.intersection(*map(set, curves)))
    for point in found:
        assert point.bits == pytest.approx(sum(curve[point.step] for curve in curves) / len(curves))


@given(st.lists(st.tuples(st.floats(-100, 100), st.booleans()), min_size=1, max_size=9))
def test_a_range_holds_all_that_must_be_in_it(values: list[tuple[float, bool]]):
    low, high = near(values)
    assert low < high
    if sum(must for _, must in values) > 1:
        assert all(low <= value <= high for value, must in values if must)


@pytest.mark.parametrize(
    ("credit", "said"),
    [
        (Credit("text", 0.26, 0.2, 0.3, True, "text: 0.26 bits per token of `a` [0.20, 0.30]"), "used"),
        (
            Credit("text", 0.26, 0.2, 0.3, True, "text: 0.26 bits per token of `a` [0.20, 0.30]; redundant (-0.04)"),
            "used; redundant (−0.04)",
        ),
        (Credit("text", 0.0, -0.1, 0.1, False, "text: not measurably used for `a`"), "not measurably used for “a”"),
        (Credit("text", 0.0, -0.1, 0.1, None, "text: no interval"), "no interval"),
        (Credit("text", 0.26, 0.2, 0.3, True, "text: used for `a`: 0.26 bits per token [0.20, 0.30]"), "used"),
        (
            Credit(
                "text", 0.26, 0.2, 0.3, True, "text: used for `a`: 0.26 bits per token [0.20, 0.30] (only 4 speakers)"
            ),
            "used (only 4 speakers)",
        ),
        (
            Credit(
                "text",
                0.26,
                0.2,
                0.3,
                True,
                "text: used for `a`: 0.26 bits per token [0.20, 0.30]; overlaps with audio",
            ),
            "used; overlaps with audio",
        ),
        (
            Credit("text", 0.0, 0.0, 0.0, False, "text: no difference that matters for `a`: 0.001 bits per token"),
            "no difference that matters for “a”: 0.001 bits per token",
        ),
        (Credit("text", -0.2, -0.3, -0.1, False, "text: harms rather than helps `a`"), "harms rather than helps “a”"),
    ],
)
def test_the_sentence_under_the_bits_repeats_nothing_that_stands_above_it(credit: Credit, said: str):
    assert credit_cell("text", credit)[3] == said


def test_the_page_says_by_which_normalisation_answers_were_compared():
    """Previously, the page of every comparison said NFKC, whatever `evaluate.normalisation` was."""
    result = comparison()
    metric = replace(result.metric, name="accuracy")
    said = {
        name: definition(replace(result, metric=metric, config={"evaluate": {"normalisation": name}}))
        for name in ("visible", "folded", "verbatim")
    }
    assert len(set(said.values())) == 3
    assert "NFKC" not in said["visible"]
    assert definition(replace(result, metric=metric, config={})) == said["folded"]
