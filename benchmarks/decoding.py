"""Writing text with Plait's engine and with Hugging Face's `generate`: the same weights, pictures and tokens.

In: batch sizes, the number of turns.
Out: tokens per second of both, the ratio, and whether every token is the same.
Invariant: both begin with pixels, choose greedily in fp32 with a cache of keys and values, and write all 32 tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.measure import medians
from benchmarks.network import Sizes, build, configuration, converted, hugging_face
from plait.config import GenerateConfig
from plait.data.text import Tokenizer, WordConfig
from plait.generate import generate
from plait.layers import Implementation, set_attention
from plait.model import Model
from plait.types import Batch, Items

SEGMENT = "caption"
LIVELY = 0.08
"""Standard deviation of the weights: with the usual 0.02 an untrained model says one word again and again."""


def words_tokenizer(size: int) -> Tokenizer:
    """A vocabulary of exactly `size` tokens."""
    texts = [f"w{number}" for number in range(size)]
    tokenizer = Tokenizer.train(WordConfig(max_size=size), texts, [SEGMENT])
    assert tokenizer.size == size, tokenizer.size
    return tokenizer


def pair(sizes: Sizes, tokenizer: Tokenizer, attention: str | None = None) -> tuple[Model, Any]:
    """Plait's model and the other with equal weights; special tokens have no chance, because Plait never says them."""
    torch.manual_seed(0)
    start = tokenizer.segment_id(SEGMENT)
    theirs = hugging_face(sizes, start_id=start, pad_id=tokenizer.pad_id, attention=attention)
    with torch.no_grad():
        for module in theirs.modules():
            if not isinstance(module, nn.LayerNorm | nn.Embedding):
                for name, parameter in module.named_parameters(recurse=False):
                    if name == "weight" and parameter is not theirs.decoder.lm_head.weight:
                        parameter.normal_(std=LIVELY)
        table = theirs.decoder.transformer.wte.weight
        for special in (tokenizer.pad_id, tokenizer.unknown_id, tokenizer.end_id, start):
            table[special] = 0
    ours = build(configuration(sizes), sizes, pad_id=tokenizer.pad_id)
    ours.load_state_dict(converted(theirs.state_dict(), sizes))
    return ours.eval(), theirs.eval()


def picture_batch(pixels: torch.Tensor) -> Batch:
    """Pictures to be described."""
    num = len(pixels)
    items = Items(pixels, torch.ones(num, dtype=torch.long), torch.arange(num)[:, None])
    none = torch.zeros(num, 1, dtype=torch.long)
    return Batch(tuple(map(str, range(num))), {"image": items}, none, none, none, torch.ones(num))


def decode_both(
    ours: Model, theirs: Any, tokenizer: Tokenizer, pixels: torch.Tensor, num_tokens: int
) -> tuple[list[list[int]], list[list[int]]]:
    """The tokens of both for the same pictures."""
    config = GenerateConfig(max_tokens=num_tokens)
    said = [list(one.token_ids[SEGMENT]) for one in generate(ours, tokenizer, picture_batch(pixels), config)]
    return said, their_tokens(theirs, pixels, num_tokens).tolist()


def their_tokens(theirs: Any, pixels: torch.Tensor, num_tokens: int) -> torch.Tensor:
    """Hugging Face's greedy search, the start token left away."""
    return theirs.generate(
        pixel_values=pixels, max_new_tokens=num_tokens, min_new_tokens=num_tokens, do_sample=False, num_beams=1
    )[:, 1:]


def measure_decoding(
    *, repeats: int, batch_sizes: tuple[int, ...] = (1, 32), implementation: Implementation = "fused"
) -> dict[str, dict[str, float]]:
    """Both in turns, for every batch size, the other library with both of its attentions."""
    sizes = Sizes()
    tokenizer = words_tokenizer(sizes.vocabulary)
    ours, theirs = pair(sizes, tokenizer)
    _, eager = pair(sizes, tokenizer, attention="eager")
    set_attention(ours, implementation)
    figures: dict[str, dict[str, float]] = {}
    for batch_size in batch_sizes:
        pixels = torch.randn(batch_size, 3, sizes.pixels, sizes.pixels, generator=torch.Generator().manual_seed(2))
        batch, config = picture_batch(pixels), GenerateConfig(max_tokens=sizes.tokens)
        turns = repeats if batch_size > 1 else 3 * repeats
        taken = medians(
            {
                "plait": lambda batch=batch, config=config: generate(ours, tokenizer, batch, config),
                "default": lambda pixels=pixels: their_tokens(theirs, pixels, sizes.tokens),
                "eager": lambda pixels=pixels: their_tokens(eager, pixels, sizes.tokens),
            },
            turns,
        )
        said, reference = decode_both(ours, theirs, tokenizer, pixels, sizes.tokens)
        num = batch_size * sizes.tokens
        figures[f"batch {batch_size}"] = {
            "plait_tokens_per_second": num / taken["plait"],
            "generate_tokens_per_second": num / taken["default"],
            "generate_eager_tokens_per_second": num / taken["eager"],
            "ratio_to_generate": min(taken["default"], taken["eager"]) / taken["plait"],
            "ratio_to_default_generate": taken["default"] / taken["plait"],
            "same_tokens": float(said == reference),
            "distinct_tokens": len({token for row in said for token in row}),
        }
    return figures
