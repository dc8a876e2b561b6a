"""Splits that are drawn: nothing that is tied together is parted, whatever the groups."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from plait.data.manifest import read_manifest
from plait.data.splits import SplitConfig, components, draw_splits, split_name
from plait.errors import UserError

keys_of_rows = st.lists(
    st.lists(st.tuples(st.sampled_from(["picture", "speaker"]), st.integers(0, 30)), max_size=2),
    min_size=1,
    max_size=60,
)


def tied_by_definition(keys: list[list[tuple[str, int]]]) -> set[frozenset[int]]:
    """The transitive closure of 'shares a key', written longhand."""
    parts = [({row}, set(row_keys)) for row, row_keys in enumerate(keys)]
    merged = True
    while merged:
        merged = False
        for i in range(len(parts)):
            for j in range(i + 1, len(parts)):
                if parts[i][1] & parts[j][1]:
                    parts[i] = (parts[i][0] | parts[j][0], parts[i][1] | parts[j][1])
                    del parts[j]
                    merged = True
                    break
            if merged:
                break
    return {frozenset(rows) for rows, _ in parts}


@given(keys_of_rows)
def test_components_are_the_transitive_closure(keys: list[list[tuple[str, int]]]) -> None:
    assert {frozenset(rows) for rows in components(keys)} == tied_by_definition(keys)


@given(keys_of_rows, st.integers(0, 5), st.randoms(use_true_random=False))
def test_drawn_splits(keys: list[list[tuple[str, int]]], seed: int, random: object) -> None:
    names = [f"row-{i}" for i in range(len(keys))]
    config = SplitConfig(seed=seed)
    if len(components(keys)) < 3:
        with pytest.raises(UserError, match="too few for train, tune, test"):
            draw_splits(names, keys, config)
        return
    splits = draw_splits(names, keys, config)
    assert set(splits) == {"train", "tune", "test"}
    of_key: dict[tuple[str, int], set[str]] = {}
    for split, row_keys in zip(splits, keys, strict=True):
        for key in row_keys:
            of_key.setdefault(key, set()).add(split)
    assert all(len(found) == 1 for found in of_key.values())
    order = list(range(len(keys)))
    random.shuffle(order)  # pyright: ignore[reportAttributeAccessIssue]
    again = draw_splits([names[i] for i in order], [keys[i] for i in order], config)
    assert again == [splits[i] for i in order]


def test_fractions_hold_and_seeds_differ() -> None:
    names = [str(i) for i in range(1000)]
    keys = [[("group", i // 4)] for i in range(1000)]
    config = SplitConfig(fractions={"train": 0.7, "tune": 0.1, "test": 0.2})
    counts = Counter(draw_splits(names, keys, config))
    assert abs(counts["train"] - 700) <= 4
    assert abs(counts["test"] - 200) <= 4
    assert draw_splits(names, keys, config) != draw_splits(names, keys, config.model_copy(update={"seed": 1}))


def test_a_group_larger_than_a_small_split_is_trained_on() -> None:
    keys = [[("group", 0)]] * 300 + [[("group", i)] for i in range(1, 701)]
    for seed in range(5):
        splits = draw_splits([str(i) for i in range(1000)], keys, SplitConfig(seed=seed))
        assert splits[0] == "train"
        assert Counter(splits) == {"train": 800, "tune": 100, "test": 100}


def test_a_fraction_of_0_makes_no_split() -> None:
    config = SplitConfig(fractions={"train": 1.0})
    assert draw_splits(["a", "b"], [[], []], config) == ["train", "train"]


@pytest.mark.parametrize(
    "fractions", [{"train": 0.5}, {"train": 1.2, "test": -0.2}, {"test": 1.0}, {"train": float("nan")}, {"trian": 1.0}]
)
def test_fractions_that_are_none(fractions: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SplitConfig.model_validate({"fractions": fractions})


def test_words_for_splits() -> None:
    words = ["train", " Train", "VAL", "valid", "validation", "dev", "tune", "test", "holdout"]
    assert [split_name(word) for word in words] == ["train"] * 2 + ["tune"] * 5 + ["test", None]


def test_a_manifest_is_split_by_its_groups_and_files(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    (tmp_path / "again.png").symlink_to("0.png")
    rows = [{"image": f"{i % 20}.png", "group": {"speaker": i // 2}, "target": "x"} for i in range(40)]
    rows.append({"image": "./again.png", "target": "x"})
    path = tmp_path / "m.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    dataset = read_manifest(path)
    assert dataset.drawn
    for part in ({s.image[0].resolve().name for s in dataset.split(name)} for name in ("train", "tune", "test")):
        assert part
    split_of: dict[str, set[str]] = {}
    for sample in dataset.samples:
        for key in (sample.image[0].resolve().name, *sample.groups.values()):
            split_of.setdefault(key, set()).add(sample.split)
    assert all(len(found) == 1 for found in split_of.values())
    with pytest.raises(UserError, match=r"data.split.by: no row has a grouping 'speakr'. Did you mean 'speaker'"):
        read_manifest(path, split=SplitConfig(by="speakr"))


def test_groups_that_tie_everything_are_told(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    rows = [{"group": {"one": "g", "row": i}, "target": "x"} for i in range(9)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(UserError, match=r"m.jsonl: the groups and shared files tie the 9 rows into 1 part, too few"):
        read_manifest(path)
    assert len(read_manifest(path, split=SplitConfig(by="row")).split("tune")) == 1
