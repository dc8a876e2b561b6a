"""The inner width: what it changes, what it leaves, and that without it every fusion begins as it always has."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from test_fusion_contract import NUM_BLOCKS, WIDTH, WIDTHS, combined, sized
from torch.nn.functional import gelu

from plait.config import make_config
from plait.errors import UserError
from plait.fusion import FUSIONS
from plait.fusion.concat import ConcatConfig
from plait.fusion.film import FilmConfig
from plait.fusion.gated import GatedConfig
from plait.fusion.product import ProductConfig
from plait.fusion.sum import SumConfig
from plait.fusion.tensor import TensorConfig
from plait.named import name_before

INITIAL = json.loads((Path(__file__).parent / "initial_weights.json").read_text(encoding="utf-8"))
"""Kind → name → shape and Σ |w| of every tensor at seed 3, as of commit 0d9a36a, before the inner widths came."""

every_kind = pytest.mark.parametrize("member", FUSIONS, ids=lambda member: member.model_fields["kind"].default)


def num_parameters(config) -> int:
    with torch.device("meta"):
        fusion = config.build(width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS)
    return sum(p.numel() for p in fusion.parameters())


@every_kind
def test_without_it_the_names_and_first_weights_are_those_of_runs_trained_before(member):
    torch.manual_seed(3)
    fusion = member().build(width=16, feature_widths=WIDTHS, num_blocks=3)
    tensors = {name_before(fusion, name): tensor for name, tensor in fusion.state_dict().items()}
    expected = INITIAL[member.model_fields["kind"].default]
    assert {name: list(t.shape) for name, t in tensors.items()} == {
        name: shape for name, (shape, _) in expected.items()
    }
    for name, (_, total) in expected.items():
        assert float(tensors[name].double().abs().sum()) == pytest.approx(total, rel=1e-4, abs=1e-3), name


@every_kind
def test_every_kind_can_be_made_larger_and_smaller_and_grows_with_every_step(member):
    counts = [num_parameters(sized(member, steps)) for steps in range(5)]
    assert all(one < two for one, two in pairwise(counts))
    assert counts[0] < num_parameters(member())


@every_kind
def test_the_largest_size_can_be_built_and_the_next_is_refused(member):
    _, step, largest = member().size_steps(num_modalities=len(WIDTHS))
    if largest is None:
        return
    assert num_parameters(member(**{member.size_key: largest})) > 0
    with pytest.raises(UserError):
        num_parameters(member(**{member.size_key: largest + step}))


NARROWED = ["attention", "pairwise", "bottleneck", "resampler", "cross_attention", "late"]
AS_WIDE = [*NARROWED, "bilinear", "low_rank", "experts", "prefix"]


@pytest.mark.parametrize("kind", AS_WIDE)
def test_null_is_the_width_of_the_states_where_it_says_so(kind):
    (member,) = [m for m in FUSIONS if m.model_fields["kind"].default == kind]
    states = []
    for config in (member(), member.model_validate({"inner_width": WIDTH})):
        torch.manual_seed(0)
        states.append(config.build(width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def hidden(x, mapping):
    """A hidden layer, longhand."""
    return gelu(x @ mapping.expand.weight.T) @ mapping.contract.weight.T


def test_concat_with_a_hidden_layer_is_its_formula():
    fusion, h, c, out = combined(ConcatConfig(align="mean", inner_width=5))
    torch.testing.assert_close(out, h + hidden(torch.cat([h, *c], -1), fusion.mix))


def test_sum_with_a_hidden_layer_adds_what_each_modality_says_by_itself():
    fusion, h, c, out = combined(SumConfig(align="mean", inner_width=5))
    torch.testing.assert_close(out, h + sum(hidden(x, u) for x, u in zip(c, fusion.shares, strict=True)))


def test_product_with_a_hidden_layer_has_one_factor_for_each_modality():
    fusion, h, c, out = combined(ProductConfig(align="mean", inner_width=5))
    factors = [1 + torch.tanh(hidden(x, u)) for x, u in zip(c, fusion.scales, strict=True)]
    torch.testing.assert_close(out, h + fusion.norm(h) * (factors[0] * factors[1] * factors[2] - 1))


def test_gated_with_a_hidden_layer_shares_a_gate_that_sums_to_one():
    fusion, h, c, out = combined(GatedConfig(align="mean", inner_width=5))
    gates = hidden(torch.cat([h, *c], -1), fusion.gates).unflatten(-1, (3, WIDTH)).softmax(dim=-2)
    contents = [torch.tanh(hidden(x, u)) for x, u in zip(c, fusion.contents, strict=True)]
    torch.testing.assert_close(out, h + sum(gates[..., m, :] * contents[m] for m in range(3)))


def test_film_with_a_hidden_layer_still_changes_nothing_at_the_start():
    fusion, h, c, out = combined(FilmConfig(align="mean", inner_width=5))
    gamma, beta = hidden(torch.cat(c, -1), fusion.modulation).chunk(2, dim=-1)
    torch.testing.assert_close(out, (1 + gamma) * h + beta)
    fresh = FilmConfig(inner_width=5).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS)
    assert not fresh.modulation.contract.weight.any()
    assert fresh.modulation.expand.weight.any()


@pytest.mark.parametrize("kind", ["sum", "product"])
def test_a_plain_form_without_a_matrix_has_nothing_to_widen(kind):
    with pytest.raises(UserError, match="no matrix"):
        make_config({"data": {"manifest": "m"}, "fusion": {"kind": kind, "plain": True, "inner_width": 4}})
    (member,) = [m for m in FUSIONS if m.model_fields["kind"].default == kind]
    assert member(plain=True).size_steps(num_modalities=3) is None


@pytest.mark.parametrize("kind", NARROWED)
def test_heads_share_the_inner_width_evenly(kind):
    with pytest.raises(UserError, match=r"inner_width 10 is not a multiple of 4 heads: take 8 or 12"):
        make_config({"data": {"manifest": "m"}, "fusion": {"kind": kind, "inner_width": 10}})
    with pytest.raises(UserError, match=r"take 4$"):
        make_config({"data": {"manifest": "m"}, "fusion": {"kind": kind, "inner_width": 3}})


def test_the_tensor_has_its_projected_width_instead():
    assert TensorConfig.size_key == "projected_width"
    assert "inner_width" not in TensorConfig.model_fields
