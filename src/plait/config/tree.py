"""The whole run in one typed tree.

In: plain data, as a YAML file holds it.
Out: a frozen `RunConfig`.
Invariant: every part is chosen by `kind` from a closed union, or named `my_module:MyConfig`; unknown keys are refused.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from plait.choices import Config, validated
from plait.config.evaluate import EvaluateConfig
from plait.config.explain import ExplainConfig
from plait.config.generate import GenerateConfig
from plait.config.parts import is_frozen, refuse_trained
from plait.config.train import TrainConfig
from plait.data.config import DataConfig
from plait.data.inputs import as_mapping
from plait.errors import did_you_mean
from plait.fusion import ConcatConfig, FusionConfig
from plait.lm import LMConfig, TransformerConfig
from plait.losses import BalanceConfig, LossOptions
from plait.losses.none import NoneConfig
from plait.modalities import MODALITIES, modality_of
from plait.modalities.audio import AudioEncoderConfig, AudioTransformerConfig
from plait.modalities.image import ConvNetConfig, ImageEncoderConfig
from plait.modalities.text import TextEncoderConfig, TextTransformerConfig
from plait.types import FIRST_READ


class Like(Config):
    """The encoder of another input, weights and all: `encoders.after: {like: before}`."""

    like: str


class EncodersConfig(Config):
    """One encoder per input, under the input's name; those of inputs that the run does not read are not built.

    Under a modality's name stands the encoder of the inputs of which nothing else is said. `NAME: {like: OTHER}`: the input has
    the encoder of another, with the same weights. `start_from`: the folders of runs whose encoders these begin with, by input.
    `freeze`: the inputs whose encoders stay as they begin; the rest of the model learns to read them. `cache`: the frozen ones
    whose features are computed once for each file or text and kept on the disk for this and all later runs (`plait cache`); not
    with random changes of that input.
    """

    model_config = ConfigDict(extra="allow")

    text: TextEncoderConfig = TextTransformerConfig()
    image: ImageEncoderConfig = ConvNetConfig()
    audio: AudioEncoderConfig = AudioTransformerConfig()
    start_from: dict[str, str] = Field(default_factory=dict)
    freeze: tuple[str, ...] = ()
    cache: tuple[str, ...] = ()

    @classmethod
    def known_keys(cls) -> Container[str]:
        """Any: whether a key is an input is known where the inputs are."""
        return Anything()

    @model_validator(mode="after")
    def _typed(self) -> EncodersConfig:
        for name, one in (self.__pydantic_extra__ or {}).items():
            if not isinstance(one, Config):
                raise ValueError(f"unknown key {name!r}. {did_you_mean(name, [*type(self).model_fields, *MODALITIES])}")
        return self

    @property
    def named(self) -> dict[str, Config]:
        """What is said of inputs and modalities beside the first ones, under their names."""
        return {name: one for name, one in (self.__pydantic_extra__ or {}).items() if isinstance(one, Config)}

    def of_modality(self, name: str) -> Config:
        """The encoder of a modality's inputs where nothing is said of one of them."""
        if name in type(self).model_fields:
            return getattr(self, name)
        return self.named.get(name) or modality_of(name).default_encoder()


class Anything:
    """Holds every key."""

    def __contains__(self, key: object) -> bool:
        return True


