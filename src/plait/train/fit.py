"""From a configuration to a trained run.

In: a configuration and a folder that is not there yet; or the folder of a run that was left.
Out: the run, with its best weights.
Invariant: everything that the run depends on is in the folder before the first step: a crash at any later instant can be
resumed, without the corpus that word vectors were trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch

from plait.build import build_model
from plait.choices import trusted
from plait.config import RunConfig
from plait.config.before import left_to_run
from plait.config.generate import ENOUGH_TOKENS, limit_for
from plait.data.loader import Loader
from plait.data.manifest import Dataset, LeftOut, read_manifest
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer
from plait.environment import version_of
from plait.errors import UserError
from plait.features import FeatureCache, check_cache
from plait.model import Model
from plait.run import (
    CONFIG,
    ENVIRONMENT,
    MODEL,
    Run,
    check_folder,
    format_of,
    load_weights,
    refuse_existing,
    replacing,
    write_config,
)
from plait.train.checkpoint import State, newest, read_state, save_checkpoint
from plait.train.estimate import estimate
from plait.train.lock import locked
from plait.train.loop import Evaluate, TrainResult, settings, train
from plait.train.metrics import check_tensorboard
from plait.train.optimiser import build_optimiser
from plait.train.probe import choose
from plait.train.progress import Progress, Quiet
from plait.train.resume import merged
from plait.train.start import start_encoders
from plait.trust import Trust
from plait.types import Batch, Sample

LEFT_OUT = "left_out.jsonl"


class Fitted(NamedTuple):
    """The run with its best weights, and how the training ended."""

    run: Run
    result: TrainResult


class Loaders(NamedTuple):
    """Training batches, and held-out ones where the manifest has a tune split."""

    train: Loader
    tune: Loader | None


def fit(
    config: RunConfig | None,
    folder: Path | str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    evaluate: Evaluate | None = None,
    trust_code: bool | Trust = False,
) -> Fitted:
    """Train `config` in `folder`; with `resume` go on with the run that is there (None = with its own configuration).

    `trust_code`: of a run that is taken up, and of those that encoders start from; what `config` names itself is trusted.
    """
    folder, progress = Path(folder), progress or Quiet()
    if resume:
        run, dataset, loaders = take_up(config, folder, progress, trust_code)
    else:
        refuse_existing(folder)
        if config is None:
            raise UserError("nothing says what to train", right="Give a configuration, or --resume and a run folder.")
        run, dataset, loaders = begin(config, folder, progress, trust_code)
    tell(run, loaders, progress)
    with locked(folder):
        try:
            result = train(
                run, train_loader=loaders.train, tune_loader=loaders.tune, progress=progress, evaluate=evaluate
            )
        finally:
            list_left_out(folder, dataset, loaders, progress)
    load_weights(run.model, folder / MODEL)
    run.model.eval()
    return Fitted(run, result)


def begin(
    config: RunConfig, folder: Path, progress: Progress, trust_code: bool | Trust = False
) -> tuple[Run, Dataset, Loaders]:
    """A new run: read, resolve, build, choose by measuring, write the folder with its first checkpoint."""
    if config.train.tensorboard:
        check_tensorboard()
    dataset = read_data(config)
    config = resolved(config, dataset)
    check_cache(config)
    samples = dataset.split("train", needed=True)
    progress.say(f"data: {len(samples)} samples to train on, {', '.join(config.data.inputs or ()) or 'no inputs'}")
    segments = config.data.segments or ()
    tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(samples), segments)
    built = build_model(
        config, tokenizer, config.data.inputs or (), lambda: [tokenizer.tokens(text) for text in texts_of(samples)]
    )
    for place, share in built.coverage.items():
        progress.say(f"{place}: word vectors for {share:.1%} of {tokenizer.size} tokens")
    for line in start_encoders(built.model, config, tokenizer, trust_code=trust_code):
        progress.say(line)
    config.balance.build(built.model, steps=config.train.steps, seed=config.seed)  # refused before anything is written
    model = built.model.to(config.train.device)
    progress.say(f"model: {model.num_parameters:,} parameters, {tokenizer.size} tokens")
    loaders = loaders_for(config, dataset, tokenizer)
    config = with_room(config, loaders.train, progress)
    tell_cut(loaders, progress)
    fill_cache(config, model, loaders, progress)
    batch = first_batch(loaders.train)
    with settings(config.train):
        choice = choose(model, batch.to(config.train.device), config.train)
    progress.say(f"chosen by measuring: {choice}" if choice.seconds else f"as configured: {choice}")
    config = with_train(config, **choice.chosen._asdict())
    state = State(micro_batch_size=config.train.micro_batch_size or config.train.batch_size, data=fingerprint(samples))
    optimiser = build_optimiser(model, config.train)

    def fill(part: Path) -> None:
        save_checkpoint(part, model, optimiser, state, vocabulary_size=tokenizer.size)

    return Run.create(config, folder, tokenizer=tokenizer, model=model, fill=fill), dataset, loaders


def take_up(
    config: RunConfig | None, folder: Path, progress: Progress, trust_code: bool | Trust = False
) -> tuple[Run, Dataset, Loaders]:
    """The run that was left, with what may change of the configuration changed."""
    check_folder(folder)
    run = Run.load(folder, weights=newest(folder) / MODEL, trust_code=trusted(trust_code, config))
    if config is not None:
        given = resolved_paths(left_to_run(config, format_of(folder)))
        run.config, found = merged(run.config, given, where=str(folder / CONFIG))
        for change in found:
            progress.say(f"changed: {change}")
        if found:
            with replacing(folder / CONFIG) as part:
                write_config(run.config, part)
    run.config = with_train(run.config, device=usable_device(run.config.train.device))
    run.model.to(run.config.train.device)
    dataset = read_data(run.config)
    state = read_state(folder)
    if state.data and state.data != fingerprint(dataset.split("train", needed=True)):
        raise UserError(
            "the training samples changed since this run began",
            where=run.config.data.manifest,
            right="Put the manifest back to go on, or train anew under another name.",
        )
    tell_versions(folder, progress)
    progress.say(f"going on after step {state.step} of {run.config.train.steps}")
    loaders = loaders_for(run.config, dataset, run.tokenizer)
    fill_cache(run.config, run.model, loaders, progress)
    return run, dataset, loaders


def fill_cache(config: RunConfig, model: Model, loaders: Loaders, progress: Progress) -> None:
    """Compute what is missing of the features that the configuration wants from the cache, before the first batch."""
    held_out = loaders.tune.samples if loaders.tune and config.train.evaluate_every is not None else []
    with settings(config.train):
        FeatureCache(config, model, loaders.train.preprocessor, say=progress.say).fill(
            [*loaders.train.samples, *held_out]
        )


def with_room(config: RunConfig, loader: Loader, progress: Progress) -> RunConfig:
    """The configuration with a limit of generation that leaves room for every target of training; a limit of the user's stays.

    Targets that are too long to be trained on do not count.
    """
    encode, most = loader.preprocessor.encode, config.data.max_target_tokens
    targets = [
        [len(encode(reference[name])) for name in loader.preprocessor.segments if name in reference]
        for sample in loader.samples
        for reference in sample.references
    ]
    longest = [max(lengths) for lengths in targets if lengths and sum(lengths) + len(lengths) <= most]
    limit = config.generate.max_tokens
    if limit is None:
        limit = limit_for(max(longest, default=0))
        if limit > ENOUGH_TOKENS:
            progress.say(f"generate.max_tokens: {limit}; the longest target has {max(longest)} tokens")
        return config.model_copy(update={"generate": config.generate.model_copy(update={"max_tokens": limit})})
    if over := sum(length > limit for length in longest):
        progress.say(
            f"{over} of {len(longest)} targets have more than {limit} tokens (generate.max_tokens): "
            "the model learns them, but can never write them whole"
        )
    return config


def tell_cut(loaders: Loaders, progress: Progress) -> None:
    """Say of how many samples only the beginning of the text input is read."""
    preprocessor = loaders.train.preprocessor
    samples = [sample for loader in loaders if loader is not None for sample in loader.samples]
    if cut := sum(map(preprocessor.is_cut, samples)):
        limit = preprocessor.config.text.max_tokens
        progress.say(
            f"{cut} of {len(samples)} text inputs have more than {limit} tokens (data.text.max_tokens): "
            f"only the first {limit} are read"
        )


def first_batch(loader: Loader) -> Batch:
    """The first batch of the training, made in this process: its files stay in the loader's cache."""
    samples = [loader.samples[number] for number in loader.plan(0)[0]]
    return loader.preprocessor.batch(samples, training=True, seed=loader.seed, epoch=0)


