"""What `plait explain` prints: the conclusion first, one table, and no more notes than belong to it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from plait.evaluate.statistics import Figure
from plait.explain import render
from plait.explain.losses import NO_INPUT
from plait.explain.result import Explanation, ModalityCredit, PatternCredit, SegmentResult, TrainingSign
from plait.explain.verdict import verdicts, worth_of

BEFORE = Path(__file__).parent.parent / "fixtures" / "before" / "finished" / "explain" / "test.json"
UNFINISHED = (
    "the training has not finished (step 416 of 800): these are the weights that were best so far, those of step 400"
)
THREE = ("text", "image", "audio")
NAMES = tuple(m for m in THREE)


def figure(value: float, half: float = 0.05, groups: int = 40) -> Figure:
    few = f"only {groups} groups (speaker): the interval is probably too narrow" if groups < 20 else None
    return Figure(value, value - half, value + half, 1500, "speaker", groups, few)


def segment(
    name: str, context: Any, values: tuple[float, ...], before: tuple[str, ...] = (), groups: int = 40
) -> SegmentResult:
    credits = {}
    for modality, value in zip(NAMES, values, strict=True):
        one = figure(value, groups=groups)
        credits[modality] = ModalityCredit(one, one, one, one, one, one)
    tags = {"pattern=spoken": PatternCredit(900, 9.0, dict.fromkeys(NAMES, figure(0.5)))}
    found = SegmentResult(
        name, context, 1500, 9000.0, {NO_INPUT: figure(3.0)}, together=figure(sum(values)), credits=credits, by=tags
    )
    found = replace(found, worth=worth_of(found, 1.0))
    present = np.ones((4, len(NAMES)), dtype=bool)
    return replace(found, verdicts=verdicts(found, THREE, present, before=before))


def example(*, groups: int = 40, **parts: Any) -> Explanation:
    """Two segments, three inputs."""
    segments = (
        segment("heard", "true", (0.41, 0.09, 0.77), groups=groups),
        segment("answer", "true", (0.0, 0.8, -0.2), ("heard",), groups),
        segment("answer", "own", (0.67, 0.63, 0.01), ("heard",), groups),
    )
    notes = ("1 sample without a target: left out", "target positions that are taken together: 13+ of heard")
    made = Explanation("test", "credit", 1500, 0, 0.95, NAMES, {}, segments, notes, worth=1.0, side_notes=notes[1:])
    return replace(made, **parts)


def test_the_first_line_is_a_verdict_and_all_of_it_is_short():
    """Previously, some 120 lines of tables stood before the first sentence."""
    lines = render(example()).splitlines()
    assert lines[:5] == [
        "text: used for `heard`: 0.41 bits per token [0.36, 0.46]",
        "image: used for `heard`: 0.090 bits per token [0.040, 0.14]",
        "audio: used for `heard`: 0.77 bits per token [0.72, 0.82]",
        "text: used for `answer`: 0.67 bits per token [0.62, 0.72]",
        "image: used for `answer`: 0.63 bits per token [0.58, 0.68]",
    ]
    assert " ".join(" ".join(lines[5:8]).split()) == (
        "audio: not measurably used for `answer`: 0.010 bits per token [-0.040, 0.060]; up to 0.060 is possible, "
        "this sample size could have seen 0.071 bits"
    )
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("---") for line in lines) == 1


def test_what_is_not_shown_is_named_and_shown_with_verbose():
    short, whole = render(example()), render(example(), verbose=True)
    assert short.splitlines()[-1] == "-v adds figures by tag, losses, reliance, figures with the true `heard` given"
    assert "-v adds" not in whole
    for said in ("pattern=spoken", "  loss with  ", "With the true `heard` already given", "taken together"):
        assert said not in short
        assert said in whole
    assert "harms rather than helps `answer` with the true `heard` given" in " ".join(whole.split())
    assert "harms" not in short
    assert "1 sample without a target: left out" in short
    assert whole.splitlines()[:5] == short.splitlines()[:5]


def test_what_holds_for_all_verdicts_is_said_once_above_them():
    caveats = (UNFINISHED, "rows of other.jsonl, which is not the run's own manifest")
    lines = render(example(groups=4, caveats=caveats, notes=(*caveats, "a note"))).splitlines()
    assert " ".join(lines[:4]) == (
        f"T{UNFINISHED[1:]} Rows of other.jsonl, which is not the run's own manifest "
        "All verdicts rest on few groups: only 4 speakers"
    )
    assert lines[4].startswith("text: used for `heard`")
    text = "\n".join(lines)
    assert text.count("only 4 speakers") == 1
    assert text.count("has not finished") == 1
    assert "* a note" in lines


def test_a_caveat_of_one_verdict_stands_in_its_sentence():
    found = example()
    few = segment("answer", "own", (0.67, 0.63, 0.01), ("heard",), 4)
    text = " ".join(render(replace(found, segments=(*found.segments[:2], few))).split())
    assert "text: used for `heard`: 0.41 bits per token [0.36, 0.46] image" in text
    assert "text: used for `answer`: 0.67 bits per token [0.62, 0.72] (only 4 speakers) image" in text


def test_a_sign_of_under_training_stands_behind_the_verdict():
    sentence = "audio is under-trained: its encoder's gradient norm fell to 2% of that of image"
    signs = (
        TrainingSign("image", "no sign", "image: no sign of under-training"),
        TrainingSign("audio", "under-trained", sentence),
    )
    lines = render(example(training=signs)).splitlines()
    text = " ".join(" ".join(lines).split())
    assert "could have seen 0.071 bits audio is under-trained: its encoder's" in text
    assert "no sign of under-training" not in text
    assert "no sign of under-training" in render(example(training=signs), verbose=True)


def test_the_same_sentence_stands_once():
    present = np.ones((4, 3), dtype=bool)
    present[:, 1] = False
    found = example()
    segments = tuple(replace(s, verdicts=verdicts(s, THREE, present)) for s in found.segments)
    assert render(replace(found, segments=segments)).count("image: no sample of this split has it") == 1


@pytest.mark.parametrize("verbose", [False, True])
def test_an_explanation_of_before_is_shown(verbose: bool):
    """It knows no worth and no caveats; its statuses stay what they were."""
    found = TypeAdapter(Explanation).validate_json(BEFORE.read_bytes())
    assert (found.worth, found.caveats, found.segments[0].worth) == (None, (), None)
    lines = render(found, verbose=verbose).splitlines()
    assert lines[0].startswith("text: not measurably used for `heard`")
    assert max(map(len, lines)) <= 80
    assert found.used == {"text": False, "image": False, "audio": False}


def test_a_file_is_read_as_it_was_written(tmp_path: Path):
    found = example(groups=4, caveats=(UNFINISHED,))
    path = found.write(tmp_path)
    again = TypeAdapter(Explanation).validate_json(path.read_bytes())
    assert again == found
    written = json.loads(path.read_text(encoding="utf-8"))
    assert (written["worth"], written["segments"][0]["worth"]) == (
        1.0,
        {"percent": 1.0, "bits": pytest.approx(0.03), "of": "the loss without inputs"},
    )
    for key in (
        "format",
        "split",
        "kind",
        "n",
        "seed",
        "confidence",
        "modalities",
        "temperatures",
        "segments",
        "notes",
        "used",
    ):
        assert key in written
