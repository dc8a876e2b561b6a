"""Sentences that follow from figures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from plait.evaluate.statistics import Figure
from plait.explain.render import render
from plait.explain.result import Explanation, Interaction, ModalityCredit, SegmentResult
from plait.explain.verdict import smallest_detectable, verdicts

MODALITIES = ("text", "audio")
PRESENT = np.ones((4, 2), dtype=bool)


def around(value: float, half: float = 0.1) -> Figure:
    return Figure(value, value - half, value + half, 100)


def of(
    credit: Figure, alone: Figure | None = None, marginal: Figure | None = None, own: Figure | None = None
) -> ModalityCredit:
    return ModalityCredit(credit, alone or credit, marginal or credit, credit, credit, own or credit)


def segment(text: ModalityCredit, audio: ModalityCredit, pair: Figure | None = None, **parts: Any) -> SegmentResult:
    interactions = (Interaction(("text", "audio"), pair, pair),)
    return SegmentResult(
        "heard", "true", 100, 700.0, {}, credits={"text": text, "audio": audio}, interactions=interactions, **parts
    )


def test_used_and_not_measurably_used():
    text, audio = verdicts(segment(of(around(0.01, 0.035)), of(around(2.31))), MODALITIES, PRESENT)
    assert audio.sentence == "audio: used for `heard`: 2.31 bits per token [2.21, 2.41]"
    assert audio.status == "used"
    assert text.status == "unused"
    assert "not measurably used for `heard`" in text.sentence
    assert "could have seen 0.050 bits" in text.sentence
    assert text.smallest_detectable == pytest.approx(2.8 / 1.96 * 0.035, rel=1e-3)


@pytest.mark.parametrize("marginal", [0.0, 1.0])
def test_a_credit_that_any_input_would_earn_is_none(marginal: float):
    """Where the loss without input is too large, every input saves something: that of another sample as well."""
    strange = of(around(1.0), alone=around(1.0), marginal=around(marginal), own=around(0.01, 0.035))
    text, audio = verdicts(segment(strange, of(around(1.0))), MODALITIES, PRESENT)
    assert (text.status, audio.status) == ("unused", "used")
    assert "its own input saves 0.010 bits per token [-0.025, 0.045] against another sample's" in text.sentence
    assert "could have seen 0.050 bits" in text.sentence


def test_redundant_with_another():
    typed = of(around(1.0), alone=around(2.0), marginal=around(0.0))
    text, audio = verdicts(segment(typed, of(around(1.2)), pair=around(-1.9)), MODALITIES, PRESENT)
    assert text.status == "redundant"
    assert text.sentence.startswith("text: redundant with audio for `heard`: alone 2.00 bits")
    assert audio.status == "used"
    assert audio.sentence.endswith("; overlaps with text")


def test_an_interval_below_zero_is_harm_and_no_interval_is_not_known():
    none = Figure(0.0, None, None, 4, note="every sample scores alike")
    text, audio = verdicts(segment(of(around(-1.0)), of(none)), MODALITIES, PRESENT)
    assert text.status == "harmful"
    assert audio.status == "unknown"
    assert "every sample scores alike" in audio.sentence


def test_a_modality_that_no_sample_has():
    lacking = PRESENT.copy()
    lacking[:, 0] = False
    text, _ = verdicts(segment(of(around(0.0)), of(around(1.0))), MODALITIES, lacking)
    assert text.sentence == "text: no sample of this split has it"


def test_reliance_is_never_called_bits_of_credit():
    found = SegmentResult("heard", "true", 9, 9.0, {}, reliance={"text": around(0.0), "audio": around(3.0)})
    text, audio = verdicts(found, MODALITIES, PRESENT)
    assert "reliance, not bits of credit" in audio.sentence
    assert (text.status, audio.status) == ("unused", "used")


def test_what_an_interval_could_have_seen():
    """(1.96 + .84) standard errors; with 4 degrees of freedom (2.776 + .941) of them, of an interval that is 2.776 to each side."""
    assert smallest_detectable(around(0.0, 1.96)) == pytest.approx(2.8, rel=1e-3)
    assert smallest_detectable(replace(around(0.0, 2.776), df=4.0)) == pytest.approx(2.776 + 0.941, rel=1e-3)
    assert smallest_detectable(Figure(1.0, None, None, 1)) is None


@pytest.mark.parametrize(("value", "status"), [(-0.7, "harmful"), (0.7, "used")])
def test_what_is_claimed_of_samples_has_to_agree_with_what_few_groups_allow(value: float, status: str):
    """Previously, with 4 speakers in the test, a sentence of 0 bits "harmed": the interval did not know how unlike speakers are."""
    few = replace(around(value), grouping="sample", num_groups=100, of_these="speaker")
    for over_few, said in (
        ((value - 0.3, value + 0.3), status),
        ((value - 0.9, value + 0.9), "unused"),
        (None, status),
    ):
        text, _ = verdicts(segment(of(replace(few, over_few=over_few)), of(around(1.0))), MODALITIES, PRESENT)
        assert text.status == said
        assert text.sentence.endswith("(too few speakers to tell about another: of these samples only)")


def test_a_credit_that_is_hardly_of_the_own_input_is_presence_and_not_use():
    """Previously, "audio: 0.032 bits per token" was called used although its own input saved .0005 bits: the sentence quoted the
    credit, and the gate only asked whether the control was measurably above 0.
    """
    credit = around(0.032, 0.002)
    for own, status in ((0.0005, "present"), (0.04 * 0.032, "present"), (0.06 * 0.032, "used"), (0.03, "used")):
        audio = of(credit, own=around(own, 0.0001))
        found = segment(of(around(1.0)), audio)
        (_, verdict) = verdicts(found, MODALITIES, PRESENT)
        assert verdict.status == status, own
        assert ("present, hardly used for `heard`" in verdict.sentence) == (status == "present")
        said = explained(replace(found, verdicts=(verdict,)))
        assert said.used["audio"] == (status == "used")
        assert "own" in render(said)
        assert "0.032" in render(said)


def explained(found: SegmentResult) -> Explanation:
    return Explanation("test", "credit", 100, 0, 0.95, ("text", "audio"), {}, (found,))


def test_redundant_by_presence_alone_is_not_use_either():
    """What stands in for another input, but would do so in any sample, is hardly used."""
    typed = of(around(1.0), alone=around(2.0), marginal=around(0.0), own=around(0.01, 0.001))
    text, _ = verdicts(segment(typed, of(around(1.2)), pair=around(-1.9)), MODALITIES, PRESENT)
    assert text.status == "present"
    assert "its own input saves only 0.010 bits per token [0.009, 0.011]" in text.sentence
