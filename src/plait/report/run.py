"""The report of a single run.

In: a run's folder, with whatever `plait evaluate` and `plait explain` have put into it.
Out: `report.html` in it.
Invariant: nothing is computed that the folder does not hold; what it lacks is said with the command that makes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plait.data.inputs import as_mapping
from plait.evaluate import Figure, Record, Summary
from plait.evaluate.metrics import LOSS_NAMES
from plait.evaluate.patterns import parts_of
from plait.evaluate.render import SCORES
from plait.explain.curves import Curves
from plait.report import run_plots, words
from plait.report.cards import flat
from plait.report.found import Found, Missing, find
from plait.report.media import Media
from plait.report.page import NAME, write_page
from plait.report.run_examples import examples
from plait.report.run_explained import explanation_view, rows_of, sentences
from plait.report.svg import INSTALL, can_plot
from plait.train.metrics import tune_segments
from plait.train.resume import leaves


def run_report(folder: Path, *, out: Path | None = None, media: Media | None = None) -> Path:
    """Write `folder/report.html` (or `out`); `media` counts what of the pictures and sounds is in it."""
    return write_run(find(folder), out=out, media=media)


def write_run(found: Found, *, out: Path | None = None, media: Media | None = None) -> Path:
    """The page of what was found in a run's folder."""
    media = Media() if media is None else media
    record = found.record
    confidence = float((record.summary.config if record else {}).get("confidence", 0.95))
    shown = examples(found, media)
    explanations = [explanation_view(one) for one in found.explanations.values()]
    return write_page(
        out or found.folder / NAME,
        "run.html",
        title=f"Run: {found.folder.absolute().name}",
        subtitle=subtitle(found),
        headline=headline(record),
        facts=facts(found),
        further=further(found),
        parts_rows=parts(found),
        num_parameters=words.count(found.num_parameters) if found.parts else "",
        data=data_lines(found.config),
        training=run_plots.training(found.lines),
        learned=learned(found.lines),
        learned_segments=[name for name in run_plots.held_out(found.lines) if name is not None],
        summaries=summary_views(found),
        explanations=explanations,
        damages=[damage_view(one) for one in found.curves.values()],
        pictures=[(path.stem, media.picture(path, most=900)) for path in found.pictures[:3]],
        num_more_pictures=max(0, len(found.pictures) - 3),
        examples=shown,
        missing=found.missing,
        left_out=[*left_out(found), *shown.notes, *media.notes],
        environment=list(flat(found.environment)),
        config=yaml.safe_dump(dict(found.config), sort_keys=False, allow_unicode=True),
        commands=commands(found),
        plots_missing="" if can_plot() else INSTALL,
        explained=dict(words.meanings(words.MEANING, confidence)),
        kind="run",
    )


def main_metric(summary: Summary) -> tuple[str, str] | None:
    """What a run is judged by: the last segment's first metric of texts, else its loss."""
    for segment in reversed(summary.segments):
        names = [name for name in summary.metrics[segment] if name not in LOSS_NAMES]
        if names:
            return segment, names[0]
    return next(((s, next(iter(m))) for s, m in summary.metrics.items() if m), None)


def subtitle(found: Found) -> str:
    """What it reads and says."""
    data = found.config.get("data", {})
    inputs, segments = data.get("inputs") or ["no inputs"], data.get("segments") or ["a text"]
    return f"reads {words.listed(inputs)}; says {words.listed(segments)}; {words.several(found.num_parameters, 'parameter')}"


def headline(record: Record | None) -> str:
    """How good it is, in a sentence."""
    main = main_metric(record.summary) if record else None
    if record is None or main is None:
        return "How good this model is, was not measured yet"
    segment, name = main
    one = record.summary.metrics[segment][name]
    text = f"{words.metric_title(name)} of {segment}: {words.named_score(name, one.value)}{bounds(name, one)} on {one.n:,} samples"
    if one.constant is not None:
        text += f"; always saying “{one.constant.text}” reaches {words.named_score(name, one.constant.value)}"
    return text


def bounds(name: str, one: Figure) -> str:
    """` [95.9, 97.8]`."""
    if one.low is None or one.high is None:
        return ""
    low, high = (words.named_score(name, value).removesuffix("%").split(" ")[0] for value in (one.low, one.high))
    return f" [{low}, {high}]"


