"""The product of an explanation: per segment what was lost under which inputs, what each modality brings, and what follows.

In: figures.
Out: plain data for JSON, and `RUN/explain/SPLIT[@manifest].json`.
Invariant: the file is whole or not there; what has no value is null and a note says why.

All figures are bits per target token, Σ bits / Σ tokens with the end of the segment counted, unless their name says otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from plait.evaluate.measured import mark
from plait.evaluate.statistics import Figure
from plait.explain.losses import Context
from plait.run import replacing

FORMAT = 1
FOLDER = "explain"

Status = Literal["used", "redundant", "present", "negligible", "unused", "harmful", "unknown"]


@dataclass(frozen=True)
class ModalityCredit:
    """What one modality brings to a segment, in bits per token over all samples of the split.

    `credit`: its Shapley value; the credits add up to `together`. `alone`: v({m}), with nothing else given. `marginal`: v(all) −
    v(all without m), beside all others. `where_present`: the credit over the samples that have it. `per_sample`: the credit in
    bits per sample. `own`: the control, what is lost when the modality is another sample's, on average over alone and beside all
    others, at the same temperatures: a credit that any sample's input would earn (the loss without input being too large) is none.
    """

    credit: Figure
    alone: Figure
    marginal: Figure
    where_present: Figure
    per_sample: Figure
    own: Figure


@dataclass(frozen=True)
class Interaction:
    """How two or more modalities work together, over the samples that have them all: above 0 synergy, below 0 redundancy.

    `pair`: v(ij) − v(i) − v(j) with nothing else given, for two. `index`: the Shapley interaction index, any number.
    """

    members: tuple[str, ...]
    pair: Figure | None
    index: Figure | None
    note: str | None = None


@dataclass(frozen=True)
class PositionCredit:
    """Each modality's credit at one position of the target, over the samples that have a token there.

    `position`: 1 for the segment's first token, `9+` for the ninth and all later ones together, `end`. Over the positions, credit ×
    `num_tokens` adds up to the segment's.
    """

    position: str
    num_samples: int
    num_tokens: float
    credits: Mapping[str, Figure]


@dataclass(frozen=True)
class PatternCredit:
    """Each modality's credit (or reliance, where there is no credit) among the samples of one tag's value."""

    num_samples: int
    num_tokens: float
    credits: Mapping[str, Figure]


@dataclass(frozen=True)
class Worth:
    """The smallest effect on a segment that is worth a word: `percent` of a loss, which is `bits` per token; `of`: which loss."""

    percent: float
    bits: float
    of: str


@dataclass(frozen=True)
class Verdict:
    """What was found about one modality and one segment, as a word and as a sentence.

    `smallest_detectable`: the bits per token that this many samples find in four of five trials, (t.975 + t.8) × SE. `worth`: the
    bits below which an effect is none that matters, those of the segment times the share of the samples that have the modality.
    `caveat`: what else has to be known, such as few groups; the sentence ends with it, in parentheses.
    """

    modality: str
    status: Status
    sentence: str
    smallest_detectable: float | None
    worth: float | None = None
    caveat: str | None = None

    @property
    def plain(self) -> str:
        """The sentence without the caveat."""
        return self.sentence.removesuffix(f" ({self.caveat})")


@dataclass(frozen=True)
class SegmentResult:
    """One segment in one context: `true` = the true earlier segments stand before it, `own` = those that the model wrote.

    `losses`: subset → bits per token (`no_input` for none). `constant`: the best constant answer, whatever the input.
    `together`: v(all). `reliance`: how much the loss grows when a modality's inputs are shuffled across samples.
    `positions`: the credits token by token. `by`: the credits by the samples' tags (`pattern=spoken`).
    A model trained without modality dropout has only the loss with all inputs, and reliance. `worth`: the smallest effect that
    matters, None where it is not known.
    """

    segment: str
    context: Context
    num_samples: int
    num_tokens: float
    losses: Mapping[str, Figure]
    constant: Figure | None = None
    together: Figure | None = None
    credits: Mapping[str, ModalityCredit] = field(default_factory=dict)
    interactions: tuple[Interaction, ...] = ()
    reliance: Mapping[str, Figure] = field(default_factory=dict)
    positions: tuple[PositionCredit, ...] = ()
    by: Mapping[str, PatternCredit] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    worth: Worth | None = None

    @property
    def title(self) -> str:
        """The segment, and what stands before it where that is the model's own."""
        return self.segment if self.context == "true" else f"{self.segment} (own)"