def tell_versions(folder: Path, progress: Progress) -> None:
    """Say when another PyTorch goes on than began."""
    before = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8")).get("packages", {}).get("torch")
    now = version_of("torch")
    if before != now:
        progress.say(f"begun with torch {before}, going on with {now}: the result may differ in its last bits")


def tell(run: Run, loaders: Loaders, progress: Progress) -> None:
    """The estimate, and what will be kept."""
    config, state = run.config.train, read_state(run.folder)
    if state.step < config.steps and not state.stopped_early:
        run.model.train()
        worst = loaders.train.worst_batch().make().to(config.device)
        balance = run.config.balance.build(run.model, steps=config.steps, seed=run.config.seed)
        with settings(config):
            found = estimate(
                run.model,
                worst,
                config,
                micro_batch_size=state.micro_batch_size,
                steps=config.steps - state.step,
                balance=balance,
            )
        progress.say(f"estimate: {found}")
    if loaders.tune is None and config.evaluate_every is not None:
        progress.say("no row is in the split 'tune': nothing is held out, and the last weights are kept")


def read_data(config: RunConfig) -> Dataset:
    """The manifest of a configuration."""
    data = config.data
    return read_manifest(
        Path(data.manifest),
        inputs=data.inputs,
        segments=data.segments,
        split=data.split,
        allow_outside=data.allow_outside,
        on_error=data.on_error,
    )