def facts(found: Found) -> list[tuple[str, str, str]]:
    """The few numbers at the top."""
    record, lines = found.record, found.lines
    rows: list[tuple[str, str, str]] = []
    for segment, metrics in (record.summary.metrics if record else {}).items():
        names = [name for name in metrics if name not in LOSS_NAMES]
        for name in names[:1]:
            one = metrics[name]
            constant = f"constant answer {words.named_score(name, one.constant.value)}" if one.constant else ""
            rows.append((f"{segment}: {words.metric_title(name)}", words.named_score(name, one.value), constant))
    held = run_plots.held_out(lines).get(None)
    if held:
        step, bits = min(held, key=lambda one: one[1])
        rows.append(("held-out loss", f"{bits:.3f}", f"bits per token, step {step:,}"))
    if found.parts:
        rows.append(
            ("parameters", words.millions(found.num_parameters), f"in {words.several(len(found.parts), 'part')}")
        )
    seconds = [line["seconds"] for line in lines if line.get("seconds") is not None]
    if seconds:
        rows.append(("training", words.seconds(max(seconds)), f"{lines[-1]['step']:,} steps"))
    return rows


def further(found: Found) -> list[str]:
    """Which modality is used for what, as `plait explain` said it of the run's own data."""
    return [said for one in found.explanations.values() if one.manifest is None for said in sentences(one)]


def parts(found: Found) -> list[tuple[str, str, str]]:
    """Part of the model, what it is, its parameters."""
    rows = []
    for name, size in found.parts.items():
        config: Any = found.config
        for key in name.split("."):
            config = config.get(key) if isinstance(config, Mapping) else None
        if name.startswith("encoders.") and config is None:  # nothing is said of this input: as its modality has it
            config = encoder_of(found.config, name.removeprefix("encoders."))
        if name in ("ctc", "links"):
            config = found.config.get("train", {}).get({"ctc": "ctc", "links": "alignment"}[name])
        rows.append((name, described(config), words.count(size)))
    return rows


def encoder_of(config: Mapping[str, Any], name: str) -> object:
    """What a configuration says of the encoders of an input's modality."""
    inputs = as_mapping(config.get("data", {}).get("inputs"))
    return config.get("encoders", {}).get(inputs.get(name, name))


def described(config: object) -> str:
    """`transformer (layers 2, stride 8)`."""
    if not isinstance(config, Mapping):
        return ""
    values = [
        f"{k} {', '.join(map(str, v)) if isinstance(v, list) else v}"
        for k, v in config.items()
        if k != "kind" and not isinstance(v, Mapping)
    ]
    return f"{config.get('kind', '')} ({', '.join(values)})".replace(" ()", "").strip()


