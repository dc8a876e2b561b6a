"""The rules at the head of `verdict.py`: every status in every context, and what no figures may bring about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plait
from plait.evaluate.statistics import Figure
from plait.explain.losses import NO_INPUT
from plait.explain.result import Explanation, Interaction, ModalityCredit, SegmentResult, Verdict, Worth
from plait.explain.verdict import CLAIMS, checked_worth, few_groups, number, verdicts, where, worth_of

MODALITIES = ("text", "audio")
PRESENT = np.ones((4, 2), dtype=bool)
WORTH = 0.01
CONTEXTS = {
    "first": ("true", (), "`answer`"),
    "later": ("true", ("heard",), "`answer` with the true `heard` given"),
    "own": ("own", ("heard",), "`answer`"),
}


def bounds(value: float, low: float, high: float, **parts: Any) -> Figure:
    return Figure(value, low, high, 100, **parts)


BIG = bounds(1.0, 0.9, 1.1)
NONE = Figure(0.2, None, None, 100, note="all samples share one speaker")


def credit(of: Figure, **parts: Figure) -> ModalityCredit:
    found = {"alone": of, "marginal": of, "where_present": of, "per_sample": of, "own": of, **parts}
    return ModalityCredit(of, **found)


def segment(
    of: ModalityCredit, context: Any = "true", *, percent: float = 1.0, pair: Figure | None = None
) -> SegmentResult:
    """With a loss of 1 bit without inputs: at 1 % an effect of 0.01 bits matters."""
    found = SegmentResult(
        "answer",
        context,
        100,
        200.0,
        {NO_INPUT: bounds(1.0, 0.9, 1.1)},
        credits={"text": of, "audio": credit(BIG)},
        interactions=(Interaction(("text", "audio"), pair, pair),),
    )
    return replace(found, worth=worth_of(found, percent))


def reliance(of: Figure, context: Any = "true") -> SegmentResult:
    """Of a model without credit, whose constant answer loses 1 bit."""
    found = SegmentResult(
        "answer", context, 100, 200.0, {"text+audio": BIG}, constant=BIG, reliance={"text": of, "audio": BIG}
    )
    return replace(found, worth=worth_of(found, 1.0))


def text_of(found: SegmentResult, before: tuple[str, ...] = (), present: Any = PRESENT) -> Verdict:
    return verdicts(found, MODALITIES, present, before=before)[0]


RULES: dict[str, tuple[ModalityCredit, str, str]] = {
    "used": (credit(bounds(0.5, 0.4, 0.6)), "used", "used for {}: 0.50 bits per token [0.40, 0.60]"),
    "small and measurable": (
        credit(bounds(0.008, 0.006, 0.0099)),
        "negligible",
        "no difference that matters for {}: 0.008 bits per token [0.006, 0.010], all within 1 % of the loss (0.01)",
    ),
    "small, of either sign": (
        credit(bounds(-0.004, -0.008, 0.0)),
        "negligible",
        "no difference that matters for {}: -0.004 bits per token [-0.008, 0.000], all within 1 % of the loss (0.01)",
    ),
    "small, and perhaps not": (
        credit(bounds(0.008, 0.002, 0.014)),
        "unused",
        "too little to tell whether it matters for {}: 0.008 bits per token [0.002, 0.014]; up to 0.014 is possible, "
        "1 % of the loss (0.01) would matter, this sample size could have seen 0.009 bits",
    ),
    "small, below 0, and perhaps not": (
        credit(bounds(-0.007, -0.011, -0.003)),
        "unused",
        "too little to tell whether it matters for {}: -0.007 bits per token [-0.011, -0.003]; up to 0.011 is possible, "
        "1 % of the loss (0.01) would matter, this sample size could have seen 0.006 bits",
    ),
    "around 0": (
        credit(bounds(0.02, -0.05, 0.09)),
        "unused",
        "not measurably used for {}: 0.020 bits per token [-0.050, 0.090]; up to 0.090 is possible, "
        "this sample size could have seen 0.10 bits",
    ),
    "below 0": (
        credit(bounds(-0.02, -0.03, -0.011)),
        "harmful",
        "harms rather than helps {}: -0.020 bits per token [-0.030, -0.011]",
    ),
    "below 0, and its interval touches it": (
        credit(bounds(-0.02, -0.04, 0.0)),
        "unused",
        "not measurably used for {}: -0.020 bits per token [-0.040, 0.000]; up to 0.040 is possible, "
        "this sample size could have seen 0.029 bits",
    ),
    "below 0, and its interval touches it as it is shown": (
        credit(bounds(-0.02, -0.04, -0.0004)),
        "unused",
        "too little to tell whether it matters for {}: -0.020 bits per token [-0.040, 0.000]; up to 0.040 is possible, "
        "this sample size could have seen 0.028 bits",
    ),
    "present": (
        credit(bounds(0.5, 0.4, 0.6), own=bounds(0.02, 0.011, 0.03)),
        "present",
        "present, hardly used for {}: its own input saves only 0.020 bits per token [0.011, 0.030] against another sample's, "
        "of a credit of 0.50 bits per token [0.40, 0.60], which nearly any input would earn",
    ),
    "present, its control below the worth": (
        credit(bounds(0.02, 0.015, 0.025), own=bounds(0.009, 0.006, 0.012)),
        "present",
        "present, hardly used for {}: its own input saves only 0.009",
    ),
    "any input would earn it": (
        credit(bounds(0.5, 0.4, 0.6), own=bounds(0.001, -0.004, 0.006)),
        "negligible",
        "no difference that matters for {}: its own input saves 0.001 bits per token [-0.004, 0.006] against another sample's, "
        "all within 1 % of the loss (0.01)",
    ),
    "any input would serve better": (
        credit(bounds(0.5, 0.4, 0.6), own=bounds(-0.3, -0.4, -0.2)),
        "unused",
        "not measurably used for {}: its own input serves no better than another sample's, -0.30 bits per token [-0.40, -0.20]",
    ),
    "redundant": (
        credit(bounds(0.5, 0.4, 0.6), alone=BIG, marginal=bounds(0.0, -0.1, 0.1)),
        "redundant",
        "redundant with the other inputs for {}: alone 1.00 bits per token [0.90, 1.10], beside the others 0.000 bits per token "
        "[-0.10, 0.10], where this sample size could have seen 0.14 bits",
    ),
    "too small to be redundant": (
        credit(bounds(0.005, 0.004, 0.006), alone=BIG, marginal=bounds(0.0, -0.1, 0.1)),
        "negligible",
        "no difference that matters for {}: 0.005 bits per token [0.004, 0.006]",
    ),
    "beside the others not known": (
        credit(bounds(0.5, 0.4, 0.6), alone=BIG, marginal=NONE),
        "used",
        "used for {}: 0.50",
    ),
    "no interval": (credit(NONE), "unknown", "not known for {} (all samples share one speaker)"),
}


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_in_every_context(rule: str, context: str):
    """Previously "harms" was said of −0.007 [−0.011, −0.003], and of an interval that was shown as [−0.008, 0.000]."""
    found, status, said = RULES[rule]
    stands, before, place = CONTEXTS[context]
    verdict = text_of(segment(found, stands), before)
    assert verdict.status == status
    assert verdict.sentence.startswith(f"text: {said.format(place)}")
    assert verdict.worth == pytest.approx(WORTH)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    ("of", "status", "said"),
    [
        (bounds(0.5, 0.4, 0.6), "used", "relied on for {}: with that of another sample the loss grows by 0.50"),
        (bounds(0.005, 0.003, 0.007), "negligible", "no difference that matters for {}: a reliance of 0.005"),
        (bounds(0.02, -0.01, 0.05), "unused", "not measurably used for {}: a reliance of 0.020"),
        (bounds(-0.02, -0.03, -0.012), "harmful", "harms rather than helps {}: a reliance of -0.020"),
        (NONE, "unknown", "not known for {}"),
    ],
)
def test_reliance_follows_the_same_rules(of: Figure, status: str, said: str, context: str):
    stands, before, place = CONTEXTS[context]
    verdict = text_of(reliance(of, stands), before)
    assert (verdict.status, verdict.sentence.startswith(f"text: {said.format(place)}")) == (status, True), (
        verdict.sentence
    )


def test_a_modality_that_no_sample_has_is_not_known():
    lacking = PRESENT.copy()
    lacking[:, 0] = False
    assert text_of(segment(credit(BIG)), present=lacking).status == "unknown"


def test_what_the_worth_is_a_share_of():
    no_input, constant, everything = (bounds(v, v, v) for v in (2.0, 3.0, 4.0))
    found = SegmentResult("answer", "own", 9, 9.0, {NO_INPUT: no_input, "text": everything}, constant=constant)
    assert worth_of(found, 2.0) == Worth(2.0, 0.04, "the loss without inputs")
    without = replace(found, losses={"text": everything})
    assert worth_of(without, 1.0) == Worth(1.0, 0.03, "the constant answer's loss")
    assert worth_of(replace(without, constant=None), 1.0) == Worth(1.0, 0.04, "the loss with all inputs")
    assert worth_of(replace(without, constant=None, losses={}), 1.0) is None


def test_the_worth_can_be_chosen_and_nothing_is_too_small_where_it_is_0():
    small = credit(bounds(0.008, 0.006, 0.0099))
    assert text_of(segment(small)).status == "negligible"
    for percent in (0.0, 0.5):
        assert text_of(segment(small, percent=percent)).status == "used"


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan"), float("inf"), -float("inf")])
def test_a_worth_that_is_no_percentage_is_the_users_mistake(percent: float):
    with pytest.raises(plait.UserError, match="--worth"):
        checked_worth(percent)


def test_an_input_that_few_samples_have_matters_among_them():
    """A credit is a mean over all samples: what is decisive for one in fifty of them must not be called too small to matter."""
    rare = replace(bounds(0.4, 0.3, 0.5), n=2)
    found = credit(bounds(0.008, 0.006, 0.0099), where_present=rare, own=rare)
    verdict = text_of(segment(found))
    assert verdict.status == "used"
    assert verdict.worth == pytest.approx(WORTH * 0.02)
    assert verdict.sentence.endswith("0.40 bits per token [0.30, 0.50] in the 2 % of samples that have it")


def test_what_overlaps_is_named_where_it_matters():
    for pair, said in (
        (bounds(-0.2, -0.3, -0.1), "; overlaps with audio"),
        (bounds(-0.005, -0.006, -0.004), "[0.40, 0.60]"),
    ):
        verdict = text_of(segment(credit(bounds(0.5, 0.4, 0.6)), pair=pair))
        assert verdict.sentence.endswith(said)


@pytest.mark.parametrize(
    ("grouping", "num_groups", "said"),
    [
        ("speaker", 4, "only 4 speakers"),
        ("sample", 16, "only 16 samples"),
        ("clip_id", 4, "only 4 groups (clip_id)"),
        ("identity", 4, "only 4 groups (identity)"),
        ("picture × speaker", 4, "only 4 groups (picture × speaker)"),
        ("speaker", 20, None),
        (None, None, None),
    ],
)
def test_few_groups_are_said_in_the_sentence(grouping: str | None, num_groups: int | None, said: str | None):
    of = bounds(0.5, 0.4, 0.6, grouping=grouping, num_groups=num_groups)
    assert few_groups(of) == said
    verdict = text_of(segment(credit(of)))
    assert verdict.caveat == said
    assert verdict.plain == "text: used for `answer`: 0.50 bits per token [0.40, 0.60]"
    assert verdict.sentence == verdict.plain + (f" ({said})" if said else "")


def test_where():
    later = segment(credit(BIG))
    assert where(later, ("a", "b", "c")) == "`answer` with the true `a`, `b` and `c` given"
    assert where(replace(later, context="own"), ("a", "b")) == "`answer`"


VALUES = st.floats(-0.3, 0.3) | st.sampled_from([0.0, 0.01, -0.01, 0.0004, -0.0004])
WIDTHS = st.floats(0, 0.2) | st.sampled_from([0.0, 0.0005])


@st.composite
def figures(draw: st.DrawFn) -> Figure:
    """Any value in any interval, now and then without one; percentile intervals may miss their value."""
    value, below, above, shift = (
        draw(VALUES),
        draw(WIDTHS),
        draw(WIDTHS),
        draw(st.sampled_from([0.0, 0.0, 0.01, -0.01])),
    )
    low, high = value + shift - below, value + shift + above
    if draw(st.integers(0, 9)) == 0:
        return Figure(value, None, None, 100, note="no interval")
    return Figure(value, low, high, 100, "speaker", draw(st.sampled_from([4, 40])))


@given(
    figures(),
    figures(),
    figures(),
    figures(),
    figures(),
    st.sampled_from([0.0, 1.0, 5.0]),
    st.sampled_from(list(CONTEXTS)),
)
def test_no_figures_bring_about_a_claim_that_they_do_not_bear(
    of: Figure, alone: Figure, marginal: Figure, own: Figure, pair: Figure, percent: float, context: str
):
    stands, before, _ = CONTEXTS[context]
    found = segment(credit(of, alone=alone, marginal=marginal, own=own), stands, percent=percent, pair=pair)
    verdict = text_of(found, before)
    check(verdict, of, percent / 100)
    if verdict.status in ("used", "redundant", "present"):
        assert own.low is not None
        assert own.low > 0
    if verdict.status == "redundant":
        assert alone.low is not None
        assert alone.low > 0
    if verdict.status == "used":
        assert own.value is not None
        assert own.value >= percent / 100


@given(figures(), st.sampled_from(list(CONTEXTS)))
def test_no_reliance_brings_about_a_claim_that_it_does_not_bear(of: Figure, context: str):
    stands, before, _ = CONTEXTS[context]
    check(text_of(reliance(of, stands), before), of, WORTH)


def check(verdict: Verdict, of: Figure, worth: float) -> None:
    """What holds of any verdict on an effect."""
    assert of.value is not None
    if abs(of.value) < worth:
        assert verdict.status not in CLAIMS
    if verdict.status == "harmful":
        assert of.high is not None
        assert of.high < 0
        assert number(of.high).startswith("-")
        assert of.value <= -worth
        assert "0.000]" not in verdict.sentence
    if verdict.status == "used":
        assert of.low is not None
        assert of.low > 0
        assert of.value >= worth
    if verdict.status in ("unused", "redundant"):
        assert "could have seen" in verdict.sentence
    if verdict.status == "negligible":
        assert worth > 0
        assert "all within" in verdict.sentence
    if verdict.status != "unknown":
        assert "bits per token [" in verdict.sentence


def explanation(*segments: SegmentResult, kind: Any = "credit") -> Explanation:
    return Explanation("test", kind, 100, 0, 0.95, ("text", "audio"), {}, segments)


def judged(name: str, context: Any, status: Any) -> SegmentResult:
    verdict = Verdict("text", status, f"text: {status}", None)
    return SegmentResult(name, context, 100, 200.0, {}, verdicts=(verdict,))


def test_what_the_model_does_in_use_is_the_verdict():
    """Previously, an input that only the true transcript made useful, or useless, counted as much as what the model does in use."""
    heard = judged("heard", "true", "unused")
    for true, own, used in (("used", "harmful", False), ("harmful", "used", True), ("used", "negligible", False)):
        found = explanation(heard, judged("answer", "true", true), judged("answer", "own", own))
        assert [(s.segment, s.context) for s in found.primary] == [("heard", "true"), ("answer", "own")]
        assert [(s.segment, s.context) for s in found.details] == [("answer", "true")]
        assert found.used["text"] is used
        assert [s["primary"] for s in found.to_json()["segments"]] == [True, False, True]
        assert found.title_of(found.details[0]) == "answer (true heard)"


def test_without_an_own_context_the_true_one_is_the_verdict():
    found = explanation(judged("heard", "true", "unused"), judged("answer", "true", "used"), kind="reliance")
    assert (len(found.primary), found.details) == (2, ())
    assert found.used["text"]
