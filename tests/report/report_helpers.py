"""A comparison with hostile names, and a reader of pages that holds them to what every page must be."""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from plait.compare.result import (
    Against,
    ArmResult,
    ComparisonResult,
    Credit,
    Decision,
    Example,
    Metric,
    Point,
    Price,
    SeedResult,
    Term,
)

HOSTILE = (
    "<script>alert(1)</script>",
    "\" onload='x' & <b>bold</b> </style></svg>]]>",
    "שלום \u202eevil\u202c",
    "averylongword" * 20,
    "中文模型、日本語",
    "$a_b^c$ \\frac{{x}} {{ 7*7 }} {% if %}",
)
VOID = {"meta", "link", "img", "br", "wbr", "hr", "input", "area", "base", "col", "embed", "source", "track"}
ADDRESSES = ("src", "href", "xlink:href", "action", "poster", "data", "srcset", "formaction", "background", "cite")


@dataclass
class Page(HTMLParser):
    """What stands in a page; `wrong` collects what must not."""

    wrong: list[str] = field(default_factory=list)
    ids: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    refers: set[str] = field(default_factory=set)
    described: list[tuple[str, str]] = field(default_factory=list)
    sounds: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __init__(self, source: str) -> None:
        for name in ("wrong", "described", "sounds", "pictures", "open"):
            setattr(self, name, [])
        self.ids, self.tags, self.refers, self.text = Counter(), Counter(), set(), ""
        self.source = source
        super().__init__(convert_charrefs=True)
        self.feed(source)
        self.close()
        self.wrong += [f"not closed: {tag}" for tag in self.open]
        self.wrong += [f"id twice: {name}" for name, number in self.ids.items() if number > 1]
        self.wrong += [f"refers to nothing: {name}" for name in self.refers - set(self.ids)]
        self.wrong += [f"style sheet asks for: {found}" for found in re.findall(r"@import|url\((?!#)[^)]*\)", source)]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        values = {name: value or "" for name, value in attrs}
        if len(values) < len(attrs):
            self.wrong.append(f"an attribute twice in {tag}")
        if tag not in VOID:
            self.open.append(tag)
        for name, value in values.items():
            if name.startswith("on"):
                self.wrong.append(f"{tag} has {name}")
            if name in ADDRESSES and not value.startswith(("data:", "#")):
                self.wrong.append(f"{tag} asks for {value[:80]}")
            self.refers |= set(re.findall(r"url\(#([^)]*)\)", value))
            if name in ("href", "xlink:href") and value.startswith("#"):
                self.refers.add(value[1:])
            if name == "aria-labelledby":
                self.refers |= set(value.split())
        if "id" in values:
            self.ids[values["id"]] += 1
        if tag == "svg":
            self.described.append((values.get("role", ""), values.get("aria-labelledby", "")))
        if tag == "audio":
            self.sounds.append(values.get("src", ""))
        if tag == "img":
            self.pictures.append(values.get("src", ""))
            self.wrong += ["a picture without words"] * (not values.get("alt"))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            self.wrong.append(f"end of {tag}, which has none")
        elif not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} ends where it is not open")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def read_page(path: Path) -> Page:
    """A page that was written, held to what every page must be: well formed, nothing asked for, every plot with its words."""
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.wrong, page.wrong[:5]
    assert page.tags["script"] == 1
    assert page.tags["iframe"] == page.tags["object"] == page.tags["base"] == 0
    assert all(role == "img" and len(labels.split()) == 2 for role, labels in page.described)
    assert page.tags["desc"] == page.tags["svg"]
    assert "default-src 'none'" in html.unescape(page.source)
    return page


def squeezed(text: str) -> str:
    """In one line."""
    return " ".join(text.split())


def comparison(picture: str = "", sound: str = "", names: tuple[str, ...] = HOSTILE) -> ComparisonResult:
    """Arms of every role and every standing, under hostile names."""
    roles = ("candidate", "candidate", "unimodal", "text only", "no input", "constant")
    arms = []
    for k, (name, role) in enumerate(zip(names, roles, strict=True)):
        score = 0.9 - 0.01 * k - 0.5 * (k > 2)
        seeds = tuple(
            SeedResult(seed, score + 0.001 * seed, f"runs/{k}/seed-{seed}", 1.0, curve(k, seed), 12.5)
            for seed in range(3)
        )
        arms.append(
            ArmResult(
                name,
                role,
                (f"fusion.kind={name}",),
                "done",
                score=score,
                against=None
                if k == 0
                else Against(score - 0.9, score - 0.92, score - 0.88 - 0.02 * (k > 1), 0.5**k, k > 1),
                seeds=seeds,
                others={"heard.wer": 0.01 * k, f"{name}.odd": 1.25},
                price=Price()
                if role == "constant"
                else Price(1000 * (k + 1) ** 3, 10, 2e6 * (k + 1), 0.2, 60.0 + k, 10**9, 3.5, 5.0, 90.0),
                credits=(Credit("image", 0.5, 0.4, 0.6, True), Credit("audio", None, None, None, None, name))
                if k < 2
                else (),
                notes=(name,),
            )
        )
    arms.append(ArmResult(f"failed {names[0]}", "candidate", (), "failed", reason=names[1]))
    arms.append(ArmResult("dropped", "candidate", (), "dropped", reason="worse than the leader after 20 steps"))
    answers = {arm.name: name for arm, name in zip(arms, names, strict=False)}
    right = {arm.name: (1.0, 0.0, None)[k % 3] for k, arm in enumerate(arms[: len(names)])}
    images = (picture,) if picture else ()
    return ComparisonResult(
        metric=Metric("answer", "accuracy", True, True, "test", 48, {"picture": 16}, 0.95),
        decision=Decision(
            "level",
            f"no measurable difference between {names[0]} and {names[1]}",
            names[0],
            names[:2],
            0.05,
            3,
            None,
            ("one `seed`",),
        ),
        arms=tuple(arms),
        seeds=(0, 1, 2),
        terms=(Term("steps", True, "200"), Term(names[0], False, names[1])),
        frontier={
            "parameters": (names[0],),
            "train_seconds": (names[0], names[4]),
            "unheard_of": (names[0],),
            "flops": (names[5],),
        },
        examples=(Example(names[0], names[1], images, sound or None, names[2:4], answers, right, 1.0),),
        command=f"plait compare run.yaml --arms '{names[1]}'",
        environment={"torch": "2.13.0", "hardware": {"cores": 2, "accelerators": [], names[0]: None}},
        config={"data": {"manifest": names[0]}},
        seconds=4000.0,
        notes=names,
        saved="the race saved 61 % of the steps",
    )


def curve(arm: int, seed: int) -> tuple[Point, ...]:
    """A learning curve."""
    return tuple(Point(step, 3.0 / step + 0.1 * arm + 0.01 * seed) for step in (10, 20, 30))
