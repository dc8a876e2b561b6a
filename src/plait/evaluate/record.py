"""The record of an evaluation: one row per sample and a summary, in one Parquet file with a JSON of the summary beside it.

In: a `Record`; or the path of one.
Out: `records/<split>[@manifest][-inputs].parquet` and `.json`, inputs in the run's order (`image+audio`); or the `Record`, equal to
the one that was written.
Invariant: each file is written under another name, synced and renamed, so a crash leaves the previous record whole. What could not
be scored is null with a reason in words, never 0 and never NaN.

Columns: `id`, `split`, `inputs`, `tags`, `groups`, `seconds`; for each segment `SEGMENT.references`, `.output`, `.bits`,
`.num_tokens`, `.log_probability`, `.limited`, `.unscored` (metric → reason) and one column per metric, `SEGMENT.METRIC`; of a run
with links `rank.SIDE.SIDE`, the rank of the right entry when the one side searches for the other. No name of a segment can make two
columns one: ours have no point or begin with `rank.`, theirs end in one of the words above.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from plait.errors import UserError
from plait.evaluate.inputs import in_run_order, set_name
from plait.evaluate.measured import mark
from plait.evaluate.statistics import Constant, Figure
from plait.run import replacing
from plait.types import in_order

FORMAT = 1
MAX_NAME = 100
"""Letters of the inputs in a record's name."""
_METADATA_KEY = b"plait"

Figures = Mapping[str, Mapping[str, Figure]]
"""Segment → metric → figure."""


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One segment of one sample: what was right, what was said, and how good it is.

    `scores` holds this sample's own value of each metric (None: see `unscored`). `bits` is −log2 of the target's probability over
    `num_tokens` tokens. `log_probability` is the mean natural logarithm per generated token. `limited`: the output was ended at
    `generate.max_tokens`.
    """

    references: tuple[str, ...]
    output: str | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    bits: float | None = None
    num_tokens: float | None = None
    log_probability: float | None = None
    unscored: Mapping[str, str] = field(default_factory=dict)
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluated sample. `inputs` are those that the model was given; `seconds` its share of its batch's generation.

    `ranks`: `QUERY.GALLERY` → the rank of the best right entry, None where the sample lacks one of the two.
    """

    id: str
    split: str
    inputs: tuple[str, ...]
    tags: Mapping[str, str]
    groups: Mapping[str, str]
    segments: Mapping[str, SegmentRow]
    seconds: float | None = None
    ranks: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Retrieval:
    """How well one side finds another among `num_entries` distinct items: the figures, and beside each what chance gives."""

    query: str
    gallery: str
    num_entries: int
    figures: Mapping[str, Figure]
    chance: Mapping[str, float | None]

    @property
    def pair(self) -> str:
        """`QUERY.GALLERY`."""
        return f"{self.query}.{self.gallery}"


@dataclass(frozen=True)
class Summary:
    """The figures of an evaluation and all that made them.

    `metrics`: segment → metric → figure. `by`: the same for the samples of one tag (`pattern=spoken`) or of two
    (`pattern=spoken,sentence=unheard`). `definitions`: what each metric counts. `unscored`: segment → reason → number of samples.
    `inputs`: those to which the evaluation was restricted, None for all. `retrieval`: of a run with links, each direction.
    `limited`: segment → number of outputs that were ended at `generate.max_tokens`, where there are any.
    `manifest`: of rows that are not the run's own, where they stand. `step`: the training's step that the weights are of.
    """

    split: str
    n: int
    seed: int
    inputs: tuple[str, ...] | None
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    metrics: Figures
    by: Mapping[str, Figures] = field(default_factory=dict)
    definitions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unscored: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    retrieval: tuple[Retrieval, ...] = ()
    limited: Mapping[str, int] = field(default_factory=dict)
    manifest: str | None = None
    step: int | None = None

    @property
    def segments(self) -> tuple[str, ...]:
        """The segments, in the order in which they are said."""
        return tuple(self.metrics)

    def to_json(self) -> dict[str, Any]:
        """Plain data, ready for JSON: no NaN in it."""
        plain = asdict(self)
        if not self.limited:  # an older Plait does not know it
            del plain["limited"]
        return {"format": FORMAT, **plain}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Summary:
        """The summary of `to_json`."""
        fields = {key: value for key, value in data.items() if key != "format"}
        fields["metrics"] = _figures(fields["metrics"])
        fields["by"] = {pattern: _figures(figures) for pattern, figures in fields["by"].items()}
        fields["inputs"] = None if fields["inputs"] is None else tuple(fields["inputs"])
        fields["notes"] = tuple(fields["notes"])
        fields["retrieval"] = tuple(
            Retrieval(**{**one, "figures": {name: _one_figure(value) for name, value in one["figures"].items()}})
            for one in fields.get("retrieval", ())
        )
        return cls(**fields)


def _figures(data: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Figure]]:
    return {segment: {name: _one_figure(v) for name, v in metrics.items()} for segment, metrics in data.items()}


def _one_figure(value: Mapping[str, Any]) -> Figure:
    over_few = value.get("over_few")
    constant = value["constant"] and Constant(**value["constant"])
    return Figure(**{**value, "constant": constant, "over_few": over_few and tuple(over_few)})


@dataclass(frozen=True)
class Record:
    """The product of an evaluation."""

    rows: tuple[Row, ...]
    summary: Summary


