"""Generation: every way of writing says the same as the model's own probabilities, whatever the batch."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from plait.config import GenerateConfig
from plait.generate import Generated, generate, next_tokens, stream
from plait.model import Model
from plait.types import IGNORED, Batch
from tiny_model import SEGMENTS, TEXTS, lm_of, longhand, make_batch, make_model, make_tokenizer, padded, rows_of

TOKENIZER = make_tokenizer()
GREEDY = GenerateConfig(max_tokens=7)
CASES = [
    *product(["concat", "prefix", "cross_attention"], ["transformer", "lstm"]),
    ("attention", "gru"),
    ("product", "rnn"),
    *product(["concat", "prefix", "late"], ["window"]),
]


@pytest.fixture(params=CASES, ids="-".join, scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    """Fusions with and without a prefix, language models of every sort."""
    fusion, lm = request.param
    return make_model(TOKENIZER, fusion={"kind": fusion}, lm=lm_of(lm))


@pytest.fixture(scope="module")
def batch() -> Batch:
    """One sample per subset of the modalities."""
    return make_batch(TOKENIZER)


def same(left: Generated, right: Generated) -> None:
    """The same tokens, and log-probabilities equal to fp32."""
    assert left.id == right.id
    assert left.token_ids == right.token_ids
    assert left.log_probability == pytest.approx(right.log_probability, abs=1e-5)


def scored(model: Model, batch: Batch, row: int, texts: dict[str, str]) -> dict[str, list[float]]:
    """log p of every token of these segments and their ends, all at once, over the whole vocabulary, as the loss is."""
    tokens, targets, segments = (padded([values], 0) for values in longhand(TOKENIZER, texts))
    one = replace(rows_of(batch, [row], share=False), tokens=tokens, targets=targets, segments=segments)
    with torch.no_grad():
        logits = model.lm.logits(model.states(one)).float()[0]
    values = logits.log_softmax(-1).gather(1, targets[0][:, None])[:, 0].tolist()
    return {
        name: [v for v, s in zip(values, segments[0].tolist(), strict=True) if s == number]
        for number, name in enumerate(texts)
    }


def test_greedy_does_not_depend_on_the_batch(model: Model, batch: Batch):
    together = generate(model, TOKENIZER, batch, GREEDY)
    for row, one in enumerate(together):
        same(generate(model, TOKENIZER, rows_of(batch, [row], share=False), GREEDY)[0], one)
    order = [3, 1, 7, 0]
    for one, row in zip(generate(model, TOKENIZER, rows_of(batch, order), GREEDY), order, strict=True):
        same(one, together[row])


def test_step_by_step_equals_all_at_once(model: Model, batch: Batch):
    for row, said in enumerate(generate(model, TOKENIZER, batch, GREEDY)):
        values = scored(model, batch, row, dict(said.segments))
        if all(TOKENIZER.encode(said.segments[s]) == list(said.token_ids[s]) for s in SEGMENTS):
            for segment, ids in said.token_ids.items():
                shown = values[segment][: len(ids) + (len(ids) < GREEDY.max_tokens)]
                assert said.log_probability[segment] == pytest.approx(sum(shown) / len(shown), abs=1e-4)


def test_one_beam_equals_greedy(model: Model, batch: Batch):
    beams = generate(model, TOKENIZER, batch, GREEDY.model_copy(update={"method": "beam", "beams": 1}))
    for one, other in zip(beams, generate(model, TOKENIZER, batch, GREEDY), strict=True):
        same(one, other)


def test_beams_do_not_depend_on_the_batch(model: Model, batch: Batch):
    config = GenerateConfig(method="beam", beams=3, max_tokens=5)
    together = generate(model, TOKENIZER, batch, config)
    for row in (0, 5, 7):
        same(generate(model, TOKENIZER, rows_of(batch, [row], share=False), config)[0], together[row])


def test_enough_beams_find_the_likeliest_text(batch: Batch):
    """With as many beams as there are texts, beam search is exhaustive: no text of two tokens is likelier."""
    model = make_model(TOKENIZER, fusion={"kind": "concat"})
    config = GenerateConfig(method="beam", beams=TOKENIZER.size, max_tokens=1, length_penalty=0)
    best = generate(model, TOKENIZER, rows_of(batch, [0], share=False), config)[0]
    greedy = generate(model, TOKENIZER, rows_of(batch, [0], share=False), GenerateConfig(max_tokens=1))[0]
    assert sum(best.log_probability.values()) >= sum(greedy.log_probability.values()) - 1e-6


def test_top_k_of_one_equals_greedy(model: Model, batch: Batch):
    config = GREEDY.model_copy(update={"method": "sample", "top_k": 1, "seed": 4})
    for one, other in zip(
        generate(model, TOKENIZER, batch, config), generate(model, TOKENIZER, batch, GREEDY), strict=True
    ):
        same(one, other)


def test_a_seed_gives_the_same_draws_whatever_the_batch(model: Model, batch: Batch):
    config = GREEDY.model_copy(update={"method": "sample", "seed": 4})
    together = generate(model, TOKENIZER, batch, config)
    for one, other in zip(generate(model, TOKENIZER, batch, config), together, strict=True):
        same(one, other)
    for row in (6, 2):
        same(generate(model, TOKENIZER, rows_of(batch, [row], share=False), config)[0], together[row])
    other = generate(model, TOKENIZER, batch, config.model_copy(update={"seed": 5}))
    assert [one.token_ids for one in other] != [one.token_ids for one in together]


def test_a_tiny_nucleus_equals_greedy(model: Model, batch: Batch):
    config = GREEDY.model_copy(update={"method": "sample", "top_p": 1e-6})
    for one, other in zip(
        generate(model, TOKENIZER, batch, config), generate(model, TOKENIZER, batch, GREEDY), strict=True
    ):
        same(one, other)


def test_ranking_is_the_summed_log_probability(model: Model, batch: Batch):
    """Longhand: −Σ of the token losses of `<answer> … <end>` after the first segment that the model itself wrote."""
    ranked = generate(model, TOKENIZER, batch, GREEDY, choices={"answer": TEXTS})
    free = generate(model, TOKENIZER, batch, GREEDY)
    for row, one in enumerate(ranked):
        assert one.token_ids["heard"] == free[row].token_ids["heard"]
        heard = [TOKENIZER.segment_id("heard"), *one.token_ids["heard"], TOKENIZER.segment_id("answer")]
        for answer in TEXTS:
            ids = TOKENIZER.encode(answer)
            targets = [IGNORED] * (len(heard) - 1) + [*ids, TOKENIZER.end_id]
            tokens = torch.tensor([[*heard, *ids]])
            alone = replace(
                rows_of(batch, [row], share=False),
                tokens=tokens,
                targets=torch.tensor([targets]),
                segments=torch.zeros_like(tokens),
            )
            with torch.no_grad():
                expected = -float(model.token_losses(alone).sum())
            assert one.scores["answer"][answer] == pytest.approx(expected, abs=1e-4)
        assert one.segments["answer"] == TOKENIZER.decode(
            TOKENIZER.encode(max(TEXTS, key=lambda answer: one.scores["answer"][answer]))
        )


def test_ties_go_to_the_first_answer(model: Model, batch: Batch):
    one = generate(model, TOKENIZER, rows_of(batch, [0]), GREEDY, choices={"answer": ["red", "RED", "red"]})[0]
    assert one.segments["answer"] == "red"


def test_given_segments_are_read_and_not_written(model: Model, batch: Batch):
    """What follows a given segment is what teacher forcing says: the likeliest first token after it."""
    given = {"heard": [TEXTS[row % len(TEXTS)] for row in range(len(batch))]}
    for row, one in enumerate(generate(model, TOKENIZER, batch, GREEDY, given=given)):
        assert one.segments["heard"] == TOKENIZER.decode(TOKENIZER.encode(given["heard"][row]))
        assert "heard" not in one.log_probability
        texts = {"heard": given["heard"][row], "answer": TOKENIZER.decode(list(one.token_ids["answer"]))}
        if TOKENIZER.encode(texts["answer"]) == list(one.token_ids["answer"]):
            shown = scored(model, batch, row, texts)["answer"]
            ids = one.token_ids["answer"]
            shown = shown[: len(ids) + (len(ids) < GREEDY.max_tokens)]
            assert one.log_probability["answer"] == pytest.approx(sum(shown) / len(shown), abs=1e-4)


def test_given_segments_equal_the_ones_the_model_wrote(model: Model, batch: Batch):
    free = generate(model, TOKENIZER, batch, GREEDY)
    texts = [one.segments["heard"] for one in free]
    if all(TOKENIZER.encode(t) == list(one.token_ids["heard"]) for t, one in zip(texts, free, strict=True)):
        for one, other in zip(generate(model, TOKENIZER, batch, GREEDY, given={"heard": texts}), free, strict=True):
            assert one.token_ids["answer"] == other.token_ids["answer"]


def test_begun_words_are_continued(model: Model, batch: Batch):
    for one in generate(model, TOKENIZER, batch, GREEDY, begun="a red"):
        assert list(one.token_ids["heard"])[:2] == TOKENIZER.encode("a red")


def test_until_sentence_ends_with_the_sentence(model: Model, batch: Batch):
    config = GenerateConfig(method="sample", temperature=2.0, max_tokens=30, until="sentence", seed=1)
    ends = {TOKENIZER.encode(mark)[0] for mark in (".", "?")}
    found = [ids for one in generate(model, TOKENIZER, batch, config) for ids in one.token_ids.values()]
    assert all(not ends & set(ids[:-1]) for ids in found)
    assert any(ids and ids[-1] in ends for ids in found)


def test_a_stream_ends_in_what_generate_says(model: Model, batch: Batch):
    one = rows_of(batch, [0], share=False)
    whole = generate(model, TOKENIZER, one, GREEDY)[0]
    pieces = list(stream(model, TOKENIZER, one, GREEDY))
    assert dict(pieces) == dict(whole.segments)
    texts = [text for segment, text in pieces if segment == "heard"]
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)


def test_a_stream_of_beam_search_says_what_beam_search_says(model: Model, batch: Batch):
    """Previously it was greedy without a word."""
    one, config = rows_of(batch, [0], share=False), GREEDY.model_copy(update={"method": "beam", "beams": 3})
    assert dict(stream(model, TOKENIZER, one, config)) == generate(model, TOKENIZER, one, config)[0].segments


def test_no_special_token_is_ever_said(model: Model, batch: Batch):
    config = GenerateConfig(method="sample", temperature=5.0, max_tokens=20)
    forbidden = {TOKENIZER.pad_id, TOKENIZER.unknown_id, *map(TOKENIZER.segment_id, SEGMENTS)}
    for one in generate(model, TOKENIZER, batch, config):
        assert not any(forbidden & set(ids) for ids in one.token_ids.values())
        assert all(len(ids) <= 20 for ids in one.token_ids.values())


def test_next_tokens_are_a_distribution(model: Model, batch: Batch):
    found = next_tokens(model, TOKENIZER, rows_of(batch, [0], share=False), "a red", TOKENIZER.size)
    assert math.fsum(p for _, p in found) == pytest.approx(1.0, abs=1e-5)
    assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
