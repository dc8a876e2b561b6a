"""The table fits the terminal and says what it leaves out."""

import unicodedata

import pytest
from test_evaluate_score import CONFIG, Said, evaluated, make

from plait.evaluate import EvaluateConfig, evaluate_outputs, render
from plait.evaluate.render import gathered, reasons_alike, without_counts
from plait.types import Sample


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.mark.parametrize("columns", [80, 100])
def test_no_line_is_wider(columns: int) -> None:
    text = render(evaluated().summary, width=columns)
    assert max(map(width, text.splitlines())) <= columns


def test_it_shows_values_intervals_constants_and_patterns() -> None:
    text = render(evaluated().summary)
    assert text.startswith("test: 60 samples; 95 % intervals")
    assert "95 % intervals over speaker" in text
    assert "accuracy ↑" in text
    assert "spoken, unheard" in text
    assert "75.0 %" in text
    assert "WER ↓" in text
    assert "33.3 % “blue”" in text
    assert "pattern=spoken" in text
    assert "too few groups for an interval over them" in text, "among the samples of some patterns"
    assert "pattern=spoken" not in render(evaluated().summary, patterns=False)


def test_missing_values_are_dashes_with_the_reason() -> None:
    samples, _, _ = make(3)
    text = render(evaluate_outputs(samples, [None] * 3, config=CONFIG).summary)
    assert "—" in text
    assert "no output was generated" in text
    assert max(map(width, text.splitlines())) <= 80


def test_long_names_and_wide_letters_are_cut() -> None:
    samples = [
        Sample(
            str(i),
            "test",
            references=({"一个非常非常长的段名字": "答案"},),
            tags={"a_tag_with_a_very_long_name": "and a value that is even longer than the name"},
            text="q",
        )
        for i in range(30)
    ]
    outputs = [Said({"一个非常非常长的段名字": "答案" if i % 2 else "x"}) for i in range(30)]
    config = EvaluateConfig(num_resamples=100)
    targets = [({"一个非常非常长的段名字": "a constant answer of many words " * 3},)]
    text = render(evaluate_outputs(samples, outputs, config=config, train_targets=targets).summary)
    assert max(map(width, text.splitlines())) <= 80
    assert "…" in text


def test_a_note_that_differs_only_in_its_counts_stands_once() -> None:
    of_these, few = (
        "of these samples only; says nothing about another speaker",
        "too few groups for an interval over them",
    )
    found = [without_counts(f"{of_these} ({few}: {count})") for count in ("4", "3, which weigh like 2.1 even ones")]
    assert found == [f"{of_these} ({few})"] * 2
    assert without_counts("with 12 groups such intervals") == "with so few groups such intervals"
    assert without_counts("every sample scores alike") == "every sample scores alike"


def test_a_note_on_several_figures_stands_once() -> None:
    few = "only 3 groups"
    assert gathered([f"wer: {few}", f"cer: {few}", f"wer: {few}", "bleu: none"]) == [f"wer, cer: {few}", "bleu: none"]
    assert gathered([f"{letter}: {few}" for letter in "abcdef"]) == [f"a, b, c and 3 more: {few}"]
    assert gathered(["no figure is named"]) == ["no figure is named"]


def test_a_reason_that_holds_for_every_metric_is_said_once() -> None:
    """Previously, one sample that could not be read gave a line for each metric of each segment."""
    unread, none = "the sample could not be read", "no reference"
    reasons = {f"accuracy: {unread}": 1, f"bits_per_token: {unread}": 1, f"perplexity: {none}": 2, f"wer: {unread}": 3}
    assert reasons_alike(reasons) == {unread: 1, f"perplexity: {none}": 2, f"WER: {unread}": 3}
    assert reasons_alike({unread: 1, none: 2}) == {unread: 1, none: 2}
