"""Driving a model over a split: order, several references, inputs taken away, and what is written."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from test_evaluate_score import Said

from plait.data.manifest import LeftOut
from plait.errors import UserError
from plait.evaluate import EvaluateConfig, evaluate, read_record
from plait.evaluate.run import drive
from plait.types import Batch, Sample


class Echo:
    """Answers with the typed question, and loses one bit per character of the target in two tokens."""

    def __init__(self) -> None:
        self.left_out: dict[str, LeftOut] = {}
        self.seen: dict[str, Sample] = {}
        self.generated: list[str] = []

    def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(samples), batch_size):
            chunk = samples[start : start + batch_size]
            self.seen = {sample.id: sample for sample in chunk}
            blank = torch.zeros((len(chunk), 1), dtype=torch.long)
            yield Batch(tuple(s.id for s in chunk), {}, blank, blank, blank, torch.ones(len(chunk)))

    def generate(self, batch: Batch) -> list[Said]:
        self.generated += batch.ids
        return [Said({"answer": self.seen[i].text or "nothing"}, {"answer": -1.0}) for i in batch.ids]

    def token_losses(self, batch: Batch) -> list[dict[str, tuple[float, float]]]:
        return [{k: (float(len(v)), 2.0) for r in self.seen[i].references for k, v in r.items()} for i in batch.ids]


def make() -> list[Sample]:
    samples = [Sample(f"t{i}", "train", text="a", references=({"answer": "red"},)) for i in range(3)]
    samples += [Sample(f"q{i}", "test", text="red", references=({"answer": "red"},)) for i in range(5)]
    samples.append(Sample("two", "test", text="blue", references=({"answer": "red"}, {"answer": "blues"})))
    samples.append(Sample("blank", "test", text="red"))
    return samples


CONFIG = EvaluateConfig(batch_size=2, num_resamples=100)


def test_one_row_per_sample_written_into_the_folder(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    record = evaluate(
        Echo(), make(), config=CONFIG, folder=tmp_path, progress=lambda done, all_: told.append((done, all_))
    )
    assert [row.id for row in record.rows] == ["q0", "q1", "q2", "q3", "q4", "two", "blank"]
    accuracy = record.summary.metrics["answer"]["accuracy"]
    assert (accuracy.value, accuracy.n) == (pytest.approx(5 / 6), 6)
    assert accuracy.constant is not None
    assert accuracy.constant.text == "red"
    assert record.rows[6].segments["answer"].output == "red"
    assert record.rows[6].segments["answer"].unscored["accuracy"] == "the sample has no reference for it"
    assert record.rows[0].seconds is not None
    assert read_record(tmp_path / "records" / "test.parquet") == record
    assert told[-1] == (8, 8)
    assert record.summary.config["metrics"] == {"answer": ["accuracy"]}


def test_the_loss_is_the_mean_over_the_references_and_each_sample_is_answered_once() -> None:
    echo = Echo()
    samples = [s for s in make() if s.split == "test"]
    driven = drive(echo, samples, batch_size=4)
    assert echo.generated == [s.id for s in samples]
    assert driven.losses[0] == {"answer": (3.0, 2.0, None)}
    assert driven.losses[5] == {"answer": (4.0, 2.0, None)}  # "red" and "blues"
    assert driven.losses[6] is None


def test_inputs_taken_away_keep_the_metrics_and_name_the_record(tmp_path: Path) -> None:
    record = evaluate(Echo(), make(), config=CONFIG.model_copy(update={"inputs": ()}), folder=tmp_path)
    assert record.rows[0].segments["answer"].output == "nothing"
    assert record.rows[0].inputs == ()
    assert record.summary.metrics["answer"]["accuracy"].value == 0.0
    assert record.summary.inputs == ()
    assert (tmp_path / "records" / "test-no_input.parquet").is_file()
    kept = evaluate(Echo(), make(), config=CONFIG.model_copy(update={"inputs": ("text",)}))
    assert kept.summary.metrics["answer"]["accuracy"].value == pytest.approx(5 / 6)


def test_next_words_are_not_generated() -> None:
    echo = Echo()
    samples = [Sample(str(i), "test", references=({"target": "next words"},)) for i in range(3)]
    record = evaluate(echo, samples, config=CONFIG)
    assert echo.generated == []
    assert record.summary.metrics["target"]["perplexity"].value == pytest.approx(2 ** (10 / 2))


def test_a_split_that_is_unknown_or_empty_is_refused() -> None:
    with pytest.raises(UserError, match=r"split 'tset' is unknown\. Did you mean 'test'"):
        evaluate(Echo(), make(), config=CONFIG.model_copy(update={"split": "tset"}))
    with pytest.raises(UserError, match=r"no row in split 'tune'\. There are train: 3 rows, test: 7 rows"):
        evaluate(Echo(), make(), config=CONFIG.model_copy(update={"split": "val"}))


def test_another_word_for_a_split_gives_the_record_of_the_split(tmp_path: Path) -> None:
    record = evaluate(Echo(), make(), config=CONFIG.model_copy(update={"split": "Testing"}), folder=tmp_path)
    assert record.summary.split == "test"
    assert (tmp_path / "records" / "test.parquet").is_file()


def test_a_loader_that_changes_the_order_is_caught() -> None:
    class Turned(Echo):
        def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterator[Batch]:
            return super().batches(samples[::-1], batch_size)

    with pytest.raises(RuntimeError, match="the loader changed the order"):
        drive(Turned(), make(), batch_size=2)


class Blind(Echo):
    """Cannot read some samples, and says why of those that it lists."""

    def __init__(self, *gone: str, told: bool = True) -> None:
        super().__init__()
        self.gone = gone
        self.left_out = {i: LeftOut("m:1", i, "torn") for i in gone} if told else {}

    def batches(self, samples: Sequence[Sample], batch_size: int) -> Iterator[Batch]:
        for start in range(0, len(samples), batch_size):
            kept = [sample for sample in samples[start : start + batch_size] if sample.id not in self.gone]
            if kept:
                yield from super().batches(kept, batch_size)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
@pytest.mark.parametrize("gone", [("q0",), ("blank",), ("q0", "q1", "two"), ("q1", "q2", "q3", "q4"), ("two", "blank")])
def test_what_cannot_be_read_says_why_and_the_rest_keeps_its_place(gone: tuple[str, ...], batch_size: int) -> None:
    samples, told = [s for s in make() if s.split == "test"], []
    driven = drive(Blind(*gone), samples, batch_size=batch_size, progress=lambda done, of: told.append((done, of)))
    whole = drive(Echo(), samples, batch_size=batch_size)
    for row, sample in enumerate(samples):
        lost = sample.id in gone
        assert driven.unread[row] == ("m:1: torn" if lost else None)
        assert driven.outputs[row] == (None if lost else whole.outputs[row])
        assert driven.losses[row] == (None if lost else whole.losses[row])
    assert told[-1] == (8, 8)
    assert told == sorted(told)


def test_a_sample_that_is_missing_without_a_reason_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="'q1' did not come back"):
        drive(Blind("q1", told=False), make(), batch_size=2)


def test_nothing_that_can_be_read_is_refused() -> None:
    samples = make()
    with pytest.raises(UserError, match="none of the 7 samples can be read; the first: m:1: torn"):
        evaluate(Blind(*(s.id for s in samples)), samples, config=CONFIG)
