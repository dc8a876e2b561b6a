"""A comparison: train every arm at every seed on equal terms, then say what the records show.

In: a configuration's tree, arms, seeds.
Out: a `ComparisonResult`, written into the comparison's folder beside the runs.
Invariant: the folder is the whole state: what is trained there is not trained again, what was begun is gone on with, and a
comparison that was stopped at any instant goes on with the same words.

    FOLDER/choice.json            number type, attention, matrix products: measured once, the same for all arms
    FOLDER/trials/ARM/lr-0.001    a learning-rate trial
    FOLDER/race/1/ARM/seed-0      a run of the first rung of a race
    FOLDER/runs/ARM/seed-0        a run; in it cost.json: what it took
    FOLDER/logs                   what each training printed
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from plait.compare.arms import Arm, arms_of, slug
from plait.compare.board import Board, shown
from plait.compare.collect import collect
from plait.compare.collected import Collected
from plait.compare.compared import Compared, Settings
from plait.compare.drive import Outcome, Task, run_tasks
from plait.compare.match import match
from plait.compare.planned import foreseen
from plait.compare.race import RaceRow, race
from plait.compare.result import RESULT, ComparisonResult, Term
from plait.compare.statistics.table import DENOMINATORS, default_metric
from plait.compare.tasks import choose_task, facts_path, is_done, train_task
from plait.config import RunConfig, apply_overrides, make_config
from plait.config.before import FORMAT, as_written
from plait.data.manifest import Dataset
from plait.data.text import Tokenizer
from plait.environment import memory_gb
from plait.errors import UserError, did_you_mean
from plait.evaluate import LOSS_NAMES
from plait.evaluate.choice import metrics_for
from plait.evaluate.run import split_of
from plait.features import can_cache
from plait.run import ENVIRONMENT, format_of, make_folder, replacing, write_json
from plait.train.fit import read_data, resolved, texts_of
from plait.train.lock import locked
from plait.writing import read_json

CHOICE = "choice.json"
TRIAL_SEED = 1000
"""Added to the first seed for learning-rate trials, so that no seed of the comparison is chosen by its own luck."""

JOB_GB = 2.0
"""What is set aside for a training where nobody says how many run at once."""

Say = Callable[[str], None]


def jobs_for(config: RunConfig) -> int:
    """On a CPU one process per core, each computing in its own threads, as far as the memory goes; on a GPU one at a time."""
    if config.train.device != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = memory_gb()
    return max(1, min(cores // (config.train.threads or 1), cores if memory is None else int(memory / JOB_GB)))


def run_comparison(
    tree: Mapping[str, Any], words: Sequence[str], wanted: Settings, *, say: Say = lambda _: None
) -> ComparisonResult:
    """Compare the arms that `words` name: axes (`fusion.kind=concat,product`) and YAML files of arms."""
    check(wanted)
    tree = as_written(tree, oldest_format(wanted.folder))  # a comparison that an older Plait began goes on as it began
    base = make_config(tree)
    dataset = read_data(base)
    arms = arms_of(tree, words, modalities=dataset.modalities, baselines=wanted.baselines)
    if len(arms) < 2:
        right = "Name more (--arms fusion.kind=concat,product), or leave --no-baselines out"
        raise UserError(f"{arms[0].name!r} is the only arm", where="--arms", right=right)
    base = fixed(base, dataset)
    check_split(base, dataset, arms)
    if wanted.race:
        check_race(dataset)
    wanted = replace(with_metric(wanted, base), jobs=wanted.jobs or jobs_for(base))
    wanted = foreseen(wanted, arms, split_of(dataset.samples, base.evaluate.split), say)
    for modality in base.encoders.freeze:
        if why := can_cache(base, modality):
            say(f"{modality} features are computed at every step: {why}")
    make_folder(wanted.folder, option="--folder")
    with locked(wanted.folder):
        comparison = Running(wanted, base, dataset, say)
        compared = comparison.resolve(arms)
        term = comparison.matched(compared)
        comparison.tried(compared)
        raced = comparison.raced(compared) if wanted.race else []
        comparison.trained(compared)
        collected = Collected(wanted, base, dataset, compared, raced, match=term)
        result = collect(collected, tell=comparison.run, say=say)
        result.write(wanted.folder)
    return result


def oldest_format(folder: Path) -> int:
    """The format of the oldest run of a comparison; today's where nothing is trained yet."""
    runs = (path.parent for part in ("runs", "trials", "race") for path in (folder / part).rglob(ENVIRONMENT))
    return min(map(format_of, runs), default=FORMAT)


