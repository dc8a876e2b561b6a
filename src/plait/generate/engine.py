"""Generation: inputs → text, token by token. One engine for the command line, evaluation and serving.

In: a model, its tokenizer, a batch of inputs; optionally segments that are given, or answers to choose from.
Out: the text of every segment, its token ids, and the mean log-probability of its tokens, the end included.
Invariant: greedy output does not depend on the batch; every segment begins with its own special token and ends with `<end>`,
and later segments follow the earlier ones that the model itself wrote.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from plait.config import GenerateConfig
from plait.data.text import Tokenizer
from plait.errors import UserError
from plait.generate.beams import beam_search
from plait.generate.draft import END, Draft, Generated, Writer
from plait.generate.one_path import write
from plait.generate.ranking import rank
from plait.model import Model
from plait.types import Batch


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
    writer, given, choices = Writer(model, tokenizer, config), given or {}, choices or {}
    refuse_both(given, choices)
    condition = model.condition(model.encode(batch.inputs, len(batch)))
    drafts = [
        Draft(tokenizer.segments, {s: [*tokenizer.encode(texts[row]), END] for s, texts in given.items()})
        for row in range(len(batch))
    ]
    if begun:
        segment = begun_segment(tokenizer.segments, given, choices)
        for draft in drafts:
            draft.said[segment] = tokenizer.encode(begun)
    for stage in stages(tokenizer.segments, choices):
        if stage in choices:
            rank(writer, drafts, condition, stage, choices[stage])
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


def refuse_both(given: Mapping[str, object], choices: Mapping[str, object]) -> None:
    """One message for a segment that is given and to be chosen as well."""
    if both := [segment for segment in given if segment in choices]:
        right = "Leave it out of one of the two"
        raise UserError(f"the segment {both[0]!r} is given, and there are answers to choose from for it", right=right)


def begun_segment(segments: Sequence[str], given: Mapping[str, object], choices: Mapping[str, object]) -> str:
    """The segment that begun words belong to: the first that is not given."""
    segment = next((segment for segment in segments if segment not in given), None)
    if segment is None:
        raise UserError(
            "every segment is given, so there is nothing to continue", right="Give the first words, or the segments"
        )
    if segment in choices:
        right = "Give the first words, or the answers to choose from"
        raise UserError(f"the segment {segment!r} is chosen from answers, so it cannot be continued", right=right)
    return segment


@torch.inference_mode()
def stream(model: Model, tokenizer: Tokenizer, batch: Batch, config: GenerateConfig) -> Iterator[tuple[str, str]]:
    """(segment, its text so far) after every token, for a batch of one sample; beam search is told when it is done."""
    if config.method == "beam":
        yield from generate(model, tokenizer, batch, config)[0].segments.items()
        return
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
