"""Draws: what the cuts and the temperature leave to be drawn from."""

from __future__ import annotations

import math

import pytest
import torch

from plait.config import GenerateConfig
from plait.data.text import BPEConfig, CharacterConfig, Tokenizer
from plait.errors import UserError
from plait.generate import Draft, Writer, generate
from plait.generate.one_path import draw, sharpened
from plait.seeds import torch_generator
from tiny_model import make_batch, make_model, make_tokenizer, rows_of


def left(probabilities: list[float], **options: object) -> list[float]:
    """The distribution that is drawn from."""
    config = GenerateConfig.model_validate({"method": "sample", **options})
    scores = sharpened(torch.tensor([probabilities]).log(), config)
    return scores.softmax(-1)[0].tolist()


def test_top_k_keeps_k_tokens_where_several_are_as_likely():
    """Previously every token that equalled the k-th was kept: top_k=1 drew among ties."""
    assert left([0.25] * 4, top_k=1) == [1, 0, 0, 0]
    assert left([0.1, 0.3, 0.3, 0.3], top_k=2) == pytest.approx([0, 0.5, 0.5, 0])
    assert left([0.1, 0.6, 0.15, 0.15], top_k=2) == pytest.approx([0, 0.8, 0.2, 0])
    assert left([0.1, 0.6, 0.15, 0.15], top_k=9) == pytest.approx([0.1, 0.6, 0.15, 0.15])


def test_top_p_keeps_the_fewest_tokens_that_hold_it_where_several_are_as_likely():
    """Ties go to the lower ids, and a sum that misses top_p only by rounding has reached it."""
    assert left([0.25] * 4, top_p=0.5) == pytest.approx([0.5, 0.5, 0, 0])
    assert left([0.1] * 10, top_p=0.3) == pytest.approx([1 / 3] * 3 + [0] * 7)
    for p in (hundredth / 100 for hundredth in range(51, 100)):  # in fp32 some of these are a little less
        assert left([p, 0.6 * (1 - p), 0.4 * (1 - p)], top_p=p) == [1, 0, 0]
    assert left([0.2, 0.5, 0.3], top_p=0.51) == pytest.approx([0, 0.625, 0.375])
    assert left([0.2, 0.5, 0.3], top_p=1e-9) == [0, 1, 0]
    assert left([1 - 3e-8, 1e-8, 1e-8, 1e-8], top_p=1.0)[3] > 0


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 5e-324])
def test_a_tiny_temperature_is_the_likeliest_token(temperature: float):
    """Previously log p / 1e-40 was −∞ everywhere, and the last or the first token was said for ever."""
    assert left([0.1, 0.2, 0.4, 0.3], temperature=temperature) == pytest.approx([0, 0, 1, 0])
    assert left([0.4, 0.2, 0.4, 0.0], temperature=temperature) == pytest.approx([0.5, 0, 0.5, 0])


def test_a_huge_temperature_is_a_draw_from_all_that_may_be_said():
    assert left([0.1, 0.9, 0.0], temperature=1e300) == pytest.approx([0.5, 0.5, 0])


def test_a_temperature_is_a_number():
    with pytest.raises(ValueError, match="finite"):
        GenerateConfig(temperature=math.inf)


def test_a_temperature_sharpens_as_the_formula_says():
    """p^(1/T) / Σ p^(1/T)."""
    p = [0.1, 0.2, 0.3, 0.4]
    powers = [value**2 for value in p]
    assert left(p, temperature=0.5) == pytest.approx([value / sum(powers) for value in powers])


def test_draws_follow_the_distribution():
    p = torch.tensor([[0.1, 0.0, 0.6, 0.3]]).log()
    config = GenerateConfig(method="sample")
    generator = torch_generator(1, "test")
    found = torch.cat([draw(p, config, [generator]) for _ in range(4000)])
    shares = torch.bincount(found, minlength=4) / 4000
    assert shares.tolist() == pytest.approx([0.1, 0, 0.6, 0.3], abs=0.03)


