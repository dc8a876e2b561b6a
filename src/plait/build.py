"""From a configuration to a model with its first weights.

In: a `RunConfig`, the tokenizer, the modalities that the run reads, and the texts that word vectors are trained on.
Out: a `Model`, and the share of the vocabulary that given word vectors cover.
Invariant: the same configuration, tokenizer and seed give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from plait.config import RunConfig
from plait.ctc import CTC
from plait.modalities.audio.prepare import SAMPLE_RATE, num_frames
from plait.data.text import Tokenizer
from plait.embeddings import ScratchConfig, vectors_for
from plait.embeddings.vectors import VectorSource
from plait.encoders import Encoder
from plait.errors import UserError, did_you_mean
from plait.fusion import FUSIONS
from plait.fusion.cost import Cost, cost
from plait.links import Links
from plait.model import Model
from plait.seeds import derive_seed
from plait.types import in_order

Corpus = Callable[[], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Built:
    """A model, and the coverage of the vocabulary by word vectors, by the place that uses them."""

    model: Model
    coverage: dict[str, float] = field(default_factory=dict)


def build_model(
    config: RunConfig,
    tokenizer: Tokenizer,
    modalities: Sequence[str],
    corpus: Corpus = tuple,
    *,
    read_weights: bool = True,
) -> Built:
    """The model of `config`. `corpus` gives tokenised texts and is asked only where word vectors are trained.

    `read_weights=False`: published weights are not read, because the run's own follow.
    """
    coverage: dict[str, float] = {}

    def vectors(embedding: ScratchConfig | VectorSource, place: str) -> Tensor | None:
        if isinstance(embedding, ScratchConfig):
            return None
        with torch.device("cpu"):  # they have values, even where the model itself is only counted
            seed = derive_seed(config.seed, place)
            result = vectors_for(embedding, tokenizer.vocabulary, corpus(), config.width, seed)
        coverage[place] = float(result.covered.float().mean())
        return result.vectors

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        encoders = {
            m: build_encoder(config, m, tokenizer, vectors, read_weights=read_weights) for m in in_order(modalities)
        }
        lm = config.lm.build(
            width=config.width,
            vocabulary_size=tokenizer.size,
            pad_id=tokenizer.pad_id,
            vectors=vectors(config.lm.embedding, "lm.embedding"),
        )
        fusion = None
        if encoders:
            widths = {m: encoder.width for m, encoder in encoders.items()}
            fusion = config.fusion.build(width=config.width, feature_widths=widths, num_blocks=lm.num_blocks)
        ctc = build_ctc(config, tokenizer, encoders)
        links = build_links(config, tokenizer, encoders)  # last: without it all other parts begin with the same weights
        weights = segment_weights(config, tokenizer)
        model = Model(
            encoders=encoders,
            fusion=fusion,
            lm=lm,
            ctc=ctc,
            links=links,
            segment_weights=weights,
            frozen=frozen(config, encoders),
        )
        return Built(model, coverage)


def frozen(config: RunConfig, encoders: Mapping[str, Encoder]) -> tuple[str, ...]:
    """The modalities whose encoders do not train, if the run reads them."""
    for modality in config.encoders.freeze:
        if modality not in encoders:
            right = f"It reads {', '.join(encoders) or 'no inputs'}"
            raise UserError(f"the run reads no {modality}", where="encoders.freeze", right=right)
    return config.encoders.freeze


def segment_weights(config: RunConfig, tokenizer: Tokenizer) -> tuple[float, ...]:
    """What a token of each segment counts in training, in the tokenizer's order; empty where all count alike."""
    asked = config.train.segment_weights
    for name in asked:
        if name not in tokenizer.segments:
            right = did_you_mean(name, tokenizer.segments)
            raise UserError(f"no segment {name!r}", where="train.segment_weights", right=right)
    return tuple(asked.get(name, 1.0) for name in tokenizer.segments) if asked else ()


