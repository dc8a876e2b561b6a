"""The options of `plait compare`, with what `--help` says of each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Argument(help="The configuration (YAML) that the arms have in common.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides of every arm, after the file: train.steps=200", show_default=False),
]
Arms = Annotated[
    list[str] | None,
    typer.Option(
        "--arms",
        metavar="KEY=A,B",
        help="An axis: fusion.kind=concat,product. Several multiply. Or a YAML file: NAME: {fusion.kind: product}. "
        "Without any: the configuration as it is, beside the baselines.",
    ),
]
From = Annotated[
    list[Path] | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Compare runs that exist, instead of training; once per run. Or models that Plait did not train, by their "
        "scores per sample: logs of inspect_ai, lmms-eval and lm-evaluation-harness, tables (CSV, JSON lines, Parquet); "
        "NAME=FILE names an arm.",
    ),
]
GroupBy = Annotated[
    list[str] | None,
    typer.Option(
        "--group-by",
        metavar="KEY",
        help="With --from FILE: the metadata or column that names what must not be counted twice, such as the speaker.",
    ),
]
HigherIsBetter = Annotated[
    bool | None,
    typer.Option(
        "--higher-is-better/--lower-is-better",
        help="With --from FILE; default: as the file says, or by the metric's name (wer, loss, perplexity: lower).",
        show_default=False,
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="Trainings of each arm; 5 or more can tell arms apart. Default: 5."),
]
Power = Annotated[
    float | None,
    typer.Option(
        "--power",
        metavar="POINTS",
        help="Instead of --seeds: as many as it takes to see such a lead in 80 % of comparisons, if an arm's score varies "
        "by 1 point from seed to seed.",
    ),
]
Worth = Annotated[
    float | None,
    typer.Option(
        "--worth",
        metavar="POINTS",
        help="The smallest lead that matters, in points (in the metric's unit if it is not in per cent). That there is none is "
        "only said where it would have been seen. Default: 2 points, or 5 % of the best arm's score.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="Where runs and results go; default: runs/compare-NAME of the configuration."),
]
Baselines = Annotated[
    bool,
    typer.Option(
        "--baselines/--no-baselines",
        help="Also each input alone (of more than four: all but each), no input, the best constant answer: what to beat.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Trainings at once; default: one per core, each with one thread."),
]
LearningRates = Annotated[
    str | None,
    typer.Option("--learning-rates", metavar="A,B,C", help="Each arm tries these; the best held-out loss decides."),
]
Match = Annotated[
    str, typer.Option("--match", help="Solve the fusions' inner width for equal: parameters, flops, none.")
]
Race = Annotated[
    bool,
    typer.Option("--race", help="First short trainings; what is measurably worse there is not trained further."),
]
EncodersFrom = Annotated[
    list[Path] | None,
    typer.Option("--encoders-from", metavar="RUN", help="Frozen encoders: those of this run, for all it reads."),
]
Segment = Annotated[str | None, typer.Option("--segment", help="What is scored; default: the last segment.")]
Metric = Annotated[str | None, typer.Option("--metric", help="By which metric; default: the segment's first.")]
Explained = Annotated[int, typer.Option("--explain", min=0, help="Explain so many of the best arms.")]
PriceSeconds = Annotated[
    float,
    typer.Option("--price-seconds", min=0.0, help="How long costs are measured, all arms together; 0: not at all."),
]
