"""`plait data check`: everything that is wrong with a manifest and its files, found before training.

In: a `Dataset` (read with `on_error="skip"`) or the path of a manifest; `CheckConfig`; a tokenizer if there is one yet.
Out: a `CheckReport`; `write_clean` writes a manifest without the rows of its errors and the list of what it left out.
Invariant: every row of the manifest is either fit to train on or named in the report with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from plait.data.check import checks, sizes
from plait.data.check.checked import CheckConfig, look_at
from plait.data.check.clean import Cleaned, write_clean
from plait.data.check.files import content_keys
from plait.data.check.leaks import errors_among, find_leaks, leaking_rows
from plait.data.check.report import SEVERITIES, CheckReport, Example, Finding, Histogram, Unseen, WorstBatch
from plait.data.check.texts import Encoder, unseen
from plait.data.manifest import Dataset, LeftOut, read_manifest

__all__ = [
    "CheckConfig",
    "CheckReport",
    "Cleaned",
    "Example",
    "Finding",
    "Histogram",
    "Unseen",
    "WorstBatch",
    "check",
    "write_clean",
]


def check(
    source: Dataset | Path | str,
    config: CheckConfig | None = None,
    *,
    tokenizer: Encoder | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Check a data set. `progress` is called with the files decoded so far and in all."""
    config = config or CheckConfig()
    if isinstance(source, Dataset):
        dataset = source
    else:
        dataset = read_manifest(source, on_error="skip", may_be_empty=True)
    checked = look_at(dataset, config, tokenizer, progress)
    leaks = find_leaks(checked, content_keys([use.key.item for uses in checked.uses for use in uses if use.is_file]))
    new_words = unseen(dataset.samples, tokenizer)
    unreadable, rows_unreadable = checks.unreadable(checked)
    too_long, rows_too_long = checks.too_long(checked)
    findings = [
        *checks.lost(dataset, rows_unreadable, config),
        *checks.missing(dataset, config),
        *checks.read_as(dataset),
        *checks.reading(dataset.left_out, config),
        *checks.splits(dataset),
        *unreadable,
        *checks.leaks(leaks, config),
        *too_long,
        *checks.remarks(checked),
        *checks.texts(checked, new_words),
        *checks.suffixes(checked),
    ]
    leave_out: dict[str | None, LeftOut] = {}
    for one in [*rows_unreadable, *rows_too_long, *leaking_rows(errors_among(leaks, config.shared))]:
        leave_out.setdefault(one.id, one)
    return CheckReport(
        manifest=str(dataset.path),
        num_samples=len(dataset.samples),
        num_left_out=sum(one.code not in checks.NOTED for one in dataset.left_out),
        drawn=dataset.drawn,
        splits=checks.by_split(dataset.samples),
        subsets=checks.subsets(dataset.samples),
        segments=dataset.segments,
        findings=tuple(sorted(findings, key=lambda one: SEVERITIES.index(one.severity))),
        histograms=tuple(sizes.histograms(checked)),
        unseen=tuple(new_words),
        worst_batch=tuple(sizes.worst_batch(checked)),
        leave_out=tuple(leave_out.values()),
    )
