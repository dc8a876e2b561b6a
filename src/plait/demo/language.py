"""The questions: carrier phrases × clauses × the words that fill them, with the right answer computed from the picture.

In: a picture's shape and colour, what kind of question, a random generator.
Out: an `Asked` question: its words, its answer, and the pieces that it is made of.
Invariant: a question never presupposes what its picture lacks, and every answer follows from shape and colour alone.

The question tells as little of the answer as it can: a question about the shape names at most the colour, one about the
colour at most the shape, and yes and no are drawn first, evenly, and the question made to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np

T = TypeVar("T")
Kind = Literal["shape", "color", "yes_no"]
Hole = Literal["nothing", "shape", "color", "thing", "shape_color", "color_shape"]

SHAPES = ("circle", "rectangle", "triangle")
COLORS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
KINDS: tuple[Kind, ...] = ("shape", "color", "yes_no")

DIRECT_CARRIERS = ("", "please", "okay", "hello", "look", "now", "one question")
INDIRECT_CARRIERS = (
    "tell me",
    "please say",
    "do you know",
    "can you tell me",
    "i want to know",
    "i would like to know",
)


@dataclass(frozen=True)
class Picture:
    """What a picture shows."""

    shape: str
    color: str


@dataclass(frozen=True)
class Clause:
    """A way to ask, after a direct carrier ("please what shape is it") or an indirect one ("tell me what shape it is").

    `hole` says what fills `{}`: a shape, a colour, a thing ("circle", "blue shape", "blue circle"), or one of each.
    """

    kind: Kind
    hole: Hole
    direct: str
    indirect: str
    negated: bool = False


CLAUSES = (
    Clause("shape", "nothing", "what shape is it", "what shape it is"),
    Clause("shape", "nothing", "what shape does the image contain", "what shape the image contains"),
    Clause("shape", "nothing", "which shape is in the picture", "which shape is in the picture"),
    Clause("shape", "color", "what is the {} shape", "what the {} shape is"),
    Clause("shape", "color", "what shape is the {} thing", "what shape the {} thing is"),
    Clause("shape", "color", "which shape is {}", "which shape is {}"),
    Clause("shape", "color", "what {} shape can you see", "what {} shape you can see"),
    Clause("shape", "color", "which {} shape is in the picture", "which {} shape is in the picture"),
    Clause("color", "shape", "what color is the {}", "what color the {} is"),
    Clause("color", "shape", "what is the color of the {}", "the color of the {}"),
    Clause("color", "shape", "which color does the {} have", "which color the {} has"),
    Clause("color", "shape", "what color is the {} in the picture", "what color the {} in the picture has"),
    Clause("color", "shape", "in which color can you see the {}", "in which color you can see the {}"),
    Clause("yes_no", "thing", "is there a {}", "if there is a {}"),
    Clause("yes_no", "thing", "is there a {} in the picture", "if there is a {} in the picture"),
    Clause("yes_no", "thing", "does the image contain a {}", "if the image contains a {}"),
    Clause("yes_no", "thing", "can you see a {}", "if you can see a {}"),
    Clause("yes_no", "shape_color", "is the {} {}", "if the {} is {}"),
    Clause("yes_no", "color_shape", "is the {} thing a {}", "if the {} thing is a {}"),
    Clause("yes_no", "thing", "is there no {}", "if there is no {}", negated=True),
    Clause("yes_no", "thing", "does the image not contain a {}", "if the image does not contain a {}", negated=True),
    Clause("yes_no", "shape_color", "is the {} not {}", "if the {} is not {}", negated=True),
)

NEGATED_SHARE = 0.08
"""Of the questions for yes or no. With as many negated as plain ones a match of word and picture would predict neither answer."""

Filler = tuple[str, ...]
"""The words that fill the hole of a clause: `()`, `("blue",)`, `("blue circle",)` or `("circle", "blue")`."""


@dataclass(frozen=True)
class Asked:
    """A question about a picture with its right answer, and the pieces it is made of."""

    carrier: str
    clause: Clause
    filler: Filler
    answer: str

    @property
    def words(self) -> str:
        """The question as it is spoken and typed."""
        return sentence(self.carrier, self.clause, self.filler)

    @property
    def pieces(self) -> tuple[tuple[str, str], ...]:
        """The pairs of pieces; an unheard sentence is a new triple of pairs that were all heard."""
        clause, filler = self.clause.direct, " ".join(self.filler)
        return (self.carrier, clause), (clause, filler), (self.carrier, filler)


def sentence(carrier: str, clause: Clause, filler: Filler) -> str:
    """The words of a question."""
    form = clause.indirect if carrier in INDIRECT_CARRIERS else clause.direct
    return f"{carrier} {form.format(*filler)}".strip()


def shape_words(picture: Picture) -> tuple[str, ...]:
    """The words that name the picture's shape without telling its colour."""
    return picture.shape, "shape", "thing"


