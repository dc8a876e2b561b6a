"""What the user may say about evaluation.

In: the `evaluate:` part of a run's YAML.
Out: a frozen `EvaluateConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field, field_validator

from plait.choices import Config
from plait.errors import did_you_mean

METRIC_NAMES = (
    "accuracy",
    "wer",
    "cer",
    "bleu",
    "chrf",
    "rouge_l",
    "cider_d",
    "bits_per_token",
    "bits_per_character",
    "perplexity",
)
"""The metrics that may be named; the last three, of the loss, are always given."""

Normalisation = Literal["visible", "folded", "verbatim"]
"""`visible`: what looks the same is the same: full and half width, case, punctuation outside words and invisible characters do
not count, and 10² is not 102. `folded`: NFKC, by which it is; invisible characters count. `verbatim`: only white space around the
text is dropped."""

DEFAULT: Normalisation = "visible"


class EvaluateConfig(Config):
    """An evaluation: the split, the metrics per segment (none named: chosen from the references), the intervals, the breakdown."""

    split: str = "test"
    metrics: dict[str, tuple[str, ...]] | None = Field(
        default=None, description="segment → metrics; none: chosen by the data"
    )
    inputs: tuple[str, ...] | None = Field(default=None, description="evaluate with these inputs only; none: with all")
    batch_size: int = Field(default=64, gt=0)
    num_resamples: int = Field(
        default=1000,
        ge=100,
        description="of version 0.1, without effect since: intervals are computed, nothing is resampled",
    )
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    by: tuple[str, ...] | None = Field(
        default=None, description="tags, or `inputs`, to give figures by; none: all tags"
    )
    normalisation: Normalisation = Field(
        default=DEFAULT, description="what outputs and references go through before they are compared"
    )
    num_constants: int = Field(
        default=10, gt=0, description="most frequent training references tried as the constant answer"
    )

    @field_validator("metrics", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if isinstance(value, Mapping):
            value = {segment: (names,) if isinstance(names, str) else names for segment, names in value.items()}
            for segment, names in value.items():
                for name in names if isinstance(names, Sequence) else ():
                    if name not in METRIC_NAMES:
                        raise ValueError(
                            f"unknown metric {name!r} of {segment}. {did_you_mean(str(name), METRIC_NAMES)}"
                        )
        return value
