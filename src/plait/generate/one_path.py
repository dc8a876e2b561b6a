"""Writing along one path: the likeliest token at every step, or a draw.

In: drafts, all side by side, and the segment to write up to.
Out: the drafts written; the tokens of every step as they come.
Invariant: neither the greedy choice nor a draw depends on the batch; a draw takes no token that the cuts leave out, and at least
one is always left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from plait.config import GenerateConfig
from plait.generate.draft import Draft, Writer
from plait.seeds import torch_generator
from plait.types import Condition

ROUNDING = 1e-6
"""How far a sum of fp32 probabilities may miss `top_p` and still reach it."""


def write(
    writer: Writer, drafts: Sequence[Draft], condition: Condition, until: str, ids: Sequence[str]
) -> Iterator[list[int]]:
    """Greedy choice or draws, all drafts side by side; yields the tokens of every step."""
    if all(draft.is_done(until) for draft in drafts):
        return
    cache = writer.model.lm.empty_cache()
    generators = [torch_generator(writer.config.seed, "generate", id) for id in ids]
    hidden = writer.begin(drafts, condition, cache)
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
            elif not draft.is_done(until):
                writer.say(draft, token, log_probability)
        yield tokens
        if all(draft.is_done(until) for draft in drafts):
            return
        hidden = writer.step([writer.next_token(draft) for draft in drafts], condition, cache)


def draw(
    log_probabilities: Float[Tensor, "B V"], config: GenerateConfig, generators: Sequence[torch.Generator]
) -> Int[Tensor, " B"]:
    """A draw per row from the tempered, cut distribution; each row has its own generator, so the batch does not matter."""
    scores = sharpened(log_probabilities, config)
    numbers = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators]).to(scores.device)
    cumulative = scores.softmax(dim=-1).cumsum(dim=-1)
    places = torch.searchsorted(cumulative, (numbers * cumulative[:, -1])[:, None], right=True)[:, 0]
    return places.clamp(max=scores.shape[-1] - 1)


def sharpened(log_probabilities: Float[Tensor, "B V"], config: GenerateConfig) -> Float[Tensor, "B V"]:
    """Scores after temperature, top-k and top-p (nucleus, Holtzman et al. 2020), in fp64; what is cut has −inf.

    The best token has 0, so any temperature above 0 can be divided by. Of equally likely tokens the lower ids are kept.
    """
    scores = (log_probabilities - log_probabilities.max(dim=-1, keepdim=True).values).double() / config.temperature
    if config.top_k is not None:
        k = min(config.top_k, scores.shape[-1])
        kth = scores.topk(k).values[:, -1:]
        better, equal = scores > kth, scores == kth
        kept = better | (equal & (equal.cumsum(dim=-1) <= k - better.sum(dim=-1, keepdim=True)))
        scores = scores.masked_fill(~kept, float("-inf"))
    if config.top_p is not None and config.top_p < 1:
        ordered, order = scores.sort(dim=-1, descending=True, stable=True)
        held = ordered.softmax(dim=-1).cumsum(dim=-1)[:, :-1]
        cut = torch.zeros_like(scores, dtype=torch.bool).scatter(1, order[:, 1:], held >= config.top_p - ROUNDING)
        scores = scores.masked_fill(cut, float("-inf"))
    return scores
