"""`plait generate`: inputs → text; one request, or a whole manifest without targets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.cli.answers import FORMAT, answered, append, as_row, check_segments, confidence, cut_to
from plait.cli.by_name import Aside, Named, given_inputs, refuse_unknown, written_inputs
from plait.cli.common import (
    AcceptChanges,
    Audio,
    Device,
    Images,
    Inputs,
    Json,
    OnlyInputs,
    Output,
    RunFolder,
    Seed,
    Text,
    Threads,
    TrustCode,
    named_inputs,
    say_aside,
    use_threads,
)
from plait.errors import UserError
from plait.terminal import printable

if TYPE_CHECKING:
    from plait.api import TrainedModel
    from plait.generate import Generated


def generate(
    run: RunFolder,
    text: Text = None,
    image: Images = None,
    audio: Audio = None,
    by_name: Inputs = None,
    aside: Aside = None,
    begin: Annotated[
        str, typer.Option("--begin", help="The first words of what the model writes, to be continued.")
    ] = "",
    top: Annotated[int | None, typer.Option("--top", min=1, help="Show the K likeliest next words instead.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="end (of the segment) or sentence.")] = None,
    choices: Annotated[
        list[str] | None, typer.Option("--choices", help="Answers to choose from: SEGMENT=one,two (or one,two).")
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="greedy, sample or beam.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="With --method sample.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", help="With --method sample.")] = None,
    top_p: Annotated[float | None, typer.Option("--top-p", help="With --method sample.")] = None,
    beams: Annotated[int | None, typer.Option("--beams", help="With --method beam.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="At most so many per segment.")] = None,
    inputs: OnlyInputs = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the words as they come.")] = False,
    manifest: Annotated[Path | None, typer.Option("--manifest", help="Answer every row of this manifest.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="With --manifest: the answers (JSONL); rows that are in it are not asked again."),
    ] = None,
    trust_code: TrustCode = False,
    as_json: Json = False,
    seed: Seed = None,
    device: Device = None,
    threads: Threads = None,
    accept_changes: AcceptChanges = False,
) -> None:
    """Answer one request, or every row of a manifest.

    plait generate runs/demo --image cat.png --audio question.wav

    plait generate runs/pairs --before a.png --input after=b.png
    """
    named, first = [Named.read(word) for word in aside or ()], {"text": text, "image": image, "audio": audio}
    refuse_together(
        {
            "--manifest": manifest,
            "--out": out,
            **{f"--{name}": value for name, value in first.items()},
            "--input": by_name or [one.option for one in named],
            "--begin": begin,
            "--top": top,
            "--stream": stream,
            "--choices": choices,
        }
    )
    if named and (stated := written_inputs(run)) is not None:
        refuse_unknown(named, stated, generate)
    from plait.api import load

    output = Output(as_json)
    use_threads(threads)
    options: dict[str, Any] = {
        "method": method or ("sample" if any(v is not None for v in (temperature, top_k, top_p)) else None),
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "beams": beams,
        "max_tokens": max_tokens,
        "until": until,
        "seed": seed,
    }
    model = load(run, device=device or "auto", trust_code=trust_code, accept_changes=accept_changes, say=say_aside)
    if model.unfinished:
        say_aside(f"plait: {model.unfinished}")
    answers = named_choices(choices or [], model.run.segments)
    used = named_inputs(inputs, model.run.inputs)
    lacking = [m for m in model.run.inputs if used is not None and m not in used]
    if strange := model.run.config.never_missing(lacking):
        say_aside(f"plait: {STRANGE.format(', '.join(strange))}")
    if manifest is not None:
        assert out is not None
        output.result(answer_manifest(model, manifest, out, answers, options, output, used))
        return
    refuse_unknown(named, model.run.inputs, generate)
    sample = model.sample(inputs=given_inputs(by_name or (), named, first, model.run.inputs))
    sample = sample if used is None else sample.only(used)
    if used is None and model.run.inputs and not sample.present:
        say_aside(f"plait: no input was given; the model reads {', '.join(model.run.inputs)} and answers without")
    if top is not None:
        show_next(model.next_tokens(sample, begin, top), begin, output)
    elif stream:
        show_stream(model.stream(sample, **options), output)
    else:
        (generated,) = model.answer([sample], choices=answers or None, begun=begin, **options)
        output.say(in_words(generated))
        for note in doubts(generated, model.options(**options).most_tokens):
            say_aside(f"plait: {note}")
        output.result(as_row(generated, sample.present))


STRANGE = "this model was trained without modality dropout of {} (train.modality_dropout): without an input it is lost"

ALONE = {
    "--manifest": ("--text", "--image", "--audio", "--input", "--begin", "--top", "--stream"),
    "--stream": ("--top", "--begin", "--choices"),
    "--top": ("--choices",),
}
"""Options, and those that would be passed over beside them."""


def refuse_together(given: Mapping[str, object]) -> None:
    """One message for options that do not go together."""
    if given["--manifest"] and not given["--out"]:
        raise UserError("--manifest needs --out", right="Name the file for the answers: --out answers.jsonl")
    if given["--out"] and not given["--manifest"]:
        raise UserError("--out needs --manifest", right="The answer to one request is printed: leave --out out")
    for option, others in ALONE.items():
        for other in others:
            if given[option] and given[other]:
                raise UserError(f"{option} does not go with {other}", right="Leave one of them out")


def named_choices(texts: list[str], segments: tuple[str, ...]) -> dict[str, list[str]]:
    """`SEGMENT=one,two` → segment and answers; without a name the last segment is meant."""
    found: dict[str, list[str]] = {}
    for text in texts:
        name, equals, answers = text.partition("=")
        segment, answers = (name, answers) if equals else (segments[-1], text)
        given = [answer.strip() for answer in answers.split(",")]
        if any(given) and not all(given):
            say_aside(f"plait: --choices {text}: an empty answer is left out")
        found.setdefault(segment, []).extend(answer for answer in given if answer)
    return found


def doubts(generated: Generated, limit: int) -> list[str]:
    """What to know of an answer: that several were as likely, or that it was cut."""
    found = [
        f"{segment}: {', '.join(map(repr, answers))} are equally likely: the first of the list is answered"
        for segment, answers in generated.tied.items()
    ]
    return found + [
        f"{segment}: cut at the limit of {limit} token{'s' * (limit != 1)}; --max-tokens raises it"
        for segment in generated.limited
    ]


def in_words(generated: Generated) -> str:
    """The segments with the model's confidence; a single segment as its bare text."""
    if len(generated.segments) == 1 and not generated.scores:
        return next(iter(generated.segments.values()))
    width = max(map(len, generated.segments))
    confidences = confidence(generated)
    return "\n".join(f"{s:<{width}}  {text}   ({confidences[s]:.0%})" for s, text in generated.segments.items())


