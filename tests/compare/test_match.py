"""Equal terms: counts are those of the models that are built, and the inner width found is the nearest there is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plait.build import build_model
from plait.compare.match import Counter, Lengths, Matched, blank_item, match, nearest
from plait.compare.price import count_flops
from plait.config import RunConfig, apply_overrides, make_config
from plait.fusion import FUSIONS
from plait.types import Batch, Items
from tiny_model import ENCODERS, READ, SEGMENTS, make_tokenizer

KINDS = [member.model_fields["kind"].default for member in FUSIONS]
MIXED = ["concat", "tensor", "attention", "prefix", "resampler", "cross_attention", "late"]
"""Every way of taking part: at one place, at several, before the text, in branches. The fusions' own FLOPs have a contract."""
LENGTHS = Lengths(positions=7, words=5, seconds=0.25)
TREE: dict[str, Any] = {
    "data": {"manifest": "m", "inputs": [*READ], "segments": [*SEGMENTS], "image": {"size": 32}},
    "width": 16,
    "encoders": ENCODERS,
    "lm": {"num_heads": 2},
}


def tiny(*overrides: str) -> RunConfig:
    return make_config(apply_overrides(TREE, overrides))


def matched(*arms: tuple[str, ...], reference: RunConfig | None = None, **options: Any) -> Matched:
    """Arms by their overrides; the reference is the configuration."""
    configs = {" ".join(overrides): tiny(*overrides) for overrides in arms}
    return match(reference or tiny(), configs, make_tokenizer(), lengths=LENGTHS, **options)


def test_parameters_are_those_of_the_models_that_are_built():
    """Every kind at its own size, some at another, and every language model."""
    tokenizer = make_tokenizer()
    counter = Counter(tokenizer, "parameters", LENGTHS)
    arms = [(f"fusion.kind={kind}",) for kind in KINDS]
    arms += [(f"fusion.kind={member().kind}", f"fusion.{member.size_key}=4") for member in FUSIONS[::3]]
    arms += [(f"lm.kind={kind}",) for kind in ("rnn", "lstm", "gru")]
    arms += [("data.inputs=[image]",), ("data.inputs=[]",), ("train.ctc={segment: heard}",), ("train.alignment={}",)]
    for overrides in arms:
        config = tiny(*overrides)
        built = build_model(config, tokenizer, config.data.inputs or ()).model
        assert counter.whole(config) == built.num_parameters, overrides


@pytest.mark.parametrize("kind", ["word2vec", "glove"])
def test_word_vectors_are_counted_without_being_trained(kind, tmp_path):
    tokenizer = make_tokenizer()
    counter = Counter(tokenizer, "parameters", LENGTHS)
    trained = tiny(f"lm.embedding={{kind: {kind}}}")
    assert counter.whole(trained) == counter.whole(tiny())
    words = [token for token in tokenizer.vocabulary if token.isalpha()]
    head = f"{len(words)} 3\n" if kind == "word2vec" else ""
    (tmp_path / "vectors.txt").write_text(head + "".join(f"{word} 1.0 0.5 0.25\n" for word in words), encoding="utf-8")
    read = tiny(f"encoders.text.embedding={{kind: {kind}, path: {tmp_path / 'vectors.txt'}}}")
    assert counter.whole(read) == build_model(read, tokenizer, READ).model.num_parameters


def a_batch(vocabulary_size: int, config: RunConfig) -> Batch:
    """One sample of the lengths that are counted."""
    inputs = {m: blank_item(m, config, LENGTHS) for m in config.data.inputs or ()}
    inputs = {m: Items(i.values + 1, i.lengths, i.index) for m, i in inputs.items()}
    tokens = torch.arange(LENGTHS.positions)[None] % vocabulary_size
    return Batch(("s",), inputs, tokens, tokens, torch.zeros_like(tokens), torch.ones(1))


@pytest.mark.parametrize(("lm", "kinds"), [("transformer", MIXED), ("lstm", ["concat", "prefix", "late"])])
def test_flops_are_those_of_the_models_that_run(lm, kinds):
    tokenizer = make_tokenizer()
    counter = Counter(tokenizer, "flops", LENGTHS)
    for overrides in [*[(f"fusion.kind={kind}",) for kind in kinds], ("data.inputs=[]",)]:
        config = tiny(f"lm.kind={lm}", *overrides)
        model = build_model(config, tokenizer, config.data.inputs or ()).model
        assert counter.whole(config) == count_flops(model, [a_batch(tokenizer.size, config)]), overrides


