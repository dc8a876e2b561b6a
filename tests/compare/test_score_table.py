"""The table's means are the records' own figures; what is left out is said, and what cannot be compared is refused."""

from dataclasses import replace

import numpy as np
import pytest
from compare_helpers import CONFIG, NUM, record, records, samples

from plait.compare.statistics import score_table
from plait.compare.statistics.parts import variance_parts
from plait.compare.statistics.table import DENOMINATORS, linear
from plait.errors import UserError
from plait.evaluate import Record, SegmentLoss, evaluate_outputs
from plait.evaluate.metrics import Accuracy, WordErrorRate
from plait.evaluate.statistics import figure, group_sums

ALL = (
    ("heard", "wer"),
    ("heard", "cer"),
    ("answer", "accuracy"),
    ("heard", "bits_per_token"),
    ("answer", "bits_per_character"),
)


@pytest.fixture(scope="module")
def three() -> dict[str, dict[int, Record]]:
    return records({"concat": 0.1, "product": 0.2, "sum": 0.3})


@pytest.mark.parametrize(("segment", "metric"), ALL)
def test_the_mean_over_samples_is_the_records_figure(three, segment: str, metric: str) -> None:
    found = score_table(three, segment=segment, metric=metric)
    assert (found.arms, found.seeds, found.values.shape) == (("concat", "product", "sum"), (0, 1, 2), (3, 3, NUM))
    for a, arm in enumerate(found.arms):
        for s, seed in enumerate(found.seeds):
            value = three[arm][seed].summary.metrics[segment][metric].value
            assert found.values[a, s].mean() == pytest.approx(value, rel=1e-12)
    assert set(found.groupings) == {"picture", "speaker"}
    assert found.higher_is_better == (metric == "accuracy")
    assert not found.notes


def test_a_mean_is_the_samples_own_score_and_a_ratio_its_linearisation(three) -> None:
    accuracy = score_table(three, metric="accuracy")
    own = [row.segments["answer"].scores["accuracy"] for row in three["sum"][1].rows]
    np.testing.assert_allclose(accuracy.values[2, 1], own, rtol=1e-12)
    assert accuracy.segment == "answer"  # the last one, where none is named
    wer = score_table(three, segment="heard", metric="wer")
    edits = [float(row.segments["heard"].output != row.segments["heard"].references[0]) for row in three["sum"][1].rows]
    words = [len(row.segments["heard"].references[0].split()) for row in three["sum"][1].rows]
    ratio = sum(edits) / sum(words)
    for i in range(NUM):
        longhand = ratio + (edits[i] - ratio * words[i]) * NUM / sum(words)
        assert wer.values[2, 1, i] == pytest.approx(longhand, rel=1e-12)


