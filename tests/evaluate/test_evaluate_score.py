"""The pure core: figures equal what the definitions give by hand, nothing is dropped silently, nothing is NaN."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jiwer
import numpy as np
import pytest

from plait.errors import UserError
from plait.evaluate import EvaluateConfig, Record, SegmentLoss, evaluate_outputs, read_record, render
from plait.evaluate.record import write_record
from plait.types import Sample


@dataclass
class Said:
    segments: dict[str, str]
    log_probability: dict[str, float] = field(default_factory=dict)


def make(num: int = 60) -> tuple[list[Sample], list[Said], list[dict[str, SegmentLoss]]]:
    """Spoken and typed questions about 15 pictures by 6 speakers; every third sentence is misheard, every fourth answer wrong."""
    samples, outputs, losses = [], [], []
    colours = ["red", "blue", "green"]
    for i in range(num):
        heard, answer = f"what colour is shape {i % 7}", colours[i % 3]
        samples.append(
            Sample(
                id=f"q{i}",
                split="test",
                text="typed" if i % 2 else None,
                references=({"heard": heard, "answer": answer},),
                groups={"picture": str(i // 4), "speaker": str(i % 6)},
                tags={"pattern": "typed" if i % 2 else "spoken", "sentence": "heard" if i % 5 else "unheard"},
            )
        )
        said = heard.replace("colour", "color") if i % 3 == 0 else heard
        outputs.append(Said({"heard": said, "answer": answer if i % 4 else "pink"}, {"heard": -0.1, "answer": -0.2}))
        losses.append({"heard": SegmentLoss(2.0 + i % 3, 6), "answer": SegmentLoss(0.5, 2)})
    return samples, outputs, losses


CONFIG = EvaluateConfig(metrics={"heard": ("wer", "bleu", "cider_d"), "answer": ("accuracy",)}, num_resamples=200)
TRAIN = [({"heard": "what colour is shape 1", "answer": "blue"},)] * 2 + [({"heard": "no", "answer": "red"},)]


def evaluated(**changes: object) -> Record:
    samples, outputs, losses = make()
    config = CONFIG.model_copy(update=changes)
    return evaluate_outputs(samples, outputs, losses, config=config, train_targets=TRAIN, seconds=[0.5] * 60, seed=3)


def test_figures_by_hand() -> None:
    record = evaluated()
    samples, outputs, losses = make()
    metrics = record.summary.metrics
    answers = [o.segments["answer"] == s.references[0]["answer"] for o, s in zip(outputs, samples, strict=True)]
    assert metrics["answer"]["accuracy"].value == pytest.approx(np.mean(answers))
    wer = jiwer.wer([s.references[0]["heard"] for s in samples], [o.segments["heard"] for o in outputs])
    assert metrics["heard"]["wer"].value == pytest.approx(wer)
    bits = sum(loss["heard"].bits for loss in losses) / sum(loss["heard"].num_tokens for loss in losses)
    assert metrics["heard"]["bits_per_token"].value == pytest.approx(bits)
    assert metrics["heard"]["perplexity"].value == pytest.approx(2**bits)
    characters = sum(len(s.references[0]["answer"]) for s in samples)
    assert metrics["answer"]["bits_per_character"].value == pytest.approx(0.5 * 60 / characters)
    for figures in metrics.values():
        for found in figures.values():
            assert found.n == 60
            assert found.grouping is None or set(found.grouping.split(" × ")) <= {"picture", "speaker"}


def test_every_tag_and_every_pair_of_tags_has_figures_of_its_own_samples() -> None:
    by = evaluated().summary.by
    assert list(by) == [
        "pattern=spoken",
        "pattern=typed",
        "sentence=heard",
        "sentence=unheard",
        "pattern=spoken,sentence=heard",
        "pattern=spoken,sentence=unheard",
        "pattern=typed,sentence=heard",
        "pattern=typed,sentence=unheard",
    ]
    samples, outputs, _ = make()
    chosen = [i for i, s in enumerate(samples) if s.tags == {"pattern": "spoken", "sentence": "unheard"}]
    right = [outputs[i].segments["answer"] == samples[i].references[0]["answer"] for i in chosen]
    found = by["pattern=spoken,sentence=unheard"]["answer"]["accuracy"]
    assert (found.value, found.n) == (pytest.approx(np.mean(right)), len(chosen))


def test_by_chooses_tags_and_inputs_and_refuses_unknown_ones() -> None:
    assert list(evaluated(by=("sentence",)).summary.by) == ["sentence=heard", "sentence=unheard"]
    assert list(evaluated(by=("inputs",)).summary.by) == ["inputs=none", "inputs=text"]
    assert evaluated(by=()).summary.by == {}
    with pytest.raises(UserError, match=r"no tag 'patern' in the samples\. Did you mean 'pattern'"):
        evaluated(by=("patern",))


def test_a_tag_that_is_a_name_is_left_out_and_said() -> None:
    samples = [Sample(str(i), "test", references=({"a": "x"},), tags={"file": str(i)}) for i in range(30)]
    record = evaluate_outputs(samples, [Said({"a": "x"})] * 30, config=EvaluateConfig(num_resamples=100))
    assert record.summary.by == {}
    assert record.summary.notes == ("no figures by file: it has 30 values, more than 20",)


def test_the_best_constant_stands_beside_each_text_metric_also_per_pattern() -> None:
    summary = evaluated().summary
    constant = summary.metrics["answer"]["accuracy"].constant
    assert constant is not None
    assert (constant.text, constant.value) == ("blue", pytest.approx(1 / 3))
    assert constant.low is not None
    heard = summary.metrics["heard"]["wer"].constant
    assert heard is not None
    assert heard.text == "what colour is shape 1"
    assert heard.value is not None
    assert 0 < heard.value < 0.2
    typed = summary.by["pattern=typed"]["answer"]["accuracy"].constant
    assert typed is not None
    assert typed.text == "blue"
    assert summary.metrics["answer"]["perplexity"].constant is None


def test_rows_hold_what_each_figure_was_made_from() -> None:
    record = evaluated()
    row = record.rows[0]
    assert (row.id, row.inputs, row.seconds) == ("q0", (), 0.5)
    assert row.tags == {"pattern": "spoken", "sentence": "unheard"}
    heard = row.segments["heard"]
    assert heard.references == ("what colour is shape 0",)
    assert heard.output == "what color is shape 0"
    assert heard.scores["wer"] == pytest.approx(1 / 5)
    assert (heard.bits, heard.num_tokens, heard.log_probability) == (2.0, 6.0, -0.1)
    rates = [r.segments["answer"].scores["accuracy"] for r in record.rows]
    assert np.mean([r for r in rates if r is not None]) == record.summary.metrics["answer"]["accuracy"].value


def test_the_order_of_the_samples_changes_no_value() -> None:
    samples, outputs, losses = make()
    turned = evaluate_outputs(samples[::-1], outputs[::-1], losses[::-1], config=CONFIG, train_targets=TRAIN, seed=3)
    for segment, figures in evaluated().summary.metrics.items():
        for name, found in figures.items():
            assert turned.summary.metrics[segment][name].value == pytest.approx(found.value, rel=1e-12)


def test_what_could_not_be_scored_is_left_out_counted_and_named() -> None:
    samples, outputs, losses = make()
    samples[1] = Sample("no-reference", "test")
    said: list[Said | None] = list(outputs)
    said[2] = None
    said[3] = Said({"heard": "what colour is shape 3"})
    lost: list[dict[str, SegmentLoss] | None] = list(losses)
    lost[4] = {"heard": SegmentLoss(float("nan"), 3), "answer": SegmentLoss(1.0, 2)}
    lost[5] = None
    record = evaluate_outputs(samples, said, lost, config=CONFIG, seed=3)
    metrics = record.summary.metrics
    assert metrics["heard"]["wer"].n == 58
    assert metrics["answer"]["accuracy"].n == 57
    assert metrics["heard"]["bits_per_token"].n == 58
    assert record.rows[1].segments["heard"].unscored["wer"] == "the sample has no reference for it"
    assert record.rows[2].segments["answer"].scores["accuracy"] is None
    assert record.rows[2].segments["answer"].unscored["accuracy"] == "no output was generated for it"
    assert record.rows[4].segments["heard"].unscored["perplexity"] == "the loss is nan"
    assert record.rows[4].segments["heard"].bits is None
    assert record.summary.unscored["answer"]["accuracy: no output was generated for it"] == 2
    assert record.summary.unscored["heard"]["wer: the sample has no reference for it"] == 1
    json.dumps(record.summary.to_json(), allow_nan=False)


def test_nothing_scorable_is_null_with_the_reason() -> None:
    samples, _, _ = make(4)
    record = evaluate_outputs(samples, [None] * 4, config=CONFIG)
    found = record.summary.metrics["answer"]["accuracy"]
    assert (found.value, found.low, found.n) == (None, None, 0)
    assert found.note == "no sample could be scored: no output was generated for it"


def test_one_sample_has_no_cider_d_and_no_interval() -> None:
    samples, outputs, losses = make(1)
    record = evaluate_outputs(samples, outputs, losses, config=CONFIG)
    heard = record.summary.metrics["heard"]
    assert heard["cider_d"].value is None
    assert "no word of the references tells this sample from the others" in (heard["cider_d"].note or "")
    assert heard["wer"].value == pytest.approx(1 / 5)
    assert (heard["wer"].low, heard["wer"].note) == (None, "no interval: there is one sample")


def test_next_words_need_no_output() -> None:
    samples = [Sample(str(i), "test", references=({"target": "some next words"},)) for i in range(5)]
    losses = [{"target": SegmentLoss(8.0, 4)}] * 5
    record = evaluate_outputs(samples, [None] * 5, losses, config=EvaluateConfig())
    assert list(record.summary.metrics["target"]) == ["bits_per_token", "bits_per_character", "perplexity"]
    assert record.summary.metrics["target"]["perplexity"].value == pytest.approx(4.0)
    assert record.summary.unscored == {}


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(UserError, match="no sample in split 'test'"):
        evaluate_outputs([], [], config=EvaluateConfig())


@dataclass(frozen=True)
class Limited:
    """An output that says which segments were cut."""

    segments: Mapping[str, str]
    log_probability: Mapping[str, float]
    limited: tuple[str, ...]


def test_outputs_that_reached_the_limit_are_counted(tmp_path: Path):
    """Previously nothing in a record told a cut answer from a whole one."""
    samples = [Sample(f"s{i}", "test", text="a", references=({"answer": "red", "why": "so"},)) for i in range(4)]
    outputs = [Limited({"answer": "red", "why": "so"}, {}, ("why",) if i < 3 else ()) for i in range(4)]
    record = evaluate_outputs(samples, outputs, config=EvaluateConfig(num_resamples=100))
    assert record.summary.limited == {"why": 3}
    assert [row.segments["why"].limited for row in record.rows] == [True, True, True, False]
    assert not any(row.segments["answer"].limited for row in record.rows)
    assert "why: 3 of 4 answers reached generate.max_tokens and were cut there" in record.summary.notes
    assert "were cut there" in render(record.summary)
    write_record(record, tmp_path / "r.parquet")
    assert read_record(tmp_path / "r.parquet") == record
    without = evaluate_outputs(samples, outputs[3:] * 4, config=EvaluateConfig(num_resamples=100))
    assert "limited" not in without.summary.to_json()
    assert without.summary.notes == ()
