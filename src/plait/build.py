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

from plait.config import RunConfig
from plait.data.text import Tokenizer
from plait.embeddings import ScratchConfig, vectors_for
from plait.embeddings.vectors import VectorSource
from plait.errors import UserError, did_you_mean
from plait.fusion import FUSIONS
from plait.fusion.cost import Cost, cost
from plait.losses import Beside, Given
from plait.modalities.base import Parts
from plait.modalities.encoder import Encoder
from plait.model import Model
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
        encoders = build_encoders(config, tuple(inputs), tokenizer, vectors, read_weights=read_weights)
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
        beside = build_beside(
            config, tokenizer, encoders
        )  # last: without it all other parts begin with the same weights
        weights = segment_weights(config, tokenizer)
        model = Model(
            encoders=encoders,
            fusion=fusion,
            lm=lm,
            beside=beside,
            segment_weights=weights,
            frozen=frozen(config, encoders),
        )
        return Built(model, coverage)


def frozen(config: RunConfig, encoders: Mapping[str, Encoder]) -> tuple[str, ...]:
    """The inputs whose encoders do not train, if the run reads them."""
    for name in config.encoders.freeze:
        if name not in encoders:
            right = f"It reads {', '.join(encoders) or 'no inputs'}"
            raise UserError(f"the run reads no {name}", where="encoders.freeze", right=right)
    return config.encoders.freeze


def segment_weights(config: RunConfig, tokenizer: Tokenizer) -> tuple[float, ...]:
    """What a token of each segment counts in training, in the tokenizer's order; empty where all count alike."""
    asked = config.train.segment_weights
    for name in asked:
        if name not in tokenizer.segments:
            right = did_you_mean(name, tokenizer.segments)
            raise UserError(f"no segment {name!r}", where="train.segment_weights", right=right)
    return tuple(asked.get(name, 1.0) for name in tokenizer.segments) if asked else ()


def build_beside(config: RunConfig, tokenizer: Tokenizer, encoders: Mapping[str, Encoder]) -> dict[str, Beside]:
    """The losses that the run asks for beside the language model's, by the names of their parts."""
    modalities = {name: config.inputs.get(name, name) for name in encoders}
    widths = {name: encoder.width for name, encoder in encoders.items()}
    given = Given(modalities=modalities, widths=widths, tokenizer=tokenizer, width=config.width)
    built = {options.kept_as: options.beside(given) for options in config.losses}
    return {name: loss for name, loss in built.items() if loss is not None}


def build_encoders(
    config: RunConfig,
    inputs: Sequence[str],
    tokenizer: Tokenizer,
    vectors: Callable[[ScratchConfig | VectorSource, str], Tensor | None],
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
    vectors: Callable[[ScratchConfig | VectorSource, str], Tensor | None],
    *,
    read_weights: bool,
) -> Encoder:
    """The encoder of one input."""
    place = f"encoders.{config.owner_of(name)}"

    def own_vectors(embedding: ScratchConfig | VectorSource | None) -> Tensor | None:
        return None if embedding is None else vectors(embedding, f"{place}.embedding")

    parts = Parts(
        options=config.data.options_of(name),
        vocabulary_size=tokenizer.size,
        pad_id=tokenizer.pad_id,
        vectors=own_vectors,
        read_weights=read_weights,
    )
    return config.data.modality_of(name).build_encoder(config.encoder_of(name), config.width, parts)


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
    inputs = config.inputs or FIRST_READ
    num_tokens = {name: tokens_of(config, name, num_words=num_words, seconds=seconds) for name in inputs}
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


def tokens_of(config: RunConfig, name: str, *, num_words: int, seconds: float) -> int:
    """Tokens of one item of an input: so many words, so many seconds, one picture."""
    modality, options = config.data.modality_of(name), config.data.options_of(name)
    length = modality.typical(options, seconds=seconds, words=num_words)
    size = modality.preparer(options, lambda _: (), 0).size(length)
    parts = Parts(options, vocabulary_size=1, pad_id=0, vectors=lambda _: None, read_weights=False)
    with torch.device("meta"):
        return modality.build_encoder(config.encoder_of(name), config.width, parts).num_tokens(*size)
