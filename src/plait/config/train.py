"""What the user may say about training.

In: the `train:` part of a run's YAML.
Out: a frozen `TrainConfig`.
Invariant: it holds what the user chose and nothing derived; step counts that follow from it are computed by methods.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from plait.choices import Config
from plait.config.parts import PartConfig, by_dotted_name
from plait.losses import AlignmentConfig as AlignmentConfig
from plait.losses import CTCConfig as CTCConfig
from plait.types import FIRST_READ

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Dtype = Literal["auto", "fp32", "bf16"]
AttentionKind = Literal["auto", "fused", "math"]
MatmulPrecision = Literal["auto", "highest", "high", "medium"]

SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}
DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(s|min|h)$")


class Continued(Config):
    """How a run goes on after a resume that changed the number of steps: after which step, at which learning rate, and of how many
    steps the shares (warm-up and the like) are."""

    after: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(ge=0.0)]
    planned: Annotated[int, Field(ge=1)]


class TrainConfig(Config):
    """How a run is trained.

    `optimiser`: AdamW for all, or Muon for the matrices and AdamW for the rest. `segment_weights`: what a token of a
    segment counts in the loss (others 1): a short answer behind a long transcript is soon drowned. `warmup` and
    `modality_dropout_warmup` are a share of the steps (< 1) or a number of steps; `checkpoint_every` a number of steps, or
    a time such as `30s`, `5min`; `clip`, `patience`, `evaluate_every` null = off. The learning rate rises linearly over the
    warm-up, then falls along a cosine to `final_fraction` of its height. `auto` values are measured at the start
    (`probe.py`) and the choice is frozen into the run's configuration. `modality_dropout`: the chance that a sample loses a
    modality, each by itself; `modality_subsets`: the chance that it gets a subset of its inputs instead, all alike likely; of
    more than three inputs their number is drawn evenly, then which. `alone_every`: every so many lines of the metrics say the
    loss with each modality alone as well (a pass without gradients per modality; null = never). `parts`: a learning rate of
    its own, or `freeze`, for any part of the model by its dotted name (`lm`, `lm.embedding`, `encoders.image`, `fusion`); the
    longer name decides. `continued` is written by a resume that changes `steps`: leave it out.
    """

    steps: Annotated[int, Field(ge=1)] = 1000
    batch_size: Annotated[int, Field(ge=1)] = 64
    micro_batch_size: Annotated[int, Field(ge=1)] | None = None

    optimiser: Literal["adamw", "muon"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    parts: dict[str, PartConfig] = Field(default_factory=dict)
    warmup: Annotated[float, Field(ge=0.0)] = 0.05
    final_fraction: Share = 0.05
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    betas: tuple[Annotated[float, Field(ge=0.0, lt=1.0)], Annotated[float, Field(ge=0.0, lt=1.0)]] = (0.9, 0.98)
    clip: Annotated[float, Field(gt=0.0)] | None = 1.0
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    segment_weights: dict[str, Annotated[float, Field(gt=0.0)]] = Field(default_factory=dict)
    ctc: CTCConfig | None = None
    alignment: AlignmentConfig | None = None
    modality_dropout: Share | dict[str, Share] = 0.0
    modality_subsets: Share = 0.0
    modality_dropout_warmup: Annotated[float, Field(ge=0.0)] = 0.0

    dtype: Dtype = "auto"
    attention: AttentionKind = "auto"
    matmul: MatmulPrecision = "auto"
    device: str = "auto"
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None

    evaluate_every: Annotated[int, Field(ge=1)] | None = 100
    patience: Annotated[int, Field(ge=1)] | None = None
    checkpoint_every: Annotated[int, Field(ge=1)] | str = "60s"
    log_every: Annotated[int, Field(ge=1)] = 10
    alone_every: Annotated[int, Field(ge=1)] | None = 5
    tensorboard: bool = False
    continued: Continued | None = None

    @field_validator("warmup", "modality_dropout_warmup")
    @classmethod
    def _share_or_steps(cls, value: float) -> float:
        if not math.isfinite(value) or (value >= 1 and value != int(value)):
            raise ValueError(f"{value} is neither a share of the steps (below 1) nor a whole number of steps")
        return value

    @field_validator("parts", mode="before")
    @classmethod
    def _dotted(cls, value: object) -> object:
        return by_dotted_name(value)

    @field_validator("checkpoint_every", mode="before")
    @classmethod
    def _steps_or_time(cls, value: object) -> object:
        if isinstance(value, str):
            if value.isdigit():
                return int(value)
            if not DURATION.match(value):
                raise ValueError(f"{value!r} is neither a number of steps nor a time such as 30s, 5min or 1h")
        return value

    @model_validator(mode="after")
    def _fits(self) -> TrainConfig:
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} is larger than batch_size {self.batch_size}")
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("patience counts evaluations: it needs evaluate_every")
        return self

    @property
    def planned_steps(self) -> int:
        """The steps that shares are of: those that the run began with, so that more of them begin nothing anew."""
        return self.steps if self.continued is None else self.continued.planned

    def num_steps_of(self, share_or_steps: float) -> int:
        """`warmup`-like values as a number of steps."""
        return round(share_or_steps * self.planned_steps) if share_or_steps < 1 else int(share_or_steps)

    def checkpoint_seconds(self) -> float | None:
        """The time between two checkpoints, None where they are counted in steps."""
        if isinstance(self.checkpoint_every, int):
            return None
        match = DURATION.match(self.checkpoint_every)
        assert match is not None
        return float(match[1]) * SECONDS[match[2]]

    def dropout_of(self, modality: str, step: int) -> float:
        """The chance that a sample loses this modality in the given step (counted from 1), warm-up included."""
        value = self.modality_dropout
        return self._warmed_up(value.get(modality, 0.0) if isinstance(value, Mapping) else value, step)

    def subset_chance(self, step: int) -> float:
        """The chance that a sample gets an evenly drawn subset of its modalities in the given step, warm-up included."""
        return self._warmed_up(self.modality_subsets, step)

    def _warmed_up(self, chance: float, step: int) -> float:
        warmup = self.num_steps_of(self.modality_dropout_warmup)
        return chance * min(1.0, step / warmup) if warmup else chance

    @property
    def sees_subsets(self) -> bool:
        """Whether every modality is missing from some training samples, so that the model may be asked without it."""
        value, read = self.modality_dropout, FIRST_READ
        dropped = all(value.get(m) for m in read) if isinstance(value, Mapping) else value > 0
        return self.modality_subsets > 0 or dropped
