"""What easy-vqa's pictures show, against its own questions and its own pixels."""

from __future__ import annotations

import json
from typing import Any

import pytest
from PIL import Image

from plait.demo import pictures
from plait.demo.language import Picture
from plait.errors import UserError

easy_vqa = pytest.importorskip("easy_vqa")


@pytest.mark.parametrize("part", ["train", "test"])
def test_every_original_question_is_answered_rightly(part: str) -> None:
    """All 38,575 and 9,673 questions: those about a picture that is used have the package's answer."""
    shows = {drawn.number: drawn.shows for drawn in pictures.read_pictures(part)}
    questions = json.loads((pictures.package_folder() / part / "questions.json").read_text(encoding="utf-8"))
    wrong = [q for q in questions if q[2] in shows and pictures.right_answer(q[0], shows[q[2]]) != q[1]]
    assert wrong == []
    assert len(shows) > 0.85 * len({number for *_, number in questions})


def test_pictures_of_one_color_look_alike() -> None:
    """The colour is the picture's: its most frequent pixel besides the background is nearest that colour's mean."""
    drawn = pictures.read_pictures("test")[:200]
    pixels = {}
    for one in drawn:
        with one.file.open("rb") as file, Image.open(file) as image:
            counted = sorted(image.convert("RGB").getcolors(64 * 64) or [], reverse=True)
        # the picture is a background and a shape; the corner is background
        with one.file.open("rb") as file, Image.open(file) as image:
            corner = image.convert("RGB").getpixel((0, 0))
        pixels[one.number] = next(color for _, color in counted if color != corner)
    means: dict[str, Any] = {}
    for one in drawn:
        means.setdefault(one.shows.color, []).append(pixels[one.number])
    means = {name: [sum(axis) / len(axis) for axis in zip(*found, strict=True)] for name, found in means.items()}
    for one in drawn:
        distance = {n: sum((a - b) ** 2 for a, b in zip(pixels[one.number], m, strict=True)) for n, m in means.items()}
        assert min(distance, key=distance.__getitem__) == one.shows.color


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what is the blue shape?", "circle"),
        ("what is the red shape?", None),
        ("what color is the circle?", "blue"),
        ("what color is the triangle?", None),
        ("is there not a blue shape in the image?", "no"),
        ("is no triangle present?", "yes"),
        ("does the image contain a circle?", "yes"),
    ],
)
def test_original_questions_longhand(question: str, answer: str | None) -> None:
    assert pictures.right_answer(question, Picture("circle", "blue")) == answer


def test_without_easy_vqa_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(pictures, "import_module", missing)
    with pytest.raises(UserError, match=r"pip install 'plait\[demo\]'"):
        pictures.read_pictures("train")