def test_the_linearised_variance_is_that_of_the_ratio() -> None:
    """300 groups: the standard error of Σ edits / Σ words beside a bootstrap's over them, and beside the figure's interval."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(300), 2)
    words = generator.integers(2, 12, 300)[group].astype(float)
    edits = generator.binomial(words.astype(int), generator.beta(1, 6, 300)[group]).astype(float)
    statistics = np.stack([edits, words], axis=1)
    values = np.stack([linear(statistics, WordErrorRate(), "a"), np.zeros(600)])[:, None]
    ours = float(np.sqrt(variance_parts(values, {"picture": group}).group[0, 1]))
    counts = generator.multinomial(300, np.full(300, 1 / 300), 4000)
    resampled = WordErrorRate().corpus(counts @ group_sums(statistics, group))
    assert ours == pytest.approx(float(resampled.std()), rel=0.06)
    theirs = figure(statistics, WordErrorRate().corpus, {"picture": group}, undefined="no words")
    assert theirs.low is not None
    assert theirs.high is not None
    assert ours == pytest.approx((theirs.high - theirs.low) / 3.92, rel=0.06)


def test_the_order_of_rows_does_not_matter(three) -> None:
    turned = {arm: {s: replace(r, rows=r.rows[::-1]) for s, r in of.items()} for arm, of in three.items()}
    mixed = {"concat": three["concat"], "product": turned["product"]}
    a, b = score_table({k: three[k] for k in mixed}), score_table(mixed)
    np.testing.assert_array_equal(a.values, b.values)


def test_samples_that_one_record_could_not_score_are_left_out_of_all_and_counted(three) -> None:
    row = three["sum"][2].rows[5]
    lost = replace(row.segments["answer"], output=None, scores={"accuracy": None}, unscored={"accuracy": "no output"})
    rows = list(three["sum"][2].rows)
    rows[5] = replace(row, segments={**row.segments, "answer": lost})
    mended = {**three, "sum": {**three["sum"], 2: replace(three["sum"][2], rows=tuple(rows))}}
    found = score_table(mended, metric="accuracy")
    assert found.values.shape[2] == NUM - 1
    assert "q5" not in found.ids
    assert found.notes == ("left out: 1 of 48 samples, which not every arm and seed could score (no output)",)
    assert all(len(index) == NUM - 1 for index in found.groupings.values())
    nothing = {
        arm: {0: replace(r[0], rows=tuple(replace(x, segments={**x.segments, "answer": lost}) for x in r[0].rows))}
        for arm, r in three.items()
    }
    with pytest.raises(UserError, match="accuracy of 'answer': no sample was scored in every arm and seed"):
        score_table(nothing, metric="accuracy")


def test_seeds_that_not_all_have_are_left_out_and_named(three) -> None:
    fewer = {**three, "sum": {0: three["sum"][0], 2: three["sum"][2]}}
    found = score_table(fewer)
    assert found.seeds == (0, 2)
    assert found.notes == (
        "left out: concat at seed 1, which other arms lack",
        "left out: product at seed 1, which other arms lack",
    )
    with pytest.raises(UserError, match=r"seeds: no seed that all arms have \(a: 0; b: 1\)"):
        score_table({"a": {0: three["sum"][0]}, "b": {1: three["sum"][1]}})


def changed(one: Record, **changes: object) -> Record:
    return replace(one, rows=tuple(replace(row, **changes) for row in one.rows))


def test_what_cannot_be_compared_is_refused(three) -> None:
    base = {"a": {0: three["concat"][0]}}
    other = three["sum"][0]
    with pytest.raises(UserError, match=r"nothing to compare: a. Give at least two arms"):
        score_table(base)
    with pytest.raises(UserError, match="arm b: there is no record of this arm"):
        score_table({**base, "b": {}})
    some = replace(other, rows=other.rows[:40] + tuple(replace(r, id=f"x{r.id}") for r in other.rows[40:]))
    with pytest.raises(UserError, match="arm b, seed 0: 40 of 56 sample ids are shared with arm a, seed 0"):
        score_table({**base, "b": {0: some}})
    with pytest.raises(UserError, match=r"split: records of the splits test, tune \(all 48 sample ids are shared\)"):
        score_table({**base, "b": {0: changed(other, split="tune")}})
    with pytest.raises(UserError, match="arm b, seed 0: 48 of 48 samples have other targets or groups"):
        score_table({**base, "b": {0: changed(other, groups={"picture": "1"})}})
    twice = [replace(r, rows=(*r.rows, r.rows[0])) for r in (three["concat"][0], other)]
    with pytest.raises(UserError, match="1 sample ids stand twice"):
        score_table({"a": {0: twice[0]}, "b": {0: twice[1]}})


def test_segments_metrics_and_rules_must_be_the_same(three) -> None:
    with pytest.raises(UserError, match=r"no segment 'anser'. Did you mean 'answer'"):
        score_table(three, segment="anser")
    with pytest.raises(UserError, match=r"no metric 'werr' of segment 'heard'. Did you mean 'wer'"):
        score_table(three, segment="heard", metric="werr")
    with pytest.raises(UserError, match=r"perplexity is no sum over samples.*Take bits_per_token"):
        score_table(three, metric="perplexity")
    strict = record(0.1, 5, config=CONFIG.model_copy(update={"normalisation": "verbatim"}))
    with pytest.raises(UserError, match="arm b, seed 0: accuracy of 'answer' is counted by another rule"):
        score_table({"a": {0: three["sum"][0]}, "b": {0: strict}})
    assert set(DENOMINATORS) >= {"accuracy", "wer", "bits_per_token"}


def test_bits_per_token_of_other_tokenizers_are_refused() -> None:
    given = samples()

    def with_tokens(num: int) -> Record:
        losses = [{"answer": SegmentLoss(2.0, num + i % 2)} for i in range(NUM)]
        config = CONFIG.model_copy(update={"metrics": {"answer": ()}})
        return evaluate_outputs(given, [None] * NUM, losses, config=config, segments=("answer",))

    arms = {"a": {0: with_tokens(2)}, "b": {0: with_tokens(5)}}
    with pytest.raises(UserError, match=r"arm b, seed 0: the targets have other numbers of tokens.*bits_per_character"):
        score_table(arms, metric="bits_per_token")
    assert score_table(arms, metric="bits_per_character").values.shape == (2, 1, NUM)


def test_a_ratio_without_a_denominator_is_refused() -> None:
    with pytest.raises(UserError, match="arm a: accuracy has no value: there is no sample"):
        linear(np.zeros((3, 2)), Accuracy(), "a")
