"""The page itself: templates filled and written as one file.

In: a template's name and what it shows.
Out: `report.html`.
Invariant: everything that is shown is escaped, markup made here excepted; a content security policy in the page forbids every
request and every script but its own; the file is whole or not there.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from plait.environment import version_of
from plait.report.palette import colours
from plait.report.svg import Plot
from plait.report.words import sentence
from plait.run import replacing

NAME = "report.html"
LONG_WORD = 18
"""Letters of a word after which, if as many follow, a line may break."""

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: Path, template: str, **values: Any) -> Path:
    """Fill a template and write it."""
    text = environment().get_template(template).render(**values, **_frame())
    with replacing(path) as part:
        part.write_bytes(text.encode("utf-8", "replace"))
    return path


@cache
def environment() -> Environment:
    """Where the templates are; a value that a template names and nobody gave is a mistake."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters.update(sentence=sentence, svg=_svg, breakable=breakable)
    return made


def breakable(text: object) -> Markup:
    """Escaped, with places in very long words where a line may break; what is copied from the page stays as it was."""
    pieces = re.split(rf"(?<=\S{{{LONG_WORD}}})(?=\S{{{LONG_WORD}}})", str(_printable(text)))
    return Markup("<wbr>").join(escape(piece) for piece in pieces)


def _printable(value: object) -> object:
    """Without the characters that HTML forbids."""
    if type(value) is str and not value.isprintable():
        return "".join("\ufffd" if (ord(c) < 32 and c not in "\t\n\r") or c == "\x7f" else c for c in value)
    return value


def _svg(plot: Plot, width: str) -> Markup:
    """A plot's markup: made by `svg.py`, which escapes the words in it."""
    return Markup(plot.wide if width == "wide" else plot.narrow)


def _frame() -> dict[str, object]:
    """What every page has: style, script, and the policy that allows nothing else."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    light, dark = ("".join(f"--{name}:{pair[k]};" for name, pair in colours().items()) for k in (0, 1))
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    return {
        "script": Markup(script),
        "style": Markup(style.replace("/*light*/", light).replace("/*dark*/", dark)),
        "policy": policy,
        "version": version_of("plait"),
    }
