"""The contract of DESIGN.md, held by every fusion with every alignment and form, over every subset of modalities in one batch."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from plait.fusion import FUSIONS, Fusion
from plait.fusion.attention import AttentionConfig
from plait.fusion.combination import CombinationOptions
from plait.fusion.concat import ConcatConfig
from plait.fusion.cross_attention import CrossAttentionConfig
from plait.fusion.prefix import PrefixConfig
from plait.fusion.product import ProductConfig
from plait.types import Condition, Features, Modality

WIDTH = 16
WIDTHS = {Modality.TEXT: 12, Modality.IMAGE: 10, Modality.AUDIO: 8}
LENGTHS = {Modality.TEXT: 3, Modality.IMAGE: 4, Modality.AUDIO: 5}
SUBSETS = list(product([True, False], repeat=3))
NUM_BLOCKS = 2


def variants() -> list[object]:
    """Every fusion in every alignment and form."""
    found: list[object] = []
    for member in FUSIONS:
        forms = [{"plain": False}, {"plain": True}] if "plain" in member.model_fields else [{}]
        aligns = [{"align": a} for a in ("attend", "mean", "pool")] if issubclass(member, CombinationOptions) else [{}]
        found += [member(**form, **align) for form in forms for align in aligns]
    return found


def name(config: object) -> str:
    return str(config).replace(" ", ",").replace("'", "")


every = pytest.mark.parametrize("config", variants(), ids=name)


def build(config, at_random: bool = True) -> Fusion:
    torch.manual_seed(0)
    fusion = config.build(width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS).eval()
    if at_random:
        with torch.no_grad():
            for parameter in fusion.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
    return fusion


def features(seed: int = 1) -> dict[Modality, Features]:
    """One sample per subset; lengths differ between the samples that have a modality."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for number, (modality, width) in enumerate(WIDTHS.items()):
        length = LENGTHS[modality]
        values = torch.randn(len(SUBSETS), length, width, generator=generator)
        mask = torch.zeros(len(SUBSETS), length, dtype=torch.bool)
        for row, subset in enumerate(SUBSETS):
            if subset[number]:
                mask[row, : 1 + (row + number) % length] = True
        made[modality] = Features(values, mask)
    return made


def text_states(num_steps: int = 6) -> Tensor:
    return torch.randn(len(SUBSETS), num_steps, WIDTH, generator=torch.Generator().manual_seed(2))


def run(fusion: Fusion, given: dict[Modality, Features], states: Tensor) -> Tensor:
    """Everything that a language model can read of the fusion: the states after each place and the real prefix, per sample."""
    condition = fusion.condition(given)
    for place in fusion.at:
        states = fusion.fuse(states, condition, place)
    if condition.prefix is None:
        return states
    assert torch.isfinite(condition.prefix.values).all()
    longest = max(LENGTHS.values()) * len(WIDTHS)
    rows = []
    for values, mask in zip(condition.prefix.values, condition.prefix.mask, strict=True):
        real = values[mask]
        rows.append(torch.cat([real, real.new_zeros(longest - len(real), WIDTH)]))
    return torch.cat([torch.stack(rows), states], dim=1)


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@every
def test_any_subset_gives_finite_states_of_the_same_shape(config):
    fusion = build(config)
    states = text_states()
    out = run(fusion, features(), states)
    assert out.shape[0] == states.shape[0]
    assert out.shape[2] == WIDTH
    assert torch.isfinite(out).all()


@every
def test_every_modality_that_is_there_is_read(config):
    fusion = build(config)
    base = run(fusion, features(1), text_states())
    for number, modality in enumerate(WIDTHS):
        changed = features(1)
        changed[modality] = Features(features(9)[modality].values, changed[modality].mask)
        moved = (run(fusion, changed, text_states()) - base).abs().amax(dim=(1, 2)) > 1e-6
        assert moved.tolist() == [subset[number] for subset in SUBSETS]


