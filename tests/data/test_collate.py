"""Collation: the layout of targets, padding and masks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.data.collate import (
    SegmentTokens,
    collate_index,
    collate_targets,
    num_target_positions,
    positions,
)
from plait.modalities.base import stacked
from plait.types import IGNORED, Batch, Items

PAD, UNKNOWN, END, HEARD, ANSWER = range(5)
A, B, C = 10, 11, 12

segment_ids = st.lists(st.integers(10, 99), max_size=6)
targets = st.lists(st.lists(segment_ids, max_size=2), min_size=1, max_size=6)


def spoken(segments: list[list[int]]) -> list[SegmentTokens]:
    return [SegmentTokens(place, (HEARD, ANSWER)[place], ids) for place, ids in enumerate(segments)]


def collated(of_samples: list[list[list[int]]]):
    return collate_targets([spoken(s) for s in of_samples], start_id=HEARD, end_id=END, pad_id=PAD)


def test_the_layout_of_the_docstring():
    made = collated([[[A, B], [C]]])
    assert made.tokens.tolist() == [[HEARD, A, B, ANSWER, C]]
    assert made.targets.tolist() == [[A, B, END, C, END]]
    assert made.segments.tolist() == [[0, 0, 0, 1, 1]]


def test_a_sample_without_target_is_given_the_first_segment_and_scored_nowhere():
    made = collated([[], [[A], [C]]])
    assert made.tokens.tolist() == [[HEARD, PAD, PAD, PAD], [HEARD, A, ANSWER, C]]
    assert made.targets[0].tolist() == [IGNORED] * 4
    assert made.segments[0].tolist() == [-1] * 4


def test_an_empty_segment_is_its_end():
    made = collated([[[], [C]]])
    assert made.tokens.tolist() == [[HEARD, ANSWER, C]]
    assert made.targets.tolist() == [[END, C, END]]


@settings(deadline=None)
@given(targets)
def test_every_target_is_the_next_token_or_the_end(of_samples: list[list[list[int]]]):
    made = collated(of_samples)
    assert not (made.tokens == END).any(), "<end> is never an input"
    assert not torch.isin(made.targets, torch.tensor([HEARD, ANSWER, PAD])).any()
    for row, segments in enumerate(of_samples):
        length = num_target_positions(spoken(segments))
        assert (made.segments[row] >= 0).sum() == (made.targets[row] != IGNORED).sum() == length
        said = made.targets[row, :length]
        assert (said == END).sum() == len(segments)
        for at in range(length):
            following = int(made.tokens[row, at + 1]) if at + 1 < length else HEARD
            assert int(said[at]) == (END if following in (HEARD, ANSWER) else following)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=7), max_size=5))
def test_sequences_are_padded_behind(rows: list[list[int]]):
    padded = stacked([torch.tensor(row) for row in rows], torch.zeros(1, dtype=torch.long), fill=-7)
    assert padded.shape[0] == len(rows)
    for made, row in zip(padded, rows, strict=True):
        assert made[: len(row)].tolist() == row
        assert (made[len(row) :] == -7).all()


def test_no_item_at_all_keeps_type_and_trailing_shape():
    assert stacked([], torch.zeros(1, 80)).shape == (0, 1, 80)
    assert collate_index([[], []]).tolist() == [[-1], [-1]]


def test_the_index_holds_several_items_of_a_sample_and_shared_ones():
    assert collate_index([[0, 1], [], [1]]).tolist() == [[0, 1], [-1, -1], [1, -1]]


def batch_of(of_samples: list[list[list[int]]], clips: list[int], rows: list[list[int]]) -> Batch:
    made = collated(of_samples)
    values = [torch.full((length, 4), float(number + 1)) for number, length in enumerate(clips)]
    sound = Items(stacked(values, torch.zeros(1, 4)), torch.tensor(clips, dtype=torch.long), collate_index(rows))
    weights = torch.arange(1.0, len(of_samples) + 1)
    return Batch(tuple(map(str, range(len(of_samples)))), {"audio": sound}, *made, weights)


def test_padding_counts_frames_and_tokens():
    batch = batch_of([[[A]], [[A, B, C]]], [3, 5], [[0], [1]])
    counts = positions(batch)
    assert (counts["audio"].filled, counts["audio"].total) == (8, 10)
    assert (counts["target"].filled, counts["target"].total) == (6, 8)
    assert counts["target"].padding == pytest.approx(1 - 6 / 8)
    assert positions(batch_of([[]], [], [[]]))["target"].padding == 1.0, "one position, and it is not scored"