def resolved(config: RunConfig, dataset: Dataset) -> RunConfig:
    """The configuration with everything stated that follows from the data and the machine."""
    inputs = config.data.inputs
    for modality in inputs or ():
        if modality not in dataset.modalities:
            found = ", ".join(dataset.modalities) or "no input at all"
            raise UserError(f"no row has {modality}", where="data.inputs", right=f"The manifest has {found}.")
    data = {"inputs": dataset.modalities if inputs is None else inputs, "segments": dataset.segments}
    config = config.model_copy(update={"data": config.data.model_copy(update=data)})
    threads = config.train.threads or torch.get_num_threads()
    return with_train(resolved_paths(config), device=usable_device(config.train.device), threads=threads)


def resolved_paths(config: RunConfig) -> RunConfig:
    """The configuration with absolute paths of the manifest and of other runs."""
    manifest = str(Path(config.data.manifest).resolve())
    start_from = {m: str(Path(p).resolve()) for m, p in config.encoders.start_from.items()}
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"manifest": manifest}),
            "encoders": config.encoders.model_copy(update={"start_from": start_from}),
        }
    )


def with_train(config: RunConfig, **values: object) -> RunConfig:
    """The configuration with other values under `train`."""
    return config.model_copy(update={"train": config.train.model_copy(update=values)})


def usable_device(wanted: str, *, where: str = "train.device") -> str:
    """The device to compute on, refused where this machine lacks it."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        right = "This machine has: cpu" + ", cuda" * torch.cuda.is_available() + ". Leave it at auto."
        raise UserError(f"cannot use the device {wanted!r}: {first_line(error)}", where=where, right=right) from error
    return wanted


def first_line(error: BaseException) -> str:
    """What an error says, without its explanations."""
    return str(error).partition("\n")[0]


def loaders_for(config: RunConfig, dataset: Dataset, tokenizer: Tokenizer) -> Loaders:
    """The loaders of a run; they share what is decoded."""
    segments, modalities = config.data.segments or (), config.data.inputs or ()
    preprocessor = Preprocessor(config.balance.data_of(config.data), tokenizer, segments, modalities)
    size, seed, workers = config.train.batch_size, config.seed, config.data.workers
    tune = dataset.split("tune")
    return Loaders(
        Loader(
            dataset.split("train", needed=True),
            preprocessor,
            batch_size=size,
            seed=seed,
            training=True,
            workers=workers,
        ),
        Loader(tune, preprocessor, batch_size=size, seed=seed, training=False, workers=workers) if tune else None,
    )


def texts_of(samples: Sequence[Sample]) -> list[str]:
    """Every text of the samples: inputs, and all segments of all references."""
    return [text for sample in samples for text in texts_of_one(sample)]


def texts_of_one(sample: Sample) -> Iterable[str]:
    """The texts of one sample."""
    if sample.text is not None:
        yield sample.text
    for reference in sample.references:
        yield from reference.values()


def fingerprint(samples: Sequence[Sample]) -> str:
    """A digest of the training samples: ids, inputs' names and texts, in order. Folders do not count, so data may move."""
    digest = hashlib.blake2b(digest_size=16)
    for sample in samples:
        media = [path.name for path in (*sample.image, sample.audio, sample.video) if path is not None]
        row = [sample.id, sample.text, [dict(r) for r in sample.references], media, dict(sample.groups)]
        digest.update(json.dumps(row, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def list_left_out(folder: Path, dataset: Dataset, loaders: Loaders, progress: Progress) -> None:
    """Write down which rows were not used and why, and say how many."""
    found: dict[tuple[str, str | None], LeftOut] = {(left.where, left.id): left for left in dataset.left_out}
    for loader in loaders:
        if loader is not None:
            found.update({(left.where, left.id): left for left in loader.left_out.values()})
    if found:
        with replacing(folder / LEFT_OUT) as part:
            part.write_text(
                "".join(json.dumps(asdict(left), ensure_ascii=False) + "\n" for left in found.values()),
                encoding="utf-8",
                newline="\n",
            )
        progress.say(f"{len(found)} rows were left out: {folder / LEFT_OUT} names each and says why")
