"""Generation: inputs → text, token by token. One engine for the command line, evaluation and serving.

In: a model, its tokenizer, a batch of inputs; optionally segments that are given, or answers to choose from.
Out: the text of every segment, its token ids, and the mean log-probability of its tokens, the end included.
Invariant: greedy output does not depend on the batch; every segment begins with its own special token and ends with `<end>`,
and later segments follow the earlier ones that the model itself wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plait.config import GenerateConfig
from plait.data.text import Tokenizer
from plait.lm import Cache
from plait.model import Model, token_losses
from plait.seeds import torch_generator
from plait.types import IGNORED, Batch, Condition


@dataclass(frozen=True)
class Generated:
    """What the model says about one sample, by segment.

    `log_probability` is the mean over the segment's tokens and its end, natural logarithm. `scores` holds, for a segment
    chosen from given answers, the summed log-probability of every answer.
    """

    id: str
    segments: Mapping[str, str]
    token_ids: Mapping[str, tuple[int, ...]]
    log_probability: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass
class Draft:
    """One sequence while it is written: what has been said of each segment, and what the model reads next.

    `unread`: the last token of a segment that was cut off behind it. The model has to read it before the next segment begins.
    """

    segments: Sequence[str]
    said: dict[str, list[int]] = field(default_factory=dict)
    log_probabilities: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, Mapping[str, float]] = field(default_factory=dict)
    unread: int | None = None

    @property
    def open_segment(self) -> str | None:
        """The segment that is being written; None when all are done."""
        return next((s for s in self.segments if s not in self.said or self.said[s][-1:] != [END]), None)

    def copy(self) -> Draft:
        """A draft that goes its own way."""
        said = {segment: list(ids) for segment, ids in self.said.items()}
        logs = {segment: list(values) for segment, values in self.log_probabilities.items()}
        return Draft(self.segments, said, logs, dict(self.scores), self.unread)


END = -1
"""The end of a segment in a draft, whatever id the tokenizer gives it."""


class Writer:
    """A model with its tokenizer, ready to write: the vocabulary's special tokens are never said, the end excepted."""

    def __init__(self, model: Model, tokenizer: Tokenizer, config: GenerateConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.device = model.lm.embedding.table.device
        forbidden = [tokenizer.pad_id, tokenizer.unknown_id, *map(tokenizer.segment_id, tokenizer.segments)]
        self.forbidden = torch.tensor([i for i in forbidden if i is not None], device=self.device)
        self.last = sentence_ends(tokenizer) if config.until == "sentence" else frozenset()

    def sequence(self, draft: Draft) -> list[int]:
        """The ids that the language model has to read so far."""
        ids: list[int] = []
        for segment in draft.segments:
            ids.append(self.tokenizer.segment_id(segment))
            ids.extend(i for i in draft.said.get(segment, []) if i != END)
            if draft.open_segment == segment:
                break
        return ids

    def log_probabilities(self, hidden: Float[Tensor, "B D"]) -> Float[Tensor, "B V"]:
        """Of the next token, over the whole vocabulary (so they are those of the loss); −inf for what is never said."""
        log_probabilities = self.model.lm.logits(hidden).float().log_softmax(dim=-1)
        log_probabilities[:, self.forbidden] = float("-inf")
        return log_probabilities

    def read(self, sequences: Sequence[Sequence[int]], condition: Condition, cache: Cache) -> Float[Tensor, "B D"]:
        """Read sequences of any lengths from their beginning; the states of each one's last token."""
        lengths = torch.tensor([len(s) for s in sequences], device=self.device)
        longest = int(lengths.max())
        tokens = torch.full((len(sequences), longest), self.tokenizer.pad_id, device=self.device)
        for row, sequence in enumerate(sequences):
            tokens[row, : len(sequence)] = torch.tensor(sequence, device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths[:, None]
        hidden = self.model.hidden(tokens, condition, mask=None if bool(mask.all()) else mask, cache=cache)
        return hidden[torch.arange(len(sequences), device=self.device), lengths - 1]

    def step(self, tokens: Sequence[int], condition: Condition, cache: Cache) -> Float[Tensor, "B D"]:
        """Read one more token each."""
        return self.model.hidden(torch.tensor(tokens, device=self.device)[:, None], condition, cache=cache)[:, -1]

    def next_token(self, draft: Draft) -> int:
        """What the model reads after the token that was just said: the token, or the next segment's special token."""
        segment = draft.open_segment
        if segment is None:
            return self.tokenizer.pad_id
        if draft.unread is not None:
            return draft.unread
        said = draft.said.get(segment, [])
        return said[-1] if said else self.tokenizer.segment_id(segment)

    def say(self, draft: Draft, token: int, log_probability: float) -> None:
        """Write one token into the open segment, which ends with `<end>`, at its limit, or with the sentence if so asked."""
        segment = draft.open_segment
        assert segment is not None
        said = draft.said.setdefault(segment, [])
        draft.log_probabilities.setdefault(segment, []).append(log_probability)
        said.append(END if token == self.tokenizer.end_id else token)
        num_said = len(draft.log_probabilities[segment])
        if said[-1] != END and (num_said >= self.config.max_tokens or token in self.last):
            said.append(END)
            draft.unread = token

    def finished(self, id: str, draft: Draft) -> Generated:
        """The draft in words."""
        ids = {s: tuple(i for i in said if i != END) for s, said in draft.said.items()}
        return Generated(
            id,
            {s: self.tokenizer.decode(list(said)) for s, said in ids.items()},
            ids,
            {s: sum(values) / len(values) for s, values in draft.log_probabilities.items() if values},
            draft.scores,
        )


def sentence_ends(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end a sentence: those whose text ends with one of . ! ? and their Chinese forms."""
    return frozenset(i for i, token in enumerate(tokenizer.vocabulary) if token.rstrip().endswith(tuple(".!?。！？")))


@torch.inference_mode()
def generate(
    model: Model,
    tokenizer: Tokenizer,
    batch: Batch,
    config: GenerateConfig,
    *,
    given: Mapping[str, Sequence[str]] | None = None,
    begun: str = "",
    choices: Mapping[str, Sequence[str]] | None = None,
) -> list[Generated]:
    """Write every segment for every sample of the batch.

    `given`: segments that are known, one text per sample; they are read and not written. `begun`: the first words of the first
    segment that is not given, to be continued. `choices`: segments whose text is the likeliest of the given answers: summed
    log-probability with the end, no length normalisation, ties by list order.
    """
    writer = Writer(model, tokenizer, config)
    condition = model.condition(model.encode(batch.inputs, len(batch)))
    drafts = [
        Draft(tokenizer.segments, {s: [*tokenizer.encode(texts[row]), END] for s, texts in (given or {}).items()})
        for row in range(len(batch))
    ]
    if begun:
        for draft in drafts:
            draft.said[draft.open_segment or tokenizer.segments[0]] = tokenizer.encode(begun)
    for stage in stages(tokenizer.segments, choices or {}):
        if stage in (choices or {}):
            rank(writer, drafts, condition, stage, (choices or {})[stage])
        elif config.method == "beam":
            drafts = beam_search(writer, drafts, condition, stage)
        else:
            for _ in write(writer, drafts, condition, stage, batch.ids):
                pass
    return [writer.finished(id, draft) for id, draft in zip(batch.ids, drafts, strict=True)]


def stages(segments: Sequence[str], choices: Mapping[str, object]) -> list[str]:
    """The segments at which the engine stops: each choice, and the last of every row of free segments."""
    return [
        segment
        for number, segment in enumerate(segments)
        if segment in choices or number + 1 == len(segments) or segments[number + 1] in choices
    ]


def is_done(draft: Draft, until: str) -> bool:
    """Whether the draft has been written up to and with the segment `until`."""
    segment = draft.open_segment
    return segment is None or draft.segments.index(segment) > draft.segments.index(until)


def write(
    writer: Writer, drafts: Sequence[Draft], condition: Condition, until: str, ids: Sequence[str]
) -> Iterator[list[int]]:
    """Greedy choice or draws, all drafts side by side; yields the tokens of every step."""
    if all(is_done(draft, until) for draft in drafts):
        return
    cache = writer.model.lm.empty_cache()
    generators = [torch_generator(writer.config.seed, "generate", id) for id in ids]
    hidden = begin(writer, drafts, condition, cache)
    while True:
        log_probabilities = writer.log_probabilities(hidden)
        if writer.config.method == "sample":
            picked = draw(log_probabilities, writer.config, generators)
        else:
            picked = log_probabilities.argmax(dim=-1)
        chosen = log_probabilities.gather(1, picked[:, None])[:, 0].tolist()
        tokens = picked.tolist()
        for draft, token, log_probability in zip(drafts, tokens, chosen, strict=True):
            if draft.unread is not None:
                draft.unread = None
            elif not is_done(draft, until):
                writer.say(draft, token, log_probability)
        yield tokens
        if all(is_done(draft, until) for draft in drafts):
            return
        hidden = writer.step([writer.next_token(draft) for draft in drafts], condition, cache)


def begin(writer: Writer, drafts: Sequence[Draft], condition: Condition, cache: Cache) -> Float[Tensor, "B D"]:
    """Read all that has been said, so that nothing is left unread."""
    for draft in drafts:
        draft.unread = None
    return writer.read([writer.sequence(draft) for draft in drafts], condition, cache)


def draw(
    log_probabilities: Float[Tensor, "B V"], config: GenerateConfig, generators: Sequence[torch.Generator]
) -> Int[Tensor, " B"]:
    """A draw per row from the tempered, cut distribution; each row has its own generator, so the batch does not matter."""
    scores = sharpened(log_probabilities, config)
    numbers = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators]).to(scores.device)
    cumulative = scores.softmax(dim=-1).double().cumsum(dim=-1)
    places = torch.searchsorted(cumulative, (numbers * cumulative[:, -1])[:, None], right=True)[:, 0]
    return places.clamp(max=scores.shape[-1] - 1)


def sharpened(log_probabilities: Float[Tensor, "B V"], config: GenerateConfig) -> Float[Tensor, "B V"]:
    """Scores after temperature, top-k and top-p (nucleus, Holtzman et al. 2020); what is cut has −inf."""
    scores = log_probabilities / config.temperature
    if config.top_k is not None:
        kth = scores.topk(min(config.top_k, scores.shape[-1])).values[:, -1:]
        scores = scores.masked_fill(scores < kth, float("-inf"))
    if config.top_p is not None:
        ordered, order = scores.sort(dim=-1, descending=True)
        before = ordered.softmax(dim=-1).cumsum(dim=-1) - ordered.softmax(dim=-1)
        cut = torch.zeros_like(scores, dtype=torch.bool).scatter(1, order, before >= config.top_p)
        scores = scores.masked_fill(cut, float("-inf"))
    return scores


def beam_search(writer: Writer, drafts: Sequence[Draft], condition: Condition, until: str) -> list[Draft]:
    """The best draft of each sample after keeping `beams` hypotheses a step; score = Σ log p / length^penalty."""
    width = writer.config.beams
    beams: list[list[tuple[float, Draft]]] = [[(0.0, draft.copy())] for draft in drafts]
    if all(is_done(draft, until) for draft in drafts):
        return list(drafts)
    rows = torch.arange(len(drafts), device=writer.device)
    cache = writer.model.lm.empty_cache()
    hidden = begin(writer, [draft for group in beams for _, draft in group], condition, cache)
    while True:
        ends_at = beams_after(writer, beams, writer.log_probabilities(hidden), until, width)
        beams = [[(score, draft) for score, draft, _ in group] for group in ends_at]
        if all(is_done(draft, until) for group in beams for _, draft in group):
            break
        parents = torch.tensor([parent for group in ends_at for _, _, parent in group], device=writer.device)
        rows, cache = rows[parents], cache.select(condition.rows_of(parents))
        tokens = [writer.next_token(draft) for group in beams for _, draft in group]
        hidden = writer.step(tokens, condition.select(rows), cache)
    return [max(group, key=lambda beam: normalised(beam, writer.config))[1] for group in beams]


def beams_after(
    writer: Writer,
    beams: Sequence[Sequence[tuple[float, Draft]]],
    log_probabilities: Float[Tensor, "rows V"],
    until: str,
    width: int,
) -> list[list[tuple[float, Draft, int]]]:
    """Every sample's best `width` continuations, with the row that each continues; finished drafts stay as they are."""
    best, tokens = (t.tolist() for t in log_probabilities.topk(min(width, log_probabilities.shape[-1])))
    groups: list[list[tuple[float, Draft, int]]] = []
    row = 0
    for group in beams:
        options: list[tuple[float, float, Draft, int, int | None, float]] = []
        for score, draft in group:
            if draft.unread is not None or is_done(draft, until):
                draft = draft.copy()
                draft.unread = None
                options.append((normalised((score, draft), writer.config), score, draft, row, None, 0.0))
            else:
                length = num_said(draft) + 1
                options.extend(
                    ((score + p) / length**writer.config.length_penalty, score + p, draft, row, token, p)
                    for p, token in zip(best[row], tokens[row], strict=True)
                    if p > float("-inf")
                )
            row += 1
        kept = sorted(options, key=lambda option: -option[0])[:width]
        groups.append([(total, grown(writer, draft, token, p), parent) for _, total, draft, parent, token, p in kept])
    return groups


def grown(writer: Writer, draft: Draft, token: int | None, log_probability: float) -> Draft:
    """The draft with one more token; a finished one as it is."""
    if token is None:
        return draft
    draft = draft.copy()
    writer.say(draft, token, log_probability)
    return draft


def num_said(draft: Draft) -> int:
    """Tokens that the model has said, ends included."""
    return sum(len(values) for values in draft.log_probabilities.values())


def normalised(beam: tuple[float, Draft], config: GenerateConfig) -> float:
    """The score by which beams are compared."""
    score, draft = beam
    return score / max(num_said(draft), 1) ** config.length_penalty


def rank(writer: Writer, drafts: Sequence[Draft], condition: Condition, segment: str, answers: Sequence[str]) -> None:
    """Score every given answer after what each draft has said, and write the likeliest one."""
    encoded = [[*writer.tokenizer.encode(answer), writer.tokenizer.end_id] for answer in answers]
    starts = [writer.sequence(draft) for draft in drafts]
    for row, draft in enumerate(drafts):
        rows = torch.full((len(answers),), row, device=writer.device)
        losses = answer_losses(writer, [starts[row]] * len(answers), encoded, condition.select(rows))
        totals = [-float(sum(values)) for values in losses]
        best = max(range(len(answers)), key=lambda number: (totals[number], -number))
        draft.said[segment] = [*encoded[best][:-1], END]
        draft.log_probabilities[segment] = [-value for value in losses[best]]
        draft.scores[segment] = dict(zip(answers, totals, strict=True))


def answer_losses(
    writer: Writer, starts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], condition: Condition
) -> list[list[float]]:
    """−log p of every token of the answers, each after its start, all in one pass."""
    sequences = [[*start, *answer[:-1]] for start, answer in zip(starts, answers, strict=True)]
    longest = max(map(len, sequences))
    tokens = torch.full((len(sequences), longest), writer.tokenizer.pad_id, device=writer.device)
    targets = torch.full_like(tokens, IGNORED)
    for row, (start, answer, sequence) in enumerate(zip(starts, answers, sequences, strict=True)):
        tokens[row, : len(sequence)] = torch.tensor(sequence, device=writer.device)
        targets[row, len(start) - 1 : len(sequence)] = torch.tensor(answer, device=writer.device)
    losses = token_losses(writer.model.lm, writer.model.hidden(tokens, condition), targets)
    return [
        losses[row, len(start) - 1 : len(start) - 1 + len(answer)].tolist()
        for row, (start, answer) in enumerate(zip(starts, answers, strict=True))
    ]


@torch.inference_mode()
def stream(model: Model, tokenizer: Tokenizer, batch: Batch, config: GenerateConfig) -> Iterator[tuple[str, str]]:
    """(segment, its text so far) after every token, for a batch of one sample."""
    writer = Writer(model, tokenizer, config)
    condition = model.condition(model.encode(batch.inputs, len(batch)))
    draft = Draft(tokenizer.segments)
    segment = tokenizer.segments[0]
    for _ in write(writer, [draft], condition, tokenizer.segments[-1], batch.ids):
        yield segment, tokenizer.decode([i for i in draft.said.get(segment, []) if i != END])
        segment = draft.open_segment or segment


@torch.inference_mode()
def next_tokens(
    model: Model, tokenizer: Tokenizer, batch: Batch, text: str, num: int, segment: str | None = None
) -> list[tuple[str, float]]:
    """The likeliest next tokens after `text` in a segment (the first by default), with their probabilities."""
    writer = Writer(model, tokenizer, GenerateConfig())
    condition = model.condition(model.encode(batch.inputs, len(batch)))
    sequence = [tokenizer.segment_id(segment or tokenizer.segments[0]), *tokenizer.encode(text)]
    hidden = writer.read([sequence], condition, model.lm.empty_cache())
    probabilities, tokens = writer.log_probabilities(hidden)[0].softmax(dim=-1).topk(min(num, tokenizer.size))
    return [(tokenizer.token(t), p) for t, p in zip(tokens.tolist(), probabilities.tolist(), strict=True) if p > 0]
