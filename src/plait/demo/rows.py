"""The rows of the embedded data: which question, about which picture, heard, read or both, by whom.

In: the pictures of easy-vqa's two parts, the variants of the speech engine (none: typed questions only), sizes, a seed.
Out: one `Row` per sample.
Invariant: pictures and voices of one split are in no other; a sentence tagged `unheard` is in no training row, while
each pair of its pieces (carrier and clause, clause and filler, carrier and filler) is in some; a `heard` one was
spoken in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from plait.demo.language import Asked, Kind, Picture, ask, pick, right_answer
from plait.demo.pictures import DrawnPicture
from plait.demo.speech import ACCENTS, Clip
from plait.errors import UserError
from plait.seeds import derive_seed, numpy_generator

Word = TypeVar("Word", bound=str)
Pattern = Literal["spoken", "typed", "both"]
Split = Literal["train", "tune", "test"]
SPLITS: tuple[Split, ...] = ("train", "tune", "test")

PATTERNS: Mapping[Pattern, float] = {"spoken": 0.6, "typed": 0.2, "both": 0.2}
KIND_SHARES: Mapping[Kind, float] = {"shape": 0.3, "color": 0.3, "yes_no": 0.4}
UNHEARD_SHARES: Mapping[Split, float] = {"train": 0.0, "tune": 0.5, "test": 0.6}
SENTENCES_HELD_OUT: Mapping[Split, float] = {"tune": 0.1, "test": 0.3}
TUNE_PICTURES = 0.1
HELD_OUT_ACCENTS: Mapping[Split, tuple[str, ...]] = {
    "tune": ("en-gb-x-gbclan",),
    "test": ("en-gb-x-gbcwmd", "en-us-nyc"),
}
VARIANTS_HELD_OUT: Mapping[Split, float] = {"tune": 0.1, "test": 0.2}
LARGEST_HELD_OUT_FAMILY = 4
RATES, PITCHES = (180, 230), (35, 65)


@dataclass(frozen=True)
class DemoSize:
    """Questions per split; each training question is asked of `pictures` pictures, in one and the same recording."""

    train: int = 10_000
    tune: int = 600
    test: int = 1_500
    pictures: int = 4


@dataclass(frozen=True)
class Row:
    """One sample of the embedded data."""

    id: str
    split: Split
    picture: DrawnPicture
    asked: Asked
    pattern: Pattern
    unheard: bool
    clip: Clip | None


def family(variant: str, variants: Sequence[str]) -> str:
    """The name that a variant shares with its siblings (`robosoft3` → `robosoft`, `anikaRobot` → `anika`)."""
    name = variant.rstrip("0123456789").lower()
    shorter = [v.rstrip("0123456789").lower() for v in variants]
    return min((s for s in shorter if len(s) >= 4 and s in name), key=len, default=name)


def split_voices(variants: Sequence[str], seed: int) -> dict[Split, list[str]]:
    """The voices (`accent+variant`) of each split; no accent and no family of variants is in two of them."""
    families: dict[str, list[str]] = {}
    for variant in sorted(variants):
        families.setdefault(family(variant, variants), []).append(variant)
    names = sorted(name for name, members in families.items() if len(members) <= LARGEST_HELD_OUT_FAMILY)
    numpy_generator(seed, "variants").shuffle(names)
    chosen: dict[Split, list[str]] = {"train": [], "tune": [], "test": []}
    for split, share in VARIANTS_HELD_OUT.items():
        while names and len(chosen[split]) < share * len(variants):
            chosen[split] += families.pop(names.pop())
    chosen["train"] = [variant for members in families.values() for variant in members]
    held_out = {accent for accents in HELD_OUT_ACCENTS.values() for accent in accents}
    accents = {"train": tuple(a for a in ACCENTS if a not in held_out), **HELD_OUT_ACCENTS}
    return {s: [f"{accent}+{variant}" for accent in accents[s] for variant in sorted(chosen[s])] for s in SPLITS}


def split_pictures(
    train: Sequence[DrawnPicture], test: Sequence[DrawnPicture], seed: int
) -> dict[Split, list[DrawnPicture]]:
    """The pictures of each split: easy-vqa's test part is the test, a tenth of its training part is for tuning."""
    shuffled = list(train)
    numpy_generator(seed, "pictures").shuffle(shuffled)  # pyright: ignore[reportArgumentType]
    number = round(TUNE_PICTURES * len(shuffled))
    return {"train": shuffled[number:], "tune": shuffled[:number], "test": list(test)}


def home(asked: Asked, seed: int) -> Split:
    """The split that a sentence belongs to; one without a hole has no pieces to recombine and belongs to training."""
    if not asked.filler:
        return "train"
    place = derive_seed(seed, "sentence", asked.words) / 2**63
    if place < SENTENCES_HELD_OUT["test"]:
        return "test"
    return "tune" if place < SENTENCES_HELD_OUT["test"] + SENTENCES_HELD_OUT["tune"] else "train"


def by_quota(shares: Mapping[Word, float], number: int, generator: np.random.Generator) -> list[Word]:
    """`number` names in random order, each as often as its share says."""
    ends = np.round(np.cumsum(list(shares.values())) / sum(shares.values()) * number).astype(int)
    names = [name for name, count in zip(shares, np.diff(ends, prepend=0), strict=True) for _ in range(count)]
    generator.shuffle(names)  # pyright: ignore[reportArgumentType]
    return names