def show_next(found: list[tuple[str, float]], begin: str, output: Output) -> None:
    """The next-word distribution."""
    output.say(f"after {begin!r}:" if begin else "first word:")
    for token, probability in found:
        output.say(f"  {probability:7.2%}  {token}")
    output.result({"begin": begin, "next": [{"token": token, "probability": p} for token, p in found]})


def show_stream(pieces: Iterator[tuple[str, str]], output: Output) -> None:
    """The words as they come, one line per segment."""
    said: dict[str, str] = {}
    for segment, text in pieces:
        if not output.as_json:
            before = said.get(segment)
            start = "" if before is not None else ("\n" if said else "") + f"{segment}: "
            print(printable(start + text[len(before or "") :]), end="", flush=True)
        said[segment] = text
    output.say()
    output.result({"format": FORMAT, "segments": said})


def answer_manifest(
    model: TrainedModel,
    manifest: Path,
    out: Path,
    choices: Mapping[str, list[str]],
    options: Mapping[str, Any],
    output: Output,
    inputs: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """Answer every row that is not in `out` yet; a line is written whole, as soon as its batch is done."""
    from plait.cli.progress import counter
    from plait.data.manifest import OTHER_FILE

    if out.exists() and manifest.exists() and out.samefile(manifest):
        raise UserError(f"{out} is the manifest itself", where="--out", right="Name another file for the answers")
    dataset = model.unlabelled(manifest)
    samples, gone = dataset.samples, [left for left in dataset.left_out if left.code != OTHER_FILE]
    done = answered(out, model.run.segments)
    if done.ids:
        check_segments(out, model.run.segments)
    waiting = [sample if inputs is None else sample.only(inputs) for sample in samples if sample.id not in done.ids]
    cut_to(out, done.num_bytes)
    present = {sample.id: list(sample.present) for sample in waiting}
    output.say(
        f"{len(samples)} rows in {manifest}" + (f", {len(samples) - len(waiting)} answered before" if done.ids else "")
    )
    with counter("answering") as count:
        number = 0
        limited, tied = Counter[str](), Counter[str]()
        answers = model.answer(waiting, choices=choices or None, left_out=gone.append, **options)
        for number, generated in enumerate(answers, 1):
            row = as_row(generated, present[generated.id], format=done.format)
            limited.update(generated.limited)
            tied.update(generated.tied)
            append(out, json.dumps(row, ensure_ascii=False) + "\n")
            count(number, len(waiting))
    output.say(
        f"{number} answers written to {out}" if waiting or not samples else f"nothing to do: {out} has all answers"
    )
    for segment, count in limited.items():
        limit = model.options(**options).most_tokens
        say_aside(
            f"plait: {segment}: {count} of {number} cut at the limit of {limit} token{'s' * (limit != 1)}; --max-tokens raises it"
        )
    for segment, count in tied.items():
        say_aside(f"plait: {segment}: in {count} of {number} several answers are equally likely: the first is answered")
    for left in gone:
        say_aside(f"plait: left out: {left.where or left.id}: {left.reason}")
    return {
        "out": str(out),
        "rows": len(samples),
        "answered": number,
        "answered_before": len(samples) - len(waiting),
        "limited": dict(limited),
        "tied": dict(tied),
        "left_out": [{"id": left.id, "where": left.where, "reason": left.reason} for left in gone],
    }
