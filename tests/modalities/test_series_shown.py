"""Series damaged for curves, and shown: each damage against its definition, views that cover the whole, small pictures."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from series_helpers import SERIES, wave

from plait.modalities.base import Blob, Parts
from plait.modalities.damage import Source
from plait.modalities.series.damage import Gap, LostChannels, Noise, with_gap, without
from plait.modalities.series.prepare import SeriesConfig
from plait.modalities.series.reading import packed
from plait.modalities.series.transformer import SeriesTransformerConfig
from plait.modalities.series.view import HEIGHT, WIDTH, lines_of
from plait.modalities.view import Seen
from plait.types import Sample

SAMPLE = Sample("s1", "test")


def series(channels: int = 8) -> torch.Tensor:
    return torch.from_numpy(wave(5, channels=channels)).float()


@pytest.mark.parametrize("damage", SERIES.damages)
def test_damage_keeps_shape_type_and_what_it_was_given(damage: Any):
    values = series()
    before = values.clone()
    for level in damage.kind.levels:
        source = Source(seed=1)
        found = damage(level, source).damaged(values, SAMPLE, 0)
        assert found.shape == values.shape
        assert found.dtype == values.dtype
        assert not found.isnan().all()
        assert torch.equal(values.nan_to_num(), before.nan_to_num())
        again = damage(level, Source(seed=1)).damaged(values, SAMPLE, 0)
        assert torch.equal(found.nan_to_num(), again.nan_to_num())
        assert not torch.equal(found.nan_to_num(), values.nan_to_num())
        assert not source.untouched
        assert damage.kind.modality == "series"


def test_noise_has_the_ratio_of_its_level_and_the_same_draw_at_every_level():
    values = series()
    noises = {}
    for level in Noise.kind.levels:
        noise = Noise(level, Source(seed=1)).damaged(values, SAMPLE, 0).double() - values.double()
        known = ~values[:, 0].isnan()
        ratio = values[known, 0].double().var(unbiased=False) / noise[known, 0].square().mean()
        assert 10 * math.log10(ratio) == pytest.approx(level, abs=0.01)
        noises[level] = noise[:, 1] / noise[:, 1].norm()
    assert torch.allclose(noises[20.0], noises[-5.0], atol=1e-4)


def test_a_series_that_never_changes_and_one_of_one_channel_are_left_and_noted():
    source, flat = Source(seed=1), torch.full((9, 1), 2.0)
    assert torch.equal(Noise(0.0, source).damaged(flat, SAMPLE, 0), flat)
    assert torch.equal(LostChannels(50.0, source).damaged(flat, SAMPLE, 0), flat)
    assert {kind: ids for (kind, _), ids in source.untouched.items()} == {"noise": {"s1"}, "lost channels": {"s1"}}


def test_channels_and_steps_that_are_gone_stay_gone_at_harsher_levels():
    values = series().nan_to_num()
    for damage, total in ((LostChannels, 8), (Gap, len(values))):
        gone = [damage(level, Source(seed=2)).damaged(values, SAMPLE, 0).isnan() for level in damage.kind.levels]
        counts = [int((one.all(dim=0) if damage is LostChannels else one.all(dim=1)).sum()) for one in gone]
        expected = [min(total - 1, max(1, int(level / 100 * total + 0.5))) for level in damage.kind.levels]
        assert counts == expected, damage
        for milder, harsher in pairwise(gone):
            assert (harsher | ~milder).all(), damage


def test_a_gap_is_one_stretch_and_nothing_else_changes():
    values = series().nan_to_num()
    for at in (0.0, 0.4, 0.999):
        found = with_gap(values, 0.3, at)
        places = torch.nonzero(found.isnan().any(dim=1))[:, 0].tolist()
        assert places == list(range(places[0], places[0] + 14))
        kept = ~found.isnan()
        assert torch.equal(found[kept], values[kept])
    assert not with_gap(values[:1], 0.9, 0.5).isnan().any(), "never the whole series"
    assert torch.equal(without(values, torch.arange(8), 0.0), values)


@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("steps", [1, 7, 33])
def test_the_view_covers_the_whole_series(stride: Any, steps: int):
    options = SeriesConfig(channels=3, source_rate=50, rate=25)
    parts = Parts(options, 1, 0, lambda _: None)
    encoder = SERIES.build_encoder(SeriesTransformerConfig(num_heads=2, stride=stride), 16, parts)
    view = SERIES.view(torch.randn(steps, 6), Seen(encoder, options))
    assert len(view.labels) == len(view.seconds) == len(view.near) == view.grid[0] == encoder.num_tokens(steps)
    assert view.seconds[0][0] == 0
    assert view.seconds[-1][1] == pytest.approx(steps / 25)
    assert all(one[1] == two[0] for one, two in pairwise(view.seconds))
    assert all(place in near and near == tuple(sorted(near)) for place, near in enumerate(view.near))
    assert view.labels[0] == f"0.00–{min(stride, steps) / 25:.2f} s"
    assert view.raw is not None
    assert view.raw.shape == (steps, 3)
    bare = SERIES.view(torch.randn(steps, 6), Seen(encoder, SeriesConfig(channels=3)))
    last = "step 1" if min(stride, steps) == 1 else f"steps 1–{min(stride, steps)}"
    assert (bare.drawn, bare.seconds, bare.labels[0]) == ("words", (), last)


def test_a_small_picture_of_the_curves(tmp_path: Path):
    np.save(tmp_path / "a.npy", wave(5, channels=8))
    small = SERIES.small(tmp_path / "a.npy")
    assert (small.form, small.mime, small.note) == ("picture", "image/png", "45 steps, the first 6 of 8 channels")
    picture = Image.open(io.BytesIO(small.data))
    assert picture.size == small.size == (WIDTH, HEIGHT)
    assert len(picture.getcolors(2**16) or []) == 7, "white and six curves"
    lines = lines_of(np.array([0.0, 1.0, np.nan, 0.5]))
    assert lines == [[(0.0, 119.0), (WIDTH * 0.0 + (WIDTH - 1) / 3, 0.0)], [(359.0, 59.5), (359.0, 59.5)]]


def test_a_list_is_told_by_its_size_and_a_file_by_its_path(tmp_path: Path):
    assert SERIES.told(Blob(packed(wave(0)))) == "40 steps of 2 channels"
    assert SERIES.told(Blob(packed(np.zeros(3)))) == "3 steps of 1 channel"
    assert SERIES.told(Blob(b"\xff\xfe", "bytes")) == "bytes"
    assert SERIES.told(tmp_path / "a.npy") == str(tmp_path / "a.npy")
