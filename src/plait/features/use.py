"""The cache in a run: which of its encoders' features are read from it, and their extraction.

In: a run's configuration and model, a preprocessor, samples.
Out: the preprocessor reads features where all of a batch are known.
Invariant: with and without the cache a model gets the same features (1e-5 in fp32), and the same samples stand in each batch;
whatever is not in the cache is decoded and encoded as without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plait.config import RunConfig
from plait.data.preprocess import Preprocessor
from plait.errors import UserError
from plait.features.block import CacheUnwritable
from plait.features.digests import FileDigests
from plait.features.extract import extract
from plait.features.identity import encoder_id, made_with
from plait.features.known import StoredFeatures
from plait.features.place import cache_folder
from plait.features.store import IDENTITY, FeatureStore
from plait.modalities.text.words import OWN_WORDS, WordsConfig
from plait.model import Model
from plait.types import Sample


def can_cache(config: RunConfig, modality: str) -> str:
    """Why the features of this modality cannot be computed once for all steps; empty where they can."""
    inputs = config.data.inputs
    if modality == "video":
        return "video is not read yet"
    if inputs is not None and modality not in inputs:
        return f"the run reads no {modality}"
    if isinstance(config.encoder_of(modality), WordsConfig):
        return f"the encoder of {modality} computes nothing: {OWN_WORDS}"
    if modality not in config.frozen_inputs:
        return (
            f"the {modality} encoder trains, so its features change at every step (encoders.freeze keeps it as it is)"
        )
    augment = getattr(config.data.options_of(modality), "augment", None)
    if augment is not None and augment != type(augment)():
        of, many = config.data.modality_of(modality), config.data.modality_of(modality).many
        key = f"data.prepare.{modality}" if modality in config.data.prepare else f"data.{of.name}"
        return f"{key}.augment changes {many} at random, so they have no features of their own"
    if config.balance.changes(modality):
        return f"balance hides parts of every {modality} at random, so it has no features of its own"
    return ""


def check_cache(config: RunConfig) -> None:
    """One message where the configuration asks for what cannot be."""
    for modality in config.encoders.cache:
        if why := can_cache(config, modality):
            possible = [m for m in config.data.inputs if not can_cache(config, m)] if config.data.inputs else []
            right = f"encoders.cache: [{', '.join(possible)}] would do." if possible else "Leave it out."
            raise UserError(f"{modality}: {why}", where="encoders.cache", right=right)


class FeatureCache:
    """A run's cached modalities, given to a preprocessor. Without any (`encoders.cache` is empty) it does nothing.

    `say` is told what is computed.
    """

    def __init__(
        self,
        config: RunConfig,
        model: Model,
        preprocessor: Preprocessor,
        *,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        check_cache(config)
        self.config, self.model, self.preprocessor, self.say = config, model, preprocessor, say
        self.known: dict[str, StoredFeatures] = {}
        if not config.encoders.cache:
            return
        digests = FileDigests(cache_folder())
        for modality in model.inputs:
            if modality in config.encoders.cache:
                encoder = model.encoder(modality)
                store = FeatureStore(encoder_id(encoder, config, modality), about(config, model, modality), say)
                store.refresh()
                store.use()
                self.known[modality] = StoredFeatures(store, digests, encoder.width)
        preprocessor.features.update(self.known)

    def fill(self, samples: Sequence[Sample], *, told: bool = True) -> None:
        """Compute what is missing of the samples' features, or wait for another process that does; `told` even if it is nothing."""
        for modality, known in self.known.items():
            items = {item for s in samples for item in self.preprocessor.items_of(modality, s)}
            known.learn(items, self.say)
            known.check(items)
            if known.missing(items):
                with known.store.filling(self.say):
                    extract(self.model.encoder(modality), known, modality, samples, self.preprocessor, self.say)
            elif items and told:
                self.say(f"features: all {len(items):,} {self.config.data.modality_of(modality).many} are in the cache")

    def fill_if_possible(self, samples: Sequence[Sample]) -> None:
        """The same where the features only save time: a cache that cannot be written is said and done without."""
        try:
            self.fill(samples, told=False)
        except CacheUnwritable as error:
            self.say(f"going on without more of the cache: {error}")


def about(config: RunConfig, model: Model, modality: str) -> dict[str, object]:
    """What `plait cache` says of a store."""
    encoder = model.encoder(modality)
    kind, of = getattr(config.encoder_of(modality), "kind", type(encoder).__name__), config.data.modality_of(modality)
    return {
        "modality": of.name,
        "kind": str(kind),
        "width": encoder.width,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "start_from": config.encoders.start_from.get(modality, ""),
        IDENTITY: made_with(encoder, of),
    }