def check(wanted: Settings) -> None:
    """What cannot be compared is refused before anything is read."""
    if len(set(wanted.seeds)) < len(wanted.seeds) or not wanted.seeds:
        raise UserError(
            f"the seeds {', '.join(map(str, wanted.seeds)) or '(none)'}", where="--seeds", right="Give each once"
        )
    if wanted.folder.exists() and not wanted.folder.is_dir():
        raise UserError(f"{wanted.folder} is a file", where="--folder", right="Take another name")
    known = {
        CHOICE,
        "trials",
        "race",
        "runs",
        "logs",
        ".lock",
        RESULT,
        "report.html",
        "scores.parquet",
        "scores.csv",
        "prices.json",
    }
    there = wanted.folder.iterdir() if wanted.folder.exists() else ()  # half a file that a kill left is hidden
    strange = sorted(p.name for p in there if p.name not in known and p.suffix != ".html" and p.name[0] != ".")
    if strange:
        raise UserError(
            f"{wanted.folder} holds {strange[0]!r}, so it is no comparison", where="--folder", right="Take another name"
        )


def check_split(base: RunConfig, dataset: Dataset, arms: Sequence[Arm] = ()) -> None:
    """A split on which no verdict is possible is refused before anything is trained, and arms that are asked on another one."""
    for arm in arms:
        if arm.config is not None and arm.config.evaluate.split != base.evaluate.split:
            raise UserError(
                f"{arm.name!r} is evaluated on the split {arm.config.evaluate.split!r}, others on {base.evaluate.split!r}",
                where="--arms",
                right="Name the split for all arms: evaluate.split=… after the configuration",
            )
    chosen = split_of(dataset.samples, base.evaluate.split)
    if len(chosen) < 2:
        raise UserError(
            f"{len(chosen)} sample in split {base.evaluate.split!r}: too small for any verdict",
            where=base.data.manifest,
            right="Give it at least 2 samples; 20 or more give intervals that mean something",
        )


def check_race(dataset: Dataset) -> None:
    """A race needs held-out samples that can part arms."""
    tune = dataset.split("tune")
    if not tune:
        right = "Give some rows `split: tune`, or leave --race out"
        raise UserError("no row is in the split 'tune', on which arms are dropped", where="--race", right=right)
    if len(tune) < 2:
        right = "Give it at least 2 samples, or leave --race out"
        raise UserError("1 sample in split 'tune': too small for any verdict", where="--race", right=right)


def with_metric(wanted: Settings, base: RunConfig) -> Settings:
    """The settings with the segment and the metric stated; one that no record will have is refused."""
    metrics = base.evaluate.metrics or {}
    if wanted.segment is not None and wanted.segment not in metrics:
        raise UserError(
            f"no segment {wanted.segment!r}", where="--segment", right=did_you_mean(wanted.segment, metrics)
        )
    segment = wanted.segment or list(metrics)[-1]
    known = [*metrics[segment], *LOSS_NAMES]
    comparable = [name for name in known if name in DENOMINATORS]
    if wanted.metric is not None and wanted.metric not in comparable:
        what = f"no metric {wanted.metric!r} of segment {segment!r}"
        if wanted.metric in known:
            what = f"{wanted.metric} is no sum over samples, so differences have no exact share per sample"
        raise UserError(what, where="--metric", right=did_you_mean(wanted.metric, comparable))
    return replace(wanted, segment=segment, metric=wanted.metric or default_metric(known))


