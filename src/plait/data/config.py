"""What a user may say about the data: its manifest and inputs, their preparation, how samples are drawn and weighed.

In: the `data:` part of the YAML file.
Out: one frozen `DataConfig`, holding the configurations of the steps of this folder.
Invariant: nothing here is worked out from the data; what is left None is found in the manifest by the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from plait.choices import Config, validated
from plait.data.inputs import as_mapping, check_names
from plait.data.splits import SplitConfig
from plait.data.suffixes import Rules
from plait.data.tables import Quoting
from plait.data.text import TokenizerConfig, WordConfig
from plait.errors import did_you_mean
from plait.modalities import MODALITIES, Modality, modality_of
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.image.prepare import ImageConfig
from plait.modalities.text.prepare import TextConfig


class GroupedConfig(Config):
    """A division of the samples: by a grouping of the manifest (`group`), by a `tag`, or by the text of a target's `segment`."""

    group: str | None = None
    tag: str | None = None
    segment: str | None = None

    @model_validator(mode="after")
    def _one_division(self) -> GroupedConfig:
        if len(self.division) != 1:
            raise ValueError(
                "name one of: a group (a grouping of the manifest), a tag, a segment (whose texts are the classes)"
            )
        return self

    @property
    def division(self) -> dict[str, str]:
        """What is named: `{"group": "speaker"}`."""
        named = {"group": self.group, "tag": self.tag, "segment": self.segment}
        return {what: name for what, name in named.items() if name is not None}


class SamplingConfig(GroupedConfig):
    """Draw training samples with replacement: a group of n samples with p ∝ n^temperature (1 = as is, 0 = alike)."""

    temperature: float = Field(default=0.5, ge=0)


class WeightsConfig(GroupedConfig):
    """Weigh training samples by inverse frequency of their group (mean 1), `values` (others 1), or both."""

    inverse_frequency: bool = False
    values: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something_said(self) -> WeightsConfig:
        if not self.inverse_frequency and not self.values:
            raise ValueError("say inverse_frequency: true, or values: {group: weight}")
        if any(not 0 <= value < float("inf") for value in self.values.values()):
            raise ValueError(f"weights must be at least 0 and finite: {self.values}")
        return self


class DataConfig(Config):
    """The data of a run. `inputs` and `segments` None = all that the manifest has; `workers` None = chosen by size.

    `inputs`: the names of modalities (`[image, audio, text]`), or a mapping from names of one's own to them
    (`{before: image, after: image, question: text}`), whose order is then the order of everything. `columns`: the field of the
    manifest that an input is read from, where it is called otherwise. `unread`: fields that rows have and this run passes over.
    `image`, `audio`, `text` and so on: how the inputs of a
    modality are prepared; `prepare.NAME` says what is different for one input.
    `quoting`: whether quotes in TSV are part of the texts (`literal`) or hold a cell together (`csv`); `auto` decides by the file
    and says so. `max_left_out`: with `on_error: skip`, training is refused where more than this share of the rows cannot be used.
    `rules`: 1 reads manifests as runs of the first format did (in a folder HEIC, m4a … are no rows).
    """

    model_config = ConfigDict(extra="allow")

    manifest: str
    inputs: tuple[str, ...] | dict[str, str] | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    unread: tuple[str, ...] = ()
    segments: tuple[str, ...] | None = None
    tokenizer: TokenizerConfig = WordConfig()  # pyright: ignore[reportInvalidTypeForm]
    text: TextConfig = TextConfig()
    max_target_tokens: int = Field(default=256, ge=1)
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    prepare: dict[str, SerializeAsAny[Config]] = Field(default_factory=dict)
    split: SplitConfig = SplitConfig()
    sampling: SamplingConfig | None = None
    weights: WeightsConfig | None = None
    allow_outside: bool = False
    on_error: Literal["stop", "skip"] = "stop"
    max_left_out: float = Field(default=0.5, ge=0, le=1)
    quoting: Quoting = "auto"
    rules: Rules = 2
    workers: int | None = Field(default=None, ge=0, le=256)
    cache_mb: int = Field(default=1024, ge=0)

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The fields, and for each modality the preparation of its inputs."""
        return (*cls.model_fields, *(name for name in MODALITIES if name not in cls.model_fields))

    @model_validator(mode="before")
    @classmethod
    def _prepared(cls, data: Any) -> Any:
        """The options of each modality and input, typed by the modality."""
        if not isinstance(data, dict):
            return data
        inputs, found = as_mapping(data.get("inputs")), dict(data)
        for name in MODALITIES:
            if name in found and name not in cls.model_fields:
                found[name] = validated(MODALITIES[name].Options, found[name] or {}, (name,))
        if isinstance(data.get("prepare"), Mapping):
            found["prepare"] = {}
            for name, own in data["prepare"].items():
                if name not in inputs:
                    raise ValueError(f"data.prepare: no input is called {name!r}. {did_you_mean(str(name), inputs)}")
                if own is not None:
                    of = modality_of(inputs[name], where="data.inputs")
                    merged = merge(stated(data.get(of.name)), stated(own))
                    found["prepare"][name] = validated(of.Options, merged, ("prepare", name))
        return found

    @field_validator("inputs")
    @classmethod
    def _named(cls, value: tuple[str, ...] | dict[str, str] | None) -> tuple[str, ...] | dict[str, str] | None:
        if value is not None:
            check_names(value)
        return value

    @model_validator(mode="after")
    def _columns_of_inputs(self) -> DataConfig:
        for name in self.columns:
            if self.inputs is not None and name not in self.inputs:
                raise ValueError(f"columns: no input is called {name!r}. {did_you_mean(name, self.inputs)}")
        return self

    def own_code(self) -> Iterator[str]:
        """Modalities of one's own."""
        yield from (of for of in self.modality_of_input.values() if ":" in of)

    @property
    def modality_of_input(self) -> dict[str, str]:
        """Input name → the name of its modality, in the run's order; empty as long as nothing is said."""
        return as_mapping(self.inputs)

    def modality_of(self, name: str) -> Modality:
        """The modality of an input."""
        return modality_of(self.modality_of_input.get(name, name))

    def options_of(self, name: str) -> Config:
        """How an input is prepared."""
        if name in self.prepare:
            return self.prepare[name]
        return self.options_of_modality(self.modality_of_input.get(name, name))

    def options_of_modality(self, name: str) -> Config:
        """How the inputs of a modality are prepared where nothing is said of one of them."""
        if name in type(self).model_fields:
            return getattr(self, name)
        extra = (self.__pydantic_extra__ or {}).get(name)
        return extra if isinstance(extra, Config) else modality_of(name).Options()

    @property
    def reading(self) -> dict[str, Any]:
        """How its manifest is read, as options of `read_manifest`; a limit to what is left out holds for training alone."""
        return {
            "allow_outside": self.allow_outside,
            "on_error": self.on_error,
            "quoting": self.quoting,
            "rules": self.rules,
            "columns": self.columns,
            "unread": self.unread,
        }


def stated(value: Any) -> Any:
    """What is said in a part of a configuration, as plain data."""
    return value.model_dump(exclude_unset=True) if isinstance(value, Config) else value or {}


def merge(general: Any, own: Any) -> Any:
    """What is said in general, with what is said of one in its place."""
    if not isinstance(general, Mapping) or not isinstance(own, Mapping):
        return own
    return {**general, **{key: merge(general.get(key), value) for key, value in own.items()}}
