"""The embedded data: what is held out stays held out, the same seed gives the same bytes, nothing is half made."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plait.demo import make, rows, speech
from plait.demo.language import CLAUSES, Picture, right_answer
from plait.demo.make import make_demo_data
from plait.demo.pictures import read_pictures
from plait.demo.rows import DemoSize
from plait.errors import UserError

pytest.importorskip("easy_vqa")

SMALL = DemoSize(train=800, tune=6, test=12, pictures=2)
TYPED = DemoSize(train=800, tune=6, test=12, pictures=1)
MEDIUM = DemoSize(train=4000, tune=300, test=750)
VARIANTS = tuple(
    f"{name}{n}" for name in ("f", "m", "klatt", "ann", "bob", "cleo", "dora", "emil") for n in range(1, 9)
)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def read(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def made() -> list[rows.Row]:
    """Rows of the data, without a sound made."""
    variants = [f"{name}{n}" for name in ("f", "m", "ann", "bob", "cleo", "dora", "emil", "fay", "gus") for n in (1, 2)]
    split = rows.split_pictures(read_pictures("train"), read_pictures("test"), 0)
    return rows.make_rows(split, variants, size=MEDIUM, seed=0)


def of(made: list[rows.Row], split: str) -> list[rows.Row]:
    return [row for row in made if row.split == split]


def test_pictures_voices_accents_and_variants_are_in_one_split_only(made: list[rows.Row]) -> None:
    for key in (
        lambda row: str(row.picture.file),
        lambda row: row.clip and row.clip.voice,
        lambda row: row.clip and row.clip.voice.split("+")[0],
        lambda row: row.clip and row.clip.voice.split("+")[1],
    ):
        values = [{key(row) for row in of(made, split)} - {None} for split in rows.SPLITS]
        assert all(values)
        assert not values[0] & values[1]
        assert not values[0] & values[2]
        assert not values[1] & values[2]


def test_unheard_sentences_are_new_and_their_pieces_are_not(made: list[rows.Row]) -> None:
    train = of(made, "train")
    sentences = {row.asked.words for row in train}
    spoken = {row.asked.words for row in train if row.clip}
    words = {word for text in sentences for word in text.split()}
    pieces = {pair for row in train for pair in row.asked.pieces}
    for row in made:
        assert set(row.asked.words.split()) <= words
        if row.unheard:
            assert row.asked.words not in sentences
            assert set(row.asked.pieces) <= pieces
        elif row.split != "train":
            assert row.asked.words in spoken
    for split, share in rows.UNHEARD_SHARES.items():
        assert sum(row.unheard for row in of(made, split)) == round(share * len(of(made, split)))
    unheard = [{row.asked.words for row in of(made, split) if row.unheard} for split in ("tune", "test")]
    assert not unheard[0] & unheard[1]


def test_shares_are_as_stated(made: list[rows.Row]) -> None:
    for split in rows.SPLITS:
        part = of(made, split)
        patterns, kinds = Counter(row.pattern for row in part), Counter(row.asked.clause.kind for row in part)
        for name, share in rows.PATTERNS.items():
            assert abs(patterns[name] - share * len(part)) <= 1
        for name, share in rows.KIND_SHARES.items():
            assert abs(kinds[name] - share * len(part)) <= 1


def test_the_question_alone_says_little(made: list[rows.Row]) -> None:
    from plait.demo.card import QUESTION_KEYS, question_only

    train, test = of(made, "train"), of(made, "test")
    assert max(question_only(train, test, key) for key in QUESTION_KEYS.values()) < 0.38


def test_question_only_longhand(made: list[rows.Row]) -> None:
    """The most frequent training answer to the same key, and over all where the key is new."""
    from plait.demo.card import question_only

    train, test = of(made, "train")[:300], of(made, "test")[:200]
    overall = max(sorted({r.asked.answer for r in train}), key=[r.asked.answer for r in train].count)
    asked = [(r.asked.words, r.asked.answer) for r in train]
    right = 0
    for row in test:
        same = [answer for words, answer in asked if words == row.asked.words]
        guess = max(sorted(set(same)), key=same.count) if same else overall
        right += guess == row.asked.answer
    assert question_only(train, test, lambda r: r.asked.words) == pytest.approx(right / len(test), rel=1e-12)


def test_families_are_held_out_together() -> None:
    names = ["steph", "steph2", "steph3", "anika", "anikaRobot", "Mike", "mike2", "m1", "m2", "Michael", "robosoft4"]
    found = {name: rows.family(name, names) for name in names}
    assert found["steph"] == found["steph3"] == "steph"
    assert found["anikaRobot"] == "anika"
    assert found["Mike"] == found["mike2"]
    assert found["m1"] == found["m2"] != found["Michael"]
    voices = rows.split_voices(VARIANTS, 3)
    assert set(voices) == set(rows.SPLITS)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, make.DemoData]:
    pytest.importorskip("espeakng_loader")
    cache = tmp_path_factory.mktemp("cache")
    return cache, make_demo_data(cache, size=SMALL, num_processes=2)


def test_the_same_seed_gives_the_same_bytes(small: tuple[Path, make.DemoData], tmp_path: Path) -> None:
    again = make_demo_data(tmp_path, size=SMALL, num_processes=1)
    assert contents(small[1].manifest.parent) == contents(again.manifest.parent)


def test_every_file_of_the_manifest_is_there_and_none_else(small: tuple[Path, make.DemoData]) -> None:
    folder = small[1].manifest.parent
    named = {row[key] for row in read(small[1].manifest) for key in ("image", "audio") if key in row}
    there = {name for name in contents(folder) if name.startswith(("pictures", "speech"))}
    assert named == there


def test_rows_have_the_inputs_of_their_pattern(small: tuple[Path, make.DemoData]) -> None:
    assert small[1].spoken
    for row in read(small[1].manifest):
        has = {key for key in ("text", "audio") if key in row}
        assert has == {"spoken": {"audio"}, "typed": {"text"}, "both": {"text", "audio"}}[row["tags"]["pattern"]]
        assert row["target"].keys() == {"heard", "answer"}
        assert row.get("text", row["target"]["heard"]) == row["target"]["heard"]
        assert ("speaker" in row["group"]) == ("audio" in row)


def test_it_is_made_once(small: tuple[Path, make.DemoData], monkeypatch: pytest.MonkeyPatch) -> None:
    cache, first = small
    monkeypatch.setattr(make, "write_data", lambda *_, **__: pytest.fail("made again"))
    again = make_demo_data(cache, size=SMALL)
    assert not again.made
    assert (again.manifest, again.summary) == (first.manifest, json.loads(json.dumps(first.summary)))


def test_the_card_says_synthetic_and_the_examples_are_test_rows(small: tuple[Path, make.DemoData]) -> None:
    card = (small[1].manifest.parent / "DATA.md").read_text(encoding="utf-8")
    for word in ("synthetic", "MIT", "GPL-3", "easy-vqa", "eSpeak NG", "held out"):
        assert word in card
    rows_by_id = {row["id"]: row for row in read(small[1].manifest)}
    assert [rows_by_id[name]["split"] for name in small[1].summary["examples"]] == ["test"] * 3


def test_without_a_speech_engine_the_questions_are_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> speech.Audition:
        raise speech.SpeechUnavailable("No module named 'espeakng_loader'")

    with monkeypatch.context() as patched:
        patched.setattr(speech, "hold_audition", silent)
        data = make_demo_data(tmp_path, size=TYPED)
        assert not data.spoken
        assert "pip install 'plait[demo]'" in str(data.message)
        assert "typed" in str(data.message)
        assert all("audio" not in row and row["tags"]["pattern"] == "typed" for row in read(data.manifest))
        again = make_demo_data(tmp_path, size=TYPED)
        assert (again.made, again.message) == (False, data.message)
    assert "typed" in (data.manifest.parent / "DATA.md").read_text(encoding="utf-8")


def test_a_failure_leaves_what_was_there_and_another_seed_gives_other_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent() -> speech.Audition:
        raise speech.SpeechUnavailable("none")

    monkeypatch.setattr(speech, "hold_audition", silent)
    data = make_demo_data(tmp_path, size=TYPED)
    before, questions = contents(tmp_path), read(data.manifest)

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(make.card, "write_card", full)
    with pytest.raises(UserError, match=r"No space left.*600 MB"):
        make_demo_data(tmp_path, size=TYPED, seed=7)
    assert contents(tmp_path) == before
    left = tmp_path / "demo-in-making-killed"
    left.mkdir()
    os.utime(left, (0, 0))
    monkeypatch.undo()
    monkeypatch.setattr(speech, "hold_audition", silent)
    changed = make_demo_data(tmp_path, size=TYPED, seed=7)
    assert changed.made
    assert read(changed.manifest) != questions
    assert changed.manifest == data.manifest
    assert {file.name for file in tmp_path.iterdir()} == {"demo"}


def test_a_question_asked_again_is_the_same_recording_with_the_right_answer_of_another_picture(
    made: list[rows.Row],
) -> None:
    by_id = {row.id: row for row in made}
    again = [row for row in made if row.id.count("-") == 2]
    assert len(again) == (MEDIUM.pictures - 1) * MEDIUM.train
    answers: Counter[str] = Counter()
    for row in again:
        first = by_id[row.id.rsplit("-", 1)[0]]
        assert (row.clip, row.pattern, row.asked.words) == (first.clip, first.pattern, first.asked.words)
        assert row.asked.answer == right_answer(row.asked.clause, row.asked.filler, row.picture.shows)
        answers[row.asked.answer] += 1
    assert abs(answers["yes"] - answers["no"]) < 0.1 * (answers["yes"] + answers["no"])


def test_the_right_answer_agrees_with_the_question_that_was_made_for_the_picture(made: list[rows.Row]) -> None:
    for row in made:
        assert right_answer(row.asked.clause, row.asked.filler, row.picture.shows) == row.asked.answer


def test_a_question_that_presupposes_what_is_not_there_has_no_answer() -> None:
    blue = next(clause for clause in CLAUSES if clause.direct == "which shape is {}")
    assert right_answer(blue, ("blue",), Picture("circle", "blue")) == "circle"
    assert right_answer(blue, ("red",), Picture("circle", "blue")) is None
    is_it = next(clause for clause in CLAUSES if clause.direct == "is the {} not {}")
    assert right_answer(is_it, ("circle", "red"), Picture("circle", "blue")) == "yes"
    assert right_answer(is_it, ("triangle", "red"), Picture("circle", "blue")) is None
