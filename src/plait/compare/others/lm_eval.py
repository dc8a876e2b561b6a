"""Samples of lmms-eval (`DATE_samples_TASK.jsonl`) and of lm-evaluation-harness (`samples_TASK_DATE.jsonl`): one line per question.

In: such a file; beside it the file of the results, which names the model, its settings, and which metrics are better high.
Out: one `Sheet`. A file is one run: several of one model are its seeds.
Invariant: the metrics are what a line has beside the keys that the harnesses themselves write; of several filters each gives
metrics of its own, `exact_match,strict` as in the results.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plait.compare.others.sheet import (
    MAX_BYTES,
    MAX_ROWS,
    Format,
    Row,
    Sheet,
    check_groups_found,
    flattened,
    groups_of,
    mapping,
    name,
    parsed,
    plain_number,
    shown,
    target_of,
    told,
)
from plait.errors import UserError
from plait.files import open_regular, read_bytes

OWN = frozenset(
    (
        *("doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash"),
        *("prompt_hash", "target_hash", "token_counts", "input_media", "input"),
    )
)
"""The keys of a line that are no metrics."""

SAMPLES = re.compile(rb'(\xef\xbb\xbf)?\s*\{\s*"doc_id"\s*:')
MULTIMODAL = re.compile(r"(?P<date>.+?)_samples_(?P<task>.+)\.jsonl")
HARNESS = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT[^_]+)\.jsonl")


class Results(NamedTuple):
    """What the file beside the samples says: the model, its settings, and by metric whether more is better."""

    model: str
    settings: Mapping[str, str]
    higher: Mapping[str, bool]


def fits(path: Path, head: bytes) -> bool:
    """Whether a file looks like the samples of one of the two."""
    return SAMPLES.match(head) is not None


def read(path: Path, group_by: Sequence[str]) -> list[Sheet]:
    """The file as a sheet."""
    task, results = task_and_results(path)
    lines = list(lines_of(path))
    filters = list(dict.fromkeys(str(line["filter"]) for line, _ in lines if "filter" in line))
    rows: dict[str, Row] = {}
    seen: set[tuple[str, str]] = set()
    for line, place in lines:
        row, of = row_of(line, group_by, place, several=len(filters) > 1)
        if (row.id, of) in seen:
            raise UserError(f"the question {row.id} stands twice", where=place, right="A file holds one run")
        seen.add((row.id, of))
        there = rows.get(row.id)
        if there is not None and (there.groups, there.target) != (row.groups, row.target):
            raise UserError(f"the question {row.id} has other targets or groups than on another line", where=place)
        rows[row.id] = row if there is None else there._replace(scores={**there.scores, **row.scores})
    known = sorted({str(key) for line, _ in lines[:100] for part in (line.get("doc"), line) for key in part or ()})
    check_groups_found(list(rows.values()), group_by, known, str(path))
    model = results.model if results else path.parent.name
    notes = (
        ()
        if results
        else (f"{path.name}: the results beside it were not found: the folder's name stands for the model",)
    )
    return [
        Sheet(
            path,
            name(model, str(path), "the model"),
            name(task, str(path), "the task"),
            list(rows.values()),
            plain_number,
            results.settings if results else {},
            results.higher if results else {},
            notes,
        )
    ]


def lines_of(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Every line and its place."""
    with open_regular(path) as file:
        for number in range(1, MAX_ROWS + 2):
            line = file.readline(MAX_BYTES + 1)
            place = f"{path}:{number}"
            if not line:
                return
            if len(line) > MAX_BYTES or number > MAX_ROWS:
                raise UserError("is too large for a record", where=place)
            if line.strip():
                value = parsed(line, place)
                if not isinstance(value, dict) or "doc_id" not in value:
                    raise UserError(f"must be a mapping with `doc_id`, not {shown(value)}", where=place)
                if not isinstance(value.get("doc", {}), dict):
                    value = {key: part for key, part in value.items() if key != "doc"}
                yield value, place


def row_of(line: Mapping[str, Any], group_by: Sequence[str], place: str, *, several: bool) -> tuple[Row, str]:
    """One line, and by which filter the answer was read."""
    id = name(line["doc_id"], place, "`doc_id`")
    filter = str(line.get("filter", ""))
    listed = line.get("metrics")
    keys = [key for key in line if key not in OWN]
    if isinstance(listed, list):  # lm-evaluation-harness says which they are
        keys = [key for key in keys if key in listed]
    scores: dict[str, Any] = {}
    for key in keys:
        for metric, value in flattened(line[key], name(key, place, "a metric's name")):
            scores[f"{metric},{filter}" if several else metric] = value
    groups = groups_of([line, line.get("doc")], group_by, place)
    return Row(id, 0, scores, groups, target_of(line.get("target"))), filter


def task_and_results(path: Path) -> tuple[str, Results | None]:
    """The task by the file's name, and what the results beside it say."""
    if match := HARNESS.fullmatch(path.name):
        beside = sorted(path.parent.glob(f"*_{match['date']}.json"))
    elif match := MULTIMODAL.fullmatch(path.name):
        beside = [path.with_name(f"{match['date']}_results.json")]
    else:
        return path.stem, None
    task = match["task"]
    for other in beside:
        if other.is_file():
            return task, results_of(other, task)
    return task, None


def results_of(path: Path, task: str) -> Results:
    """What the results say of a task."""
    where = str(path)
    whole = mapping(parsed(read_bytes(path, max_bytes=MAX_BYTES), where), where, "the results")

    def part(*keys: str) -> Any:
        value: Any = whole
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    model = whole.get("model_name") or part("config", "model") or path.parent.name
    parts = {
        "model": arguments(part("config", "model_args"), str(model)),
        "version": part("versions", task),
        "shots": part("n-shot", task),
        "generation": part("configs", task, "generation_kwargs") or {},
        "gen_kwargs": part("config", "gen_kwargs"),
        "limit": part("config", "limit"),
        "system_instruction": whole.get("system_instruction"),
        "chat_template": whole.get("chat_template_sha"),
    }
    values = {key: told(value) for key, value in flattened(parts) if value not in (None, "", {}, [])}
    higher = part("higher_is_better", task)
    return Results(
        name(model, where, "the model's name"),
        {key: value for key, value in values.items() if not key.endswith("seed")},
        {key: value for key, value in (higher if isinstance(higher, dict) else {}).items() if isinstance(value, bool)},
    )


def arguments(given: Any, model: str) -> dict[str, Any]:
    """The model's arguments, but for its name."""
    if isinstance(given, str):
        words = (word.partition("=") for word in given.split(","))
        given = {key: value for key, sign, value in words if sign}
    return {key: value for key, value in given.items() if value != model} if isinstance(given, dict) else {}


FORMAT = Format("samples of lmms-eval and lm-evaluation-harness (…samples_….jsonl)", fits, read)
