"""Everything that the command line does, as short calls.

In: a configuration or the folder of a run.
Out: a trained model that can be asked, evaluated and kept.

    import plait
    model = plait.train("run.yaml", "runs/first")
    model = plait.load("runs/first")
    model.generate(image="cat.png", audio="question.wav").segments
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from plait.compare.accept import accept_runs
from plait.compare.compared import Settings
from plait.compare.result import ComparisonResult
from plait.compare.run import oldest_format, run_comparison, seeds_from
from plait.config import GenerateConfig, RunConfig, apply_overrides, make_config, read_config
from plait.config.before import left_to_run
from plait.config.reading import read_shared
from plait.data.manifest import Dataset, LeftOut, read_manifest
from plait.data.row import missing, short
from plait.data.splits import known_split
from plait.errors import UserError, did_you_mean
from plait.evaluate import Record, record_path, write_record
from plait.evaluate.answerer import RunAnswerer
from plait.evaluate.inputs import checked_inputs
from plait.evaluate.measured import notes_of, other_manifest, weights_of_run
from plait.evaluate.whole import evaluate_run
from plait.explain import (
    Explanation,
    SampleExplanation,
    can_plot,
    explain,
    explain_sample,
    find_sample,
    plot,
    plot_sample,
)
from plait.explain.curves import LIMIT, Curves, curves
from plait.explain.curves import plot as plot_curves
from plait.explain.players import Groups
from plait.explain.verdict import WORTH
from plait.files import hint_of, open_regular
from plait.generate import Generated, choice_notes, next_tokens, stream
from plait.losses.links import TARGET
from plait.modalities.base import Field, FieldError
from plait.report import comparison_report, run_report
from plait.run import Run
from plait.search import Found, Query, check_links, embed, find, open_index, say_words
from plait.train import Progress, fit, usable_device
from plait.types import Sample

Kept = TypeVar("Kept", Record, Explanation, SampleExplanation, Curves)
Measured = TypeVar("Measured", Explanation, Curves)


def train(
    config: RunConfig | Path | str | None,
    folder: Path | str,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    progress: Progress | None = None,
    trust_code: bool = False,
    accept_changes: bool = False,
) -> TrainedModel:
    """Train what a configuration (or its YAML file) says, in a new folder; with `resume` go on with the run in it.

    `trust_code`: import the modules that a run names (one that is resumed, or that encoders start from); what your own
    configuration names is imported anyway. `accept_changes`: take files of a run that were changed since Plait wrote them, and
    note that in the run.
    """
    if isinstance(config, Path | str):
        config = read_config(Path(config), overrides, trust_code=trust_code)
    fitted = fit(config, folder, resume=resume, progress=progress, trust_code=trust_code, accept_changes=accept_changes)
    return TrainedModel(fitted.run)


def compare(
    config: RunConfig | Path | str,
    arms: Sequence[str] = (),
    folder: Path | str = "runs/compare",
    *,
    seeds: int = 5,
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = print,
    accept_changes: bool = False,
    **options: Any,
) -> ComparisonResult:
    """Train arms on equal terms and say which is measurably better; the same call goes on where it was stopped.

    `arms`: axes (`fusion.kind=concat,product`) and YAML files of arms, as for `plait compare`; `options` are those of
    `plait.compare.compared.Settings`; `accept_changes` as for `load`.

    In a script call it under `if __name__ == "__main__":`, since it starts processes.
    """
    if isinstance(config, RunConfig):
        meant = left_to_run(config, oldest_format(Path(folder)))
        tree = apply_overrides(meant.model_dump(mode="json"), overrides)
    else:
        tree = read_shared(Path(config), overrides, trust_code=bool(options.get("trust_code")))
    wanted = Settings(Path(folder), seeds_from(seeds, 0), **options)
    for note in accept_runs([], tree, wanted.folder) if accept_changes else []:
        say(note)
    result = run_comparison(tree, arms, wanted, say=say)
    comparison_report(result, wanted.folder)
    return result


def load(
    folder: Path | str,
    *,
    device: str = "cpu",
    say: Callable[[str], None] | None = None,
    trust_code: bool = False,
    accept_changes: bool = False,
) -> TrainedModel:
    """The trained model in a run's folder. `device`: `auto` for the best there is.

    `say` is told what is added to the cache of features (`encoders.cache`), and what was changed in the run since it was written;
    without it the latter are Python warnings. `accept_changes`: take what else would be refused, and note that in the run.
    `trust_code`: import the modules that the run names (`kind: my_module:MyConfig`); without it such a run is refused.
    """
    run = Run.load(
        folder,
        device=usable_device(device, where="device"),
        trust_code=trust_code,
        accept_changes=accept_changes,
    )
    for note in run.notes:
        if say is None:
            warnings.warn(note, stacklevel=2)
        else:
            say(note)
    return TrainedModel(run, say or (lambda _: None))


class TrainedModel:
    """A run's model, ready to be asked."""

    def __init__(self, run: Run, say: Callable[[str], None] = lambda _: None) -> None:
        self.run, self.say = run, say

    def sample(
        self,
        *,
        text: str | None = None,
        image: str | Path | Sequence[str | Path] = (),
        audio: str | Path | None = None,
        id: str = "request",
        inputs: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Sample:
        """Inputs by the names of the run's as a sample; one that the model does not read is refused, not passed over.

        `inputs`: by name as well, whatever the names are.
        """
        images = image if isinstance(image, str | Path | bytes) else list(image)
        given: dict[str, Any] = {}
        for part in (inputs or {}, named, {"text": text, "image": images, "audio": audio}):
            for name, value in part.items():
                if missing(value):
                    continue
                if name in given:
                    raise UserError(f"{name} is given twice", right="Give it by its name, or in `inputs`")
                given[name] = value
        self.refuse_unread(given)
        found: dict[str, tuple[Any, ...]] = {}
        for name in self.run.inputs:
            if name in given:
                try:
                    items = self.run.config.data.modality_of(name).items(given[name], Field(name, short, existing))
                except FieldError as error:
                    raise UserError(error.what, right=error.right) from None
                found |= {name: items} if items else {}
        return Sample(id, "test", inputs=found)

    def refuse_unread(self, modalities: Iterable[str]) -> None:
        """One message for a modality that the model does not read."""
        for modality in modalities:
            if modality not in self.run.inputs:
                known = ", ".join(self.run.inputs) or "no inputs"
                raise UserError(f"this model does not read {modality}", right=f"It reads {known}")

    def generate(
        self,
        *,
        text: str | None = None,
        image: str | Path | Sequence[str | Path] = (),
        audio: str | Path | None = None,
        inputs: Mapping[str, Any] | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
        **options: Any,
    ) -> Generated:
        """What the model says to these inputs; `options` are those of `GenerateConfig` (method, temperature, …).

        Inputs are given by their names (`before="a.png"`), in `inputs` whatever they are called.
        """
        named = {name: options.pop(name) for name in [*options] if name not in GenerateConfig.model_fields}
        sample = self.sample(text=text, image=image, audio=audio, inputs=inputs, **named)
        return next(self.answer([sample], choices=choices, **options))

    def answer(
        self,
        samples: Iterable[Sample],
        *,
        batch_size: int = 32,
        choices: Mapping[str, Sequence[str]] | None = None,
        begun: str = "",
        left_out: Callable[[LeftOut], None] | None = None,
        **options: Any,
    ) -> Iterator[Generated]:
        """What the model says to each sample, in order, as batches are done; `begun` are its first words, to be continued.

        `left_out` is told of each sample that cannot be read (with `data.on_error: skip`); without it such a sample is refused.
        """
        known = self.known_choices(choices)
        if self.run.tokenizer.unknown_id in self.run.tokenizer.encode(begun):
            self.say(f"the model does not know all words of {begun!r}: those are missing from what it writes")
        answerer = RunAnswerer(self.run, self.options(**options), choices=known, begun=begun, cached=False)
        remaining, told = iter(samples), 0
        while part := list(islice(remaining, batch_size)):
            batches = list(answerer.batches(part, batch_size))
            for gone in list(answerer.left_out.values())[told:]:
                if left_out is None:
                    raise UserError(gone.reason, where=gone.where or gone.id)
                left_out(gone)
            told = len(answerer.left_out)
            for batch in batches:
                yield from answerer.generate(batch)

    def stream(self, sample: Sample, **options: Any) -> Iterator[tuple[str, str]]:
        """(segment, its text so far) after every token."""
        answerer = RunAnswerer(self.run, self.options(**options), cached=False)
        batch = answerer.batch(sample)
        yield from stream(self.run.model, self.run.tokenizer, batch, answerer.config)

    def next_tokens(self, sample: Sample, begun: str, num: int, segment: str | None = None) -> list[tuple[str, float]]:
        """The likeliest next tokens after `begun`, with their probabilities."""
        batch = RunAnswerer(self.run, cached=False).batch(sample)
        return next_tokens(self.run.model, self.run.tokenizer, batch, begun, num, segment)

    def evaluate(
        self,
        split: str | None = None,
        *,
        inputs: Sequence[str] | None = None,
        manifest: Path | str | None = None,
        progress: Any = None,
        write: bool = True,
        **options: Any,
    ) -> Record:
        """Answer a split and score it; the record goes into the run's folder unless `write` is False."""
        config = self.run.config.evaluate
        if split is not None:
            config = config.model_copy(update={"split": split})
        if inputs is not None:
            config = config.model_copy(update={"inputs": tuple(inputs)})
        if config.inputs is not None:
            where = "evaluate.inputs" if inputs is None else "--inputs"
            config = config.model_copy(update={"inputs": checked_inputs(config.inputs, self.run.inputs, where=where)})
        return evaluate_run(
            self.run,
            self.dataset(manifest),
            config=config,
            options=self.options(**options),
            manifest=other_manifest(self.run, manifest),
            write=write,
            progress=progress,
            say=self.say,
        )

    def explain(
        self,
        split: str | None = None,
        *,
        manifest: Path | str | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        worth: float | int = WORTH,
        players: Groups | None = None,
        orders: int | None = None,
        progress: Any = None,
        write: bool = True,
    ) -> Explanation:
        """How many bits each input brings to a split; into the run's folder (and a picture of it) unless `write` is False.

        `worth`: per cent of a segment's loss without inputs; a smaller effect is called none that matters. `players`: inputs that
        are credited together, as `[["before", "after"], "voice"]`. `orders`: credits from so many sampled orders per sample; None:
        exact ones of up to five players, else 8 orders.
        """
        config, dataset = self.run.config, self.dataset(manifest)
        found = explain(
            self.run,
            dataset.samples,
            split=split or config.evaluate.split,
            seed=config.seed if seed is None else seed,
            batch_size=batch_size or config.evaluate.batch_size,
            worth=worth,
            players=players,
            orders=orders,
            progress=progress,
            say=self.say,
        )
        caveats = notes_of(weights_of_run(self.run), other_manifest(self.run, manifest))
        return self.kept(replace(self.of_these(found, dataset, manifest), caveats=tuple(caveats)), write)

    def explain_sample(
        self,
        id: str,
        *,
        split: str | None = None,
        manifest: Path | str | None = None,
        batch_size: int | None = None,
        progress: Any = None,
        write: bool = True,
    ) -> SampleExplanation:
        """Where the model looked for one sample and what it needed; into the run's folder, with a picture, unless `write` is False.

        `split`: where the id is looked for; None = everywhere. A row without a target is explained after the model's own answer.
        """
        sample = find_sample(
            self.rows_with(id, manifest), id, None if split is None else known_split(split, where="--split")
        )
        found = explain_sample(
            self.run, sample, batch_size=batch_size or self.run.config.evaluate.batch_size, progress=progress
        )
        note = weights_of_run(self.run).note
        notes = (*found.notes, note) if note else found.notes
        return self.kept(replace(found, manifest=other_manifest(self.run, manifest), notes=notes), write)

    def rows_with(self, id: str, manifest: Path | str | None) -> list[Sample]:
        """The samples among which one is looked for: the run's own, then rows without a target as well."""
        data = self.run.config.data
        if manifest is None:
            samples = self.dataset().samples
            if data.on_error == "stop" or any(sample.id == id for sample in samples):
                return samples
        return read_manifest(
            Path(manifest or data.manifest),
            inputs=self.run.config.inputs,
            split=data.split,
            **data.reading,
            require_targets=False,
        ).samples

    def curves(
        self,
        split: str | None = None,
        *,
        limit: int = LIMIT,
        manifest: Path | str | None = None,
        batch_size: int | None = None,
        seed: int | None = None,
        progress: Any = None,
        write: bool = True,
        **options: Any,
    ) -> Curves:
        """Scores against growing damage to each modality, on `limit` samples (0: all); written as `explain` writes.

        `options` are those of `GenerateConfig`, as for `evaluate`.
        """
        config, dataset = self.run.config, self.dataset(manifest)
        found = curves(
            RunAnswerer(self.run, self.options(**options), say=self.say),
            dataset.samples,
            split=split or config.evaluate.split,
            limit=limit,
            seed=config.seed if seed is None else seed,
            batch_size=batch_size or config.evaluate.batch_size,
            progress=progress,
        )
        return self.kept(self.of_these(found, dataset, manifest), write)

    def of_these(self, found: Measured, dataset: Dataset, manifest: Path | str | None) -> Measured:
        """The measurement, which says of which rows and of which weights it is."""
        weights, other = weights_of_run(self.run), other_manifest(self.run, manifest)
        notes = (*notes_of(weights, other), *found.notes, *dataset.notes)
        return replace(found, manifest=other, step=weights.step, notes=notes)

    def kept(self, found: Kept, write: bool) -> Kept:
        """The same, after it was written if it is to be."""
        if write:
            self.keep(found)
        return found

    def keep(self, found: Record | Explanation | SampleExplanation | Curves) -> None:
        """Write what `evaluate`, `explain`, `explain_sample` or `curves` found into the run's folder, and a picture of it."""
        folder = self.run.folder
        if isinstance(found, Record):
            of = found.summary
            write_record(found, record_path(folder, of.split, of.inputs, of.manifest, order=self.run.inputs))
            return
        found.write(folder)
        if not can_plot():
            return
        if isinstance(found, Explanation):
            plot(found, folder)
        elif isinstance(found, SampleExplanation):
            plot_sample(found, folder)
        else:
            plot_curves(found, folder)

    @property
    def unfinished(self) -> str | None:
        """A sentence about weights of a training that has not ended; None where it has."""
        return weights_of_run(self.run).note

    def report(self, out: Path | str | None = None) -> Path:
        """`report.html` in the run's folder (or `out`): what evaluations and explanations have found so far, as one page."""
        return run_report(self.run.folder, out=None if out is None else Path(out))

    def embed(
        self,
        target: str | None = None,
        *,
        text: str | None = None,
        image: str | Path | Sequence[str | Path] = (),
        audio: str | Path | None = None,
    ) -> Float[Tensor, " D"]:
        """The vector of one side, of length 1: cosines between the sides of a run with links (`train.alignment`) are products."""
        return self.query(target, text=text, image=image, audio=audio).vector

    def search(
        self,
        target: str | None = None,
        *,
        manifest: Path | str,
        text: str | None = None,
        image: str | Path | Sequence[str | Path] = (),
        audio: str | Path | None = None,
        of: str | None = None,
        top: int = 10,
        index: Path | str | None = None,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Found:
        """The items of a manifest most like the words of a target, a text, a picture or a sound; `of`: the side to search.

        Without `of` the words search every modality, and an input every other side. The manifest's vectors are kept in `index`
        (default: beside the run) and used again while nothing of it changed.
        """
        query = self.query(target, text=text, image=image, audio=audio)
        sides = check_links(self.run).sides
        if of is not None and of not in sides:
            raise UserError(f"this model has no {of!r} to search", where="--of", right=did_you_mean(of, sides))
        size = batch_size or self.run.config.evaluate.batch_size
        opened = open_index(
            self.run, Path(manifest), None if index is None else Path(index), batch_size=size, progress=progress
        )
        wanted = [of] if of else [side for side in sides if side != query.side]
        hits = {side: find(opened.galleries[side], query.vector, top) for side in wanted}
        if not any(hits.values()):
            right = f"Its rows have: {', '.join(s for s, g in opened.galleries.items() if g.items) or 'nothing'}"
            raise UserError(f"no row has {' or '.join(wanted)}", where=str(manifest), right=right)
        return Found(hits, opened, query)

    def query(
        self,
        target: str | None = None,
        *,
        text: str | None = None,
        image: str | Path | Sequence[str | Path] = (),
        audio: str | Path | None = None,
    ) -> Query:
        """What is searched for: exactly one of the words of a target, a text, a picture (or several as one), a sound."""
        check_links(self.run)
        sample = self.sample(text=text, image=image, audio=audio)
        if (target is not None) + len(sample.present) != 1:
            right = "Give the words of a target, or one input: text, image or audio"
            raise UserError("a search begins with one thing", right=right)
        if target is not None:
            vector, unknown = say_words(self.run, target)
            return Query(TARGET, vector, unknown)
        return Query(sample.present[0], embed(self.run, sample))

    def dataset(self, manifest: Path | str | None = None) -> Dataset:
        """The data of the run, or of another manifest with the same segments."""
        data = self.run.config.data
        return read_manifest(
            Path(manifest or data.manifest),
            inputs=self.run.config.inputs,
            segments=self.run.segments,
            split=data.split,
            **data.reading,
        )

    def unlabelled(self, manifest: Path | str) -> Dataset:
        """The rows of a manifest that need no target."""
        data = self.run.config.data
        return read_manifest(
            Path(manifest),
            inputs=self.run.config.inputs,
            **data.reading,
            require_targets=False,
        )

    def options(self, **options: Any) -> GenerateConfig:
        """The run's own options of generation with the given ones changed."""
        given = {name: value for name, value in options.items() if value is not None}
        tree = self.run.config.model_dump(mode="json")
        return make_config({**tree, "generate": {**tree["generate"], **given}}, where="options").generate

    def known_choices(self, choices: Mapping[str, Sequence[str]] | None) -> Mapping[str, Sequence[str]] | None:
        """The answers to choose from, if their segments exist and they are not empty."""
        for segment, answers in (choices or {}).items():
            if segment not in self.run.segments:
                raise UserError(f"no segment {segment!r}", right=f"This model says {', '.join(self.run.segments)}")
            if not answers:
                raise UserError(f"no answers to choose from for {segment!r}")
        for note in choice_notes(self.run.tokenizer, choices or {}):
            self.say(note)
        return choices


def existing(path: str | Path) -> Path:
    """An ordinary file that the user named."""
    path = Path(path)
    if not os.path.lexists(path):
        raise UserError("no such file", where=str(path), right=hint_of(path))
    open_regular(path).close()
    return path


__all__ = ["TrainedModel", "load", "train"]
