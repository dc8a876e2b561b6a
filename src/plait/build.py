"""From a configuration to a model with its first weights.

In: a `RunConfig`, the tokenizer, the modalities that the run reads, and the texts that word vectors are trained on.
Out: a `Model`, and the share of the vocabulary that given word vectors cover.
Invariant: the same configuration, tokenizer and seed give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from plait.choices import own_width
from plait.config import RunConfig
from plait.data.text import Tokenizer
from plait.embeddings import ScratchConfig, embedding_of, vectors_for
from plait.embeddings.vectors import VectorSource
from plait.errors import UserError, did_you_mean
from plait.fusion import FUSIONS, Around, build_fusion, passes_words
from plait.fusion.cost import Cost, cost
from plait.lm import CausalLM
from plait.losses import Beside, Given
from plait.modalities.base import Parts
from plait.modalities.encoder import Encoder
from plait.modalities.text.words import OWN_WORDS, Words, WordsConfig
from plait.model import Model
from plait.parts import freeze_parts
from plait.seeds import derive_seed
from plait.types import FIRST_READ, in_order

Corpus = Callable[[], Sequence[Sequence[str]]]


@dataclass(frozen=True)
class Built:
    """A model, and the coverage of the vocabulary by word vectors, by the place that uses them."""

    model: Model
    coverage: dict[str, float] = field(default_factory=dict)


def build_model(
    config: RunConfig,
    tokenizer: Tokenizer,
    inputs: Iterable[str],
    corpus: Corpus = tuple,
    *,
    read_weights: bool = True,
) -> Built:
    """The model of `config`. `corpus` gives tokenised texts and is asked only where word vectors are trained.

    `read_weights=False`: published weights are not read, because the run's own follow.
    """
    coverage: dict[str, float] = {}

    def vectors(embedding: ScratchConfig | VectorSource, place: str, width: int) -> Tensor | None:
        if isinstance(embedding, ScratchConfig):
            return None
        with torch.device("cpu"):  # they have values, even where the model itself is only counted
            seed = derive_seed(config.seed, place)
            result = vectors_for(embedding, tokenizer.vocabulary, corpus(), width, seed)
        coverage[place] = float(result.covered.float().mean())
        return result.vectors

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        encoders = build_encoders(config, tuple(inputs), tokenizer, vectors, read_weights=read_weights)
        lm_width = own_width(config.lm, config.width)
        lm = config.lm.build(
            width=lm_width,
            vocabulary_size=tokenizer.size,
            pad_id=tokenizer.pad_id,
            vectors=vectors(embedding_of(config.lm), "lm.embedding", lm_width),
        )
        for encoder in encoders.values():
            if isinstance(encoder, Words):
                encoder.read_with(lm.embed, lm.embed_width, as_prompt=passes_words(config.fusion))
        fusion = build_fusion(config.fusion, around(lm, encoders)) if encoders else None
        beside = build_beside(config, tokenizer, encoders, lm.embed_width)
        # the losses are last: without them all other parts begin with the same weights
        weights = segment_weights(config, tokenizer)
        model = Model(
            encoders=encoders,
            fusion=fusion,
            lm=lm,
            beside=beside,
            segment_weights=weights,
            frozen=frozen(config, encoders),
        )
        freeze_parts(model, config.train.parts)
        return Built(model, coverage)


def around(lm: CausalLM, encoders: Mapping[str, Encoder]) -> Around:
    """What a fusion stands between."""
    return Around(
        width=lm.width,
        embed_width=lm.embed_width,
        feature_widths={name: encoder.width for name, encoder in encoders.items()},
        num_blocks=lm.num_blocks,
        as_words=tuple(name for name, encoder in encoders.items() if isinstance(encoder, Words)),
        linear_head=lm.linear_head,
    )


def frozen(config: RunConfig, encoders: Mapping[str, Encoder]) -> tuple[str, ...]:
    """The inputs whose encoders do not train, if the run reads them."""
    for name in config.encoders.freeze:
        if name not in encoders:
            right = f"It reads {', '.join(encoders) or 'no inputs'}"
            raise UserError(f"the run reads no {name}", where="encoders.freeze", right=right)
        if isinstance(encoders[name], Words):
            raise UserError(
                f"the encoder of {name} has no weights to freeze: {OWN_WORDS}",
                where="encoders.freeze",
                right=f"Leave {name} out; lm.embedding.frozen=true keeps word vectors that were given",
            )
    return config.frozen_inputs


def segment_weights(config: RunConfig, tokenizer: Tokenizer) -> tuple[float, ...]:
    """What a token of each segment counts in training, in the tokenizer's order; empty where all count alike."""
    asked = config.train.segment_weights
    for name in asked:
        if name not in tokenizer.segments:
            right = did_you_mean(name, tokenizer.segments)
            raise UserError(f"no segment {name!r}", where="train.segment_weights", right=right)
    return tuple(asked.get(name, 1.0) for name in tokenizer.segments) if asked else ()


def build_beside(
    config: RunConfig, tokenizer: Tokenizer, encoders: Mapping[str, Encoder], embed_width: int
) -> dict[str, Beside]:
    """The losses that the run asks for beside the language model's, by the names of their parts."""
    modalities = {name: config.inputs.get(name, name) for name in encoders}
    widths = {name: encoder.width for name, encoder in encoders.items()}
    given = Given(
        modalities=modalities, widths=widths, tokenizer=tokenizer, width=config.width, embed_width=embed_width
    )
    built = {options.kept_as: options.beside(given) for options in config.losses}
    return {name: loss for name, loss in built.items() if loss is not None}


