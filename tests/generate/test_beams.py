"""Beam search against all the texts that there are: it finds the best, and never gives back less than it had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch

from plait.config import GenerateConfig
from plait.data.text import CharacterConfig, Tokenizer
from plait.generate import Draft, Writer, generate
from plait.generate.beams import Hypothesis, Search, beam_search
from plait.model import Model
from plait.types import IGNORED, Batch
from tiny_model import make_batch, make_model, rows_of

LONGEST = 3
PENALTIES = [0.0, 0.5, 1.0, 2.5]


def tokenizer_of(*segments: str) -> Tokenizer:
    """Three characters, and the special tokens."""
    return Tokenizer.train(CharacterConfig(), ["abc"], segments)


def model_of(tokenizer: Tokenizer, seed: int) -> Model:
    """A model that is sure of some things: its head is drawn wide."""
    model = make_model(tokenizer, fusion={"kind": "concat"}, lm={"kind": "gru"})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.lm.parameters():
            parameter += 0.5 * torch.randn(parameter.shape, generator=generator)
    return model


def batch_of() -> Batch:
    """One sample without any input, so that the model's answer is one distribution over texts."""
    return rows_of(make_batch(tokenizer_of("heard", "answer"), subsets=[(False, False, False)]), [0], share=False)


def all_texts(tokenizer: Tokenizer, longest: int = LONGEST) -> list[tuple[int, ...]]:
    """Every row of at most `longest` tokens as a segment may hold it: ended, or full."""
    letters = [tokenizer.encode(letter)[0] for letter in "abc"]
    ended = [(*ids, tokenizer.end_id) for number in range(longest) for ids in product(letters, repeat=number)]
    return [*ended, *product(letters, repeat=longest)]


def log_p(
    model: Model, tokenizer: Tokenizer, batch: Batch, parts: Sequence[tuple[int, ...]], first: int = 0
) -> tuple[float, int]:
    """Σ log p of the tokens of the segments from the `first` on, longhand in one pass, and their number."""
    tokens: list[int] = []
    targets: list[int] = []
    for number, (segment, ids) in enumerate(zip(tokenizer.segments, parts, strict=True)):
        said = [i for i in ids if i != tokenizer.end_id]
        tokens += [tokenizer.segment_id(segment), *said]
        targets += [*(ids if number >= first else [IGNORED] * len(ids)), *[IGNORED] * (len(said) + 1 - len(ids))]
    whole = torch.tensor([tokens])
    one = replace(batch, tokens=whole, targets=torch.tensor([targets]), segments=torch.zeros_like(whole))
    with torch.no_grad():
        values = model.lm.logits(model.states(one)).float()[0].log_softmax(-1).double()
    found = [float(values[place, target]) for place, target in enumerate(targets) if target != IGNORED]
    return sum(found), len(found)


def best_of_all(model: Model, tokenizer: Tokenizer, batch: Batch, config: GenerateConfig) -> float:
    """The highest Σ log p / length^penalty of all texts."""
    texts, penalty = all_texts(tokenizer, config.most_tokens), config.length_penalty
    found = (log_p(model, tokenizer, batch, parts) for parts in product(texts, repeat=len(tokenizer.segments)))
    return max(total / number**penalty for total, number in found)


def score_of(model: Model, tokenizer: Tokenizer, batch: Batch, config: GenerateConfig) -> float:
    """The stated score of what beam search gives back, longhand."""
    (said,) = generate(model, tokenizer, batch, config)
    parts = tuple(
        (*ids, tokenizer.end_id) if len(ids) < config.most_tokens else tuple(ids) for ids in said.token_ids.values()
    )
    total, number = log_p(model, tokenizer, batch, parts)
    return total / number**config.length_penalty


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("seed", range(4))
def test_enough_beams_find_the_best_of_all_texts(seed: int, penalty: float):
    """Previously a finished text had to stay among the best at every later step, or it was forgotten."""
    tokenizer = tokenizer_of("answer")
    model, batch = model_of(tokenizer, seed), batch_of()
    config = GenerateConfig(method="beam", beams=100, max_tokens=LONGEST, length_penalty=penalty)
    expected = best_of_all(model, tokenizer, batch, config)
    assert score_of(model, tokenizer, batch, config) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_enough_beams_find_the_best_of_two_segments(penalty: float):
    tokenizer = tokenizer_of("heard", "answer")
    model, batch = model_of(tokenizer, 1), batch_of()
    config = GenerateConfig(method="beam", beams=500, max_tokens=2, length_penalty=penalty)
    expected = best_of_all(model, tokenizer, batch, config)
    assert score_of(model, tokenizer, batch, config) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_nothing_better_than_the_result_was_ever_finished(beams: int, penalty: float, monkeypatch: pytest.MonkeyPatch):
    """Previously the mean log p of what came back was −1.060, and a text of −.805 had been finished on the way."""
    finished: list[float] = []
    grown = Search.grown

    def watched(self: Search, option: Any) -> Hypothesis:
        found = grown(self, option)
        if found.draft.is_done(self.until):
            finished.append(self.score(found))
        return found

    monkeypatch.setattr(Search, "grown", watched)
    tokenizer = tokenizer_of("answer")
    for seed in range(6):
        finished.clear()
        model, batch = model_of(tokenizer, seed), batch_of()
        config = GenerateConfig(method="beam", beams=beams, max_tokens=LONGEST, length_penalty=penalty)
        assert score_of(model, tokenizer, batch, config) == pytest.approx(max(finished), abs=1e-4)