def build_ctc(config: RunConfig, tokenizer: Tokenizer, encoders: Mapping[str, Encoder]) -> CTC | None:
    """The CTC loss, where the run asks for it."""
    asked = config.train.ctc
    if asked is None:
        return None
    if asked.segment not in tokenizer.segments:
        right = did_you_mean(asked.segment, tokenizer.segments)
        raise UserError(f"no segment {asked.segment!r}", where="train.ctc.segment", right=right)
    if "audio" not in encoders:
        raise UserError(
            "there is no audio for the CTC loss", where="train.ctc", right="Leave it out, or add audio to data.inputs"
        )
    return CTC(
        encoders["audio"].width,
        vocabulary_size=tokenizer.size,
        segment=tokenizer.segments.index(asked.segment),
        pad_id=tokenizer.pad_id,
        end_id=tokenizer.end_id,
        weight=asked.weight,
    )


def build_links(config: RunConfig, tokenizer: Tokenizer, encoders: Mapping[str, Encoder]) -> Links | None:
    """The links between modalities and target, where the run asks for them."""
    asked = config.train.alignment
    if asked is None:
        return None
    if asked.segment is not None and asked.segment not in tokenizer.segments:
        right = did_you_mean(asked.segment, tokenizer.segments)
        raise UserError(f"no segment {asked.segment!r}", where="train.alignment.segment", right=right)
    if not encoders:
        right = "Leave it out, or add an input to data.inputs"
        raise UserError("there is no input to link with the target", where="train.alignment", right=right)
    return Links(
        {m: encoder.width for m, encoder in encoders.items()},
        width=config.width,
        segment=None if asked.segment is None else tokenizer.segments.index(asked.segment),
        end_id=tokenizer.end_id,
        weight=asked.weight,
        temperature=asked.temperature,
    )


def build_encoder(
    config: RunConfig,
    modality: str,
    tokenizer: Tokenizer,
    vectors: Callable[[ScratchConfig | VectorSource, str], Tensor | None],
    *,
    read_weights: bool,
) -> Encoder:
    """The encoder of one modality."""
    encoders = config.encoders
    match modality:
        case "text":
            return encoders.text.build(
                config.width,
                vocabulary_size=tokenizer.size,
                pad_id=tokenizer.pad_id,
                vectors=vectors(encoders.text.embedding, "encoders.text.embedding"),
            )
        case "image":
            return encoders.image.build(config.width, read_weights=read_weights)
        case "audio":
            return encoders.audio.build(config.width, num_mels=config.data.audio.num_mels)
        case _:
            raise NotImplementedError("video is refused when the manifest is read")


class FusionRow(NamedTuple):
    """One kind of fusion for a configuration; `cost` is None where it is refused, for the reason in `refusal`."""

    kind: str
    formula: str
    advice: str
    cost: Cost | None
    refusal: str = ""


class FusionCosts(NamedTuple):
    """Every kind, and the tokens of each modality that the costs are for."""

    num_tokens: dict[str, int]
    rows: list[FusionRow]


def fusion_costs(config: RunConfig, *, num_positions: int, num_words: int, seconds: float) -> FusionCosts:
    """What every fusion would cost in this configuration: the chosen kind with its options, the others with their defaults."""
    modalities = config.data.inputs or ("text", "image", "audio")
    num_tokens = {m: tokens_of(config, m, num_words=num_words, seconds=seconds) for m in in_order(modalities)}
    rows = []
    for member in FUSIONS:
        chosen = config.fusion if type(config.fusion) is member else member()
        found, refusal = None, ""
        try:
            found = cost(
                chosen,
                width=config.width,
                feature_widths=dict.fromkeys(num_tokens, config.width),
                num_blocks=config.lm.layers,
                num_tokens=num_tokens,
                num_positions=num_positions,
            )
        except UserError as error:
            refusal = str(error)
        rows.append(
            FusionRow(str(getattr(chosen, "kind", member.__name__)), member.formula, member.advice, found, refusal)
        )
    return FusionCosts(num_tokens, rows)


def tokens_of(config: RunConfig, modality: str, *, num_words: int, seconds: float) -> int:
    """Tokens of one input: so many words, so many seconds, one picture."""
    if modality == "text":
        return num_words
    if modality == "image":
        size = config.data.image.size
        return config.encoders.image.build(config.width, read_weights=False).num_tokens(size, size)
    frames = num_frames(round(seconds * SAMPLE_RATE))
    return config.encoders.audio.build(config.width, num_mels=config.data.audio.num_mels).num_tokens(frames)
