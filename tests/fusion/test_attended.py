"""Where each fusion looked: shares over real tokens that sum to one, or in words why it cannot tell."""

from __future__ import annotations

import pytest
import torch
from test_fusion_contract import LENGTHS, SUBSETS, WIDTHS, branched, build, every, features, text_states
from torch import Tensor

from plait.fusion import FUSIONS, Fusion
from plait.fusion.attention import AttentionConfig, AttentionFusion
from plait.fusion.base import Attended
from plait.fusion.concat import Concat, ConcatConfig
from plait.fusion.cross_attention import CrossAttention, CrossAttentionConfig
from plait.layers import Attention
from plait.types import Features


def states_at(fusion: Fusion, given: dict[str, Features]) -> dict[int, Tensor]:
    """The states that the fusion is given at each of its places, here always the same ones."""
    return {place: branched(text_states(), fusion.condition(given)) for place in fusion.at}


def attended(fusion: Fusion, given: dict[str, Features]) -> Attended | str:
    return fusion.attended(given, states_at(fusion, given))


@every
def test_shares_sum_to_one_over_the_real_tokens_of_what_competes(config):
    given = features()
    found = attended(build(config), given)
    if isinstance(found, str):
        assert config.kind == "prefix" or config.align == "mean"
        assert len(found.split()) > 3
        return
    sums = []
    for modality, share in found.shares.items():
        mask = given[modality].mask.clone()
        mask[~mask.any(dim=1), 0] = True  # the absent token
        assert share.shape[1] in (1, 6)
        assert share.shape[2] == LENGTHS[modality]
        assert (share >= 0).all()
        assert (share.masked_select(~mask[:, None].expand_as(share)) == 0).all()
        sums.append(share.sum(dim=-1).expand(len(SUBSETS), 6))
    assert set(found.shares) == set(WIDTHS)
    total = torch.stack(sums)
    if found.joint:
        assert found.elsewhere is not None
        assert (found.elsewhere >= 0).all()
        total = total.sum(dim=0) + found.elsewhere
    torch.testing.assert_close(total, torch.ones_like(total))


@every
def test_a_batch_without_a_modality_has_one_share_for_it(config):
    given = {m: Features(f.values[:, :0], f.mask[:, :0]) for m, f in features().items()}
    found = attended(build(config), given)
    if not isinstance(found, str):
        assert {share.shape[2] for share in found.shares.values()} == {1}


@pytest.mark.parametrize("member", FUSIONS, ids=lambda member: member.model_fields["kind"].default)
def test_every_kind_tells_but_the_prefix(member):
    found = attended(build(member()), features())
    assert isinstance(found, str) == (member.model_fields["kind"].default == "prefix")


def test_shares_are_what_the_values_are_weighed_by():
    torch.manual_seed(0)
    attention = Attention(8, 8, 1, output=False)
    states, tokens = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    bias = torch.zeros(2, 1, 1, 7)
    bias[0, ..., 4:] = -1e9
    keys, values = attention.keys(tokens)
    shares = attention.shares(states, keys, bias=bias)
    torch.testing.assert_close(shares @ values[:, 0], attention(states, keys, values, bias=bias))


def test_attention_reads_by_its_shares():
    fusion = build(AttentionConfig(num_heads=1))
    given = features()
    found = attended(fusion, given)
    assert isinstance(found, Attended)
    assert isinstance(fusion, AttentionFusion)
    values = fusion.condition(given).values["values"][:, 0]
    read = torch.cat(list(found.shares.values()), dim=-1) @ values
    torch.testing.assert_close(
        text_states() + fusion.attention.output(read), fusion.fuse(text_states(), fusion.condition(given), 1)
    )


def test_attend_reads_by_its_shares():
    fusion = build(ConcatConfig(num_heads=1))
    given = features()
    found = attended(fusion, given)
    assert isinstance(found, Attended)
    assert isinstance(fusion, Concat)
    condition = fusion.condition(given)
    for modality, read in zip(WIDTHS, fusion.alignments.read(text_states(), condition), strict=True):
        torch.testing.assert_close(found.shares[modality] @ condition.values[f"{modality}.values"][:, 0], read)


def test_a_closed_gate_has_no_say():
    fusion = build(CrossAttentionConfig(at=(0, 1)), at_random=False)
    given = features()
    states = {0: text_states(), 1: text_states().flip(1)}
    assert isinstance(fusion, CrossAttention)
    with torch.no_grad():
        fusion.block(1).attention_gate.fill_(0.5)
    both = fusion.attended(given, states)
    alone = fusion.attended(given, {**states, 0: torch.zeros_like(states[0])})
    assert isinstance(both, Attended)
    assert isinstance(alone, Attended)
    for modality in WIDTHS:
        torch.testing.assert_close(both.shares[modality], alone.shares[modality])
