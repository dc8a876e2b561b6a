"""Fusions whose cost grows faster than the number of inputs: refused with the count, and what to take instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from plait.errors import UserError
from plait.fusion import FUSIONS
from plait.fusion.late import MAX_BRANCHES
from plait.fusion.pairwise import MAX_BLOCKS
from plait.fusion.tensor import MAX_PRODUCTS


def build(kind: str, num: int, **options: Any) -> Any:
    config = next(one for one in FUSIONS if one.model_fields["kind"].default == kind)(**options)
    with torch.device("meta"):
        return config.build(width=16, feature_widths={f"view{k}": 16 for k in range(num)}, num_blocks=2)


@pytest.mark.parametrize(
    ("kind", "num", "options", "message"),
    [
        (
            "tensor",
            5,
            {},
            r"tensor: 5 inputs make \(8 \+ 1\)\^\(5 \+ 1\) = 531,441 products .*65,536: take 5, or fusion.kind=low_rank",
        ),
        ("tensor", 16, {"projected_width": 1}, r"131,072 products per position.*65,536: take fusion.kind=low_rank"),
        (
            "pairwise",
            10,
            {},
            r"pairwise: 10 inputs make 90 directed pairs, with 1 layers each 90 blocks.*72: take fusion.kind=bott",
        ),
        (
            "pairwise",
            4,
            {"layers": 7},
            r"12 directed pairs, with 7 layers each 84 blocks.*72: take fusion.layers=6, or",
        ),
        ("late", 9, {}, r"late: 9 inputs make 10 branches.*9: take fusion.kind=concat with fusion.at=last"),
    ],
)
def test_what_costs_too_much_is_refused(kind: str, num: int, options: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        build(kind, num, **options)


@pytest.mark.parametrize(
    ("kind", "num", "options"),
    [
        ("tensor", 4, {}),
        ("tensor", 15, {"projected_width": 1}),
        ("pairwise", 9, {}),
        ("pairwise", 3, {"layers": 12}),
        ("late", 8, {}),
    ],
)
def test_what_stands_in_the_docs_is_built(kind: str, num: int, options: dict[str, Any]):
    assert build(kind, num, **options) is not None
    assert (MAX_PRODUCTS, MAX_BLOCKS, MAX_BRANCHES) == (2**16, 72, 9)
