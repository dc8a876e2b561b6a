"""A plot by matplotlib as SVG that stands in the page: it takes the page's colours, light or dark, its font and its width.

In: a function that draws on a figure, wide or narrow.
Out: a `Plot`: markup for the page, with a title and a description for those who do not see it.
Invariant: no id occurs twice in a page, and nothing in the markup names an address; without matplotlib there is no plot, and
`INSTALL` says how to get it. The same plot gives the same markup.
"""

from __future__ import annotations

import hashlib
import html
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree

from plait.explain import can_plot
from plait.explain.plot import default_style
from plait.report.palette import COLOURS, colours

INSTALL = (
    "This page has no plots, because matplotlib is not installed: pip install 'plait[plot]', then make the page again."
)

Width = Literal["wide", "narrow"]
INCHES: dict[Width, float] = {"wide": 7.5, "narrow": 3.4}
"""A wide plot is shown from 720 CSS pixels on at its own size, a narrow one on a phone."""

Draw = Callable[[Any, Width], None]
"""Draws on a matplotlib figure and sets its height."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "plait",
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.facecolor": COLOURS["surface"],
    "axes.edgecolor": COLOURS["axis"],
    "axes.labelcolor": COLOURS["ink"],
    "axes.titlecolor": COLOURS["ink"],
    "text.color": COLOURS["ink"],
    "xtick.color": COLOURS["axis"],
    "ytick.color": COLOURS["axis"],
    "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Plot:
    """One plot: markup for a screen and for a phone. `description` says in words what is seen."""

    title: str
    description: str
    wide: str
    narrow: str


def plot(draw: Draw, *, title: str, description: str, key: str, small: bool = False) -> Plot | None:
    """Draw it twice, wide and narrow; `small`: one of several side by side, always narrow. `key` is unique in the page.

    None where matplotlib is not installed.
    """
    if not can_plot():
        return None
    key = "p" + hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=4).hexdigest()
    narrow = _markup(draw, "narrow", title, description, f"{key}n")
    return Plot(title, description, "" if small else _markup(draw, "wide", title, description, f"{key}w"), narrow)


def clean(text: str, most: int | None = None) -> str:
    """A user's words for a plot: in one line, without characters that XML forbids, cut to `most`."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if most is None or len(text) <= most else text[: most - 1].rstrip() + "…"


@contextmanager
def styled() -> Iterator[None]:
    """The page's style; characters that matplotlib's own font lacks are measured by a box and shown by the reader's font."""
    import matplotlib

    with default_style(), matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _markup(draw: Draw, width: Width, title: str, description: str, key: str) -> str:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(INCHES[width], 2.6), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, width)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    root = ElementTree.fromstring(file.getvalue())
    _strip(root)
    _rename(root, key)
    root.attrib.update({"role": "img", "aria-labelledby": f"{key}-t {key}-d"})
    del root.attrib["width"], root.attrib["height"], root.attrib["version"]
    words = (
        f'<title id="{key}-t">{html.escape(title)}</title>',
        f'<desc id="{key}-d">{html.escape(description)}</desc>',
    )
    markup = ElementTree.tostring(root, encoding="unicode", method="html")
    start = markup.index(">") + 1
    return re.sub(r"\s*\n\s*", " ", markup[:start] + "".join(words) + markup[start:])


def _strip(root: ElementTree.Element) -> None:
    """No namespaces, no metadata, no style sheet (it would reach beyond the plot), the page's colours and font."""
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): _colours(value) for name, value in element.attrib.items()}


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _colours(value: str) -> str:
    value = re.sub(r"font-family: [^;]*;? ?", "", value)
    names = {light: f"var(--{name})" for name, (light, _) in reversed(colours().items())} | FIXED
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: names.get(found[0], found[0]), value)


FIXED = {"#000000": "var(--ink)", "#ffffff": "var(--surface)", "#dddddd": "var(--line)"}
"""What matplotlib itself draws in."""


def _rename(root: ElementTree.Element, key: str) -> None:
    """Ids that something refers to get the plot's own prefix; the others go."""
    used = set(re.findall(r"#([\w.-]+)", " ".join(v for e in root.iter() for n, v in e.attrib.items() if n != "style")))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.attrib["id"] = f"{key}-{name}"
        for attribute in ("href", "clip-path"):
            if attribute in element.attrib:
                element.attrib[attribute] = element.attrib[attribute].replace("#", f"#{key}-")
