"""What all commands share: their common options, and where output goes.

In: the options `--json`, `--seed`, `--device`, `--threads`.
Out: with `--json` one JSON object on standard output and every message on standard error; otherwise words on standard output.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plait.errors import UserError
from plait.terminal import json_text, printable

if TYPE_CHECKING:
    from plait.config import RunConfig
    from plait.train import Fitted, Progress

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output; messages go to standard error.")
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of every random draw.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1; default: the best there is.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Threads of computation; default: all cores.")]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes", help="Take files of a run that were changed since plait wrote them; it notes that."
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="The folder of a trained run.", show_default=False)]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-code", help="Import the code that a run names (kind: my_module:MyConfig). It may do anything."
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides after the file: fusion.kind=product train.steps=200", show_default=False),
]

AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Paths may leave the manifest's folder.")]
NamedInputs = Annotated[
    str | None,
    typer.Option("--inputs", help="What is read: image,text; or with names of your own: before=image,after=image."),
]
Columns = Annotated[
    str | None,
    typer.Option("--columns", help="The fields of inputs that are called otherwise in the data: before=img_a."),
]
OnlyInputs = Annotated[
    str | None, typer.Option("--inputs", help="Give only these inputs: image,text (none: no inputs at all).")
]
Text = Annotated[str | None, typer.Option("--text", help="The text input.")]
Images = Annotated[list[Path] | None, typer.Option("--image", help="A picture; may be given several times.")]
Audio = Annotated[Path | None, typer.Option("--audio", help="A recording.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=VALUE",
        help="An input by its name, whatever it is; several times for several items. --NAME VALUE says the same.",
    ),
]


class Leave(Exception):
    """A command ends here, with a message and an exit code that is not the user's mistake."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Output:
    """Where words and results go."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """Words for a person."""
        print(printable(text), file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def result(self, values: Mapping[str, Any]) -> None:
        """The result for a program; a person has read it in words already."""
        if self.as_json:
            print(json_text(values, sys.stdout.encoding), flush=True)


@contextmanager
def kept(keep: Callable[[], None]) -> Iterator[None]:
    """Keep what was found, then show it in the block: a folder that cannot be written costs no figures, a closed pipe no record."""
    try:
        keep()
    except (UserError, OSError) as error:
        yield
        raise error from error.__cause__
    else:
        yield


def write_file(path: Path, text: str) -> None:
    """A file that the user named, whole or not at all; a pipe or a device is written to as it is, a link stays one."""
    from plait.run import replacing

    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_text(text, encoding="utf-8", newline="\n")
        return
    with replacing(path.resolve()) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def say_aside(text: str) -> None:
    """Words beside the result: on standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def use_threads(threads: int | None) -> None:
    """Compute with so many threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def settings(*, seed: int | None = None, device: str | None = None, threads: int | None = None) -> list[str]:
    """The common options as overrides of a configuration."""
    given = {"seed": seed, "train.device": device, "train.threads": threads}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def fit_or_leave(
    config: RunConfig | None,
    folder: Path,
    *,
    progress: Progress | None = None,
    resume: bool = False,
    trust_code: bool = False,
    accept_changes: bool = False,
) -> Fitted:
    """Train; what ends the training ends the command."""
    from plait.train import fit

    with leaving():
        return fit(
            config,
            folder,
            resume=resume,
            progress=progress,
            trust_code=trust_code,
            accept_changes=accept_changes,
        )


@contextmanager
def leaving() -> Iterator[None]:
    """Training inside may end the command: a signal with 128 + its number (Ctrl-C: 130), a loss that is no number with 1."""
    from plait.train import Interrupted, NonFinite

    try:
        yield
    except Interrupted as stopped:
        raise Leave(str(stopped), stopped.exit_code) from None
    except NonFinite as failure:
        raise Leave(str(failure), 1) from None


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list; `none` is the empty list."""
    return [] if text.strip() in ("", "none") else [name.strip() for name in text.split(",")]


def named_inputs(text: str | None, inputs: Sequence[str]) -> tuple[str, ...] | None:
    """The inputs in a comma-separated list, of those that a run has; `none` is the empty list."""
    from plait.evaluate.inputs import checked_inputs

    if text is None:
        return None
    return checked_inputs(names_in(text), inputs, where="--inputs")


def named_modalities(text: str | None) -> dict[str, str] | None:
    """`before=image,after=image` → name → modality; a name alone is its modality."""
    from plait.data.inputs import check_names

    if text is None:
        return None
    pairs = [
        (name.strip(), of.strip() or name.strip()) for name, _, of in (one.partition("=") for one in names_in(text))
    ]
    named = refuse_twice(pairs, "--inputs")
    try:
        check_names(named)
    except ValueError as error:
        raise UserError(str(error), where="--inputs") from None
    return named


def named_columns(text: str | None, inputs: Mapping[str, str] | None) -> dict[str, str]:
    """`before=img_a,after=img_b` → input → field."""
    from plait.errors import did_you_mean

    pairs = [(name.strip(), column.strip()) for name, _, column in (one.partition("=") for one in names_in(text or ""))]
    for name, column in pairs:
        if not column:
            raise UserError(f"{name!r} names no field", where="--columns", right="Write NAME=FIELD: before=img_a")
        if inputs is not None and name not in inputs:
            raise UserError(f"no input is called {name!r}", where="--columns", right=did_you_mean(name, inputs))
    return refuse_twice(pairs, "--columns")


def refuse_twice(pairs: Sequence[tuple[str, str]], where: str) -> dict[str, str]:
    """Names and what they stand for; none of them twice."""
    found: dict[str, str] = {}
    for name, of in pairs:
        if name in found:
            raise UserError(f"{name!r} is named twice", where=where, right="Name each input once")
        found[name] = of
    return found


def as_overrides(inputs: Mapping[str, str] | None, columns: Mapping[str, str]) -> list[str]:
    """Inputs and their fields as overrides of a configuration."""
    found: list[str] = []
    if inputs is not None:
        own = any(name != of for name, of in inputs.items())
        found.append(f"data.inputs={flow(dict(inputs) if own else list(inputs))}")
    return [*found, f"data.columns={flow(dict(columns))}"] if columns else found


def flow(value: object) -> str:
    """A value as YAML on one line."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10_000).strip()
    return text.removesuffix("\n...").strip()
