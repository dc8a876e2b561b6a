"""What a comparison found: plain data that a table, a report and a program can be made from.

In: the verdict, the arms with their scores and prices, and what was equal between them.
Out: `result.json` beside the runs, and the same object read back.
Invariant: nothing in it has to be computed again to be shown; everything that is unknown is None, never 0 and never NaN.
Paths of runs are relative to the comparison's folder, so that it may be moved.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from plait.errors import UserError
from plait.run import replacing, write_json
from plait.writing import read_json

FORMAT = 1
RESULT = "result.json"

Role = Literal["candidate", "unimodal", "text only", "all but one", "no input", "constant"]
"""Why an arm is there: one of those asked for, or one of the baselines that are added: one input (or inputs that come and go
together) alone, the text alone, all inputs but one, no input at all, the best constant answer."""


@dataclass(frozen=True)
class Metric:
    """What is compared: a metric of a segment on a split of `num_samples` samples; `num_groups` by grouping.

    `percent`: values are shares (0.965 is shown as 96.5 %); otherwise they are in the metric's own unit, such as bits.
    """

    segment: str
    name: str
    higher_is_better: bool
    percent: bool
    split: str
    num_samples: int
    num_groups: Mapping[str, int]
    confidence: float


@dataclass(frozen=True)
class Decision:
    """The verdict by rule. `take`: the arm to take; `level`: those not measurably worse than the best, the best first.

    `detectable`: the smallest lead that 4 of 5 such comparisons would have seen, None where nothing varied. `further`: what belongs
    beside the sentence. `seeds_needed`, `samples_needed`: what would part the first two arms, None where no number would or none
    can be said. `worth`: the smallest lead that matters, in the metric's units; where it could not have been seen, `worth_seeds` on
    `worth_samples` would have shown it, None where no numbers within reach would. Results of before have none of the three.
    """

    kind: Literal["winner", "level", "modalities do not help", "too little to tell"]
    sentence: str
    take: str
    level: tuple[str, ...]
    detectable: float | None
    seeds_needed: int | None = None
    samples_needed: int | None = None
    further: tuple[str, ...] = ()
    worth: float | None = None
    worth_seeds: int | None = None
    worth_samples: int | None = None


@dataclass(frozen=True)
class Price:
    """What an arm costs; None where it is not known.

    `parameters` of the whole model, `fusion_parameters` of its fusion; `flops` of one sample's forward pass (matrix products and
    convolutions; a multiplication and an addition are two). `train_seconds`: one training, its steps at the measured
    `step_seconds`; `step_spread`: by what part of that a step differs from turn to turn. `peak_bytes`: the most memory that the
    training process held. Latencies are milliseconds of generating one answer alone (batch 1), `throughput` samples per second of
    generating 32 at a time.
    """

    parameters: int | None = None
    fusion_parameters: int | None = None
    flops: float | None = None
    step_seconds: float | None = None
    train_seconds: float | None = None
    peak_bytes: int | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    throughput: float | None = None
    step_spread: float | None = None


@dataclass(frozen=True)
class Against:
    """An arm beside the best one: its score − the best one's, with the simultaneous interval; `p` is adjusted for all pairs."""

    value: float
    low: float
    high: float
    p: float
    worse: bool


@dataclass(frozen=True)
class Point:
    """The held-out loss in bits per token after a step."""

    step: int
    bits: float