@every
def test_nothing_depends_on_values_behind_a_mask(config):
    fusion = build(config)
    given = features()
    poisoned = {m: Features(f.values.masked_fill(~f.mask[..., None], 1e6), f.mask) for m, f in given.items()}
    close(run(fusion, poisoned, text_states()), run(fusion, given, text_states()))


@every
def test_nothing_depends_on_padding(config):
    fusion = build(config)
    given = features()
    padded = {
        m: Features(
            torch.cat([f.values, torch.ones(len(SUBSETS), 3, WIDTHS[m])], dim=1),
            torch.cat([f.mask, torch.zeros(len(SUBSETS), 3, dtype=torch.bool)], dim=1),
        )
        for m, f in given.items()
    }
    close(run(fusion, padded, text_states()), run(fusion, given, text_states()))


@every
def test_a_sample_does_not_depend_on_the_batch(config):
    fusion = build(config)
    given, states = features(), text_states()
    whole = run(fusion, given, states)
    for row in range(len(SUBSETS)):
        alone = {m: Features(f.values[[row]], f.mask[[row]]) for m, f in given.items()}
        close(run(fusion, alone, states[[row]]), whole[[row]])


@every
def test_a_lacking_modality_is_the_same_without_any_features_of_it(config):
    """A batch in which no sample has a modality (L = 0) equals one that carries masked features of it."""
    fusion = build(config)
    given, states = features(), text_states()
    rows = [row for row, subset in enumerate(SUBSETS) if not subset[1]]
    masked = {m: Features(f.values[rows], f.mask[rows]) for m, f in given.items()}
    empty = masked | {
        Modality.IMAGE: Features(torch.zeros(len(rows), 0, 10), torch.zeros(len(rows), 0, dtype=torch.bool))
    }
    close(run(fusion, empty, states[rows]), run(fusion, masked, states[rows]))


@every
def test_the_order_of_the_mapping_does_not_matter(config):
    fusion = build(config)
    given = features()
    close(run(fusion, dict(reversed(given.items())), text_states()), run(fusion, given, text_states()))


@every
def test_a_position_depends_on_earlier_text_only(config):
    fusion = build(config)
    condition = fusion.condition(features())
    states = text_states()
    for place in fusion.at:
        before = fusion.fuse(states, condition, place)
        changed = states.clone()
        changed[:, 3:] = 7.0
        close(fusion.fuse(changed, condition, place)[:, :3], before[:, :3])


@every
def test_step_by_step_equals_all_at_once(config):
    fusion = build(config)
    condition = fusion.condition(features())
    states = text_states()
    for place in fusion.at:
        steps = [fusion.fuse(states[:, [t]], condition, place) for t in range(states.shape[1])]
        close(torch.cat(steps, dim=1), fusion.fuse(states, condition, place))


