"""Retrieval in the record: planted and random vectors, several right entries, clustered intervals, and old records."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import quantile_test
from test_evaluate_score import evaluated

from plait.evaluate import read_record, render, write_record
from plait.evaluate.retrieval import Retrieved, median, retrieve, with_retrieval
from plait.evaluate.statistics import ALONE, Groupings
from plait.search import Entries
from plait.types import Sample

NUMBER = 60


def vectors(number: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(number, 12, generator=torch.Generator().manual_seed(seed)), dim=1)


def side(name: str, values: torch.Tensor, of_samples: list[tuple[int, ...]]) -> Entries:
    return Entries(name, values, tuple(f"{name}{n}" for n in range(len(values))), tuple(of_samples))


def grouped(number: int, size: int = 2) -> Groupings:
    return Groupings.of([Sample(str(n), "test", groups={"picture": str(n // size)}) for n in range(number)])


def test_planted_vectors_reach_everything_and_random_ones_chance():
    values, own = vectors(NUMBER, 0), [(n,) for n in range(NUMBER)]
    (rows, found), perfect = retrieve(side("image", values, own), side("target", values, own), grouped(60), 0.95)
    assert rows.tolist() == list(range(NUMBER))
    assert (found == 1).all()
    assert perfect.figures["recall_at_1"].value == 1.0
    assert perfect.figures["median_rank"].value == 1.0
    assert perfect.chance == {
        "recall_at_1": pytest.approx(1 / 60),
        "recall_at_5": pytest.approx(5 / 60),
        "recall_at_10": pytest.approx(10 / 60),
        "median_rank": 30,
    }
    _, random = retrieve(side("image", values, own), side("target", vectors(60, 1), own), grouped(60), 0.95)
    for name, figure in random.figures.items():
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high
        assert figure.grouping == "picture"
        if name != "recall_at_1":
            assert figure.low * 0.5 <= random.chance[name] <= figure.high * 2


def test_a_query_with_several_right_entries_counts_the_best_and_lacking_samples_are_no_queries():
    """Samples 0 and 1 share a picture: the target of either is right for both. Sample 2 has no picture, 3 no target."""
    pictures = side("image", torch.eye(3), [(0,), (0,), (), (1,), (2,)])
    likeness = torch.tensor([[0.1, 0.9, 0.2], [0.8, 0.0, 0.0], [0.5, 0.5, 0.5], [0.3, 0.3, 0.9]])
    targets = side("target", likeness, [(0,), (1,), (2,), (), (3,)])
    (rows, found), one = retrieve(pictures, targets, grouped(5, 1), 0.95)
    assert rows.tolist() == [0, 1, 4]
    assert found.tolist() == [1, 1, 1]
    assert one.num_entries == 4
    assert one.chance["recall_at_1"] == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)
    (rows, found), back = retrieve(targets, pictures, grouped(5, 1), 0.95)
    assert rows.tolist() == [0, 1, 4]
    assert found.tolist() == [3, 1, 1]
    assert back.num_entries == 3
    none = retrieve(pictures, side("audio", torch.eye(3)[:0], [()] * 5), grouped(5, 1), 0.95)
    assert none[1].figures["recall_at_1"].note == "no sample has both sides"
    assert none[1].figures["median_rank"].value is None


@pytest.mark.parametrize("number", [8, 9, 301, 1400])
def test_the_median_has_the_interval_of_the_sign_test(number: int):
    """Where samples stand alone: scipy.stats.quantile_test, the order statistics between which the binomial puts the median."""
    draw = np.random.default_rng(number)
    found = np.round(draw.exponential(400, number)) + draw.integers(0, 2, number) / 2 + 1
    got = median(found, {ALONE: np.arange(number)}, 0.95)
    assert got.value == np.sort(found)[(number - 1) // 2]
    wanted = quantile_test(found, p=0.5).confidence_interval(0.95)
    assert (got.low, got.high) == (wanted.low, wanted.high)


def test_the_median_of_groups_is_less_certain_than_that_of_samples():
    found = np.repeat(np.random.default_rng(0).exponential(100, 40), 10)
    alone, grouped = (
        median(found, {name: group}, 0.95)
        for name, group in ((ALONE, np.arange(400)), ("picture", np.arange(400) // 10))
    )
    assert (grouped.high or 0) - (grouped.low or 0) > 2 * ((alone.high or 0) - (alone.low or 0)) > 0


def test_a_median_far_from_any_other_rank_is_its_own_interval():
    found = np.asarray([1.0] * 99 + [5.0])
    got = median(found, {ALONE: np.arange(100)}, 0.95)
    assert (got.value, got.low, got.high, got.note) == (1.0, 1.0, 1.0, None)
    alike = median(np.ones(50), {ALONE: np.arange(50)}, 0.95)
    assert (alike.value, alike.low, alike.high) == (1.0, 1.0, 1.0)


def made() -> Retrieved:
    values, own = vectors(NUMBER, 0), [(n,) for n in range(NUMBER - 1)] + [()]
    pictures, targets = side("image", values, own), side("target", vectors(NUMBER, 1), own)
    found = [retrieve(*pair, grouped(60), 0.95) for pair in ((pictures, targets), (targets, pictures))]
    columns = {one.pair: [*asked[1].tolist(), None] for asked, one in found}
    return Retrieved(tuple(one for _, one in found), columns, ("retrieval: 1 items of image could not be read",))


def test_written_is_read_with_a_rank_for_every_sample(tmp_path: Path):
    record = with_retrieval(evaluated(), made())
    write_record(record, tmp_path / "test.parquet")
    assert read_record(tmp_path / "test.parquet") == record
    table = parquet.read_table(tmp_path / "test.parquet")
    assert table["rank.image.target"].null_count == 1
    summary = json.loads((tmp_path / "test.json").read_text(encoding="utf-8"))
    assert [(one["query"], one["gallery"]) for one in summary["retrieval"]] == [
        ("image", "target"),
        ("target", "image"),
    ]
    assert {"value", "low", "high", "n"} <= set(summary["retrieval"][0]["figures"]["recall_at_10"])


def test_a_record_from_before_there_was_retrieval_is_read(tmp_path: Path):
    record = evaluated()
    write_record(record, tmp_path / "test.parquet")
    table = parquet.read_table(tmp_path / "test.parquet")
    metadata = json.loads(table.schema.metadata[b"plait"])
    del metadata["retrieval"]
    parquet.write_table(
        table.replace_schema_metadata({b"plait": json.dumps(metadata).encode()}), tmp_path / "old.parquet"
    )
    assert read_record(tmp_path / "old.parquet") == record


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_shows_chance(width: int):
    text = render(with_retrieval(evaluated(), made()).summary, width=width)
    assert max(map(len, text.splitlines())) <= width
    (line,) = [line for line in text.splitlines() if line.startswith("image → target")]
    assert line.split()[-2:] == ["1.7", "30"]
    assert "image 60, target 60" in text
    assert "could not be read" in text
