"""What a check found, as data: findings with their first examples, counts, histograms; printable and JSON-ready.

In: the parts, from the other modules of this folder.
Out: `CheckReport` with `.ok`, `.to_dict()`, `.lines()` and `.render(console)`.
Invariant: `.ok` is False exactly if a finding is an error; `.leave_out` names every sample that training could
not use or should not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from plait.data.manifest import LeftOut
from plait.data.splits import SPLITS

if TYPE_CHECKING:
    from rich.console import Console

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True)
class Example:
    """One case of a finding: its place, its id if it has one, and what is so there."""

    where: str
    id: str | None
    detail: str


@dataclass(frozen=True)
class Finding:
    """One kind of trouble: `code` for programs, `text` for people, how often, and the first cases."""

    severity: Severity
    code: str
    text: str
    count: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Histogram:
    """How long things are: `counts[i]` of them lie in `edges[i] … edges[i + 1]`."""

    name: str
    unit: str
    count: int
    low: float
    median: float
    p95: float
    high: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Unseen:
    """How much of a split's text is made of words (or tokens) that the training split does not know."""

    split: str
    field: str
    unit: Literal["words", "tokens"]
    total: int
    unseen: int
    most_frequent: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of unseen words; 0 of no words."""
        return self.unseen / self.total if self.total else 0.0


@dataclass(frozen=True)
class WorstBatch:
    """The padded numbers of one kind of input (or of the target) in a batch of the `batch_size` largest samples."""

    name: str
    batch_size: int
    longest: int
    unit: str
    elements: int
    padding: float
    where: str


@dataclass(frozen=True)
class CheckReport:
    """All that a check says of a manifest. `subsets` counts rows per combination of inputs and split."""

    manifest: str
    num_samples: int
    num_left_out: int
    drawn: bool
    splits: Mapping[str, int]
    subsets: Mapping[str, Mapping[str, int]]
    segments: tuple[str, ...]
    findings: tuple[Finding, ...]
    histograms: tuple[Histogram, ...]
    unseen: tuple[Unseen, ...]
    worst_batch: tuple[WorstBatch, ...]
    leave_out: tuple[LeftOut, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "ok": self.ok,
            **_plain(asdict(self)),
            "unseen": [
                {**asdict(one), "most_frequent": list(one.most_frequent), "share": one.share} for one in self.unseen
            ],
        }

    def lines(self) -> Iterator[str]:
        """The report as plain lines."""
        yield f"{self.manifest}: {self.num_samples:,} rows can be read, {self.num_left_out:,} cannot"
        yield "  splits" + (" (drawn by group)" if self.drawn else "") + ": " + _counts(self.splits)
        if self.segments:
            yield f"  segments of the target: {', '.join(self.segments)}"
        for subset, counts in self.subsets.items():
            yield f"  {subset}: {_counts(counts)}"
        for one in self.histograms:
            yield f"  {one.name}: {_spread(one)}  {sparkline(one.counts)}"
        for one in self.unseen:
            frequent = f" ({', '.join(one.most_frequent)})" if one.most_frequent else ""
            yield f"  {one.unit} of {one.field} in {one.split} unseen in train: {one.share:.1%}{frequent}"
        for one in self.worst_batch:
            yield f"  largest batch, {one.name}: {_worst(one)}"
        for finding in self.findings:
            yield f"{finding.severity}: {finding.text} [{finding.code}, {finding.count:,}]"
            for example in finding.examples:
                yield f"    {_example(example)}"
            if finding.count > len(finding.examples) > 0:
                yield f"    … and {finding.count - len(finding.examples):,} more"
        yield self.verdict

    @property
    def verdict(self) -> str:
        """The last line: what it comes to."""
        counts = [sum(finding.severity == severity for finding in self.findings) for severity in SEVERITIES]
        said = [
            f"{count} kind{'s' * (count != 1)} of {name}"
            for count, name in zip(counts, SEVERITIES, strict=True)
            if count
        ]
        return f"{'OK' if self.ok else 'NOT OK'}: {', '.join(said) if said else 'nothing found'}"

    def render(self, console: Console) -> None:
        """Print the report as tables."""
        from rich.table import Table
        from rich.text import Text

        console.print(
            Text(f"{self.manifest}: {self.num_samples:,} rows can be read, {self.num_left_out:,} cannot", "bold")
        )
        table = Table("inputs", *SPLITS, title="rows" + (" (splits drawn by group)" if self.drawn else ""))
        for subset, counts in {**self.subsets, "all": self.splits}.items():
            table.add_row(subset, *(f"{counts.get(split, 0):,}" for split in SPLITS))
        console.print(table)
        if self.histograms:
            table = Table("length", "unit", "least", "median", "95 %", "most", "", title="lengths")
            for one in self.histograms:
                values = (f"{value:,.4g}" for value in (one.low, one.median, one.p95, one.high))
                table.add_row(one.name, one.unit, *values, sparkline(one.counts))
            console.print(table)
        for one in self.unseen:
            frequent = f" ({', '.join(one.most_frequent)})" if one.most_frequent else ""
            console.print(Text(f"{one.unit} of {one.field} in {one.split} unseen in train: {one.share:.1%}{frequent}"))
        for one in self.worst_batch:
            console.print(Text(f"largest batch, {one.name}: {_worst(one)}"))
        colours = {"error": "bold red", "warning": "yellow", "note": "cyan"}
        for finding in self.findings:
            console.print(
                Text(f"{finding.severity}: ", colours[finding.severity]) + Text(f"{finding.text} ({finding.count:,})")
            )
            for example in finding.examples:
                console.print(Text(f"    {_example(example)}", "dim"), soft_wrap=True)
            if finding.count > len(finding.examples) > 0:
                console.print(Text(f"    … and {finding.count - len(finding.examples):,} more", "dim"))
        console.print(Text(self.verdict, "bold green" if self.ok else "bold red"))


def histogram(name: str, unit: str, values: Sequence[float | int], *, bins: int = 10) -> Histogram | None:
    """The histogram of lengths, None of no values. Whole numbers get edges between them."""
    if not values:
        return None
    array = np.asarray(values, dtype=np.float64)
    low, high = float(array.min()), float(array.max())
    whole = bool((array == array.round()).all())
    edges = (
        np.linspace(low - 0.5, high + 0.5, int(min(bins, high - low + 1)) + 1)
        if whole
        else np.linspace(low, high, bins + 1)
    )
    counts, edges = np.histogram(array, edges)
    median, p95 = np.quantile(array, [0.5, 0.95], method="inverted_cdf")
    edge_values = tuple(round(float(edge), 6) for edge in edges)
    return Histogram(name, unit, len(array), low, float(median), float(p95), high, edge_values, tuple(map(int, counts)))


def finding(
    severity: Severity, code: str, text: str, cases: Sequence[Example], *, examples: int, count: int | None = None
) -> list[Finding]:
    """One finding of these cases, or none of no cases."""
    if not cases:
        return []
    return [Finding(severity, code, text, len(cases) if count is None else count, tuple(cases[:examples]))]


def sparkline(counts: Sequence[int]) -> str:
    """A histogram in one line of text; whatever is not 0 is seen."""
    most = max(counts, default=0)
    return "".join(BARS[-(-count * (len(BARS) - 1) // most)] if most else BARS[0] for count in counts)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items()) or "none"


def _spread(one: Histogram) -> str:
    return f"{one.low:,.4g} to {one.high:,.4g} {one.unit}, median {one.median:,.4g}, 95 % at most {one.p95:,.4g}"


def _worst(one: WorstBatch) -> str:
    unit = one.unit.removesuffix("s") if one.longest == 1 else one.unit
    size = f"{one.batch_size} × up to {one.longest:,} {unit} = {one.elements:,} numbers"
    return f"{size}, {one.padding:.0%} padding (the longest: {one.where})"


def _example(example: Example) -> str:
    name = f" ({example.id})" if example.id else ""
    return f"{example.where}{name}: {example.detail}" if example.detail else f"{example.where}{name}"


def _plain(value: Any) -> Any:
    """Tuples and mappings as JSON has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value
