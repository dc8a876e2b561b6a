"""A text while it is written, and the model that writes it.

In: a model, its tokenizer, options of generation; what has been said so far, and the next token.
Out: `Draft`, `Generated`, and `Writer`, which reads sequences and gives the log-probabilities of the next token.
Invariant: special tokens are never said, the end excepted; a segment ends with `<end>`, at its limit, or with a sentence if so
asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from plait.config import GenerateConfig
from plait.data.text import Tokenizer
from plait.lm import Cache
from plait.model import Model
from plait.types import Condition

END = -1
"""The end of a segment in a draft, whatever id the tokenizer gives it."""

SENTENCE_ENDS = tuple(".!?。！？．｡")
"""What ends a sentence: . ! ? and their Chinese and Japanese forms, also full and half width."""


@dataclass(frozen=True)
class Generated:
    """What the model says about one sample, by segment.

    `log_probability` is the mean over the segment's tokens and its end, natural logarithm. `scores` holds, for a segment
    chosen from given answers, the summed log-probability of every answer; `tied` those that share the best score, where there are
    several; `unknown` those with words that the vocabulary lacks. `limited`: the segments that were ended at `max_tokens`.
    """

    id: str
    segments: Mapping[str, str]
    token_ids: Mapping[str, tuple[int, ...]]
    log_probability: Mapping[str, float]
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limited: tuple[str, ...] = ()
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class Draft:
    """One sequence while it is written: what has been said of each segment, and what the model reads next.

    `unread`: the last token of a segment that was cut off behind it. The model has to read it before the next segment begins.
    `chosen`: the text of a segment that was chosen from given answers, which need not be what its tokens say.
    """

    segments: Sequence[str]
    said: dict[str, list[int]] = field(default_factory=dict)
    log_probabilities: dict[str, list[float]] = field(default_factory=dict)
    scores: dict[str, Mapping[str, float]] = field(default_factory=dict)
    unread: int | None = None
    chosen: dict[str, str] = field(default_factory=dict)
    tied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limited: tuple[str, ...] = ()

    @property
    def open_segment(self) -> str | None:
        """The segment that is being written; None when all are done."""
        return next((s for s in self.segments if s not in self.said or self.said[s][-1:] != [END]), None)

    def is_done(self, until: str) -> bool:
        """Whether it has been written up to and with the segment `until`."""
        segment = self.open_segment
        return segment is None or self.segments.index(segment) > self.segments.index(until)

    def copy(self) -> Draft:
        """A draft that goes its own way."""
        said = {segment: list(ids) for segment, ids in self.said.items()}
        logs = {segment: list(values) for segment, values in self.log_probabilities.items()}
        return Draft(
            self.segments,
            said,
            logs,
            dict(self.scores),
            self.unread,
            dict(self.chosen),
            dict(self.tied),
            dict(self.unknown),
            self.limited,
        )


class Writer:
    """A model with its tokenizer, ready to write."""

    def __init__(self, model: Model, tokenizer: Tokenizer, config: GenerateConfig) -> None:
        self.model, self.tokenizer, self.config = model, tokenizer, config
        self.device = model.lm.device
        forbidden = [tokenizer.pad_id, tokenizer.unknown_id, *map(tokenizer.segment_id, tokenizer.segments)]
        self.forbidden = torch.tensor([i for i in forbidden if i is not None], device=self.device)

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
        """Read sequences of any lengths from their beginning, aligned at the right; the states of each one's last token."""
        longest = max(map(len, sequences))
        tokens = torch.full((len(sequences), longest), self.tokenizer.pad_id, device=self.device)
        mask = torch.zeros(tokens.shape, dtype=torch.bool, device=self.device)
        for row, sequence in enumerate(sequences):
            tokens[row, longest - len(sequence) :] = torch.tensor(sequence, device=self.device)
            mask[row, longest - len(sequence) :] = True
        uneven = any(len(sequence) < longest for sequence in sequences)
        return self.model.hidden(tokens, condition, mask=mask if uneven else None, cache=cache)[:, -1]

    def begin(self, drafts: Sequence[Draft], condition: Condition, cache: Cache) -> Float[Tensor, "B D"]:
        """Read all that has been said, so that nothing is left unread."""
        for draft in drafts:
            draft.unread = None
        return self.read([self.sequence(draft) for draft in drafts], condition, cache)

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
        if said[-1] == END:
            return
        ended = self.config.until == "sentence" and self.ends_sentence(said)
        if ended or not self.tokens_left(draft, segment):
            draft.limited += () if ended else (segment,)
            said.append(END)
            draft.unread = token

    def tokens_left(self, draft: Draft, segment: str) -> int:
        """How many more tokens the segment may get, its end included."""
        said = draft.said.get(segment, [])
        return 0 if said[-1:] == [END] else self.config.most_tokens - len(draft.log_probabilities.get(segment, []))

    def ends_sentence(self, said: Sequence[int]) -> bool:
        """Whether the last token ends a sentence, told by the text: in byte-level BPE one mark may be several tokens."""
        text, before = (self.tokenizer.decode(ids).rstrip() for ids in (said, said[:-1]))
        return text != before and text.endswith(SENTENCE_ENDS)

    def finished(self, id: str, draft: Draft) -> Generated:
        """The draft in words."""
        ids = {s: tuple(i for i in said if i != END) for s, said in draft.said.items()}
        return Generated(
            id,
            {s: draft.chosen[s] if s in draft.chosen else self.tokenizer.decode(list(said)) for s, said in ids.items()},
            ids,
            {s: sum(values) / len(values) for s, values in draft.log_probabilities.items() if values},
            draft.scores,
            draft.limited,
            draft.tied,
            draft.unknown,
        )