def data_lines(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it was trained on, and how."""
    data, train = config.get("data", {}), config.get("train", {})
    rows = [
        ("manifest", data.get("manifest")),
        *(
            (name, train.get(name))
            for name in ("steps", "batch_size", "optimiser", "learning_rate", "modality_dropout", "modality_subsets")
        ),
    ]
    return [(name.replace("_", " "), str(value)) for name, value in rows if value is not None]


def learned(lines: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Step, held-out bits per token, of each segment; a star at the best step."""
    names = list(run_plots.held_out(lines))
    best = min((line["tune"]["bits"] for line in lines if line.get("tune")), default=None)
    rows = []
    for line in lines:
        if tune := line.get("tune"):
            star = " ★" if tune.get("bits") == best else ""
            of: dict[str | None, float | None] = {None: tune.get("bits"), **tune_segments(tune)}
            cells = [words.NONE if (bits := of.get(name)) is None else f"{bits:.3f}" for name in names]
            rows.append([f"{line['step']:,}{star}", *cells])
    return (
        rows
        if len(rows) <= 12
        else [*rows[:: max(1, len(rows) // 10)], *([] if (len(rows) - 1) % max(1, len(rows) // 10) == 0 else rows[-1:])]
    )


def summary_views(found: Found) -> list[dict[str, Any]]:
    """The figures of every record; what the metrics count is said once where it is the same for several."""
    views, said = [summary_view(name, one.summary) for name, one in found.records.items()], []
    for view in views:
        known = view["definitions"] in said
        said.append(view["definitions"])
        view["definitions"] = [] if known else view["definitions"]
    return views


def summary_view(name: str, summary: Summary) -> dict[str, Any]:
    """The figures of one record."""
    return {
        "name": name if summary.manifest is None else f"{summary.split} of {Path(summary.manifest).name}",
        "caption": name
        if summary.manifest is None
        else f"{summary.split} of {summary.manifest}, not the run's own data",
        "n": summary.n,
        "inputs": "all inputs" if summary.inputs is None else "+".join(summary.inputs) or "no input",
        "rows": list(figure_rows(summary.metrics)),
        "by": [(p, *row) for p, figures in summary.by.items() if len(parts_of(p)) == 1 for row in first_rows(figures)],
        "by_two": [
            (p, *row) for p, figures in summary.by.items() if len(parts_of(p)) > 1 for row in first_rows(figures)
        ],
        "retrieval": [
            (
                f"{one.query} → {one.gallery}",
                percent(one.figures.get("recall_at_1")),
                percent(one.figures.get("recall_at_10")),
                plain(one.figures.get("median_rank")),
                f"{one.num_entries:,}",
            )
            for one in summary.retrieval
        ],
        "definitions": [
            (f"{segment}: {words.metric_title(n)}", text)
            for segment, of in summary.definitions.items()
            for n, text in of.items()
        ],
    }


def figure_rows(figures: Mapping[str, Mapping[str, Figure]]) -> Iterator[tuple[str, ...]]:
    """Segment, metric with an arrow to where it is better, value, interval, n, constant answer."""
    for segment, metrics in figures.items():
        for name, one in metrics.items():
            constant = (
                f"{words.named_score(name, one.constant.value)} (“{one.constant.text}”)" if one.constant else words.NONE
            )
            arrow = ({True: " ↑", False: " ↓"}[SCORES[name].higher_is_better]) if name in SCORES else ""
            value = words.named_score(name, one.value).removesuffix(f" {words.LOSSES.get(name, '')}")
            yield (
                segment,
                words.metric_title(name) + arrow,
                value,
                bounds(name, one).strip() or words.NONE,
                f"{one.n:,}",
                constant,
            )


def first_rows(figures: Mapping[str, Mapping[str, Figure]]) -> Iterator[tuple[str, ...]]:
    """The first metric of each segment: what, value, interval, n, constant answer."""
    for segment, metrics in figures.items():
        for name, one in list(metrics.items())[:1]:
            constant = words.named_score(name, one.constant.value) if one.constant else words.NONE
            span = bounds(name, one).strip() or words.NONE
            yield (
                f"{segment}: {words.metric_title(name)}",
                words.named_score(name, one.value),
                span,
                f"{one.n:,}",
                constant,
            )


def percent(one: Figure | None) -> str:
    return words.NONE if one is None or one.value is None else f"{100 * one.value:.1f} %"


def plain(one: Figure | None) -> str:
    return words.NONE if one is None or one.value is None else f"{one.value:g}"


def damage_view(found: Curves) -> dict[str, Any]:
    """The curves of one split: the plot, and a table of them."""
    rows = []
    for curve in found.curves:
        for segment, lines in curve.segments.items():
            name, line = next(iter(lines.items()))
            rows.append(
                (
                    curve.title,
                    f"{segment}: {words.metric_title(name)}",
                    words.named_score(name, line.clean.value),
                    words.named_score(name, line.values[-1].value) if line.values else words.NONE,
                    f"{curve.kind.axis}: {curve.kind.levels[-1]:g}",
                    words.named_score(name, line.area.value),
                )
            )
    return {
        "split": rows_of(found),
        "n": found.n,
        "num_rows": found.num_rows,
        "plot": run_plots.damage(found),
        "rows": rows,
    }


def left_out(found: Found) -> list[str]:
    """What could not be scored, and what the measurements noted."""
    notes: list[str] = []
    for name, record in found.records.items():
        notes += [
            f"{name}, {segment}: {count:,} not scored, {reason}"
            for segment, of in record.summary.unscored.items()
            for reason, count in of.items()
        ]
        notes += record.summary.notes
    for one in (*found.explanations.values(), *found.curves.values()):
        notes += one.notes
    return list(dict.fromkeys(notes))


def commands(found: Found) -> list[str]:
    """What makes it again: the configuration in the folder is complete."""
    again = f"{found.folder}-again"
    own = " --trust-code" * any(key.endswith("kind") and ":" in str(value) for key, value in leaves(found.config))
    lines = [f"plait train {found.folder}/config.yaml --out {again}{own}"]
    lines += [f"plait evaluate {again}{own}"] * bool(found.records)
    lines += [f"plait explain {again}{own}"] * bool(found.explanations)
    lines += [f"plait explain {again} --curves{own}"] * bool(found.curves)
    return [*lines, f"plait report {again}"]


__all__ = ["Missing", "run_report", "write_run"]