@dataclass
class Heard:
    """What training has heard so far: its sentences, those of them that were spoken, and the pairs of their pieces."""

    sentences: set[str]
    spoken: set[str]
    pieces: set[tuple[str, str]]

    def add(self, asked: Asked, spoken: bool) -> None:
        """Note one training row."""
        self.sentences.add(asked.words)
        self.pieces.update(asked.pieces)
        if spoken:
            self.spoken.add(asked.words)

    def allows(self, asked: Asked, split: Split, unheard: bool, seed: int) -> bool:
        """Whether a row of this split may have this sentence."""
        if split == "train":
            return home(asked, seed) == "train"
        if unheard:
            new = asked.words not in self.sentences and home(asked, seed) == split
            return new and self.pieces.issuperset(asked.pieces)
        return asked.words in self.spoken


def draw_asked(picture: Picture, kind: Kind, split: Split, unheard: bool, heard: Heard, seed: int, row: str) -> Asked:
    """The question of one row."""
    asked = ask(
        picture,
        kind,
        generator=numpy_generator(seed, "question", row),
        allowed=lambda candidate: heard.allows(candidate, split, unheard, seed),
    )
    if asked is None:
        raise UserError(
            f"no {'unheard' if unheard else 'heard'} question of kind {kind} fits a {picture.color} {picture.shape}",
            where=f"row {row} of the demo data",
            right="Ask for more training rows, so that more sentences are heard.",
        )
    return asked


def make_rows(
    pictures: Mapping[Split, Sequence[DrawnPicture]], variants: Sequence[str], *, size: DemoSize, seed: int
) -> list[Row]:
    """Every row of the data, training first."""
    voices = split_voices(variants, seed) if variants else {split: [] for split in SPLITS}
    patterns: Mapping[Pattern, float] = PATTERNS if variants else {"typed": 1.0}
    heard = Heard(set(), set(), set())
    rows: list[Row] = []
    for split in SPLITS:
        number: int = getattr(size, split)
        order = picture_order(pictures[split], number, numpy_generator(seed, "picture order", split))
        draws = zip(
            by_quota(patterns, number, numpy_generator(seed, "patterns", split)),
            by_quota(KIND_SHARES, number, numpy_generator(seed, "kinds", split)),
            by_quota(unheard_quota(split), number, numpy_generator(seed, "sentences", split)),
            strict=True,
        )
        for place, (pattern, kind, novelty) in enumerate(draws):
            name, unheard, picture = f"{split}-{place:05d}", novelty == "unheard", order[place]
            asked = draw_asked(picture.shows, kind, split, unheard, heard, seed, name)  # pyright: ignore[reportArgumentType]
            spoken = pattern != "typed"
            clip = draw_clip(name, split, asked, voices[split], seed) if spoken else None
            rows.append(Row(name, split, picture, asked, pattern, unheard, clip))  # pyright: ignore[reportArgumentType]
            if split == "train":
                heard.add(asked, spoken or not variants)
                rows += asked_again(rows[-1], pictures["train"], size.pictures - 1, seed)
    return rows


def asked_again(row: Row, pictures: Sequence[DrawnPicture], number: int, seed: int) -> list[Row]:
    """The question of a row asked of further pictures, so that an answer cannot be learnt by heart from its sound and words.

    Yes and no are drawn first, evenly, as in `ask`; a picture that lacks what the question presupposes is passed over.
    """
    again: list[Row] = []
    for place in range(1, number + 1):
        name = f"{row.id}-{place}"
        generator = numpy_generator(seed, "asked again", name)
        wanted = pick(("yes", "no"), generator) if row.asked.clause.kind == "yes_no" else None
        answer, picture = None, row.picture
        while answer is None or (wanted is not None and answer != wanted):
            picture = pick(pictures, generator)
            answer = right_answer(row.asked.clause, row.asked.filler, picture.shows)
        again.append(replace(row, id=name, picture=picture, asked=replace(row.asked, answer=answer)))
    return again


def unheard_quota(split: Split) -> dict[Literal["unheard", "heard"], float]:
    """The shares of unheard and heard sentences in a split."""
    return {"unheard": UNHEARD_SHARES[split], "heard": 1 - UNHEARD_SHARES[split]}


def picture_order(pictures: Sequence[DrawnPicture], number: int, generator: np.random.Generator) -> list[DrawnPicture]:
    """One picture per row: all of them in random order, again and again, so that each is used as often as another."""
    order: list[DrawnPicture] = []
    while len(order) < number:
        order += [pictures[place] for place in generator.permutation(len(pictures))]
    return order[:number]


def draw_clip(name: str, split: Split, asked: Asked, voices: Sequence[str], seed: int) -> Clip:
    """Who says the question of a row, how fast and how high."""
    generator = numpy_generator(seed, "voice", name)
    rate, pitch = (int(generator.integers(low, high + 1)) for low, high in (RATES, PITCHES))
    return Clip(f"speech/{split}/{name}.wav", asked.words, pick(voices, generator), rate, pitch)
