"""Running a command inside the test, and what it printed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from plait.cli.app import run


class Outcome(NamedTuple):
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on standard output."""
        return json.loads(self.out)


class Shell:
    """`shell("train", path, "--json")`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *words: object) -> Outcome:
        self.capsys.readouterr()
        code = run([str(word) for word in words])
        printed = self.capsys.readouterr()
        return Outcome(code, printed.out, printed.err)