def build_encoders(
    config: RunConfig,
    inputs: Sequence[str],
    tokenizer: Tokenizer,
    vectors: Callable[[ScratchConfig | VectorSource, str, int], Tensor | None],
    *,
    read_weights: bool,
) -> dict[str, Encoder]:
    """The encoder of each input; inputs that are like each other have one and the same.

    Where inputs have names of their own, each encoder's first weights follow from its name, whatever else the run reads.
    """
    own_seeds = isinstance(config.data.inputs, Mapping)
    of_owner: dict[str, Encoder] = {}
    for name in inputs if own_seeds else in_order(inputs):
        owner = config.owner_of(name)
        if owner not in of_owner:
            if own_seeds:
                torch.manual_seed(derive_seed(config.seed, "weights", "encoders", owner))
            of_owner[owner] = build_encoder(config, name, tokenizer, vectors, read_weights=read_weights)
    for names in config.shared_encoders.values():
        refuse_unlike(config, names)
    if own_seeds:
        torch.manual_seed(derive_seed(config.seed, "weights"))
    return {name: of_owner[config.owner_of(name)] for name in (inputs if own_seeds else in_order(inputs))}


def refuse_unlike(config: RunConfig, names: Sequence[str]) -> None:
    """One message where inputs that share an encoder give it steps of different widths."""
    widths: dict[str, tuple[int, ...]] = {}
    for name in names:
        preparer = config.data.modality_of(name).preparer(config.data.options_of(name), lambda _: (), 0)
        if preparer.cost:  # values of one shape, such as pictures, are scaled to what an encoder reads
            widths[name] = preparer.shape(1)[1:]
    if len({*widths.values()}) > 1:
        has = ", ".join(f"{name} {' × '.join(map(str, width))}" for name, width in widths.items())
        right = "Give each an encoder of its own, or prepare them alike."
        raise UserError(
            f"inputs that share an encoder have other numbers at each step: {has}", where="encoders", right=right
        )


def build_encoder(
    config: RunConfig,
    name: str,
    tokenizer: Tokenizer,
    vectors: Callable[[ScratchConfig | VectorSource, str, int], Tensor | None],
    *,
    read_weights: bool,
) -> Encoder:
    """The encoder of one input."""
    part, place = config.encoder_of(name), f"encoders.{config.owner_of(name)}"
    width = own_width(part, config.width)

    def own_vectors(embedding: ScratchConfig | VectorSource | None) -> Tensor | None:
        return None if embedding is None else vectors(embedding, f"{place}.embedding", width)

    parts = Parts(
        options=config.data.options_of(name),
        vocabulary_size=tokenizer.size,
        pad_id=tokenizer.pad_id,
        vectors=own_vectors,
        read_weights=read_weights,
    )
    return config.data.modality_of(name).build_encoder(part, width, parts)


class FusionRow(NamedTuple):
    """One kind of fusion for a configuration; `cost` is None where it is refused, for the reason in `refusal`."""

    kind: str
    formula: str
    advice: str
    cost: Cost | None
    refusal: str = ""


class FusionCosts(NamedTuple):
    """Every kind, and what the costs are for: the tokens of each input, and the widths around the fusion."""

    num_tokens: dict[str, int]
    rows: list[FusionRow]
    around: Around


def fusion_costs(config: RunConfig, *, num_positions: int, num_words: int, seconds: float) -> FusionCosts:
    """What every fusion would cost in this configuration: the chosen kind with its options, the others with their defaults."""
    inputs = config.inputs or FIRST_READ
    num_tokens = {name: tokens_of(config, name, num_words=num_words, seconds=seconds) for name in inputs}
    between = around_of(config, inputs)
    rows = []
    for member in FUSIONS:
        chosen = config.fusion if type(config.fusion) is member else member()
        found, refusal = None, ""
        try:
            found = cost(chosen, **between._asdict(), num_tokens=num_tokens, num_positions=num_positions)
        except UserError as error:
            refusal = str(error)
        rows.append(
            FusionRow(str(getattr(chosen, "kind", member.__name__)), member.formula, member.advice, found, refusal)
        )
    return FusionCosts(num_tokens, rows, between)


def around_of(config: RunConfig, inputs: Iterable[str]) -> Around:
    """What a fusion would stand between, without a tokenizer: a vocabulary of one word, on no device."""
    with torch.device("meta"):
        lm = config.lm.build(width=own_width(config.lm, config.width), vocabulary_size=1, pad_id=0)
    parts = {name: config.encoder_of(name) for name in inputs}
    as_words = tuple(name for name, part in parts.items() if isinstance(part, WordsConfig))
    widths = {n: lm.embed_width if n in as_words else own_width(part, config.width) for n, part in parts.items()}
    return Around(lm.width, lm.embed_width, widths, lm.num_blocks, as_words, lm.linear_head)


def tokens_of(config: RunConfig, name: str, *, num_words: int, seconds: float) -> int:
    """Tokens of one item of an input: so many words, so many seconds, one picture."""
    modality, options = config.data.modality_of(name), config.data.options_of(name)
    length = modality.typical(options, seconds=seconds, words=num_words)
    size = modality.preparer(options, lambda _: (), 0).size(length)
    parts = Parts(options, vocabulary_size=1, pad_id=0, vectors=lambda _: None, read_weights=False)
    with torch.device("meta"):
        part = config.encoder_of(name)
        return modality.build_encoder(part, own_width(part, config.width), parts).num_tokens(*size)
