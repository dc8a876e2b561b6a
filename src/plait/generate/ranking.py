"""Choosing from given answers: each is scored after what was said before, the likeliest one is the text.

In: drafts, a segment, the answers.
Out: the segment's text, one of the answers as it was given; all scores; what makes a choice doubtful.
Invariant: a score is Σ log p of an answer's tokens and its end; answers that are the same tokens have the same score, and ties
go to the first of the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch

from plait.data.text import Tokenizer
from plait.generate.draft import END, Draft, Writer
from plait.model import token_losses
from plait.types import IGNORED, Condition

MOST_NAMED = 8
"""Answers that a note names; of more it says how many there are."""


def rank(writer: Writer, drafts: Sequence[Draft], condition: Condition, segment: str, answers: Sequence[str]) -> None:
    """Score every given answer after what each draft has said, and write the likeliest one."""
    encoded = [(*writer.tokenizer.encode(answer), writer.tokenizer.end_id) for answer in answers]
    different = list(dict.fromkeys(encoded))
    unknown = tuple(
        dict.fromkeys(a for a, ids in zip(answers, encoded, strict=True) if is_unknown(writer.tokenizer, ids))
    )
    starts = [writer.sequence(draft) for draft in drafts]
    for row, draft in enumerate(drafts):
        rows = torch.full((len(different),), row, device=writer.device)
        losses = answer_losses(writer, [starts[row]] * len(different), different, condition.select(rows))
        of_ids = dict(zip(different, losses, strict=True))
        totals = [-float(sum(of_ids[ids])) for ids in encoded]
        best = max(range(len(answers)), key=lambda number: (totals[number], -number))
        draft.said[segment] = [*encoded[best][:-1], END]
        draft.chosen[segment] = answers[best]
        draft.log_probabilities[segment] = [-value for value in of_ids[encoded[best]]]
        draft.scores[segment] = dict(zip(answers, totals, strict=True))
        tied = tuple(answer for answer, total in draft.scores[segment].items() if total == totals[best])
        if len(tied) > 1:
            draft.tied[segment] = tied
        if unknown:
            draft.unknown[segment] = unknown


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


def is_unknown(tokenizer: Tokenizer, ids: Sequence[int]) -> bool:
    """Whether a text of these tokens has words that the vocabulary lacks."""
    return tokenizer.unknown_id in ids


def choice_notes(tokenizer: Tokenizer, choices: Mapping[str, Sequence[str]]) -> list[str]:
    """What makes these answers hard to choose from: given twice, empty, unknown to the model, or the same to it."""
    notes = []
    for segment, answers in choices.items():
        counts = Counter(answers)
        if twice := [answer for answer, count in counts.items() if count > 1]:
            notes.append(f"{segment}: given more than once: {named(twice)}")
        if any(not answer.strip() for answer in answers):
            notes.append(f"{segment}: one of the answers to choose from is empty")
        tokens = {answer: tuple(tokenizer.encode(answer)) for answer in counts}
        if unknown := [answer for answer, ids in tokens.items() if is_unknown(tokenizer, ids)]:
            what = (
                "has words that the model does not know, so its score means"
                if len(unknown) == 1
                else ("have words that the model does not know, so their scores mean")
            )
            notes.append(f"{segment}: {named(unknown)} {what} little")
        for ids in dict.fromkeys(tokens.values()):
            same = [answer for answer, other in tokens.items() if other == ids]
            if len(same) > 1:
                notes.append(f"{segment}: the model cannot tell apart {named(same)}: of these it answers the first")
    return notes


def named(answers: Sequence[str]) -> str:
    """Answers in a row."""
    shown = ", ".join(map(repr, answers[:MOST_NAMED]))
    return shown + (f" and {len(answers) - MOST_NAMED} more" if len(answers) > MOST_NAMED else "")
