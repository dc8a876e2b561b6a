"""A repaired manifest: the rows that can be trained on, and beside it the list of what was left out and why.

In: a report and the data set that it is about.
Out: `NAME.jsonl` in the folder of the manifest (so that its paths hold) and `NAME.left-out.jsonl`.
Invariant: every row of the manifest is in exactly one of the two; each file is written whole or not at all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.data.check.report import CheckReport
from plait.data.fields import ONE_SEGMENT
from plait.data.manifest import Dataset, LeftOut
from plait.data.row import Row, fields_of
from plait.data.rows import read_rows
from plait.errors import UserError
from plait.modalities import modality_of
from plait.modalities.base import Blob
from plait.types import Reference, Sample


@dataclass(frozen=True)
class Cleaned:
    """What was written: the manifest with its number of rows, and the list of the rows that were left out."""

    path: Path
    num_rows: int
    list_path: Path
    num_left_out: int


def write_clean(report: CheckReport, dataset: Dataset, path: Path | str, *, overwrite: bool = False) -> Cleaned:
    """Write the rows of `dataset` that the report has no error about, and the list of the others.

    Where a group or file stands in two splits, training gives way: `test` keeps its rows, `tune` loses those that leak
    into `test`, `train` those that leak into either. Splits are written as they are, drawn ones as well.
    """
    path = Path(path)
    listed = path.with_name(f"{path.stem}.left-out.jsonl")
    _refuse_path(path, listed, dataset, overwrite=overwrite)
    gone = {one.id for one in report.leave_out}
    kept = [sample for sample in dataset.samples if sample.id not in gone]
    _refuse_empty_splits(dataset.samples, kept, dataset.path)
    _refuse_bytes(kept, dataset)
    notes = _notes(dataset)
    left_out = [*dataset.left_out, *report.leave_out]
    # The list first: a manifest is never without it.
    _write(listed, (_left_out_row(one) for one in left_out))
    rows = (sample_row(sample, dataset.folder, dataset.columns, dataset.kinds) for sample in kept)
    _write(path, ({**row, **notes.get(sample.where, {})} for row, sample in zip(rows, kept, strict=True)))
    return Cleaned(path, len(kept), listed, len(left_out))


def sample_row(
    sample: Sample, folder: Path, columns: Mapping[str, str] | None = None, kinds: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The row of a JSONL manifest in `folder` that reads as this sample; `columns`: the fields of inputs that are called
    otherwise; `kinds`: the modalities of those with names of their own."""
    row: dict[str, Any] = {"id": sample.id, "split": sample.split}
    if sample.groups:
        row["group"] = dict(sample.groups)
    if sample.tags:
        row["tags"] = dict(sample.tags)
    for name, items in sample.inputs.items():
        modality = modality_of((kinds or {}).get(name, name))
        values = [_relative(item, folder) if isinstance(item, Path) else modality.written(item) for item in items]
        row[(columns or {}).get(name, name)] = values[0] if len(values) == 1 else values
    if sample.references:
        references = [_target(reference) for reference in sample.references]
        row["target"] = references[0] if len(references) == 1 else references
    return row


def _target(reference: Reference) -> str | dict[str, str]:
    return reference[ONE_SEGMENT] if set(reference) == {ONE_SEGMENT} else dict(reference)


def _relative(path: Path, folder: Path) -> str:
    """The path as a manifest in the folder gives it; one that is outside stays absolute."""
    absolute = Path(os.path.abspath(folder))  # noqa: PTH100 - as the reader makes them
    return path.relative_to(absolute).as_posix() if path.is_relative_to(absolute) else path.as_posix()


def _refuse_path(path: Path, listed: Path, dataset: Dataset, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".jsonl":
        raise UserError("the clean manifest is JSONL", where=str(path), right="Give a name that ends in .jsonl.")
    if path.parent.resolve() != dataset.folder.resolve():
        right = f"Its paths hold in the manifest's folder only: write {dataset.folder / path.name}."
        raise UserError("the clean manifest would be in another folder", where=str(path), right=right)
    if path.resolve() == dataset.path.resolve():
        raise UserError(
            "the clean manifest would replace the manifest itself", where=str(path), right="Give another name."
        )
    for one in (path, listed):
        if one.exists() and not overwrite:
            raise UserError(
                "the file exists", where=str(one), right="Give another name, or say that it may be replaced."
            )


def _refuse_empty_splits(before: Iterable[Sample], after: Iterable[Sample], path: Path) -> None:
    left = Counter(sample.split for sample in after)
    for split, count in Counter(sample.split for sample in before).items():
        if not left[split]:
            right = "Mend the errors, or name the groupings that may stand in several splits (data check: shared)."
            raise UserError(f"all {count} rows of the split {split!r} would be left out", where=str(path), right=right)


def _refuse_bytes(samples: Iterable[Sample], dataset: Dataset) -> None:
    """Before anything is written: what JSONL cannot hold."""
    for sample in samples:
        for name, items in sample.inputs.items():
            for item in items:
                if isinstance(item, Blob):
                    modality_of(dataset.modality_of(name)).written(item)


def _notes(dataset: Dataset) -> dict[str, Mapping[str, Any]]:
    """The fields that begin with '_', by the row's place: the user's own, so they stay."""
    if os.path.isdir(dataset.path):  # noqa: PTH112
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for row in read_rows(dataset.path, quoting=dataset.quoting, notes=True, fields=fields_of(dataset.columns_read)):
        if isinstance(row, Row) and (notes := {k: v for k, v in row.fields.items() if k.startswith("_")}):
            found[row.where] = notes
    return found


def _left_out_row(one: LeftOut) -> dict[str, Any]:
    return {"where": one.where, "id": one.id, "code": one.code, "reason": one.reason}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write beside, sync, rename."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
