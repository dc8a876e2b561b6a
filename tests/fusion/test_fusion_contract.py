"""The contract of DESIGN.md, held by every fusion in every alignment, form and size, over every subset of modalities."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from plait.errors import UserError
from plait.fusion import FUSIONS, Fusion
from plait.fusion.attention import AttentionConfig
from plait.fusion.bilinear import BilinearConfig
from plait.fusion.bottleneck import BottleneckConfig
from plait.fusion.combination import CombinationOptions
from plait.fusion.concat import ConcatConfig
from plait.fusion.cost import cost
from plait.fusion.cross_attention import CrossAttentionConfig
from plait.fusion.experts import ExpertsConfig
from plait.fusion.film import FilmConfig
from plait.fusion.gated import GatedConfig
from plait.fusion.late import LateConfig
from plait.fusion.low_rank import LowRankConfig
from plait.fusion.pairwise import PairwiseConfig
from plait.fusion.prefix import PrefixConfig
from plait.fusion.product import ProductConfig
from plait.fusion.resampler import ResamplerConfig
from plait.fusion.sum import SumConfig
from plait.fusion.tensor import TensorConfig
from plait.layers import set_attention
from plait.named import PAIR, pair_of
from plait.types import Condition, Features

WIDTH = 16
WIDTHS = {"text": 12, "image": 10, "audio": 8}
LENGTHS = {"text": 3, "image": 4, "audio": 5}
SUBSETS = list(product([True, False], repeat=3))
NUM_BLOCKS = 2


ALIGNS = ("attend", "mean", "pool")


def variants() -> list[object]:
    """Every fusion in every alignment, and its plain form in one, in turn: a form changes what is added, not what is read."""
    found: list[object] = []
    for number, member in enumerate(FUSIONS):
        aligns = [{"align": a} for a in ALIGNS] if issubclass(member, CombinationOptions) else [{}]
        found += [member(**align) for align in aligns]
        if "plain" in member.model_fields:
            found.append(member(plain=True, **aligns[number % len(aligns)]))
        found.append(sized(member, **aligns[(number + 1) % len(aligns)]))
    return found


def sized(member, num_steps: int = 1, **options):
    """A kind at an inner width other than its own: a few steps above the smallest."""
    smallest, step, _ = member(**options).size_steps(num_modalities=len(WIDTHS))
    return member(**{member.size_key: smallest + num_steps * step}, **options)


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


def features(seed: int = 1) -> dict[str, Features]:
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


def run(fusion: Fusion, given: dict[str, Features], states: Tensor) -> Tensor:
    """Everything that a language model can read of the fusion: the states after each place and the real prefix, per sample."""
    condition = fusion.condition(given)
    states = branched(states, condition)
    for place in fusion.at:
        states = fusion.fuse(states, condition, place)
    if condition.branches is not None:  # only the branches that a sample has are read
        parts = states.unflatten(0, (-1, condition.num_branches))
        return (parts * condition.branches[..., None, None]).flatten(1, 2)
    if condition.prefix is None:
        return states
    assert torch.isfinite(condition.prefix.values).all()
    longest = 24
    rows = []
    for values, mask in zip(condition.prefix.values, condition.prefix.mask, strict=True):
        real = values[mask]
        rows.append(torch.cat([real, real.new_zeros(longest - len(real), WIDTH)]))
    return torch.cat([torch.stack(rows), states], dim=1)


def branched(states: Tensor, condition: Condition) -> Tensor:
    """The states of every branch, as the model runs them."""
    return states.repeat_interleave(condition.num_branches, dim=0)


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
    empty = masked | {"image": Features(torch.zeros(len(rows), 0, 10), torch.zeros(len(rows), 0, dtype=torch.bool))}
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
    states = branched(text_states(), condition)
    for place in fusion.at:
        before = fusion.fuse(states, condition, place)
        changed = states.clone()
        changed[:, 3:] = 7.0
        close(fusion.fuse(changed, condition, place)[:, :3], before[:, :3])


@every
def test_step_by_step_equals_all_at_once(config):
    fusion = build(config)
    condition = fusion.condition(features())
    states = branched(text_states(), condition)
    for place in fusion.at:
        steps = [fusion.fuse(states[:, [t]], condition, place) for t in range(states.shape[1])]
        close(torch.cat(steps, dim=1), fusion.fuse(states, condition, place))


@every
def test_every_parameter_gets_a_gradient(config):
    fusion = build(config)
    run(fusion, features(), text_states()).square().sum().backward()
    trained = [(n, p) for n, p in fusion.named_parameters() if p.requires_grad]
    assert not [n for n, p in trained if p.grad is None or not bool(p.grad.abs().sum() > 0)]


@every
def test_a_condition_can_be_reordered(config):
    fusion = build(config)
    given, states = features(), text_states()
    rows = torch.tensor([3, 3, 0, 7])
    condition = fusion.condition(given)
    selected = condition.select(rows)
    for place in fusion.at:
        found = fusion.fuse(branched(states[rows], selected), selected, place)
        close(found, fusion.fuse(branched(states, condition), condition, place)[condition.rows_of(rows)])
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


def test_sum_is_its_formula():
    fusion, h, c, out = combined(SumConfig(align="mean"))
    torch.testing.assert_close(out, h + sum(x @ u.weight.T for x, u in zip(c, fusion.shares, strict=True)))


def test_plain_sum_is_the_textbook_formula():
    _, h, c, out = combined(SumConfig(align="mean", plain=True))
    torch.testing.assert_close(out, h + c[0] + c[1] + c[2])


def test_gated_is_its_formula():
    fusion, h, c, out = combined(GatedConfig(align="mean"))
    scores = torch.cat([h, *c], -1) @ fusion.gates.weight.T
    exponents = [scores[..., m * WIDTH : (m + 1) * WIDTH].exp() for m in range(3)]
    update = sum(
        e / sum(exponents) * torch.tanh(x @ u.weight.T) for e, x, u in zip(exponents, c, fusion.contents, strict=True)
    )
    torch.testing.assert_close(out, h + update)


@pytest.mark.parametrize("plain", [False, True])
def test_film_is_its_formula(plain):
    fusion, h, c, out = combined(FilmConfig(align="mean", plain=plain))
    v = fusion.modulation.weight
    gamma, beta = (torch.cat(c, -1) @ part.T for part in v.chunk(2))
    torch.testing.assert_close(out, (1 + gamma) * h + beta)


def test_film_changes_nothing_at_the_start():
    fusion = build(FilmConfig(), at_random=False)
    assert torch.equal(run(fusion, features(), text_states()), text_states())


def layer_normed(h: Tensor, norm) -> Tensor:
    """LayerNorm, longhand."""
    return (h - h.mean(-1, keepdim=True)) / (
        h.var(-1, correction=0, keepdim=True) + 1e-5
    ).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize(("rank", "normalise"), [(1, False), (3, False), (3, True)], ids=["MLB", "MUTAN", "MFB"])
def test_bilinear_is_its_formula(rank, normalise):
    fusion, h, c, out = combined(BilinearConfig(align="mean", rank=rank, normalise=normalise, inner_width=5))
    states, aligned = layer_normed(h, fusion.norm), torch.cat(c, -1)
    pooled = sum(
        (states @ fusion.states_in.weight[r * 5 : r * 5 + 5].T)
        * (aligned @ fusion.aligned_in.weight[r * 5 : r * 5 + 5].T)
        for r in range(rank)
    )
    if normalise:
        pooled = pooled.sign() * pooled.abs() / (pooled.abs() + 1e-3).sqrt()
        pooled = pooled / pooled.square().sum(-1, keepdim=True).sqrt()
    torch.testing.assert_close(out, h + pooled @ fusion.out.weight.T)


def test_low_rank_is_the_whole_tensor_contraction():
    fusion, h, c, out = combined(LowRankConfig(align="mean", rank=3, inner_width=4))
    ones = torch.ones(*h.shape[:2], 1, dtype=torch.float64)
    vectors = [torch.cat([ones, x], -1) for x in (layer_normed(h, fusion.norm), *c)]
    outer = torch.einsum("bti,btj,btk,btl->btijkl", *vectors)
    factors = [
        torch.cat([f.bias[:, None], f.weight], 1).unflatten(0, (3, 4)) for f in fusion.factors
    ]  # (rank, inner, 1 + D)
    weights = torch.einsum("roi,roj,rok,rol->oijkl", *factors)
    contracted = torch.einsum("btijkl,oijkl->bto", outer, weights)
    torch.testing.assert_close(out, h + contracted @ fusion.out.weight.T, rtol=1e-6, atol=1e-9)


def test_tensor_is_its_formula():
    fusion, h, c, out = combined(TensorConfig(align="mean", projected_width=3))
    ones = torch.ones(*h.shape[:2], 1, dtype=torch.float64)
    vectors = [
        torch.cat([ones, x @ p.weight.T], -1)
        for x, p in zip((layer_normed(h, fusion.norm), *c), fusion.projections, strict=True)
    ]
    outer = torch.einsum("bti,btj,btk,btl->btijkl", *vectors)
    torch.testing.assert_close(out, h + outer.flatten(2) @ fusion.out.weight.T)


def test_a_tensor_past_its_limit_is_refused_with_the_count():
    with pytest.raises(UserError, match=r"\(32 \+ 1\)\^\(3 \+ 1\) = 1,185,921 products.*take 15"):
        TensorConfig(projected_width=32).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=2)
    TensorConfig(projected_width=15).build(width=WIDTH, feature_widths=WIDTHS, num_blocks=2)


def test_experts_are_their_formula():
    fusion, h, c, out = combined(ExpertsConfig(align="mean", num_experts=3, num_chosen=2))
    inputs = torch.cat([h, *c], -1)
    scores = inputs @ fusion.gate.weight.T
    for row, step in ((0, 0), (3, 2), (7, 5)):
        chosen = scores[row, step].argsort(descending=True)[:2].tolist()
        gates = scores[row, step, chosen].exp() / scores[row, step, chosen].exp().sum()
        expected = h[row, step] + sum(
            g * (torch.nn.functional.gelu(inputs[row, step] @ fusion.expand[e]) @ fusion.contract[e])
            for g, e in zip(gates, chosen, strict=True)
        )
        torch.testing.assert_close(out[row, step], expected)


def test_the_load_balance_of_experts_is_one_when_all_are_used_alike_and_is_handed_over_once():
    fusion = build(ExpertsConfig(num_experts=2, num_chosen=1, balance=1.0)).train()
    assert fusion.auxiliary() is None
    with torch.no_grad():
        fusion.gate.weight.zero_()
    run(fusion, features(), text_states())
    term = fusion.auxiliary()
    assert term is not None
    assert float(term.detach()) == pytest.approx(1.0)
    assert fusion.auxiliary() is None
    run(fusion.eval(), features(), text_states())
    assert fusion.auxiliary() is None


def attended(attention, h: Tensor, z: Tensor) -> Tensor:
    """One head of attention, longhand: queries from h, keys and values from z."""
    key_matrix, value_matrix = attention.key_value.weight.chunk(2)
    key_bias, value_bias = (0, 0) if attention.key_value.bias is None else attention.key_value.bias.chunk(2)
    query_bias = 0 if attention.query.bias is None else attention.query.bias
    q, k, v = h @ attention.query.weight.T + query_bias, z @ key_matrix.T + key_bias, z @ value_matrix.T + value_bias
    output_bias = 0 if attention.output.bias is None else attention.output.bias
    return (q @ k.T / WIDTH**0.5).softmax(-1) @ v @ attention.output.weight.T + output_bias


def thought(feed_forward, x: Tensor) -> Tensor:
    """The feed-forward layers, longhand."""
    inner = torch.nn.functional.gelu(x @ feed_forward.expand.weight.T + feed_forward.expand.bias)
    return inner @ feed_forward.contract.weight.T + feed_forward.contract.bias


def doubled(config):
    """A fusion in fp64, its tokens by sample and modality without what is masked, states, and what it gives."""
    fusion = build(config).double()
    given = {m: Features(f.values.double(), f.mask) for m, f in features().items()}
    tokens = fusion.tokens(given)
    rows = [{m: t.values[row][t.mask[row]] for m, t in tokens.items()} for row in range(len(SUBSETS))]
    return fusion, given, rows, text_states().double()


def test_pairwise_is_its_formula():
    fusion, given, rows, h = doubled(PairwiseConfig(num_heads=1))
    out = fusion.fuse(h, fusion.condition(given), 1)
    for row, tokens in enumerate(rows):
        informed = []
        for m, own in tokens.items():
            read = []
            for n, source in tokens.items():
                if n is not m:
                    (block,) = fusion.pairs[pair_of(m, n)]
                    x = own + attended(
                        block.attention,
                        layer_normed(own, block.attention_norm),
                        layer_normed(source, block.source_norm),
                    )
                    read.append(x + thought(block.feed_forward, layer_normed(x, block.feed_forward_norm)))
            merged = torch.cat(read, -1) @ fusion.merges[m].weight.T + fusion.merges[m].bias
            informed.append(self_attended(fusion.selves[m], merged))
        expected = h[row] + attended(fusion.attention, layer_normed(h[row], fusion.norm), torch.cat(informed))
        torch.testing.assert_close(out[row], expected)


def self_attended(block, x: Tensor) -> Tensor:
    """A block of self-attention, longhand."""
    normed = layer_normed(x, block.attention_norm)
    x = x + attended(block.attention, normed, normed)
    return x + thought(block.feed_forward, layer_normed(x, block.feed_forward_norm))


def test_pairwise_has_no_pair_of_a_modality_with_itself():
    fusion = build(PairwiseConfig())
    assert len(fusion.pairs) == 6
    assert all(len(set(pair.split(PAIR))) == 2 for pair in fusion.pairs)
    alone = PairwiseConfig().build(width=WIDTH, feature_widths={"image": 10}, num_blocks=2)
    assert len(alone.pairs) == 0
    assert run(alone, {"image": features()["image"]}, text_states()).shape == text_states().shape


def test_bottleneck_is_its_formula():
    fusion, given, rows, h = doubled(BottleneckConfig(num_heads=1, num_shared=2, layers=2))
    out = fusion.fuse(h, fusion.condition(given), 1)
    for row, tokens in enumerate(rows):
        shared = fusion.shared
        for layer in fusion.layers:
            told = []
            for m, own in tokens.items():
                met = self_attended(layer[m], torch.cat([own, shared]))
                tokens[m] = met[: len(own)]
                told.append(met[len(own) :])
            shared = sum(told) / len(told)
        every_token = torch.cat([*tokens.values(), shared])
        expected = h[row] + attended(fusion.attention, layer_normed(h[row], fusion.norm), every_token)
        torch.testing.assert_close(out[row], expected)


def test_resampler_is_its_formula():
    fusion, given, rows, _ = doubled(ResamplerConfig(num_heads=1, num_latents=3, layers=2))
    prefix = fusion.condition(given).prefix
    assert prefix is not None
    assert prefix.mask.all()
    for row, tokens in enumerate(rows):
        x, z = fusion.latents, torch.cat(list(tokens.values()))
        for block in fusion.blocks:
            normed = layer_normed(x, block.latent_norm)
            x = x + attended(block.attention, normed, torch.cat([layer_normed(z, block.token_norm), normed]))
            x = x + thought(block.feed_forward, layer_normed(x, block.feed_forward_norm))
        torch.testing.assert_close(prefix.values[row], x @ fusion.project.weight.T + fusion.project.bias)


def test_late_reads_each_modality_in_its_own_branch():
    fusion, given, rows, h = doubled(LateConfig(num_heads=1))
    condition = fusion.condition(given)
    assert condition.branches is not None
    assert condition.branches.tolist() == [[1.0, *map(float, subset)] for subset in SUBSETS]
    out = fusion.fuse(branched(h, condition), condition, 1).unflatten(0, (-1, 4))
    torch.testing.assert_close(out[:, 0], h)
    for row, tokens in enumerate(rows):
        for branch, (m, z) in enumerate(tokens.items(), 1):
            if SUBSETS[row][branch - 1]:
                expected = h[row] + attended(fusion.attentions[m], layer_normed(h[row], fusion.norms[m]), z)
                torch.testing.assert_close(out[row, branch], expected)


# -- cost --

FORMULAS = {
    "concat": lambda d, m: (m + 1) * d * d,
    "sum": lambda d, m: m * d * d,
    "product": lambda d, m: m * d * d + 2 * d,
    "gated": lambda d, m: m * d * d + m * (m + 1) * d * d,
    "film": lambda d, m: 2 * m * d * d,
    "bilinear": lambda d, m: 4 * d * (m + 1) * d + d * d + 2 * d,
    "low_rank": lambda d, m: 4 * d * (m + 1) * (d + 1) + d * d + 2 * d,
    "tensor": lambda d, m: (m + 1) * 8 * d + 9 ** (m + 1) * d + 2 * d,
    "experts": lambda d, m: 4 * ((m + 1) * d * d + d * d) + 4 * (m + 1) * d,
    "attention": lambda d, m: 4 * d * d + 2 * d,
    "pairwise": lambda d, m: (
        m * (m - 1) * (12 * d * d + 5 * d + 6 * d) + m * ((m - 1) * d * d + d + 12 * d * d + 13 * d) + 4 * d * d + 2 * d
    ),
    "bottleneck": lambda d, m: m * (12 * d * d + 13 * d) + 4 * d + 4 * d * d + 2 * d,
    "prefix": lambda d, m: d * d + d,
    "resampler": lambda d, m: 2 * (12 * d * d + 11 * d) + 16 * d + d * d + d,
    "cross_attention": lambda d, m: 12 * d * d + 4 * d + 2,
    "late": lambda d, m: m * (4 * d * d + 2 * d) - m * d,  # no absent tokens
}
"""The parameters beside the taking in of features (`mean` has no others), as the modules state them, biases and norms too."""

COSTED = [member(align="mean") if issubclass(member, CombinationOptions) else member() for member in FUSIONS]


def cost_of(config):
    lengths = {m: LENGTHS[m] for m in WIDTHS}
    return cost(config, width=WIDTH, feature_widths=WIDTHS, num_blocks=NUM_BLOCKS, num_tokens=lengths, num_positions=6)


@pytest.mark.parametrize("config", COSTED, ids=name)
def test_parameters_are_those_of_the_formula(config):
    taking_in = sum(2 * e + e * WIDTH + WIDTH + WIDTH for e in WIDTHS.values())  # norm, projection, absent token
    assert cost_of(config).parameters == FORMULAS[config.kind](WIDTH, len(WIDTHS)) + taking_in


@every
def test_the_cost_is_that_of_the_fusion_that_is_built(config):
    fusion = build(config)
    set_attention(fusion.requires_grad_(False), "math")
    given = {m: Features(f.values[:1], torch.ones_like(f.mask[:1])) for m, f in features().items()}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        condition = fusion.condition(given)
        states = branched(text_states()[:1], condition)
        for place in fusion.at:
            states = fusion.fuse(states, condition, place)
    found = cost_of(config)
    assert found.parameters == sum(p.numel() for p in fusion.parameters())
    assert found.flops == counter.get_total_flops()
    assert found.lm_rows == condition.num_branches
    assert found.lm_positions == (0 if condition.prefix is None else condition.prefix.values.shape[1])


@pytest.mark.parametrize("member", FUSIONS)
def test_every_kind_says_what_it_computes_and_when_to_take_it(member):
    assert member.formula
    assert member.advice
    assert (member.__doc__ or "").strip()


# -- what is legal --


@pytest.mark.parametrize("member", [m for m in FUSIONS if not issubclass(m, CombinationOptions)])
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
