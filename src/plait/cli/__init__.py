"""The command line. Nothing heavy is imported here, so that `plait --help` answers at once."""

from plait.cli.app import main

__all__ = ["main"]