class RunConfig(Config):
    """A run: its data, its model, how it is trained, evaluated and asked."""

    data: DataConfig
    width: int = Field(
        default=128, ge=8, le=65_536, description="width of the language model and of what the encoders give"
    )
    encoders: EncodersConfig = EncodersConfig()
    fusion: FusionConfig = ConcatConfig()
    lm: LMConfig = TransformerConfig()
    train: TrainConfig = TrainConfig()
    balance: BalanceConfig = NoneConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    explain: ExplainConfig = ExplainConfig()
    generate: GenerateConfig = GenerateConfig()
    seed: int = Field(default=0, description="of every random draw")

    @model_validator(mode="before")
    @classmethod
    def _typed_encoders(cls, data: Any) -> Any:
        """What is said of each input's encoder, typed by the input's modality."""
        if not isinstance(data, dict) or not isinstance(data.get("encoders"), Mapping):
            return data
        of = data.get("data")
        inputs = as_mapping(
            of.inputs if isinstance(of, DataConfig) else of.get("inputs") if isinstance(of, dict) else None
        )
        return {**data, "encoders": typed_encoders(dict(data["encoders"]), inputs)}

    @model_validator(mode="after")
    def _inputs_are_known(self) -> RunConfig:
        inputs, encoders = self.inputs, self.encoders
        for name in inputs:
            self.owner_of(name)
        said = {f"encoders.{key}": getattr(encoders, key) for key in ("freeze", "cache", "start_from")}
        dropout = self.train.modality_dropout
        said |= {"train.modality_dropout": dropout if isinstance(dropout, Mapping) else ()}
        said |= {"evaluate.inputs": self.evaluate.inputs or ()}
        known = inputs if isinstance(self.data.inputs, Mapping) else {**dict.fromkeys(MODALITIES), "video": None}
        for key, names in said.items():
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: no input is called {name!r}. {did_you_mean(name, known)}")
        for owner, names in self.shared_encoders.items():
            frozen = [name for name in names if name in encoders.freeze]
            if frozen and len(frozen) < len(names):
                left = ", ".join(name for name in names if name not in frozen)
                raise ValueError(
                    f"encoders.freeze: {' and '.join(names)} share the encoder of {owner}, so it is frozen for all of them or "
                    f"for none: add {left}, or leave {', '.join(frozen)} out"
                )
        return self

    @model_validator(mode="after")
    def _said_once(self) -> RunConfig:
        self.balance.check(data=self.data, modality_dropout=self.train.modality_dropout)
        refuse_trained(self.train.parts, self.encoders.freeze)
        return self

    @property
    def frozen_inputs(self) -> tuple[str, ...]:
        """The inputs whose encoders stay as they begin, whether `encoders.freeze` or `train.parts` says so."""
        alike = {name: names for names in self.shared_encoders.values() for name in names}
        by_parts = [
            m for m in self.inputs if is_frozen(self.train.parts, *(f"encoders.{name}" for name in alike.get(m, [m])))
        ]
        return tuple(dict.fromkeys([*self.encoders.freeze, *by_parts]))

    @property
    def losses(self) -> tuple[LossOptions, ...]:
        """All that the run asks for beside the language model's loss."""
        asked = (self.train.ctc, self.train.alignment, self.balance)
        return tuple(options for options in asked if options is not None)

    def highest_dropout(self, modality: str) -> float:
        """The highest chance with which training drops this modality, once warmed up."""
        chance = self.balance.highest_dropout(modality)
        by_itself = self.train.dropout_of(modality, self.train.steps) if chance is None else chance
        return max(by_itself, self.train.subset_chance(self.train.steps) / 2)

    def never_missing(self, modalities: Iterable[str]) -> tuple[str, ...]:
        """Those of these modalities that training never leaves out: without one of them the model is asked what it never saw."""
        if self.balance.trains_alone:
            return ()
        return tuple(m for m in modalities if not self.highest_dropout(m))

    @property
    def sees_subsets(self) -> bool:
        """Whether training leaves out every input now and then, so that the model may be asked without any of them."""
        if self.data.inputs is None:  # not resolved yet
            dropped = all(self.highest_dropout(m) for m in FIRST_READ)
            return dropped or self.balance.trains_alone
        return bool(self.data.inputs) and not self.never_missing(self.data.inputs)

    @property
    def inputs(self) -> dict[str, str]:
        """Input name → the name of its modality, in the order of everything; empty as long as nothing is said."""
        return self.data.modality_of_input

    def owner_of(self, name: str) -> str:
        """The input, or the name, whose encoder an input has: itself, or whom it is `like`."""
        said, seen = self.encoders.named, [name]
        while isinstance(one := said.get(seen[-1]), Like):
            if one.like in seen:
                raise ValueError(f"encoders.{name}: {' is like '.join([*seen, one.like])}, which is a circle")
            seen.append(one.like)
        return seen[-1]

    @property
    def shared_encoders(self) -> dict[str, list[str]]:
        """Owner → the inputs that share its encoder, where they are several."""
        found: dict[str, list[str]] = {}
        for name in self.inputs:
            found.setdefault(self.owner_of(name), []).append(name)
        return {owner: names for owner, names in found.items() if len(names) > 1}

    def encoder_of(self, name: str) -> Config:
        """The configuration of an input's encoder."""
        own = self.encoders.named.get(self.owner_of(name))
        return own or self.encoders.of_modality(self.inputs.get(name, name))


def typed_encoders(said: dict[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """The part `encoders` with everything typed: under an input's name what its modality has, under a modality's its own."""
    options = set(EncodersConfig.model_fields)
    likes = {
        name: one["like"] if isinstance(one, Mapping) else one.like
        for name, one in said.items()
        if isinstance(one, Like) or (isinstance(one, Mapping) and "like" in one)
    }
    modality = {**{name: name for name in MODALITIES}, **inputs}
    for _ in likes:  # a name that is read by none has the modality of who is like it
        for name, other in likes.items():
            if name in modality:
                modality.setdefault(str(other), modality[name])
    known = [*inputs, *(n for n in MODALITIES if n not in inputs)]
    found: dict[str, Any] = {}
    for name, one in said.items():
        if name in options:
            found[name] = one
        elif one is None:
            continue
        elif name not in modality:
            raise ValueError(
                f"encoders: no input is called {name!r}. {did_you_mean(str(name), [*known, 'start_from', 'freeze', 'cache'])}"
            )
        elif name in likes:
            found[name] = validated(Like, one, ("encoders", name))
            other, mine = likes[name], modality[name]
            theirs = modality.get(other)
            if theirs is None or (other not in inputs and other not in said):
                raise ValueError(
                    f"encoders.{name}: like {other!r}, of which nothing is said. {did_you_mean(str(other), known)}"
                )
            if theirs != mine:
                raise ValueError(
                    f"encoders.{name}: like {other}, but {name} is {mine} and {other} is {theirs}: an encoder reads one modality"
                )
        else:
            found[name] = validated(modality_of(modality[name]).encoders, one, ("encoders", name))
    return found