@dataclass(frozen=True)
class SeedResult:
    """One training of an arm. `folder`: the run, relative to the comparison's folder; None for the constant answer."""

    seed: int
    score: float | None
    folder: str | None = None
    tune_bits: float | None = None
    curve: tuple[Point, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class Credit:
    """What `plait explain` says of one input (or player) of an arm for the segment compared: bits per token, and whether it is
    measurably used. `of`: its modality, None where it is called so, or is of several.
    """

    modality: str
    bits: float | None
    low: float | None
    high: float | None
    used: bool | None
    note: str = ""
    of: str | None = None


@dataclass(frozen=True)
class ArmResult:
    """One arm. `overrides` is what makes it another one than the configuration; `reason` is why it failed or was dropped.

    `against`: None for the best arm and for arms that were not compared. `others`: further metrics, `SEGMENT.METRIC` → the
    mean over seeds.
    """

    name: str
    role: Role
    overrides: tuple[str, ...]
    status: Literal["done", "failed", "dropped"]
    reason: str = ""
    score: float | None = None
    against: Against | None = None
    seeds: tuple[SeedResult, ...] = ()
    others: Mapping[str, float] = field(default_factory=dict)
    price: Price = Price()
    credits: tuple[Credit, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def standing(self) -> str:
        """The status in words: a constant answer that the metric knows no score of has not failed."""
        return "not scored" if self.role == "constant" and self.status == "failed" else self.status


@dataclass(frozen=True)
class Term:
    """Something that has to be equal for a fair comparison: whether it was, and what it was."""

    name: str
    equal: bool
    detail: str


@dataclass(frozen=True)
class ExampleInput:
    """One item of an example's input: the path of a file (absolute), or what it says."""

    name: str
    modality: str
    file: str = ""
    text: str = ""


@dataclass(frozen=True)
class Example:
    """A sample on which the arms disagree: its inputs (paths absolute), what was right, and each arm's answer at one seed."""

    id: str
    text: str | None
    images: tuple[str, ...]
    audio: str | None
    references: tuple[str, ...]
    answers: Mapping[str, str]
    right: Mapping[str, float | None]
    disagreement: float
    inputs: tuple[ExampleInput, ...] = ()


@dataclass(frozen=True)
class ComparisonResult:
    """Everything that a comparison found. `arms`: the best first, then by score, then those without one.

    `seconds`: of all trainings with their evaluations, one after another. `frontier`: price's name → the arms that no other arm
    beats in both score and that price. `command`: repeats it. `saved`: what a race saved, in words. `files`: the files of scores
    that were compared, where the models were not trained here; then there is no configuration, price, credit or example.
    """

    metric: Metric
    decision: Decision
    arms: tuple[ArmResult, ...]
    seeds: tuple[int, ...]
    terms: tuple[Term, ...]
    frontier: Mapping[str, tuple[str, ...]]
    examples: tuple[Example, ...]
    command: str
    environment: Mapping[str, Any]
    config: Mapping[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    saved: str = ""
    files: tuple[str, ...] = ()

    def arm(self, name: str) -> ArmResult:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ComparisonResult:
        """The result of `to_json`."""
        return _made(cls, {key: value for key, value in data.items() if key != "format"})

    def write(self, folder: Path) -> Path:
        """`result.json` in the comparison's folder."""
        with replacing(folder / RESULT) as part:
            write_json(part, self.to_json())
        return folder / RESULT


def read_result(folder: Path) -> ComparisonResult:
    """The result of the comparison in a folder."""
    path = folder / RESULT
    if not path.is_file():
        raise UserError(f"{folder} holds no finished comparison", right="Give the folder that plait compare wrote")
    again = "Run plait compare again: nothing that is trained is trained again"
    data = read_json(path, right=again)
    if data.get("format") != FORMAT:
        raise UserError(
            f"is a comparison of format {data.get('format')}, this version reads {FORMAT}",
            where=str(path),
            right=again,
        )
    try:
        return ComparisonResult.from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"damaged: {error!r}", where=str(path), right=again) from error


def _made(kind: Any, value: Any) -> Any:
    """A value of JSON as the annotated type: dataclasses, tuples and mappings of them, optional ones."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{name: _made(hints[name], inner) for name, inner in value.items()})
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return None if value is None else _made(inner, value)
    if origin is tuple:
        return tuple(_made(arguments[0], inner) for inner in value)
    if origin is not None and isinstance(value, dict):
        return {key: _made(arguments[1], inner) for key, inner in value.items()}
    return value
