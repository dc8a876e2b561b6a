"""`plait cache`: what is there, and what is cleared."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch

from plait.cli.app import run
from plait.features.listing import clear, listing, seconds_of
from plait.features.store import ABOUT, FeatureStore, features_folder

IDS = ("0123456789abcdef", "0123ffffffffffff", "fedcba9876543210")
DAY = 86400.0


@pytest.fixture
def three(cache: Path) -> Path:
    """Three encoders' features, used 0, 10 and 40 days ago; and a folder that is none of the cache's."""
    for number, id in enumerate(IDS):
        about = {"modality": ["image", "audio", "text"][number], "kind": "vit", "width": 8, "start_from": "/runs/a"}
        store = FeatureStore(id, about)
        for block in range(number + 1):
            keys = [bytes([block, k]) * 8 for k in range(5)]
            store.add(keys, [torch.ones(3, 8)] * 5, [0] * 5)
        age = time.time() - (0, 10, 40)[number] * DAY
        os.utime(features_folder() / id / ABOUT, (age, age))
    (features_folder() / "mine").mkdir()
    (features_folder() / "mine" / "thesis.tex").write_text("years of work", encoding="utf-8")
    return cache


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    assert run(["cache", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def ids() -> list[str]:
    return [row.id for row in listing().stored]


def test_it_shows_what_is_there(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(capsys)
    assert found["folder"] == str(three)
    rows = found["encoders"]
    assert isinstance(rows, list)
    assert [row["id"] for row in rows] == list(IDS)
    assert [row["items"] for row in rows] == [5, 10, 15]
    assert [row["modality"] for row in rows] == ["image", "audio", "text"]
    on_disk = [sum(p.stat().st_size for p in (features_folder() / id).iterdir()) for id in IDS]
    assert [row["bytes"] for row in rows] == on_disk
    assert found["bytes"] == sum(on_disk)
    assert run(["cache"]) == 0
    out = capsys.readouterr().out
    assert all(id in out for id in IDS)
    assert "/runs/a" in out


def test_an_empty_cache_is_no_mistake(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys)["encoders"] == []
    assert shown(capsys, "--clear")["cleared"] == []
    assert run(["cache"]) == 0
    assert "no features" in capsys.readouterr().out
    assert not cache.exists()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--clear"], []),
        (["--clear", "--older-than", "30d"], [0, 1]),
        (["--clear", "--older-than", "5 d"], [0]),
        (["--clear", "--older-than", "1h"], [0]),
        (["--clear", "fedc"], [0, 1]),
        (["--clear", IDS[0], "fed"], [1]),
        (["--clear", "0123f", "fedc", "--older-than", "2w"], [0, 1]),
    ],
)
def test_it_clears_what_is_asked(
    three: Path, words: list[str], left: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    cleared = shown(capsys, *words)["cleared"]
    assert isinstance(cleared, list)
    assert {row["id"] for row in cleared} == set(IDS) - set(ids())
    assert ids() == [IDS[number] for number in left]
    assert (features_folder() / "mine" / "thesis.tex").exists()
    assert {p.name for p in features_folder().iterdir()} == {"mine", *ids()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--clear", "--older-than", "soon"], "'soon' is no time"),
        (["--older-than", "3d"], "only --clear"),
        (["abcd"], "no encoder 'abcd'"),
        (["--clear", "abcd"], "no encoder 'abcd'"),
        (["--clear", "0123"], "2 encoders begin with '0123'"),
    ],
)
def test_a_mistake_clears_nothing(three: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", *words]) == 2
    assert said in capsys.readouterr().err
    assert ids() == list(IDS)


def test_ages(cache: Path) -> None:
    assert [seconds_of(age) for age in ("90min", "1.5h", "30d", "2w")] == [5400, 5400, 30 * DAY, 14 * DAY]


def test_what_an_ended_clearing_left_goes_with_the_next(three: Path) -> None:
    (features_folder() / ".gone-1").mkdir()
    (features_folder() / ".gone-1" / "x.block").write_text("half deleted", encoding="utf-8")
    assert IDS[2] in [row.id for row in clear(older_than=30 * DAY)]
    assert not (features_folder() / ".gone-1").exists()


def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from plait.features import cache_folder

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("PLAIT_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "plait"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == tmp_path / ".cache" / "plait"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "plait"
