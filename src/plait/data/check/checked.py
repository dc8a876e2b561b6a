"""What every check reads: the samples, what their files are, how to count a text.

In: samples, `CheckConfig`, a tokenizer if there is one yet.
Out: `Checked`.
Invariant: each file is decoded once and each text counted once, however many rows and checks use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from plait.choices import Config
from plait.data.check.files import Facts, MediaUse, media_uses, probe_all
from plait.data.check.texts import Encoder, words
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.image.prepare import ImageConfig
from plait.types import Sample


class CheckConfig(Config):
    """How a data set is checked; `image`, `audio` and the limits as in the run.

    `shared` names the groupings (or `image`, `audio`: files) that may stand in several splits. `on_error`, `max_left_out`: what
    training does with rows that cannot be used: those that it passes over are warnings, but for too many of them.
    """

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


@dataclass(frozen=True)
class Checked:
    """The samples; the files of each, with the paths under which it names them; what every file is."""

    samples: Sequence[Sample]
    uses: Sequence[Sequence[tuple[MediaUse, Path]]]
    facts: Mapping[MediaUse, Facts]
    config: CheckConfig
    tokenizer: Encoder | None
    _counts: dict[str, int] = field(default_factory=dict)

    def files(self, modality: str) -> Iterator[tuple[Sample, Path, Facts]]:
        """Every use of a file of this modality."""
        for sample, uses in zip(self.samples, self.uses, strict=True):
            for use, path in uses:
                if use.modality is modality:
                    yield sample, path, self.facts[use]

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


def look_at(
    samples: Sequence[Sample],
    config: CheckConfig,
    tokenizer: Encoder | None,
    progress: Callable[[int, int], None] | None,
) -> Checked:
    """Decode the files of the samples; `progress` is called with the files decoded so far and in all."""
    uses = [media_uses(sample) for sample in samples]
    wanted = [use for of_sample in uses for use, _ in of_sample]
    facts = probe_all(wanted, image=config.image, audio=config.audio, threads=config.threads, progress=progress)
    return Checked(samples, uses, facts, config, tokenizer)