def fixed(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with everything stated that all arms share: inputs, segments, metrics, threads, no loader workers.

    Features of frozen encoders come from the cache wherever they can.
    """
    threads = config.train.threads
    config = resolved(config, dataset)
    scored = split_of(dataset.samples, config.evaluate.split)
    metrics = metrics_for(config.evaluate, scored, dataset.segments, config.inputs)
    on_cpu = config.train.device == "cpu"
    cached = [m for m in config.encoders.freeze if not can_cache(config, m)]
    return config.model_copy(
        update={
            "evaluate": config.evaluate.model_copy(update={"metrics": metrics}),
            "encoders": config.encoders.model_copy(update={"cache": tuple(cached)}),
            "train": config.train.model_copy(update={"threads": threads or (1 if on_cpu else None)}),
            "data": config.data.model_copy(
                update={"workers": 0 if config.data.workers is None else config.data.workers}
            ),
        }
    )


class Running:
    """A comparison under way."""

    def __init__(self, wanted: Settings, base: RunConfig, dataset: Dataset, say: Say) -> None:
        self.wanted, self.base, self.dataset, self.say = wanted, base, dataset, say

    def run(self, tasks: Sequence[Task], *, num_done: int = 0, quiet: bool = False) -> dict[str, Outcome]:
        """The tasks in parallel, shown while they run."""
        if not tasks:
            return {}
        if quiet:
            return run_tasks(tasks, jobs=self.wanted.jobs)
        with shown(Board(tasks, jobs=self.wanted.jobs, num_done=num_done)) as board:
            return run_tasks(tasks, jobs=self.wanted.jobs, watcher=board)

    def log(self, name: str) -> Path:
        """The log of a task."""
        return self.wanted.folder / "logs" / f"{slug(name)}.log"

    def resolve(self, arms: Sequence[Arm]) -> list[Compared]:
        """Every arm's configuration with everything stated; an arm for which that fails has its reason."""
        chosen = self.choice()
        datasets = {self.base.data.model_dump_json(): self.dataset}
        found = []
        for arm in arms:
            one = Compared(arm, None, notes=list(arm.notes))
            found.append(one)
            if arm.config is None:
                continue
            try:
                key = arm.config.data.model_dump_json()
                dataset = datasets[key] = datasets.get(key) or read_data(arm.config)
                own = fixed(arm.config, dataset)
            except UserError as error:
                one.reason = str(error)
                continue
            changed = {k: v for k, v in chosen.items() if getattr(own.train, k) == "auto"}
            one.config = own.model_copy(
                update={
                    "train": own.train.model_copy(update=changed),
                    "evaluate": own.evaluate.model_copy(update={"metrics": self.base.evaluate.metrics}),
                }
            )
            refuse_twin(one, found[:-1], rates=self.wanted.learning_rates)
        return found

    def choice(self) -> dict[str, Any]:
        """What a probe found to be fastest for the configuration, on the first day of the comparison."""
        train = self.base.train
        if "auto" not in (train.dtype, train.attention, train.matmul):
            return {}
        path = self.wanted.folder / CHOICE
        if not path.exists():
            task = Task("choosing by measuring", choose_task, {"tree": self.base.model_dump(mode="json")})
            outcome = self.run([task], quiet=True)[task.name]
            if not outcome.done:
                raise UserError(outcome.failure, where="the configuration")
            with replacing(path) as part:
                write_json(part, outcome.value)
        again = "Remove it: it is then measured again, and arms that are trained keep what they have."
        chosen = read_json(path, right=again)
        if missing := [name for name in ("dtype", "matmul", "attention") if name not in chosen]:
            raise UserError(f"damaged: it lacks {', '.join(missing)}", where=str(path), right=again)
        told = f"{chosen['dtype']}, matrix products {chosen['matmul']}, {chosen['attention']} attention"
        self.say(f"chosen by measuring, for all arms: {told}")
        return chosen

    def matched(self, compared: Sequence[Compared]) -> Term | None:
        """Solve the fusions' inner widths so that the candidates are of the configuration's size."""
        candidates = {c.arm.name: c.config for c in compared if c.config is not None and c.arm.role == "candidate"}
        if self.wanted.match == "none" or len(candidates) < 2:
            return None
        samples, data = self.dataset.split("train", needed=True), self.base.data
        tokenizer = Tokenizer.train(data.tokenizer, texts_of(samples), data.segments or ())
        found = match(self.base, candidates, tokenizer, target=self.wanted.match)
        for one in compared:
            row = found.arms.get(one.arm.name)
            if row is None or one.config is None:
                continue
            if row.before is None and row.note.startswith("it cannot be built"):
                one.reason = row.note
            if row.overrides:
                one.arm = replace(one.arm, overrides=(*one.arm.overrides, *row.overrides))
                one.config = make_config(apply_overrides(one.config.model_dump(mode="json"), row.overrides))
            one.notes += [note for note in (row.left if not found.is_equal(one.arm.name) else "", row.narrowed) if note]
        return found.term()

    def tried(self, compared: Sequence[Compared]) -> None:
        """Each arm's learning rate, by the held-out loss of one trial per rate."""
        rates = self.wanted.learning_rates
        if len(rates) == 1:
            for one in compared:
                one.learning_rate = rates[0]
        elif rates:
            if not self.dataset.split("tune"):
                right = "Give some rows `split: tune`, or leave --learning-rates out"
                raise UserError(
                    "no row is in the split 'tune', by which a rate is chosen", where="--learning-rates", right=right
                )
            self.try_rates(compared, rates)
        for one in compared:
            if one.learning_rate is not None and one.config is not None:
                one.config = one.at(one.config.seed, learning_rate=one.learning_rate)

    def try_rates(self, compared: Sequence[Compared], rates: Sequence[float]) -> None:
        """One trial per arm and rate."""
        seed = self.wanted.seeds[0] + TRIAL_SEED
        trials = [(one, rate) for one in compared if one.trains for rate in rates]
        outcomes = self.train_all(
            {
                (one.arm.name, rate): (
                    f"{one.arm.name}, learning rate {rate:g}",
                    self.wanted.folder / "trials" / one.arm.slug / f"lr-{rate:g}",
                    one.at(seed, learning_rate=rate),
                )
                for one, rate in trials
            },
            scored="nothing",
        )
        for one in compared:
            bits = {
                rate: outcomes[one.arm.name, rate].value["best_bits"]
                for rate in rates
                if self.worked(outcomes, one, rate)
            }
            if bits:
                one.learning_rate = min(bits, key=lambda rate: bits[rate])
                told = ", ".join(f"{rate:g}: {value:.3f}" for rate, value in bits.items())
                one.notes.append(f"learning rate {one.learning_rate:g}, of trials with held-out bits per token {told}")
            elif one.trains:
                one.reason = f"no learning rate worked: {outcomes[one.arm.name, rates[0]].failure}"

    def worked(self, outcomes: Mapping[Any, Outcome], one: Compared, rate: float) -> bool:
        """Whether a trial gave a loss."""
        outcome = outcomes.get((one.arm.name, rate))
        return outcome is not None and outcome.done and outcome.value["best_bits"] is not None

    def raced(self, compared: Sequence[Compared]) -> list[RaceRow]:
        """Drop candidates that short trainings find measurably worse."""
        candidates = [one for one in compared if one.trains and one.arm.role == "candidate"]
        return race(candidates, self.wanted, self.train_all, self.say)

    def trained(self, compared: Sequence[Compared]) -> None:
        """Every arm at every seed."""
        cells = {
            (one.arm.name, seed): (
                f"{one.arm.name}, seed {seed}",
                self.wanted.folder / "runs" / one.arm.slug / f"seed-{seed}",
                one.at(seed),
            )
            for seed in self.wanted.seeds
            for one in compared
            if one.trains
        }
        seeds, jobs = len(self.wanted.seeds), self.wanted.jobs
        self.say(
            f"{len(cells)} trainings: {len(cells) // seeds} arms × {seeds} {'seed' if seeds == 1 else 'seeds'}, {jobs} at once"
        )
        outcomes = self.train_all(cells)
        for one in compared:
            for seed in self.wanted.seeds:
                if (one.arm.name, seed) in cells:
                    one.folders[seed] = cells[one.arm.name, seed][1]
                outcome = outcomes.get((one.arm.name, seed))
                if outcome is not None and outcome.done:
                    one.facts[seed] = outcome.value
                elif outcome is not None and not one.reason:
                    one.reason = f"seed {seed}: {outcome.failure}"

    def train_all(
        self, cells: Mapping[Any, tuple[str, Path, RunConfig]], scored: Literal["split", "losses", "nothing"] = "split"
    ) -> dict[Any, Outcome]:
        """Train and evaluate what is not done yet: key → (name, folder, configuration)."""
        outcomes: dict[Any, Outcome] = {}
        tasks: dict[Any, Task] = {}
        for key, (name, folder, config) in cells.items():
            if is_done(folder, config, scored, trust_code=self.wanted.trust_code):
                again = "Remove it: the run is then evaluated again, not trained."
                outcomes[key] = Outcome(read_json(facts_path(folder), right=again))
                continue
            arguments = {"tree": config.model_dump(mode="json"), "folder": folder, "scored": scored}
            arguments["trust_code"] = self.wanted.trust_code
            tasks[key] = Task(name, train_task, arguments, self.log(name))
        if outcomes and tasks:
            self.say(f"{len(outcomes)} of {len(cells)} trainings are done already")
        ran = self.run(list(tasks.values()), num_done=len(outcomes))
        return outcomes | {key: ran[task.name] for key, task in tasks.items()}


def refuse_twin(one: Compared, others: Sequence[Compared], *, rates: Sequence[float]) -> None:
    """One message for two arms that are the same once everything is stated; where rates are tried, an arm's own one is none."""

    def trained(arm: Compared) -> RunConfig | None:
        if arm.config is None:
            return None
        return arm.at(0, learning_rate=rates[0]) if rates else arm.at(0)

    twin = next((other for other in others if trained(other) == trained(one)), None)
    if twin is not None:
        why = "with the rates that all arms try" if rates else "with everything stated that they leave open"
        raise UserError(
            f"{twin.arm.name!r} and {one.arm.name!r} are the same configuration {why}",
            where="--arms",
            right="Leave one of them out",
        )


def seeds_from(number: int, first: int) -> tuple[int, ...]:
    """`number` seeds from `first` on."""
    return tuple(range(first, first + number))