@every
def test_every_parameter_gets_a_gradient(config):
    fusion = build(config)
    run(fusion, features(), text_states()).square().sum().backward()
    missing = [n for n, p in fusion.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert not missing


@every
def test_a_condition_can_be_reordered(config):
    fusion = build(config)
    given, states = features(), text_states()
    rows = torch.tensor([3, 3, 0, 7])
    condition = fusion.condition(given)
    selected = condition.select(rows)
    for place in fusion.at:
        close(fusion.fuse(states[rows], selected, place), fusion.fuse(states, condition, place)[rows])
    if condition.prefix is not None:
        assert selected.prefix is not None
        close(selected.prefix.values, condition.prefix.values[rows])


@every
def test_weights_are_saved_and_loaded(config):
    fusion = build(config)
    other = config.build(width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS).eval()
    other.load_state_dict(fusion.state_dict())
    close(run(other, features(), text_states()), run(fusion, features(), text_states()))


# -- formulas, longhand in fp64 --


def combined(config, align: str = "mean"):
    """A fusion in fp64 with its inputs: states, and the means of the projected tokens, absent tokens included."""
    fusion = build(config).double()
    given = {m: Features(f.values.double(), f.mask) for m, f in features().items()}
    states = text_states().double()
    tokens = fusion.tokens(given)
    means = [
        torch.stack([v[k].mean(dim=0) for v, k in zip(t.values, t.mask, strict=True)])[:, None].expand_as(states)
        for t in tokens.values()
    ]
    return fusion, states, means, fusion.fuse(states, fusion.condition(given), 1)


def test_concat_is_its_formula():
    fusion, h, c, out = combined(ConcatConfig(align="mean"))
    torch.testing.assert_close(out, h + torch.cat([h, *c], -1) @ fusion.mix.weight.T)


def test_plain_concat_is_the_textbook_formula():
    fusion, h, c, out = combined(ConcatConfig(align="mean", plain=True))
    torch.testing.assert_close(out, torch.cat([h, *c], -1) @ fusion.mix.weight.T)


def test_product_is_its_formula():
    fusion, h, c, out = combined(ProductConfig(align="mean"))
    normed = (h - h.mean(-1, keepdim=True)) / (h.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    normed = normed * fusion.norm.weight + fusion.norm.bias
    factors = [1 + torch.tanh(x @ u.weight.T) for x, u in zip(c, fusion.scales, strict=True)]
    torch.testing.assert_close(out, h + normed * (factors[0] * factors[1] * factors[2] - 1))


def test_plain_product_is_the_textbook_formula():
    _, h, c, out = combined(ProductConfig(align="mean", plain=True))
    torch.testing.assert_close(out, h * c[0] * c[1] * c[2])


def test_cross_attention_changes_nothing_at_the_start():
    fusion = build(CrossAttentionConfig(), at_random=False)
    states = text_states()
    assert torch.equal(run(fusion, features(), states), states)


def test_attention_reads_all_modalities_in_one_softmax():
    fusion = build(AttentionConfig(num_heads=1)).double()
    given = {m: Features(f.values.double(), f.mask) for m, f in features().items()}
    h = text_states().double()
    out = fusion.fuse(h, fusion.condition(given), 1)
    tokens = fusion.tokens(given)
    attention = fusion.attention
    key_matrix, value_matrix = attention.key_value.weight.chunk(2)
    for row in range(len(SUBSETS)):
        z = torch.cat([t.values[row][t.mask[row]] for t in tokens.values()])
        q = fusion.norm(h[row]) @ attention.query.weight.T
        weights = (q @ (z @ key_matrix.T).T / WIDTH**0.5).softmax(-1)
        torch.testing.assert_close(out[row], h[row] + weights @ (z @ value_matrix.T) @ attention.output.weight.T)


# -- what is legal --


@pytest.mark.parametrize("member", [AttentionConfig, PrefixConfig, CrossAttentionConfig])
def test_align_is_refused_with_a_reason_where_a_fusion_brings_its_own(member):
    with pytest.raises(ValueError, match="brings its own alignment"):
        member(align="mean")


def test_prefix_stands_at_the_embeddings_only():
    assert PrefixConfig.model_validate({"at": 0}) == PrefixConfig()
    with pytest.raises(ValueError, match="at the embeddings"):
        PrefixConfig.model_validate({"at": 1})


@pytest.mark.parametrize("member", [ConcatConfig, ProductConfig, AttentionConfig, CrossAttentionConfig])
def test_places(member):
    assert member(at=0).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=2).at == (0,)
    assert member(at="last").build(width=WIDTH, feature_widths=WIDTHS, num_blocks=2).at == (2,)
    with pytest.raises(ValueError, match=r"place 3 does not exist.*2 blocks"):
        member(at=3).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=2)


def test_cross_attention_takes_a_list_of_places():
    built = CrossAttentionConfig(at=(2, 0)).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=3)
    assert built.at == (0, 2)
    assert CrossAttentionConfig().build(width=WIDTH, feature_widths=WIDTHS, num_blocks=3).at == (1, 2)
    assert CrossAttentionConfig().build(width=WIDTH, feature_widths=WIDTHS, num_blocks=1).at == (0,)


def test_a_condition_without_prefix_selects():
    assert Condition().select(torch.tensor([0])).prefix is None
