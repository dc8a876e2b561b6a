"""From a configuration to a trained run.

In: a configuration and a folder that is not there yet; or the folder of a run that was left.
Out: the run, with its best weights.
Invariant: everything that the run depends on is in the folder before the first step: a crash at any later instant can be
resumed, without the corpus that word vectors were trained on.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from plait.build import build_model
from plait.choices import trusted
from plait.config import RunConfig
from plait.config.before import left_to_run
from plait.config.generate import ENOUGH_TOKENS, limit_for
from plait.config.train import Continued, TrainConfig
from plait.data.fitted import fitted, fitted_as
from plait.data.loader import Loader
from plait.data.manifest import OTHER_FILE, Dataset, LeftOut
from plait.data.reading import Loaders, dataset_of, first_batch, loaders_of, texts_of
from plait.data.text import Tokenizer
from plait.digests import digest_of_value
from plait.environment import version_of
from plait.errors import UserError
from plait.features import FeatureCache, check_cache
from plait.layers import set_attention
from plait.model import Model
from plait.parts import rows_of, table
from plait.run import (
    CONFIG,
    MODEL,
    Run,
    check_folder,
    checked_tensors,
    environment_of,
    format_of,
    refuse_existing,
    replacing,
    write_config,
)
from plait.tensors import fill
from plait.train.checkpoint import State, check_checkpoint, newest, read_state, save_checkpoint
from plait.train.estimate import estimate
from plait.train.fingerprint import fingerprint, is_same
from plait.train.lock import creating, locked
from plait.train.loop import Evaluate, TrainResult, is_stopped, settings, train
from plait.train.metrics import check_tensorboard
from plait.train.optimiser import build_optimiser
from plait.train.probe import choose
from plait.train.progress import Progress, Quiet
from plait.train.resolve import resolved, resolved_paths, usable_device, with_train
from plait.train.resume import leaves, may_change, merged
from plait.train.schedule import continued, learning_rate
from plait.train.start import start_encoders
from plait.trust import Trust

LEFT_OUT = "left_out.jsonl"


class Fitted(NamedTuple):
    """The run with its best weights, and how the training ended."""

    run: Run
    result: TrainResult


def fit(
    config: RunConfig | None,
    folder: Path | str,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    evaluate: Evaluate | None = None,
    trust_code: bool | Trust = False,
    accept_changes: bool = False,
) -> Fitted:
    """Train `config` in `folder`; with `resume` go on with the run that is there (None = with its own configuration).

    `trust_code`: of a run that is taken up, and of those that encoders start from; what `config` names itself is trusted.
    `accept_changes`: take files of a run (the resumed one, those that encoders start from) that are not as they were written.
    """
    folder, progress = Path(folder), progress or Quiet()
    with ExitStack() as held:
        if resume:
            check_folder(folder)
            held.enter_context(locked(folder))  # before anything of it is read or changed
            run, dataset, loaders = take_up(config, folder, progress, trust_code, accept_changes=accept_changes)
        else:
            refuse_existing(folder)
            if config is None:
                right = "Give a configuration, or --resume and a run folder."
                raise UserError("nothing says what to train", right=right)
            with creating(folder):
                refuse_existing(folder)
                run, dataset, loaders = begin(config, folder, progress, trust_code, accept_changes=accept_changes)
                held.enter_context(locked(folder))
        tell(run, loaders, progress)
        try:
            result = train(
                run, train_loader=loaders.train, tune_loader=loaders.tune, progress=progress, evaluate=evaluate
            )
        finally:
            list_left_out(folder, dataset, loaders, progress)
        fill(run.model, checked_tensors(folder, folder / MODEL), folder / MODEL)
    run.model.eval()
    return Fitted(run, result)


def begin(
    config: RunConfig,
    folder: Path,
    progress: Progress,
    trust_code: bool | Trust = False,
    *,
    accept_changes: bool = False,
) -> tuple[Run, Dataset, Loaders]:
    """A new run: read, resolve, build, choose by measuring, write the folder with its first checkpoint."""
    if config.train.tensorboard:
        check_tensorboard()
    dataset = read_data(config)
    tell_reading(dataset, progress)
    config = with_train(resolved(config, dataset), continued=None)  # of another run, if it is that run's configuration
    check_cache(config)
    samples = dataset.split("train", needed=True)
    config = config.model_copy(update={"data": fitted(config.data, samples)})
    progress.say(f"data: {len(samples)} samples to train on, {', '.join(config.inputs) or 'no inputs'}")
    segments = config.data.segments or ()
    tokenizer = Tokenizer.train(config.data.tokenizer, texts_of(samples), segments)
    built = build_model(
        config, tokenizer, config.inputs, lambda: [tokenizer.tokens(text) for text in texts_of(samples)]
    )
    for place, share in built.coverage.items():
        progress.say(f"{place}: word vectors for {share:.1%} of {tokenizer.size} tokens")
    for line in start_encoders(built.model, config, tokenizer, trust_code=trust_code, accept_changes=accept_changes):
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
    set_attention(model, "math" if config.train.attention == "math" else "fused")
    data = fingerprint_of(config, dataset)
    state = State(micro_batch_size=config.train.micro_batch_size or config.train.batch_size, data=data)
    optimiser, identity = build_optimiser(model, config.train), identity_of(config, tokenizer, data)

    def first_checkpoint(part: Path) -> None:
        save_checkpoint(part, model, optimiser, state, vocabulary_size=tokenizer.size, identity=identity)

    run = Run.create(config, folder, tokenizer=tokenizer, model=model, fill=first_checkpoint, identity=identity)
    return run, dataset, loaders


def identity_of(config: RunConfig, tokenizer: Tokenizer, data: str) -> str:
    """What the files of a run have in common and no other run has: all that may not change of it, its words and its data."""
    fixed = {key: value for key, value in leaves(config.model_dump(mode="json")) if not may_change(key)}
    return digest_of_value([fixed, tokenizer.vocabulary, data])


def take_up(
    config: RunConfig | None,
    folder: Path,
    progress: Progress,
    trust_code: bool | Trust = False,
    *,
    accept_changes: bool = False,
) -> tuple[Run, Dataset, Loaders]:
    """The run that was left, with what may change of the configuration changed."""
    check_folder(folder)
    run = Run.load(
        folder,
        weights=newest(folder) / MODEL,
        trust_code=trusted(trust_code, config),
        accept_changes=accept_changes,
    )
    state = check_checkpoint(folder, accept=accept_changes)
    for note in run.notes:
        progress.say(note)
    if config is not None:
        config = resolved_paths(left_to_run(config, format_of(folder)))
        config = config.model_copy(update={"data": fitted_as(config.data, run.config.data)})
        change_config(run, config, state, progress)
    run.config = with_train(run.config, device=usable_device(run.config.train.device))
    run.model.to(run.config.train.device)
    dataset = read_data(run.config)
    if state.data and not is_same(state.data, fingerprint_of(run.config, dataset)):
        raise UserError(
            "the training samples changed since this run began",
            where=run.config.data.manifest,
            right="Put the manifest back to go on, or train anew under another name.",
        )
    tell_versions(folder, progress)
    progress.say(f"going on after step {state.step} of {run.config.train.steps}")
    if state.stopped_early and is_stopped(state, run.config.train):
        progress.say(
            f"it has stopped early, {state.evaluations_since_best} evaluations after its best one: "
            "a larger train.patience (or null) goes on"
        )
    loaders = loaders_for(run.config, dataset, run.tokenizer)
    fill_cache(run.config, run.model, loaders, progress)
    return run, dataset, loaders


def change_config(run: Run, given: RunConfig, state: State, progress: Progress) -> None:
    """Take what may change from the configuration that was given now; it is in the run's folder before anything is done with it."""
    before = run.config
    run.config, found = merged(before, given, where=str(run.folder / CONFIG))
    for change in found:
        progress.say(f"changed: {change}")
    if before.train.steps != run.config.train.steps:
        onward = continued(before.train, state.step)
        run.config = with_train(run.config, continued=onward)
        if onward is not None and state.step < run.config.train.steps:
            progress.say(how_it_goes_on(run.config.train, onward))
    if found:
        with replacing(run.folder / CONFIG) as part:
            write_config(run.config, part, run.identity)


