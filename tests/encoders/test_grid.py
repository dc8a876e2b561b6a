"""Grids: at least 4 × 4 for every picture encoder at every size, counted by `num_tokens`; every place has its own position."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from plait.encoders import AlexNetConfig, Encoder, ResNetConfig, VGGConfig, ViTConfig
from plait.errors import UserError
from plait.modalities.encoder import grid_positions
from plait.modalities.image.grid import enlarged_size
from plait.modalities.image.weights import group_norm
from plait.types import Items

CONFIGS = {
    "alexnet": AlexNetConfig(),
    **{f"vgg-{depth}": VGGConfig(depth=depth) for depth in (11, 13, 16, 19)},
    **{f"vgg-{depth}-plain": VGGConfig(depth=depth, batch_norm=False) for depth in (11, 13, 16, 19)},
    **{f"resnet-{depth}": ResNetConfig(depth=depth) for depth in (9, 18, 34, 50)},
    "vit-8": ViTConfig(layers=1),
    "vit-16": ViTConfig(layers=1, patch=16),
}


def pictures(rows: int, columns: int, channels: int = 3, device: str = "cpu") -> Items:
    return Items(torch.zeros(1, channels, rows, columns, device=device), torch.ones(1).long(), torch.zeros(1, 1).long())


def macs(encoder: Encoder, items: Items) -> float:
    """Million multiply-adds of one item."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.eval()(items)
    return counter.get_total_flops() / 2e6


@pytest.mark.parametrize("name", CONFIGS)
def test_at_least_4_by_4_at_every_size_and_counted(name: str) -> None:
    """On the meta device: shapes without the arithmetic."""
    with torch.device("meta"):
        encoder = CONFIGS[name].build(16)
        for rows, columns in [(28, 28), (31, 47), (64, 64), (97, 100), (160, 64), (224, 224), (225, 231)]:
            num_tokens = encoder(pictures(rows, columns, device="meta")).values.shape[1]
            assert num_tokens >= 16
            assert num_tokens == encoder.num_tokens(rows, columns), (rows, columns)


def test_tokens_at_the_usual_sizes() -> None:
    with torch.device("meta"):
        assert VGGConfig().build(16).num_tokens(224, 224) == 14 * 14
        assert ResNetConfig(depth=50).build(16).num_tokens(224, 224) == 7 * 7
        assert AlexNetConfig().build(16).num_tokens(224, 224) == 13 * 13
        assert ResNetConfig().build(16).num_tokens(64, 64) == 16
        assert ViTConfig().build(16).num_tokens(64, 64) == 64


def test_the_default_is_cheap() -> None:
    """The demo trains it on a CPU: 8 million multiply-adds a picture."""
    encoder = ResNetConfig().build(128)
    assert macs(encoder, pictures(64, 64)) < 8.0
    assert sum(p.numel() for p in encoder.parameters()) < 400_000


@settings(max_examples=50, deadline=None)
@given(st.integers(8, 300), st.integers(8, 300), st.integers(16, 128))
def test_enlarging_keeps_the_aspect(rows: int, columns: int, smallest: int) -> None:
    new_rows, new_columns = enlarged_size((rows, columns), smallest)
    assert min(new_rows, new_columns) == max(smallest, min(rows, columns))
    assert abs(new_rows * columns - new_columns * rows) <= max(rows, columns)


@pytest.mark.parametrize(("rows", "columns", "width"), [(4, 4, 8), (4, 4, 128), (7, 7, 65), (14, 9, 128)])
def test_every_place_has_its_own_position(rows: int, columns: int, width: int) -> None:
    positions = grid_positions(rows, columns, width)
    assert positions.shape == (rows * columns, width)
    distances = torch.cdist(positions, positions) + torch.eye(rows * columns) * 9
    assert distances.min() > 0.1 * width**0.5 / max(rows, columns)
    constant = (positions.max(0).values - positions.min(0).values) < 0.1
    assert not constant.any()


def test_a_shifted_spot_moves_in_the_tokens() -> None:
    """The tokens are read as a set, so the place has to be in their values."""
    encoder = ResNetConfig().build(32).eval()
    blank = pictures(64, 64)
    tokens = encoder(blank).values[0]
    assert torch.cdist(tokens, tokens).fill_diagonal_(9).min() > 0.1


def test_grey_pictures() -> None:
    for config in (ResNetConfig(), ViTConfig(layers=1), VGGConfig(), AlexNetConfig()):
        assert config.build(16, channels=1)(pictures(28, 28, channels=1)).values.shape == (1, 16, 16)


@pytest.mark.parametrize("channels", [16, 24, 64, 192, 512, 2048])
def test_groups_have_8_channels_or_more(channels: int) -> None:
    assert channels // group_norm(channels).num_groups >= 8


def test_heads_that_do_not_share_the_width() -> None:
    with pytest.raises(
        UserError, match=r"encoders.image.num_heads: 5 heads cannot share a width of 32. Any of \[1, 2, 4"
    ):
        ViTConfig(num_heads=5).build(32)
