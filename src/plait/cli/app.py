"""The commands, and what happens to mistakes.

In: the arguments of the shell.
Out: exit code 0 = done, 1 = a check failed, 2 = something that the user can mend (one message), 70 = a fault in Plait, 130 =
interrupted (143 = ended by SIGTERM), 141 = nobody reads the output any more. With `--json` a failure is an object as well:
`{"error": MESSAGE, "exit_code": 2}`.
Invariant: nothing heavy is imported before a command runs; no exception shows a traceback, unless PLAIT_DEBUG=1 asks for it.
"""

from __future__ import annotations

import sys
import traceback
from functools import cache as once
from typing import Any

import typer

from plait.cli.by_name import TakesInputs
from plait.cli.cache import cache
from plait.cli.common import Leave
from plait.cli.compare import compare
from plait.cli.data import data_app
from plait.cli.demo import demo
from plait.cli.evaluate import evaluate
from plait.cli.explain import explain
from plait.cli.failures import INTERRUPTED, READER_GONE, debugging, failure
from plait.cli.fusions import fusions
from plait.cli.generate import generate
from plait.cli.init import init
from plait.cli.lab import lab
from plait.cli.report import report
from plait.cli.schema import schema
from plait.cli.search import search
from plait.cli.train import train
from plait.terminal import ReaderGone, json_text, printable, screens

Refused: Any = typer.BadParameter.__mro__[2]
"""What is raised for words that no command takes (ClickException, which typer does not export)."""

app = typer.Typer(
    name="plait",
    help="Train language models that read text, pictures and sound, and measure what each of them brings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(init)
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(evaluate)
app.command()(explain)
app.command()(compare)
app.command()(report)
app.command(cls=TakesInputs)(generate)
app.command()(search)
app.command()(fusions)
app.command()(cache)
app.command()(lab)
app.command()(schema)


@app.callback(invoke_without_command=True)
def options(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    """Train language models that read text, pictures and sound, and measure what each of them brings."""
    if version:
        import plait

        print(plait.__version__)
        raise typer.Exit


def run(arguments: list[str] | None = None) -> int:
    """A command's exit code; messages have been printed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        with screens():
            return guarded(arguments)
    except ReaderGone:
        return READER_GONE
    except OSError as error:  # standard error itself cannot be written
        return failure(error).exit_code


@once
def commands() -> Any:
    """The commands as they are called; made once, since that takes longer than many a command."""
    return typer.main.get_command(app)


def guarded(arguments: list[str]) -> int:
    """The exit code; whatever else comes out of a command becomes one message."""
    try:
        code = commands()(arguments, prog_name="plait", standalone_mode=False)
        if code == INTERRUPTED:  # typer's word for Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else 0
    except Refused as refused:
        return refused.exit_code if is_help(refused) else failed(misused(refused), refused.exit_code, arguments)
    except Leave as leave:
        return failed(str(leave), leave.exit_code, arguments)
    except (Exception, KeyboardInterrupt) as error:
        if debugging():
            traceback.print_exc()
        return failed(*failure(error), arguments)


def failed(message: str, exit_code: int, arguments: list[str]) -> int:
    """Say what went wrong, to a person or to a program."""
    print(f"plait: {printable(message)}", file=sys.stderr, flush=True)
    if "--json" in arguments:
        print(json_text({"error": message, "exit_code": exit_code}, sys.stdout.encoding), flush=True)
    return exit_code


def is_help(refused: Exception) -> bool:
    """Whether it only showed what there is, because nothing was asked."""
    return type(refused).__name__ == "NoArgsIsHelpError"


def misused(refused: Any) -> str:
    """What is wrong with the words of the command, and where it says what would be right."""
    context = getattr(refused, "ctx", None)
    command = context.command_path if context is not None else "plait"
    said = refused.format_message().rstrip(".")
    return f"{said}{'' if said.endswith('?') else '.'} {command} --help shows what there is"
