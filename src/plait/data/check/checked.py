"""What every check reads: the samples, what their items are, how to count a text.

In: samples, `CheckConfig`, a tokenizer if there is one yet.
Out: `Checked`.
Invariant: each file is decoded once and each text counted once, however many rows and checks use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, SerializeAsAny

from plait.choices import Config
from plait.data.check.files import Broken, Key, ReadAs, Use, look_at_all, uses_of
from plait.data.check.texts import Encoder, words
from plait.data.manifest import Dataset
from plait.errors import UserError
from plait.modalities import modality_of
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.base import Facts, Preparer
from plait.modalities.image.prepare import ImageConfig
from plait.modalities.text.prepare import TextConfig
from plait.types import Sample


class CheckConfig(Config):
    """How a data set is checked; the preparation and the limits as in the run.

    `inputs`: name → modality of what the run reads, so that one that no row has is an error; `prepare`: how an input is read, by
    its name (`image`, `audio`, `max_text_tokens`: the inputs of these modalities where nothing else is said). `shared` names the
    groupings (or inputs: their files) that may stand in several splits. `on_error`, `max_left_out`: what training does with rows
    that cannot be used: those that it passes over are warnings, but for too many of them.
    """

    inputs: dict[str, str] = Field(default_factory=dict)
    prepare: dict[str, SerializeAsAny[Config]] = Field(default_factory=dict)
    image: ImageConfig = ImageConfig()
    audio: AudioConfig = AudioConfig()
    max_text_tokens: int = Field(default=256, ge=1)
    max_target_tokens: int = Field(default=256, ge=1)
    batch_size: int = Field(default=64, ge=1)
    shared: tuple[str, ...] = ()
    on_error: Literal["stop", "skip"] = "stop"
    max_left_out: float = Field(default=0.5, ge=0, le=1)
    silence: float = Field(default=1e-3, ge=0, description="A recording whose peak (of 1) is not above this is silent.")
    unseen: float = Field(default=0.05, ge=0, le=1, description="More unseen words than this share are a warning.")
    examples: int = Field(default=3, ge=0, description="Cases shown of each finding.")
    threads: int = Field(default=2, ge=1, le=64)

    @property
    def lost(self) -> Literal["error", "warning"]:
        """How bad a row is that cannot be used."""
        return "warning" if self.on_error == "skip" else "error"

    @property
    def levels(self) -> dict[str, float]:
        """Code of a remark → the level up to which it is made, where another one than the modality's is asked for."""
        return {"silent": self.silence} if "silence" in self.model_fields_set else {}

    def options_of(self, name: str, modality: str) -> Config:
        """How an input is read."""
        stated: dict[str, Config] = {"image": self.image, "audio": self.audio}
        stated |= {"text": TextConfig(max_tokens=self.max_text_tokens)}
        return self.prepare.get(name) or stated.get(modality) or modality_of(modality).Options()


@dataclass(frozen=True)
class Checked:
    """The samples; the items of each; what every item is; how each input is read."""

    samples: Sequence[Sample]
    uses: Sequence[Sequence[Use]]
    facts: Mapping[Key, Facts | Broken]
    read_as: Mapping[str, ReadAs]
    config: CheckConfig
    tokenizer: Encoder | None
    _counts: dict[str, int] = field(default_factory=dict)

    def items(self, name: str) -> Iterator[tuple[Sample, Use, Facts | Broken]]:
        """Every use of an item by this input."""
        for sample, uses in zip(self.samples, self.uses, strict=True):
            for use in uses:
                if use.name == name:
                    yield sample, use, self.facts[use.key]

    def said_of(self, name: str, what: str) -> str:
        """What is said of many items of an input; its name stands before it where that is not the modality's."""
        return what if name == self.read_as[name].modality.name else f"{name}: {what}"

    def preparer(self, name: str) -> Preparer:
        """How an input is prepared, with texts of as many ids as `count` counts."""
        one = self.read_as[name]
        return one.modality.preparer(one.options, lambda text: range(self.count(text)), 0)

    def count(self, text: str) -> int:
        """The length of a text in tokens, or in words as long as there is no tokenizer."""
        if text not in self._counts:
            self._counts[text] = len(words(text)) if self.tokenizer is None else len(self.tokenizer.encode(text))
        return self._counts[text]

    @property
    def unit(self) -> str:
        """What `count` counts."""
        return "words" if self.tokenizer is None else "tokens"

    def target_length(self, sample: Sample) -> int:
        """Positions of the longest reference: its tokens, and the end of every segment."""
        lengths = [sum(self.count(text) + 1 for text in reference.values()) for reference in sample.references]
        return max(lengths, default=0)


def readings(dataset: Dataset, config: CheckConfig) -> dict[str, ReadAs]:
    """How each input that occurs is read, and which inputs are read alike."""
    found: dict[str, ReadAs] = {}
    for name in dataset.inputs:
        of = dataset.modality_of(name)
        modality, options = modality_of(of), config.options_of(name, of)
        if any(getattr(options, key, "") is None for key in modality.left_to_data):
            with suppress(UserError):  # nothing can be read: each item says so
                options = modality.fitted(options, [i for s in dataset.split("train") for i in s.items(name)])
        alike = (other.first for other in found.values() if other.modality is modality and other.options == options)
        found[name] = ReadAs(modality, options, next(alike, name))
    return found


def look_at(
    dataset: Dataset,
    config: CheckConfig,
    tokenizer: Encoder | None,
    progress: Callable[[int, int], None] | None,
) -> Checked:
    """Look at the items of the samples; `progress` is called with the files decoded so far and in all."""
    read_as = readings(dataset, config)
    uses = [uses_of(sample, read_as) for sample in dataset.samples]
    wanted = [use for of_sample in uses for use in of_sample]
    facts = look_at_all(wanted, read_as, threads=config.threads, progress=progress)
    return Checked(dataset.samples, uses, facts, read_as, config, tokenizer)