@dataclass(frozen=True)
class TrainingSign:
    """Whether a modality was left behind in training, by the rule of `explain/training.py`, as a word and as a sentence.

    `norm_first`, `norm_last`: its encoder's gradient norm as a share of the largest other one, early and late. `fall`: how far the
    loss with it alone still fell, bits per token; `alone`: that loss at the end.
    """

    modality: str
    status: Literal["under-trained", "no sign", "not judged"]
    sentence: str
    norm_first: float | None = None
    norm_last: float | None = None
    fall: float | None = None
    alone: float | None = None


@dataclass(frozen=True)
class Explanation:
    """How much each modality of a run is used on a split. `kind`: bits of credit, or reliance only.

    `temperatures`: context → subset → the temperature that was fitted on the tuning split. `training`: what the metrics of the
    training say. `manifest`: of rows that are not the run's own, where they stand. `step`: the training's step that the weights
    are of. `worth`: in percent, None of an explanation that was made before there was one. Of the `notes`, `caveats` hold for
    all verdicts, and `side_notes` are about figures that only the details show. `modalities`: the players that are told of;
    `players`: each one's inputs, `inputs`: each input's modality, both empty of an explanation that was made when every input was
    one and called as its modality. `orders`: sampled orders of the players per sample, None where credits are exact.
    """

    split: str
    kind: Literal["credit", "reliance"]
    n: int
    seed: int
    confidence: float
    modalities: tuple[str, ...]
    temperatures: Mapping[Context, Mapping[str, float]]
    segments: tuple[SegmentResult, ...]
    notes: tuple[str, ...] = ()
    training: tuple[TrainingSign, ...] = ()
    manifest: str | None = None
    step: int | None = None
    worth: float | None = None
    caveats: tuple[str, ...] = ()
    side_notes: tuple[str, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    players: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    orders: int | None = None

    def is_primary(self, segment: SegmentResult) -> bool:
        """Whether a result answers what users ask: what the model does in use, where it has only what it wrote itself before."""
        own = {one.segment for one in self.segments if one.context == "own"}
        return segment.context == "own" or segment.segment not in own

    @property
    def primary(self) -> tuple[SegmentResult, ...]:
        """The results that answer what users ask, one per segment."""
        return tuple(one for one in self.segments if self.is_primary(one))

    @property
    def details(self) -> tuple[SegmentResult, ...]:
        """The others: later segments with the true earlier ones given, which the model never has in use."""
        return tuple(one for one in self.segments if not self.is_primary(one))

    def before(self, segment: SegmentResult) -> tuple[str, ...]:
        """The names of the segments that stand before one."""
        names = list(dict.fromkeys(one.segment for one in self.segments))
        return tuple(names[: names.index(segment.segment)])

    def title_of(self, segment: SegmentResult) -> str:
        """The segment; of a detail also what it was given: `answer (true heard)`."""
        if self.is_primary(segment):
            return segment.segment
        before = self.before(segment)
        return f"{segment.segment} (true {before[0] if len(before) == 1 else 'segments before'})"

    @property
    def used(self) -> dict[str, bool]:
        """Modality → whether any segment measurably uses it, and more than hardly; redundant information is used too."""
        verdicts = [verdict for segment in self.primary for verdict in segment.verdicts]
        return {
            m: any(v.modality == m and v.status in ("used", "redundant") for v in verdicts) for m in self.modalities
        }

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        found = asdict(self)
        segments = [
            {**plain, "primary": self.is_primary(segment)}
            for plain, segment in zip(found["segments"], self.segments, strict=True)
        ]
        return {"format": FORMAT, **found, "segments": segments, "used": self.used}

    def write(self, run: Path) -> Path:
        """`RUN/explain/SPLIT[@manifest].json`."""
        path = run / FOLDER / f"{self.split}{mark(self.manifest)}.json"
        with replacing(path) as part:
            part.write_text(
                json.dumps(self.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n",
                encoding="utf-8",
                newline="\n",
            )
        return path
