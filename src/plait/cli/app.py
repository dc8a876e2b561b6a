"""The commands, and what happens to mistakes.

In: the arguments of the shell.
Out: exit code 0 = done, 1 = a check failed, 2 = the user's mistake (one message, no traceback), 130 = interrupted (143 = ended
by SIGTERM). With `--json` a mistake is an object as well: `{"error": MESSAGE, "exit_code": 2}`.
Invariant: nothing heavy is imported before a command runs; no exception of the user's making shows a traceback.
"""

from __future__ import annotations

import json
import os
import sys

import typer

from plait.cli.cache import cache
from plait.cli.common import Leave
from plait.cli.compare import compare
from plait.cli.data import data_app
from plait.cli.demo import demo
from plait.cli.evaluate import evaluate
from plait.cli.explain import explain
from plait.cli.fusions import fusions
from plait.cli.generate import generate
from plait.cli.init import init
from plait.cli.lab import lab
from plait.cli.report import report
from plait.cli.schema import schema
from plait.cli.search import search
from plait.cli.train import train
from plait.errors import UserError

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
app.command()(generate)
app.command()(search)
app.command()(fusions)
app.command()(cache)
app.command()(lab)
app.command()(schema)


@app.callback(invoke_without_command=True)
def options(version: bool = typer.Option(False, "--version", help="Show the version and leave.")) -> None:
    """Train language models that read text, pictures and sound, and measure what each of them brings."""
    if version:
        import plait

        print(plait.__version__)
        raise typer.Exit


def main() -> None:
    """Run a command and leave with its exit code.

    The working directory may be a folder that came from anywhere: no module is imported from it, in this process and in those
    that Python's own libraries start, unless a configuration names it (`plait.trust`).
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """A command's exit code; messages have been printed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(arguments, prog_name="plait")
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else 0
        if code == 130:
            print("plait: interrupted", file=sys.stderr)
        return code
    except UserError as mistake:
        return failed(str(mistake), 2, arguments)
    except Leave as leave:
        return failed(str(leave), leave.exit_code, arguments)
    return 0


def failed(message: str, exit_code: int, arguments: list[str]) -> int:
    """Say what went wrong, to a person or to a program."""
    print(f"plait: {message}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": message, "exit_code": exit_code}, ensure_ascii=False), flush=True)
    return exit_code