def how_it_goes_on(config: TrainConfig, onward: Continued) -> str:
    """What the learning rate does after the number of steps was changed; refused where it would stay at 0."""
    last = learning_rate(config, config.steps)
    if last == onward.rate == 0:
        raise UserError(
            f"the learning rate has fallen to 0 after step {onward.after}: more steps would change nothing",
            where="train.steps",
            right="Train anew with more steps, or with train.final_fraction above 0.",
        )
    if onward.after < config.num_steps_of(config.warmup):
        end = config.num_steps_of(config.warmup)
        return f"learning rate: the warm-up ends at step {end} as planned, then it falls to {last:.3g}"
    falls = "stays there" if last == onward.rate else f"falls to {last:.3g} at step {config.steps}"
    return f"learning rate: goes on from {onward.rate:.3g} after step {onward.after} and {falls}; the warm-up is not repeated"


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


def tell_versions(folder: Path, progress: Progress) -> None:
    """Say when another PyTorch goes on than began."""
    before = environment_of(folder).get("packages", {}).get("torch")
    now = version_of("torch")
    if before != now:
        progress.say(f"begun with torch {before}, going on with {now}: the result may differ in its last bits")


def tell(run: Run, loaders: Loaders, progress: Progress) -> None:
    """What trains, the estimate, and what will be kept."""
    config, state = run.config.train, read_state(run.folder)
    for line in table(rows_of(run.model, config.parts), learning_rate=config.learning_rate):
        progress.say(line)
    if state.step < config.steps and not is_stopped(state, config):
        run.model.train()
        worst = loaders.train.worst_batch().make().to(config.device)
        balance = run.config.balance.build(run.model, steps=config.planned_steps, seed=run.config.seed)
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
    return dataset_of(config.data)


def loaders_for(config: RunConfig, dataset: Dataset, tokenizer: Tokenizer) -> Loaders:
    """The loaders of a run; they share what is decoded."""
    data, size = config.balance.data_of(config.data), config.train.batch_size
    return loaders_of(data, dataset, tokenizer, batch_size=size, seed=config.seed)


def tell_reading(dataset: Dataset, progress: Progress) -> None:
    """What to know of the data before training on them: most rows lost comes first."""
    lost = [f"most of the data is lost: {dataset.lost}"] if dataset.lost else dataset.notes
    for line in [*lost, *dataset.warnings]:
        progress.say(f"data: {line}")


def fingerprint_of(config: RunConfig, dataset: Dataset) -> str:
    """The fingerprint of a run's training samples."""
    return fingerprint(dataset.split("train", needed=True), dataset.folder, config.balance.data_of(config.data))


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
        others = sum(left.code == OTHER_FILE for left in found.values())
        rows = len(found) - others
        said = [f"{rows} row{' was' if rows == 1 else 's were'} left out"] if rows else []
        said += [f"{others} file{' belongs' if others == 1 else 's belong'} to no row"] if others else []
        of = rows + len(dataset.samples) - (rows - len(dataset.gone))
        most = f"most of the data is lost ({rows} of {of} rows): " if rows > of / 2 else ""
        progress.say(f"{most}{' and '.join(said)}: {folder / LEFT_OUT} names each and says why")
