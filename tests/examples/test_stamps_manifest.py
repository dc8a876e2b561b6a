"""The manifest maker of examples/stamps, on a small folder of stamps made here; no network and no Debian needed."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from plait.config import read_config
from plait.data.manifest import read_manifest
from plait.errors import UserError

EXAMPLE = Path(__file__).parents[2] / "examples" / "stamps"


def load_maker() -> ModuleType:
    """examples/stamps/make.py as a module."""
    spec = importlib.util.spec_from_file_location("stamps_make", EXAMPLE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


maker = load_maker()


def put(folder: Path, name: str, *lines: str, colour: int | None = None, svg: bool = False, sounds: str = "") -> None:
    """A stamp: its text, a picture of one colour, and the sounds whose endings are named."""
    path = folder / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if colour is not None:
        Image.new("RGBA", (9, 7), (colour % 256, colour // 256, 99, 255)).save(path.with_name(path.stem + ".png"))
    if svg:
        box = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"><rect width="4" height="4"/></svg>'
        path.with_name(path.stem + ".svg").write_text(box, encoding="utf-8")
    for ending in sounds.split():
        soundfile.write(path.with_name(path.stem + ending + ".ogg"), np.zeros(1600, dtype=np.float32), 16_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Thirty stamps, and the special ones that the tests speak of."""
    folder = tmp_path / "stamps"
    for number in range(30):
        text = [f"Thing number {number}.", f"fr.utf8=Chose numéro {number}.", f"es.utf8=Cosa {number}."]
        put(
            folder,
            f"things/thing{number}",
            *text,
            colour=number,
            sounds="_desc_fr _desc_es" if number % 3 else "_desc_fr",
        )
    put(folder, "animals/frog-1", "A frog.", "fr.utf8=Une grenouille.", colour=300, sounds="_desc_fr")
    put(folder, "animals/cartoon/frog", "  A FROG!", "fr.utf8=Une rainette.", colour=301, sounds="_desc_fr")
    put(folder, "animals/toad", "A toad.", "fr.utf8=Une  rainette", colour=302, sounds="_desc_fr")
    put(folder, "animals/newt", "A newt.", "fr.utf8=", colour=302, sounds="_desc_fr")
    put(folder, "animals/cow", "A cow.", colour=303)
    soundfile.write(folder / "animals/cow.ogg", np.zeros(1600, dtype=np.float32), 16_000)
    put(folder, "signs/drawn", "A drawn sign.", "fr.utf8=Un panneau.", svg=True)
    put(folder, "signs/nothing", "Nothing to see.")
    put(folder, "signs/mute", "", "fr.utf8=Sans anglais.", colour=304)
    return folder


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_manifests_hold_pictures_texts_and_recordings(source: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "data"
    assert maker.main(["--from", str(source), "--out", str(out)]) == 0
    english, french, voices = (rows_of(out / f"{name}.jsonl") for name in ("en", "fr", "voices"))
    assert len(english) == 35
    assert all("audio" not in one for one in english)
    by_id = {one["id"]: one for one in french}
    assert len(by_id) == 33  # of the newt there is no French text, of the cow no recording
    assert by_id["animals/cartoon/frog"]["target"] == "Une rainette."
    assert by_id["animals/cartoon/frog"]["tags"] == {"picture": "cartoon"}
    assert by_id["animals/toad"]["audio"] == "media/animals/toad_desc_fr.ogg"
    assert len(voices) == 33 + 20
    assert {one["tags"]["language"] for one in voices} == {"fr", "es"}
    reasons = {one["stamp"]: one["reason"] for one in rows_of(out / "left_out.jsonl")}
    assert reasons.keys() == {"signs/drawn", "signs/nothing", "signs/mute"}
    assert "--svg" in reasons["signs/drawn"]
    printed = capsys.readouterr().out
    assert "35 rows" in printed
    assert "sound effects of 1 stamps" in printed


def test_plait_reads_the_manifests(source: Path, tmp_path: Path) -> None:
    maker.make(source, tmp_path / "data")
    for name, modalities in (("en", ["image"]), ("fr", ["image", "audio"]), ("voices", ["image", "audio"])):
        dataset = read_manifest(tmp_path / "data" / f"{name}.jsonl")
        assert list(dataset.modalities) == modalities
        assert not dataset.left_out
        assert {sample.split for sample in dataset.samples} == {"train", "tune", "test"}


def test_no_text_and_no_picture_is_in_two_splits(source: Path, tmp_path: Path) -> None:
    maker.make(source, tmp_path / "data")
    split_of: dict[tuple[str, object], str] = {}
    for name in ("en", "fr", "voices"):
        for one in rows_of(tmp_path / "data" / f"{name}.jsonl"):
            picture = (tmp_path / "data" / one["image"]).read_bytes()
            for key in (("stamp", one["id"].split(":")[0]), ("text", maker.fold(one["target"])), ("picture", picture)):
                assert split_of.setdefault(key, one["split"]) == one["split"], key
    # frog and FROG by the English text, FROG and toad by the French one, toad and newt by the picture
    linked = ("animals/frog-1", "animals/cartoon/frog", "animals/toad", "animals/newt")
    assert len({split_of["stamp", name] for name in linked}) == 1


def test_a_second_making_changes_nothing(source: Path, tmp_path: Path) -> None:
    for name in ("one", "two", "one"):
        maker.make(source, tmp_path / name)
    for name in ("en", "fr", "voices"):
        assert (tmp_path / "one" / f"{name}.jsonl").read_text(encoding="utf-8") == (
            tmp_path / "two" / f"{name}.jsonl"
        ).read_text(encoding="utf-8")


def test_an_svg_picture_is_drawn_where_asked(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    drawer = programs / "rsvg-convert"
    drawer.write_text('#!/bin/sh\nwhile [ "$1" != "-o" ]; do shift; done\ncp "$PICTURE" "$2"\n', encoding="utf-8")
    drawer.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("PICTURE", str(source / "animals/cow.png"))
    maker.make(source, tmp_path / "data", draw_svg=True)
    drawn = next(one for one in rows_of(tmp_path / "data" / "en.jsonl") if one["id"] == "signs/drawn")
    assert drawn["image"] == "media/signs/drawn.svg.png"
    assert (tmp_path / "data" / drawn["image"]).read_bytes() == (source / "animals/cow.png").read_bytes()


def test_a_folder_without_stamps_is_the_users_mistake(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "empty").mkdir()
    assert maker.main(["--from", str(tmp_path / "empty"), "--out", str(tmp_path / "data")]) == 2
    assert "no stamps are here" in capsys.readouterr().err


def test_what_is_missing_is_said(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="librsvg2-bin"):
        maker.make(source, tmp_path / "data", draw_svg=True)
    with pytest.raises(UserError, match="--from DIR"):
        maker.unpacked_package(tmp_path)


@pytest.mark.parametrize(("name", "manifest"), [("caption", "en"), ("describe", "fr")])
def test_the_configurations_are_right(name: str, manifest: str) -> None:
    config = read_config(EXAMPLE / f"{name}.yaml")
    assert Path(config.data.manifest) == EXAMPLE / "data" / f"{manifest}.jsonl"