@pytest.mark.parametrize("lm", ["transformer", "lstm"])
def test_flops_of_a_small_model_by_hand(lm):
    """A text encoder of one layer, concat with the mean, one block, the head: every product with its 2 operations."""
    tokenizer = make_tokenizer()
    config = tiny(
        f"lm.kind={lm}", "lm.layers=1", "data.inputs=[text]", "fusion.align=mean", "fusion.at=last", "width=16"
    )
    d, s, t, v = 16, LENGTHS.words, LENGTHS.positions, tokenizer.size
    layer = lambda n: 2 * n * 12 * d * d + 2 * 2 * n * n * d  # noqa: E731 - projections and two layers; q k and weights v
    encoder = layer(s)
    fusion = 2 * s * d * d + 2 * t * (2 * d) * d  # the tokens' projection, and W [h; c]
    block = layer(t) if lm == "transformer" else 2 * t * 4 * (2 * d) * d
    expected = encoder + fusion + block + 2 * t * d * v
    assert Counter(tokenizer, "flops", LENGTHS).whole(config) == expected
    model = build_model(config, tokenizer, ["text"]).model
    assert count_flops(model, [a_batch(tokenizer.size, config)]) == expected


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(0, 1200))
def test_the_nearest_size_is_found(rises, goal):
    sizes = [sum(rises[: place + 1]) for place in range(len(rises))]
    asked = []

    def size_at(number: int) -> int:
        asked.append(number)
        return sizes[number]

    found = nearest(size_at, goal, len(sizes) - 1)
    assert abs(sizes[found] - goal) == min(abs(size - goal) for size in sizes)
    assert len(set(asked)) <= 2 * len(sizes).bit_length() + 2


def test_every_arm_is_within_tolerance_or_says_why_not():
    found = matched(*[(f"fusion.kind={kind}",) for kind in KINDS])
    counter = Counter(make_tokenizer(), "parameters", LENGTHS)
    for name, arm in found.arms.items():
        assert arm.after is not None
        assert arm.after == counter.whole(tiny(name, *arm.overrides))  # what is promised is what those overrides give
        assert arm.deviation == pytest.approx(arm.after / found.size - 1)
        assert abs(arm.deviation) <= 0.05 or arm.note
        assert arm.overrides or arm.before == arm.after
    assert found.arms["fusion.kind=concat"].overrides == ()
    assert sum(found.is_equal(name) for name in found.arms) >= 14


def test_flops_that_no_inner_width_saves_are_said():
    found = matched(("fusion.kind=late",), target="flops")
    arm = found.arms["fusion.kind=late"]
    assert arm.overrides == ("fusion.inner_width=4",)
    assert arm.left.startswith("+")
    assert arm.left.endswith(" %: no inner width goes lower")
    assert not found.term().equal
    assert "late +" in found.term().detail


def test_the_size_of_an_arm_does_not_depend_on_the_others():
    alone = matched(("fusion.kind=gated",))
    among = matched(("fusion.kind=pairwise",), ("fusion.kind=gated",), ("lm.kind=gru",))
    assert alone.arms["fusion.kind=gated"] == among.arms["fusion.kind=gated"]


def test_arms_that_differ_in_more_than_their_fusion_keep_their_size():
    found = matched(
        ("lm.kind=lstm", "fusion.kind=pairwise"), ("data.inputs=[image]",), ("data.tokenizer.kind=character",)
    )
    language, image, letters = found.arms.values()
    assert language.overrides == image.overrides == letters.overrides == ()
    assert "lm and keeps its own size" in language.note
    assert "data.inputs" in image.note
    assert image.after is not None
    assert image.after < found.size
    assert letters.after is None
    assert "tokenizer" in letters.left


def test_an_inner_width_that_is_given_is_kept_but_an_inherited_one_is_not():
    given_width = matched(("fusion.kind=gated", "fusion.inner_width=40"))
    assert next(iter(given_width.arms.values())).overrides == ()
    assert "fusion.inner_width is given" in next(iter(given_width.arms.values())).left
    reference = tiny("fusion.kind=bilinear", "fusion.inner_width=60")
    inherited = tiny("fusion.kind=bilinear", "fusion.inner_width=60").model_copy(
        update={"fusion": tiny("fusion.kind=experts", "fusion.inner_width=60").fusion}
    )
    found = match(reference, {"experts": inherited}, make_tokenizer())
    assert found.arms["experts"].overrides
    assert found.is_equal("experts")


def test_a_plain_form_without_parameters_says_so():
    reference = tiny("fusion.kind=experts")
    found = matched(("fusion.kind=sum", "fusion.plain=true"), reference=reference)
    assert next(iter(found.arms.values())).note == "its fusion has no inner width"


def test_an_arm_that_cannot_be_built_is_told_with_its_reason():
    found = matched(("fusion.kind=tensor", "fusion.projected_width=30"))
    (arm,) = found.arms.values()
    assert arm.after is None
    assert "cannot be built" in arm.left
    assert "products per position" in arm.left
    (arm,) = matched(("fusion.num_heads=3",)).arms.values()
    assert "cannot be built: width 16 is not a multiple of 3 heads" in arm.left


def test_a_fusion_squeezed_to_little_is_said():
    tree = {**TREE, "width": 64}
    wide = make_config(tree)
    pairs = make_config(apply_overrides(tree, ["fusion.kind=pairwise"]))
    found = match(wide, {"pairwise": pairs}, make_tokenizer())
    assert found.arms["pairwise"].overrides == ("fusion.inner_width=4",)
    assert "inner width of 4 beside states of 64" in found.term().detail
