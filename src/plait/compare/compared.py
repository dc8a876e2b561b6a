"""What is compared: the settings of a comparison, and an arm on its way through it.

In: nothing; these are values.
Out: `Settings`, `Compared`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from plait.choices import trusted
from plait.compare.arms import Arm
from plait.config import RunConfig
from plait.trust import Trust

Match = Literal["parameters", "flops", "none"]


@dataclass(frozen=True)
class Settings:
    """How arms are compared.

    `trust_code`: import the code that runs name which were not trained here (`--from`, `encoders.start_from`).
    `jobs`: trainings at once, 0 = as many as the machine has cores. `learning_rates`: each arm tries all of them; empty = the
    configuration's own. `explained`: so many of the best arms are explained; `price_seconds`: how long prices are measured, all
    arms together. `worth`: the smallest lead that matters, in points of a score in per cent, else in the metric's unit; None: 2
    points, or 5 % of the best arm's. `power`: plan the number of seeds that shows such a lead (in points) in 80 % of such
    comparisons, in place of `seeds`, of which the first stays.
    """

    folder: Path
    seeds: tuple[int, ...]
    jobs: int = 0
    baselines: bool = True
    learning_rates: tuple[float, ...] = ()
    match: Match = "parameters"
    race: bool = False
    segment: str | None = None
    metric: str | None = None
    explained: int = 3
    price_seconds: float = 60.0
    command: str = "plait compare"
    trust_code: bool = False
    worth: float | None = None
    power: float | None = None

    def worth_in(self, *, percent: bool) -> float | None:
        """`worth` in the metric's units, where shares are 0 to 1."""
        return self.worth if self.worth is None or not percent else self.worth / 100

    def trust(self, config: RunConfig | None) -> Trust:
        """What may be imported for a run of this configuration."""
        return trusted(self.trust_code, config)


@dataclass
class Compared:
    """An arm on its way: its configuration without the seed, why it failed, each seed's run and what it took."""

    arm: Arm
    config: RunConfig | None
    reason: str = ""
    dropped: bool = False
    learning_rate: float | None = None
    notes: list[str] = field(default_factory=list)
    folders: dict[int, Path] = field(default_factory=dict)
    facts: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def at(self, seed: int, **train: Any) -> RunConfig:
        """The configuration of one training."""
        assert self.config is not None
        changed = self.config.train.model_copy(update=train)
        return self.config.model_copy(update={"seed": seed, "train": changed})

    @property
    def trains(self) -> bool:
        """Whether it is to be trained."""
        return self.config is not None and not self.reason and not self.dropped
