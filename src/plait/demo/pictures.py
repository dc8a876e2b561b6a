"""The pictures of the package easy-vqa, with the shape and the colour that its questions and answers imply.

In: the files of the installed package.
Out: the pictures of one of its two parts, with what each shows.
Invariant: what is said of a picture answers every one of the package's own questions about it rightly, and nothing else
does; a picture whose questions leave that open is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.resources import files
from importlib.resources.abc import Traversable

from plait.demo.language import COLORS, SHAPES, Picture
from plait.errors import UserError

EVERY_PICTURE = tuple(Picture(shape, color) for shape in SHAPES for color in COLORS)


@dataclass(frozen=True)
class DrawnPicture:
    """One picture of the package: its number, what it shows, its file."""

    number: int
    shows: Picture
    file: Traversable


def right_answer(question: str, picture: Picture) -> str | None:
    """The answer to one of easy-vqa's own questions; None where it presupposes what the picture does not show."""
    words = question.rstrip("?").split()
    shape = next((word for word in words if word in SHAPES), None)
    color = next((word for word in words if word in COLORS), None)
    matches = shape in (None, picture.shape) and color in (None, picture.color)
    if words[0] == "what":
        asks_color = color is None and "color" in words
        return None if not matches else picture.color if asks_color else picture.shape
    return "yes" if matches != bool({"not", "no"} & set(words)) else "no"


def read_pictures(part: str) -> list[DrawnPicture]:
    """The pictures of easy-vqa's `train` or `test` part, in the order of their numbers."""
    folder = package_folder() / part
    possible: dict[int, set[Picture]] = {}
    cases: dict[tuple[str, str], set[Picture]] = {}
    for question, answer, number in json.loads((folder / "questions.json").read_text(encoding="utf-8")):
        if (question, answer) not in cases:
            cases[question, answer] = {p for p in EVERY_PICTURE if right_answer(question, p) == answer}
        possible.setdefault(number, set(EVERY_PICTURE)).intersection_update(cases[question, answer])
    return list(agreed(possible, folder))


def agreed(possible: dict[int, set[Picture]], folder: Traversable) -> Iterator[DrawnPicture]:
    """The pictures that are described by one shape and colour; those with too few questions for that are left out."""
    for number, pictures in sorted(possible.items()):
        if not pictures:
            raise UserError(
                f"the answers about picture {number} contradict each other",
                where=str(folder / "questions.json"),
                right="Install easy-vqa as it was published: pip install --force-reinstall 'easy-vqa==1.0'",
            )
        if len(pictures) == 1:
            yield DrawnPicture(number, pictures.pop(), folder / "images" / f"{number}.png")


def package_folder() -> Traversable:
    """The data of the installed package."""
    try:
        import_module("easy_vqa")
    except ImportError as error:
        raise UserError(
            "the pictures of the demo come from the package easy-vqa, which is not installed",
            right="pip install 'plait[demo]'",
        ) from error
    return files("easy_vqa") / "data"
