"""What a user may say about the data: its manifest and inputs, their preparation, how samples are drawn and weighed.

In: the `data:` part of the YAML file.
Out: one frozen `DataConfig`, holding the configurations of the steps of this folder.
Invariant: nothing here is worked out from the data; what is left None is found in the manifest by the run.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from plait.choices import Config
from plait.data.audio import AudioConfig
from plait.data.image import ImageConfig
from plait.data.splits import SplitConfig
from plait.data.suffixes import Rules
from plait.data.tables import Quoting
from plait.data.text import TokenizerConfig, WordConfig


class TextConfig(Config):
    """The text input; a longer one is cut to its first `max_tokens`, and counted."""

    max_tokens: int = Field(default=256, ge=1)


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

    `quoting`: whether quotes in TSV are part of the texts (`literal`) or hold a cell together (`csv`); `auto` decides by the file
    and says so. `max_left_out`: with `on_error: skip`, training is refused where more than this share of the rows cannot be used.
    `rules`: 1 reads manifests as runs of the first format did (in a folder HEIC, m4a … are no rows).
    """

    manifest: str
    inputs: tuple[str, ...] | None = None
    segments: tuple[str, ...] | None = None
    tokenizer: TokenizerConfig = WordConfig()  # pyright: ignore[reportInvalidTypeForm]
    text: TextConfig = TextConfig()
    max_target_tokens: int = Field(default=256, ge=1)
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
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

    @property
    def reading(self) -> dict[str, Any]:
        """How its manifest is read, as options of `read_manifest`; a limit to what is left out holds for training alone."""
        return {
            "allow_outside": self.allow_outside,
            "on_error": self.on_error,
            "quoting": self.quoting,
            "rules": self.rules,
        }
