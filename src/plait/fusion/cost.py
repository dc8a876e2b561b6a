"""What a fusion costs, before anything is trained.

In: a fusion's configuration, the widths, and how many tokens of each modality and positions of text a sample has.
Out: parameters, and the floating-point operations of one sample's forward pass.
Invariant: the figures are those of the fusion as it would be built (on no device, so nothing is allocated): matrix products
only, a multiplication and an addition being two operations; a weight shared by two parts counts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from plait.fusion.base import Around, FusionOptions, build_fusion
from plait.layers import set_attention
from plait.types import Features


class Cost(NamedTuple):
    """`flops` are the fusion's own; the language model runs `lm_rows` times, over `lm_positions` more positions."""

    parameters: int
    flops: int
    lm_rows: int
    lm_positions: int


def cost(
    config: FusionOptions,
    *,
    width: int,
    feature_widths: Mapping[str, int],
    num_blocks: int,
    num_tokens: Mapping[str, int],
    num_positions: int,
    embed_width: int | None = None,
    as_words: tuple[str, ...] = (),
    linear_head: bool = True,
) -> Cost:
    """The cost of a fusion for one sample that has every modality; refused (`UserError`) like the fusion itself.

    The widths, `num_blocks`, `as_words` and `linear_head`: as in `Around`.
    """
    around = Around(width, embed_width or width, feature_widths, num_blocks, as_words, linear_head)
    with torch.device("meta"), torch.no_grad():
        fusion = build_fusion(config, around).eval()
        fusion.requires_grad_(False)
        set_attention(fusion, "math")
        features = {
            m: Features(torch.empty(1, num_tokens[m], size), torch.empty(1, num_tokens[m], dtype=torch.bool))
            for m, size in feature_widths.items()
        }
        with FlopCounterMode(display=False) as counter:
            condition = fusion.condition(features)
            states = torch.empty(condition.num_branches, num_positions, width)
            for place in fusion.at:
                states = fusion.fuse(states, condition, place)
    return Cost(
        parameters=sum(p.numel() for p in fusion.parameters()),
        flops=counter.get_total_flops(),
        lm_rows=condition.num_branches,
        lm_positions=0 if condition.prefix is None else condition.prefix.values.shape[1],
    )