def test_a_tiny_temperature_writes_what_greedy_writes():
    tokenizer = make_tokenizer()
    model, batch = make_model(tokenizer, fusion={"kind": "concat"}), make_batch(tokenizer)
    cold = generate(model, tokenizer, batch, GenerateConfig(method="sample", temperature=1e-40, max_tokens=6))
    greedy = generate(model, tokenizer, batch, GenerateConfig(max_tokens=6))
    assert [one.token_ids for one in cold] == [one.token_ids for one in greedy]


SENTENCES = ["你好。再见！", "hello. you?", "ありがとう｡ はい．"]


@pytest.mark.parametrize("config", [BPEConfig(size=262), BPEConfig(size=400), CharacterConfig()])
@pytest.mark.parametrize("text", ["你好。", "再见！", "hello.", "you?", "ありがとう｡", "はい．"])
def test_a_sentence_ends_with_its_mark_however_many_tokens_that_is(config: BPEConfig | CharacterConfig, text: str):
    """Previously the token's own spelling was asked, and in byte-level BPE that of 。 is `ãĢĤ`, or three tokens."""
    tokenizer = Tokenizer.train(config, SENTENCES, ("answer",))
    model = make_model(tokenizer, fusion={"kind": "concat"})
    writer = Writer(model, tokenizer, GenerateConfig(until="sentence", max_tokens=100))
    draft = Draft(tokenizer.segments)
    ids = tokenizer.encode(text)
    for place, token in enumerate(ids, 1):
        assert draft.open_segment == "answer"
        writer.say(draft, token, -1.0)
        assert (draft.open_segment is None) == (place == len(ids))
    assert draft.limited == ()
    assert writer.finished("x", draft).segments["answer"] == text


def test_a_space_behind_a_sentence_ends_nothing():
    """What was begun with a whole sentence goes on behind it."""
    tokenizer = Tokenizer.train(CharacterConfig(), ["a. b."], ("answer",))
    writer = Writer(make_model(tokenizer, fusion={"kind": "concat"}), tokenizer, GenerateConfig(until="sentence"))
    draft = Draft(tokenizer.segments, {"answer": tokenizer.encode("a.")})
    for token in tokenizer.encode("a b")[1:]:
        writer.say(draft, token, -1.0)
    assert draft.open_segment == "answer"


def test_begun_words_continue_the_first_segment_that_is_not_given():
    """Previously they replaced the text of the first segment, where all segments were given."""
    tokenizer = make_tokenizer()
    model, batch = make_model(tokenizer, fusion={"kind": "concat"}), make_batch(tokenizer)
    one = rows_of(batch, [0], share=False)
    (said,) = generate(model, tokenizer, one, GenerateConfig(), given={"heard": ["what is it?"]}, begun="a red")
    assert said.segments["heard"] == "what is it?"
    assert list(said.token_ids["answer"])[:2] == tokenizer.encode("a red")
    with pytest.raises(UserError, match="nothing to continue"):
        generate(model, tokenizer, one, GenerateConfig(), given={"heard": ["a"], "answer": ["red"]}, begun="a")
    with pytest.raises(UserError, match="chosen from answers"):
        generate(model, tokenizer, one, GenerateConfig(), choices={"heard": ["a", "red"]}, begun="a")
    with pytest.raises(UserError, match="is given, and"):
        generate(model, tokenizer, one, GenerateConfig(), given={"heard": ["a"]}, choices={"heard": ["a", "red"]})


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_segments_that_reach_the_limit_are_named(method: str):
    """Previously nothing told a text that was cut off from one that had ended."""
    tokenizer = make_tokenizer()
    model, batch = make_model(tokenizer, fusion={"kind": "concat"}), make_batch(tokenizer)
    for most in (1, 3, 40):
        config = GenerateConfig.model_validate({"method": method, "max_tokens": most, "seed": 2})
        for one in generate(model, tokenizer, batch, config):
            assert set(one.limited) == {segment for segment, ids in one.token_ids.items() if len(ids) == most}