def test_a_finished_text_survives_rivals_that_look_better_on_the_way(monkeypatch: pytest.MonkeyPatch):
    """Two tokens in, both rivals beat the finished text by their mean; all that they can still become is worse."""
    tokenizer = tokenizer_of("answer")
    model = model_of(tokenizer, 0)
    end, (a, b, c) = tokenizer.end_id, (tokenizer.encode(letter)[0] for letter in "abc")
    table = {
        (): {a: 0.4, b: 0.35, end: 0.25},
        (a,): {end: 0.52, c: 0.48},
        (b,): {c: 1.0},
        (b, c): {a: 0.3, b: 0.3, c: 0.3, end: 0.1},
    }
    last = {a: 0.25, b: 0.25, c: 0.25, end: 0.25}

    class Scripted(Writer):
        """Probabilities from the table, by what was said."""

        def begin(self, drafts: Any, condition: Any, cache: Any) -> Any:
            return self.states(drafts)

        def step(self, tokens: Any, condition: Any, cache: Any) -> Any:
            return self.states(self.drafts)

        def states(self, drafts: Any) -> Any:
            return [tuple(draft.said.get("answer", [])) for draft in drafts]

        def next_token(self, draft: Draft) -> int:
            self.drafts.append(draft)
            return super().next_token(draft)

        def log_probabilities(self, hidden: Any) -> Any:
            self.drafts: list[Draft] = []
            rows = [[table.get(said, last).get(i, 0.0) for i in range(tokenizer.size)] for said in hidden]
            return torch.tensor(rows).log()

    writer = Scripted(model, tokenizer, GenerateConfig(method="beam", beams=2, max_tokens=6))
    writer.drafts = []
    batch = batch_of()
    condition = model.condition(model.encode(batch.inputs, 1))
    (best,) = beam_search(writer, [Draft(tokenizer.segments)], condition, "answer")
    assert best.said["answer"][:1] == [a]
    assert sum(best.log_probabilities["answer"]) / 2 == pytest.approx(math.log(0.4 * 0.52) / 2)


@pytest.mark.parametrize("seed", range(6))
def test_only_what_the_search_wrote_counts_in_its_score(seed: int):
    """Previously the tokens of an answer chosen before counted as length, so later text was scored as if it were longer."""
    tokenizer = tokenizer_of("heard", "answer")
    model, batch, longest = model_of(tokenizer, seed), batch_of(), 2
    heard = "abcabcabcabc"
    ids = (*tokenizer.encode(heard), tokenizer.end_id)
    for penalty in (1.0, 2.0):
        config = GenerateConfig(method="beam", beams=60, max_tokens=longest, length_penalty=penalty)
        (said,) = generate(model, tokenizer, batch, config, choices={"heard": [heard]})

        def score(answer: tuple[int, ...], penalty: float = penalty) -> float:
            total, number = log_p(model, tokenizer, batch, (ids, answer), first=1)
            return total / number**penalty

        got = said.token_ids["answer"]
        expected = max(map(score, all_texts(tokenizer, longest)))
        assert score(got if len(got) == longest else (*got, tokenizer.end_id)) == pytest.approx(expected, abs=1e-4)


def test_the_bound_is_reached_when_nothing_more_costs_anything():
    """The search may stop exactly when no continuation could win: the bound is the score with all further log p = 0."""
    tokenizer = tokenizer_of("heard", "answer")
    for penalty in PENALTIES:
        writer = Writer(
            model_of(tokenizer, 0), tokenizer, GenerateConfig(method="beam", max_tokens=4, length_penalty=penalty)
        )
        search = Search(writer, Draft(tokenizer.segments), "answer")
        draft = Draft(tokenizer.segments, {"heard": [7, 7]}, {"heard": [-1.0, -0.5]})
        assert search.bound(Hypothesis(draft, -1.5, 2)) == pytest.approx(-1.5 / 8**penalty)


def test_a_search_stops_when_nothing_can_win(monkeypatch: pytest.MonkeyPatch):
    """A sure model needs no 500 steps for a text of two tokens."""
    tokenizer = tokenizer_of("answer")
    model, batch = model_of(tokenizer, 0), batch_of()
    end = tokenizer.end_id
    steps = []
    log_probabilities = Writer.log_probabilities

    def sure(self: Writer, hidden: torch.Tensor) -> torch.Tensor:
        steps.append(len(hidden))
        values = log_probabilities(self, hidden)
        values = torch.full_like(values, math.log(0.001))
        values[:, end] = math.log(1 - 0.001 * (values.shape[1] - 1))
        return values

    monkeypatch.setattr(Writer, "log_probabilities", sure)
    config = GenerateConfig(method="beam", beams=4, max_tokens=500)
    assert generate(model, tokenizer, batch, config)[0].segments == {"answer": ""}
    assert len(steps) <= 3


def test_a_huge_length_penalty_is_no_crash():
    """Previously 64 ** 1e6 was an OverflowError."""
    tokenizer = tokenizer_of("answer")
    model, batch = model_of(tokenizer, 0), batch_of()
    config = GenerateConfig(method="beam", max_tokens=LONGEST, length_penalty=1e6)
    assert generate(model, tokenizer, batch, config)[0].segments.keys() == {"answer"}


def test_samples_end_by_themselves():
    """Rows leave the batch as their searches end; the others are not moved by it."""
    tokenizer = tokenizer_of("heard", "answer")
    model = model_of(tokenizer, 2)
    batch = make_batch(tokenizer)
    config = GenerateConfig(method="beam", beams=3, max_tokens=5)
    together = generate(model, tokenizer, batch, config)
    for row, one in enumerate(together):
        alone = generate(model, tokenizer, rows_of(batch, [row], share=False), config)[0]
        assert alone.token_ids == one.token_ids
