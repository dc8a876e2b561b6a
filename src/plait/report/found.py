"""What a run's folder holds, read for its report; and what it lacks, with the command that makes it.

In: the folder of a run.
Out: a `Found`.
Invariant: nothing is computed, no model is built; a file that cannot be read is named among what is missing, and the rest goes on.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import TypeAdapter

from plait.config import read_tree
from plait.errors import UserError
from plait.evaluate import Record, Summary, read_record
from plait.evaluate.measured import weights_in
from plait.explain import Explanation
from plait.explain.curves import Curves
from plait.explain.result import FOLDER
from plait.named import START
from plait.run import CONFIG, MODEL, check_config, check_folder, environment_of
from plait.tensors import whole
from plait.train.metrics import METRICS, read_metrics

Read = TypeVar("Read")

CURVES = "-curves.json"


class Missing(NamedTuple):
    """What the folder lacks, and the command that makes it."""

    what: str
    command: str


@dataclass
class Found:
    """All that there is. `records` and `explanations` by the file's name; `parts`: part of the model → its parameters."""

    folder: Path
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    parts: Mapping[str, int] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    explanations: dict[str, Explanation] = field(default_factory=dict)
    curves: dict[str, Curves] = field(default_factory=dict)
    pictures: list[Path] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)

    @property
    def record(self) -> Record | None:
        """The record that says how good the run is: that of its own split with all inputs, else the first."""
        own = self.config.get("evaluate", {}).get("split", "test")
        of_run = {name: record for name, record in self.records.items() if record.summary.manifest is None}
        return of_run.get(own) or next(iter(of_run.values()), None)

    @property
    def num_parameters(self) -> int:
        """Of the whole model."""
        return sum(self.parts.values())


def find(folder: Path) -> Found:
    """Read a run's folder."""
    check_folder(folder)
    config = read_tree(folder / CONFIG)
    environment = environment_of(folder)
    found = Found(folder, config, {name: value for name, value in environment.items() if name != "format"})
    try:
        check_config(folder, accept=False)
    except UserError as error:
        again = f"put the file back, or plait evaluate {folder} --accept-changes"
        found.missing.append(Missing(f"the configuration that the run was made with: {CONFIG} {error.what}", again))
    found.parts = (
        _of(found, folder / MODEL, parts_of, Missing("trained weights", f"plait train --resume {folder}")) or {}
    )
    found.lines = _of(found, folder / METRICS, lambda _: read_metrics(folder), _curve_missing(folder)) or []
    for path in sorted((folder / "records").glob("*.parquet")):
        record = _of(found, path, read_record, Missing(f"the record {path.name}", f"plait evaluate {folder}"))
        if record is not None:
            found.records[path.stem] = record
    found.records = dict(sorted(found.records.items(), key=lambda one: order_of(one[1].summary)))
    for path in sorted((folder / FOLDER).glob("*.json")):
        if path.name.startswith("sample-"):
            continue
        again = Missing(
            f"the explanation {path.name}", f"plait explain {folder}{' --curves' * path.name.endswith(CURVES)}"
        )
        if path.name.endswith(CURVES):
            curves = _of(found, path, lambda path: TypeAdapter(Curves).validate_json(path.read_bytes()), again)
            found.curves |= {} if curves is None else {path.name.removesuffix(CURVES): curves}
        else:
            one = _of(found, path, lambda path: TypeAdapter(Explanation).validate_json(path.read_bytes()), again)
            found.explanations |= {} if one is None else {path.stem: one}
    found.explanations = dict(sorted(found.explanations.items(), key=lambda one: one[1].manifest is not None))
    found.pictures = sorted((folder / FOLDER).glob("sample-*.png"))
    found.missing += [*unfinished(found), *of_other_weights(found), *not_made(found)]
    return found


def order_of(one: Summary) -> tuple[bool, bool]:
    """The run's own data first, and all inputs before some of them."""
    return one.manifest is not None, one.inputs is not None


def unfinished(found: Found) -> list[Missing]:
    """The rest of a training that was interrupted."""
    steps = found.config.get("train", {}).get("steps")
    if not isinstance(steps, int) or not (found.folder / MODEL).is_file():
        return []
    try:
        note = weights_in(found.folder, steps).note
    except UserError:  # damaged weights are named by themselves
        return []
    return [Missing(f"the final result: {note}", f"plait train --resume {found.folder}")] if note else []


def of_other_weights(found: Found) -> list[Missing]:
    """What was measured before the training went on: the run has other weights now."""
    now = _step(found.folder)
    measured: list[tuple[str, str, Summary | Explanation | Curves]] = [
        *(("scores", "plait evaluate {}", record.summary) for record in found.records.values()),
        *(("explanation", "plait explain {}", one) for one in found.explanations.values()),
        *(("damage curves", "plait explain {} --curves", one) for one in found.curves.values()),
    ]
    return [
        Missing(
            f"{what} of the current weights (step {now}) on {rows(one)}: the ones here are of step {one.step}",
            command.format(found.folder) + options(one),
        )
        for what, command, one in measured
        if one.step is not None and now is not None and one.step != now
    ]


def rows(one: Summary | Explanation | Curves) -> str:
    """The rows that something was measured on, for a sentence."""
    return f"split {one.split}" + (f" of {Path(one.manifest).name}" if one.manifest else "")


def options(one: Summary | Explanation | Curves) -> str:
    """The options that measure the same rows with the same inputs again."""
    inputs = one.inputs if isinstance(one, Summary) else None
    return (
        f" --split {one.split}"
        + (f" --manifest {shlex.quote(one.manifest)}" if one.manifest else "")
        + (f" --inputs {','.join(inputs)}" if inputs else "")
    )


def _step(folder: Path) -> int | None:
    try:
        return weights_in(folder, 0).step
    except UserError:
        return None


def not_made(found: Found) -> list[Missing]:
    """What was never made, with its command."""
    folder = found.folder
    wanted = [
        (found.record, Missing("scores: the run was not evaluated", f"plait evaluate {folder}")),
        (found.explanations, Missing("which inputs are used: not measured", f"plait explain {folder}")),
        (
            found.curves,
            Missing("scores with noise, blur and missing inputs: not measured", f"plait explain {folder} --curves"),
        ),
    ]
    if not found.config.get("data", {}).get("inputs"):
        wanted = wanted[:1]  # a model without inputs has nothing to explain
    return [missing for there, missing in wanted if not there]


def parts_of(path: Path) -> dict[str, int]:
    """Part → its parameters, from the names and shapes of the weights: `encoders.image`, `fusion`, `lm`."""
    from safetensors import safe_open

    parts: dict[str, int] = {}
    with whole(path), safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - the file is no mapping
            words = name.split(".")
            part = f"encoders.{words[1].removeprefix(START)}" if words[0] == "encoders" else words[0]
            size = 1
            for length in file.get_slice(name).get_shape():
                size *= length
            parts[part] = parts.get(part, 0) + size
    return parts


def _curve_missing(folder: Path) -> Missing:
    return Missing("the learning curve: there is no metrics.jsonl", f"plait train --resume {folder}")


def _of(found: Found, path: Path, read: Callable[[Path], Read], missing: Missing) -> Read | None:
    """What a file holds; where it is not there or cannot be read, that is noted."""
    if not path.is_file():
        found.missing.append(missing)
        return None
    try:
        return read(path)
    except (UserError, ValueError, KeyError, TypeError, OSError) as error:
        why = str(error).partition("\n")[0]
        found.missing.append(Missing(f"{missing.what} (cannot be read: {why})", missing.command))
        return None