def claims(clause: Clause, picture: Picture, true: bool) -> Iterator[Filler]:
    """Every filler whose claim about the picture is true (or false), without a false presupposition."""
    shapes = [s for s in SHAPES if (s == picture.shape) == true]
    colors = [c for c in COLORS if (c == picture.color) == true]
    if clause.hole == "shape_color":
        yield from ((noun, color) for noun in shape_words(picture) for color in colors)
    elif clause.hole == "color_shape":
        yield from ((picture.color, shape) for shape in shapes)
    else:
        yield from ((shape,) for shape in shapes)
        yield from ((f"{color} shape",) for color in colors)
        both = ((s, c) for s in SHAPES for c in COLORS)
        yield from ((f"{c} {s}",) for s, c in both if ((s, c) == (picture.shape, picture.color)) == true)


def draw_claim(clause: Clause, picture: Picture, true: bool, generator: np.random.Generator) -> Filler:
    """One claim: first how it names the thing (by shape, colour, or both), then which, so that no word is favoured."""
    by_form: dict[str, list[Filler]] = {}
    for filler in claims(clause, picture, true):
        last = filler[-1].split()
        form = "both" if len(last) == 2 and last[1] in SHAPES else last[-1] if last[-1] == "shape" else "one"
        by_form.setdefault(form, []).append(filler)
    forms = list(by_form.values())
    return pick(pick(forms, generator), generator)


def pick(options: Sequence[T], generator: np.random.Generator) -> T:
    """One of the options, each as likely."""
    return options[int(generator.integers(len(options)))]


def draw_filler(clause: Clause, picture: Picture, answer: str, generator: np.random.Generator) -> Filler:
    """Words for the hole of a clause, so that `answer` is right."""
    match clause.hole:
        case "nothing":
            return ()
        case "shape":
            return (pick(shape_words(picture), generator),)
        case "color":
            return (picture.color,)
        case _:
            return draw_claim(clause, picture, (answer == "yes") != clause.negated, generator)


def ask(
    picture: Picture,
    kind: Kind,
    *,
    generator: np.random.Generator,
    allowed: Callable[[Asked], bool] = lambda _: True,
    attempts: int = 2000,
) -> Asked | None:
    """A question of this kind about the picture that `allowed` accepts, or None where none was found.

    The answer is fixed before the words are drawn, so refusing sentences never tilts yes against no.
    """
    answer = {"shape": picture.shape, "color": picture.color}.get(kind) or pick(("yes", "no"), generator)
    negated = kind == "yes_no" and generator.random() < NEGATED_SHARE
    for tried in (negated, not negated):  # where few sentences are allowed, none of the kind that was drawn may be
        clauses = [clause for clause in CLAUSES if clause.kind == kind and clause.negated == tried]
        for _ in range(attempts if clauses else 0):
            clause = pick(clauses, generator)
            filler = draw_filler(clause, picture, answer, generator)
            asked = Asked(pick(DIRECT_CARRIERS + INDIRECT_CARRIERS, generator), clause, filler, answer)
            if allowed(asked):
                return asked
    return None


@lru_cache(maxsize=1 << 16)
def right_answer(clause: Clause, filler: Filler, picture: Picture) -> str | None:
    """The answer to this question about the picture; None where the question presupposes what the picture does not show."""
    match clause.hole:
        case "nothing":
            fits = True
        case "shape":
            fits = filler[0] in shape_words(picture)
        case "color":
            fits = filler[0] == picture.color
        case _:
            holds = filler in set(claims(clause, picture, True))
            if not holds and filler not in set(claims(clause, picture, False)):
                return None
            return "yes" if holds != clause.negated else "no"
    if not fits:
        return None
    return picture.shape if clause.kind == "shape" else picture.color


def every_sentence() -> dict[str, Hole]:
    """Every sentence of the language, with the hole of its clause."""
    pictures = [Picture(shape, color) for shape in SHAPES for color in COLORS]
    found: dict[str, Hole] = {}
    for clause in CLAUSES:
        for filler in sorted({filler for picture in pictures for filler in fillers(clause, picture)}):
            for carrier in DIRECT_CARRIERS + INDIRECT_CARRIERS:
                found[sentence(carrier, clause, filler)] = clause.hole
    return found


def fillers(clause: Clause, picture: Picture) -> list[Filler]:
    """Everything that may fill the hole of a clause before this picture."""
    match clause.hole:
        case "nothing":
            return [()]
        case "shape":
            return [(word,) for word in shape_words(picture)]
        case "color":
            return [(picture.color,)]
        case _:
            return [*claims(clause, picture, True), *claims(clause, picture, False)]
