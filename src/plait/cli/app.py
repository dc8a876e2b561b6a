"""The commands, and what happens to mistakes.

In: the arguments of the shell.
Out: exit code 0 = done, 1 = a check failed, 2 = the user's mistake (one message, no traceback), 130 = interrupted.
"""

from __future__ import annotations

import sys

import click
import typer

from plait.cli.data import data_app
from plait.cli.demo import demo
from plait.cli.evaluate import evaluate
from plait.cli.generate import generate
from plait.cli.init import init
from plait.cli.schema import schema
from plait.cli.train import train
from plait.errors import UserError

app = typer.Typer(
    name="plait",
    help="Train language models that read text, images, audio and video, and measure what each of them brings.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo)
app.command()(init)
app.add_typer(data_app, name="data")
app.command()(train)
app.command()(evaluate)
app.command()(generate)
app.command()(schema)


def main() -> None:
    """Run a command and leave with its exit code."""
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """A command's exit code; messages have been printed."""
    try:
        code = app(arguments, standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as mistake:
        mistake.show()
        return 2
    except UserError as mistake:
        print(f"plait: {mistake}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.exceptions.Abort):
        print("plait: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