def record_path(
    folder: Path,
    split: str,
    inputs: Collection[str] | None = None,
    manifest: str | None = None,
    *,
    order: Sequence[str] | None = None,
) -> Path:
    """`folder/records/<split>[@manifest][-inputs].parquet`; no input at all is called `no_input`.

    `order`: the run's inputs; without them text, image and audio stand first, then the others as they are given.
    """
    name = f"{split}{mark(manifest)}"
    if inputs is None:
        return folder / "records" / f"{name}.parquet"
    chosen = in_order(inputs) if order is None else in_run_order(inputs, order)
    return folder / "records" / f"{name}-{short_name(set_name(chosen))}.parquet"


def short_name(names: str) -> str:
    """Names in a file's name; where they are too long for one, their beginning and a digest that tells them apart."""
    if len(names) <= MAX_NAME:
        return names
    return f"{names[:MAX_NAME]}…{blake2b(names.encode(), digest_size=4).hexdigest()}"


def write_record(record: Record, path: Path) -> None:
    """Write the Parquet file and the summary's JSON beside it, each whole or not at all."""
    import pyarrow.parquet as parquet

    text = json.dumps(_plain(record.summary.to_json()), allow_nan=False, ensure_ascii=False, indent=1)
    table = _table(record).replace_schema_metadata({_METADATA_KEY: text.encode()})
    with replacing(path) as draft:
        parquet.write_table(table, draft, compression="zstd")
    with replacing(path.with_suffix(".json")) as draft:
        draft.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_record(path: Path | str) -> Record:
    """Read what `write_record` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = Path(path)
    wanted = "a record that `plait evaluate` wrote (RUN/records/*.parquet)"
    if not path.is_file():
        raise UserError("no such record", where=str(path), right=f"Give {wanted}")
    try:
        table = parquet.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"cannot be read as Parquet: {error}", where=str(path), right=f"Give {wanted}") from error
    text = (table.schema.metadata or {}).get(_METADATA_KEY)
    if text is None:
        raise UserError("is no record of an evaluation", where=str(path), right=f"Give {wanted}")
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise UserError(
                f"is a record of format {data['format']}, this version reads {FORMAT}",
                where=str(path),
                right="Evaluate the run again",
            )
        summary = Summary.from_json(data)
        names, pairs = _columns(summary), [one.pair for one in summary.retrieval]
        return Record(tuple(_read_row(values, names, pairs) for values in table.to_pylist()), summary)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"is a damaged record: {error!r}"
        raise UserError(what, where=str(path), right="Evaluate the run again") from error


def _columns(summary: Summary) -> dict[str, tuple[str, ...]]:
    """The metrics that have a column, per segment: those of texts; losses are in `bits` and `num_tokens`."""
    from plait.evaluate.metrics import METRIC_NAMES

    return {segment: tuple(n for n in METRIC_NAMES if n in figures) for segment, figures in summary.metrics.items()}


def _table(record: Record) -> Any:
    import pyarrow as pa

    words = pa.map_(pa.string(), pa.string())
    rows = record.rows

    def column(values: Sequence[object], kind: Any) -> Any:
        return pa.array(values, type=kind)

    columns = {
        "id": column([row.id for row in rows], pa.string()),
        "split": column([row.split for row in rows], pa.string()),
        "inputs": column([list(row.inputs) for row in rows], pa.list_(pa.string())),
        "tags": column([list(row.tags.items()) for row in rows], words),
        "groups": column([list(row.groups.items()) for row in rows], words),
        "seconds": column([row.seconds for row in rows], pa.float64()),
    }
    for segment, names in _columns(record.summary).items():
        parts = [row.segments[segment] for row in rows]
        columns[f"{segment}.references"] = column([list(p.references) for p in parts], pa.list_(pa.string()))
        columns[f"{segment}.output"] = column([p.output for p in parts], pa.string())
        for name in ("bits", "num_tokens", "log_probability"):
            columns[f"{segment}.{name}"] = column([getattr(p, name) for p in parts], pa.float64())
        columns[f"{segment}.limited"] = column([p.limited for p in parts], pa.bool_())
        columns[f"{segment}.unscored"] = column([list(p.unscored.items()) for p in parts], words)
        for name in names:
            columns[f"{segment}.{name}"] = column([p.scores.get(name) for p in parts], pa.float64())
    for one in record.summary.retrieval:
        columns[f"rank.{one.pair}"] = column([row.ranks.get(one.pair) for row in rows], pa.float64())
    return pa.table(columns)


def _read_row(values: Mapping[str, Any], names: Mapping[str, tuple[str, ...]], pairs: Sequence[str]) -> Row:
    segments = {
        segment: SegmentRow(
            references=tuple(values[f"{segment}.references"]),
            output=values[f"{segment}.output"],
            scores={name: values[f"{segment}.{name}"] for name in metrics},
            bits=values[f"{segment}.bits"],
            num_tokens=values[f"{segment}.num_tokens"],
            log_probability=values[f"{segment}.log_probability"],
            unscored=dict(values[f"{segment}.unscored"]),
            limited=bool(values.get(f"{segment}.limited")),  # records of before lack it
        )
        for segment, metrics in names.items()
    }
    return Row(
        id=values["id"],
        split=values["split"],
        inputs=tuple(values["inputs"]),
        tags=dict(values["tags"]),
        groups=dict(values["groups"]),
        segments=segments,
        seconds=values["seconds"],
        ranks={pair: values[f"rank.{pair}"] for pair in pairs},
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, so that what is written equals what is read back as JSON."""
    return json.loads(json.dumps(value, allow_nan=False))
