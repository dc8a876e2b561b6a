"""Each kind of trouble is found, named with its place, and does not reach the clean manifest."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from plait.data.check import CheckConfig, CheckReport, Finding, check, write_clean
from plait.data.check.report import histogram, sparkline
from plait.data.check.texts import words
from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.image.prepare import ImageConfig


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 9)) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def sound(path: Path, seed: int = 0, seconds: float = 0.1, rate: int = 16_000, **options: Any) -> None:
    wave = np.random.default_rng(seed).uniform(-0.5, 0.5, int(seconds * rate))
    soundfile.write(path, wave, rate, **options)


def manifest(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def by_code(report: CheckReport) -> dict[str, Finding]:
    return {one.code: one for one in report.findings}


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Twelve good rows: eight of train, two of tune, two of test; a picture and a recording each."""
    found: list[dict[str, Any]] = []
    for i in range(12):
        picture(tmp_path / f"{i}.png", i)
        sound(tmp_path / f"{i}.wav", i)
        split = "train" if i < 8 else "tune" if i < 10 else "test"
        target = f"the {'red' if i % 2 else 'blue'} one"
        found.append({"id": str(i), "split": split, "image": f"{i}.png", "audio": f"{i}.wav", "target": target})
    return found


def test_good_data_has_nothing_to_say(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    seen: list[tuple[int, int]] = []
    report = check(manifest(tmp_path, rows), progress=lambda done, total: seen.append((done, total)))
    assert report.findings == ()
    assert report.ok
    assert report.splits == {"train": 8, "tune": 2, "test": 2}
    assert report.subsets == {"image + audio": {"train": 8, "tune": 2, "test": 2}}
    assert seen == [(i + 1, 24) for i in range(24)]
    lengths = {one.name: one for one in report.histograms}
    assert lengths["target"].low == lengths["target"].high == 3
    assert lengths["audio"].median == 0.1
    assert (lengths["image width"].median, lengths["image height"].median) == (12, 9)
    assert [one.unseen for one in report.unseen] == [0, 0]
    assert report.verdict == "OK: nothing found"


def zero(path: Path) -> None:
    path.with_suffix(".png").write_bytes(b"")


def cut_png(path: Path) -> None:
    path = path.with_suffix(".png")
    path.write_bytes(path.read_bytes()[:-150])


def no_png(path: Path) -> None:
    path.with_suffix(".png").write_bytes(b"this is no picture at all")


def cut_jpeg(path: Path) -> None:
    other = path.with_suffix(".jpg")
    picture(other, 5, (200, 200))
    path.with_suffix(".png").write_bytes(other.read_bytes()[:3000])


def bomb(path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(path.with_suffix(".png"))


def cut_wav(path: Path) -> None:
    path = path.with_suffix(".wav")
    path.write_bytes(path.read_bytes()[:-100])


def no_wav(path: Path) -> None:
    path.with_suffix(".wav").write_bytes(b"RIFF but not a recording")


def nan_wav(path: Path) -> None:
    soundfile.write(path.with_suffix(".wav"), np.array([0.1, np.nan, 0.2]), 16_000, subtype="FLOAT")


def no_samples(path: Path) -> None:
    soundfile.write(path.with_suffix(".wav"), np.zeros(0), 16_000)


def three_hours(path: Path) -> None:
    soundfile.write(path.with_suffix(".wav"), np.zeros(3 * 3600 * 1000, np.int16), 1000)


def picture_as_sound(path: Path) -> None:
    shutil.copy(path.with_suffix(".png"), path.with_suffix(".wav"))


@pytest.mark.parametrize(
    ("spoil", "codes"),
    [
        (zero, ["media-empty"]),
        (cut_png, ["image-truncated"]),
        (no_png, ["image-corrupt"]),
        (cut_jpeg, ["image-corrupt", "image-truncated"]),
        (bomb, ["image-too-large"]),
        (cut_wav, ["audio-truncated"]),
        (no_wav, ["audio-corrupt"]),
        (nan_wav, ["audio-nan"]),
        (no_samples, ["audio-empty"]),
        (three_hours, ["audio-too-long"]),
        (picture_as_sound, ["audio-corrupt"]),
    ],
)
def test_a_broken_file_is_an_error(
    tmp_path: Path, rows: list[dict[str, Any]], spoil: Callable[[Path], None], codes: list[str]
) -> None:
    spoil(tmp_path / "3")
    path = manifest(tmp_path, rows)
    dataset = read_manifest(path, on_error="skip")
    report = check(dataset)
    assert not report.ok
    (found,) = report.findings
    assert found.code in codes
    assert (found.severity, found.count, found.examples[0].id) == ("error", 1, "3")
    assert found.examples[0].where == f"{path}:4"
    assert f"{tmp_path}/3" not in found.examples[0].detail or "media" in found.code
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert (cleaned.num_rows, cleaned.num_left_out) == (11, 1)
    assert check(cleaned.path).findings == ()
    (gone,) = map(json.loads, cleaned.list_path.read_text(encoding="utf-8").splitlines())
    assert (gone["id"], gone["code"]) == ("3", found.code)
    assert gone["reason"]


@pytest.mark.parametrize("resize", ["squash", "pad"])
def test_black_and_silent_files_are_warnings_and_stay(tmp_path: Path, rows: list[dict[str, Any]], resize: Any) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "0.png")
    soundfile.write(tmp_path / "1.wav", np.zeros(1600), 16_000)
    dataset = read_manifest(manifest(tmp_path, rows))
    report = check(dataset, CheckConfig(image=ImageConfig(resize=resize)))
    found = by_code(report)
    assert set(found) == {"image-constant", "audio-silent"}
    assert report.ok
    assert found["image-constant"].examples[0].id == "0"
    assert found["audio-silent"].examples[0].id == "1"
    assert write_clean(report, dataset, tmp_path / "clean.jsonl").num_rows == 12


def test_opposite_channels_are_named(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Previously said to be silent, which they are only once their channels are averaged."""
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 1600)
    for number, right in (("3", -wave), ("5", -0.98 * wave)):
        soundfile.write(tmp_path / f"{number}.wav", np.stack([wave, right], axis=1), 16_000)
    report = check(manifest(tmp_path, rows))
    (found,) = report.findings
    assert (found.severity, found.code, found.count) == ("warning", "audio-opposite", 2)
    assert "data.audio.channel: left" in found.text
    assert "3.wav" in found.examples[0].detail
    assert check(manifest(tmp_path, rows), CheckConfig(audio=AudioConfig(channel="left"))).findings == ()


def test_headers_are_not_believed(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Previously a WAV of unwritten length had 0 seconds."""
    data = bytearray((tmp_path / "3.wav").read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    (tmp_path / "3.wav").write_bytes(data)
    report = check(manifest(tmp_path, rows))
    assert report.findings == ()
    (seconds,) = (one for one in report.histograms if one.name == "audio")
    assert seconds.low == seconds.high == 0.1


def test_wrong_suffixes_are_notes(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    sound(tmp_path / "x.mp3")
    (tmp_path / "x.mp3").replace(tmp_path / "0.wav")
    picture(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").replace(tmp_path / "1.png")
    picture(tmp_path / "2.jpeg")
    sound(tmp_path / "3.flac")
    rows[2]["image"], rows[3]["audio"] = "2.jpeg", "3.flac"
    found = by_code(check(manifest(tmp_path, rows)))
    assert {code: one.severity for code, one in found.items()} == {"image-suffix": "note", "audio-suffix": "note"}
    assert found["audio-suffix"].examples[0].detail.startswith("0.wav is named .wav and is MP")
    assert found["image-suffix"].examples[0].detail == "1.png is named .png and is JPEG"


def test_a_file_in_two_splits_leaves_training(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    shutil.copy(tmp_path / "11.png", tmp_path / "0.png")  # train and test
    shutil.copy(tmp_path / "9.wav", tmp_path / "1.wav")  # train and tune
    rows[10]["audio"] = "8.wav"  # tune and test, one file
    dataset = read_manifest(manifest(tmp_path, rows))
    report = check(dataset)
    found = by_code(report)
    assert {code: one.count for code, one in found.items()} == {
        "image-file-in-two-splits": 1,
        "audio-file-in-two-splits": 2,
    }
    assert found["image-file-in-two-splits"].examples[0].detail == "'0.png': train 1 row, test 1 row"
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert {sample.id for sample in read_manifest(cleaned.path).samples} == {str(i) for i in range(12)} - {
        "0",
        "1",
        "8",
    }
    assert check(cleaned.path).ok
    reasons = [json.loads(line)["reason"] for line in cleaned.list_path.read_text(encoding="utf-8").splitlines()]
    assert f"image file '0.png' is in test as well ({dataset.path}:12); the train row gives way" in reasons


def test_a_group_in_two_splits(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    for i, row in enumerate(rows):
        row["group"] = {"speaker": i % 3, "picture": i}
    dataset = read_manifest(manifest(tmp_path, rows))
    report = check(dataset)
    (found,) = report.findings
    assert (found.code, found.count) == ("group-speaker-in-two-splits", 3)
    with pytest.raises(UserError, match=r"all 8 rows of the split 'train' would be left out.*shared"):
        write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert not (tmp_path / "clean.jsonl").exists()
    shared = check(dataset, CheckConfig(shared=("speaker",)))
    assert shared.ok
    assert shared.findings[0].severity == "note"
    assert not shared.leave_out


def test_equal_rows_of_text_in_two_splits_are_a_warning(tmp_path: Path) -> None:
    rows = [{"split": split, "target": "to be"} for split in ("train", "tune", "test")]
    found = by_code(check(manifest(tmp_path, rows)))
    assert found["row-in-two-splits"].severity == "warning"
    assert found["row-in-two-splits"].examples[0].detail == "'to be': train 1 row, tune 1 row, test 1 row"


def test_what_the_reader_left_out_is_in_the_report(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    rows[1]["id"] = "0"
    rows[2]["image"] = "gone.png"
    rows[3]["image"] = "gone.png"
    rows[4] = {"nothing": 1}
    report = check(manifest(tmp_path, rows))
    found = by_code(report)
    assert {code: one.count for code, one in found.items()} == {
        "duplicate-id": 1,
        "media-missing": 2,
        "unknown-field": 1,
    }
    assert (report.num_samples, report.num_left_out) == (8, 4)
    assert "gone.png' is missing" in found["media-missing"].examples[0].detail


def test_a_file_that_is_deleted_after_reading(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    dataset = read_manifest(manifest(tmp_path, rows))
    (tmp_path / "0.png").unlink()
    assert set(by_code(check(dataset))) == {"image-corrupt"}


def test_a_manifest_without_any_usable_row(tmp_path: Path) -> None:
    report = check(manifest(tmp_path, [{"text": "a"}, {"text": "b"}]))
    assert not report.ok
    assert by_code(report)["no-target"].count == 2
    assert "\n".join(report.lines())
    json.dumps(report.to_dict())


def test_splits_without_rows(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = check(manifest(tmp_path, [row for row in rows if row["split"] == "test"])).findings
    assert [(one.severity, one.text) for one in found if one.code == "no-row"] == [
        ("error", "no row is in the split 'train'"),
        ("warning", "no row is in the split 'tune'"),
    ]


def test_texts(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"split": "train", "text": "a b c d", "target": {"heard": "", "answer": "yes"}},
        {"split": "train", "text": "a", "target": {"heard": "a b", "answer": "yes no maybe"}},
        {"split": "tune", "text": "a e e", "target": {"heard": "b", "answer": "nan"}},
        {"split": "test", "text": "A!", "target": {"heard": "b", "answer": "no"}},
    ]
    report = check(manifest(tmp_path, rows), CheckConfig(max_text_tokens=3, max_target_tokens=6))
    found = by_code(report)
    assert {code: (one.severity, one.count) for code, one in found.items()} == {
        "segment-empty": ("warning", 1),
        "target-null": ("warning", 1),
        "text-long": ("warning", 1),
        "target-long": ("warning", 1),
        "unseen-words": ("warning", 1),
    }
    assert found["target-long"].examples[0].detail == "the target has 7 words, at most 6 are taken"
    shares = {(one.split, one.field): (one.unseen, one.total, one.most_frequent) for one in report.unseen}
    assert shares == {
        ("tune", "text"): (2, 3, ("e",)),
        ("test", "text"): (1, 2, ("!",)),
        ("tune", "target.heard"): (0, 1, ()),
        ("test", "target.heard"): (0, 1, ()),
        ("tune", "target.answer"): (1, 1, ("nan",)),
        ("test", "target.answer"): (0, 1, ()),
    }


def test_a_constant_target_is_a_warning(tmp_path: Path) -> None:
    rows = [{"id": str(i), "split": "train", "text": str(i), "target": "yes"} for i in range(3)]
    assert by_code(check(manifest(tmp_path, rows)))["target-constant"].count == 3


class Characters:
    """A tokenizer that knows the letters a to m."""

    unknown_id = 0

    def encode(self, text: str) -> list[int]:
        return ["abcdefghijklm".find(letter) + 1 for letter in text]


def test_with_a_tokenizer_tokens_are_counted_and_long_targets_are_errors(tmp_path: Path) -> None:
    rows = [
        {"id": "long", "split": "train", "target": "abcdefgh"},
        {"id": "short", "split": "train", "target": "abc"},
        {"id": "tune", "split": "tune", "target": "abz"},
    ]
    dataset = read_manifest(manifest(tmp_path, rows))
    report = check(dataset, CheckConfig(max_target_tokens=8), tokenizer=Characters())
    assert by_code(report)["target-long"].severity == "error"
    assert [(one.unit, one.unseen, one.total) for one in report.unseen] == [("words", 1, 1), ("tokens", 1, 3)]
    assert {one.name: (one.low, one.high, one.unit) for one in report.histograms} == {"target": (3, 8, "tokens")}
    assert [one.id for one in report.leave_out] == ["long"]


def test_the_largest_batch(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    sound(tmp_path / "5.wav", 5, seconds=0.4)
    rows[6]["image"] = ["6.png", "7.png"]
    rows[7] = {"id": "7", "split": "train", "text": "one two", "target": "x"}
    config = CheckConfig(batch_size=4, image=ImageConfig(size=16), audio=AudioConfig(num_mels=80))
    largest = {one.name: one for one in check(manifest(tmp_path, rows), config).worst_batch}
    assert largest["audio"].elements == 4 * 40 * 80
    assert largest["audio"].padding == pytest.approx(1 - (40 + 10 + 10 + 10) / 160)
    assert largest["audio"].where.endswith("m.jsonl:6")
    assert largest["image"].elements == 4 * 2 * 3 * 16 * 16
    assert (largest["text"].batch_size, largest["text"].elements) == (1, 2)
    assert largest["target"].elements == 4 * (3 + 1)


def test_the_report_as_json_lines_and_tables(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    for i in range(5):
        no_png(tmp_path / str(i))
    report = check(manifest(tmp_path, rows), CheckConfig(examples=2))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is False
    assert data["findings"][0]["count"] == 5
    assert len(data["findings"][0]["examples"]) == 2
    assert data["unseen"][0]["share"] == 0.0
    text = "\n".join(report.lines())
    assert "error: pictures that cannot be decoded [image-corrupt, 5]" in text
    assert "… and 3 more" in text
    assert text.splitlines()[-1].startswith("NOT OK: 1 kind of error")
    console = Console(record=True, width=100)
    report.render(console)
    table = console.export_text()
    assert "pictures that cannot be decoded (5)" in table
    assert "image + audio" in table


def test_the_clean_manifest_keeps_all_that_a_row_says(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    rows[0] = {
        "id": 0,
        "split": "train",
        "group": {"picture": 3, "speaker": "ann"},
        "text": "what, «ü»?",
        "image": ["0.png", "./1.png"],
        "target": [{"heard": "a", "answer": "b"}, {"heard": "a", "answer": "c"}],
        "_source": {"page": 3},
        "tags": {"inputs": "loud", "place": "indoors"},  # previously the clean manifest had no tags any more
    }
    rows[1] = {"id": 1, "split": "train", "audio": "1.wav", "target": {"heard": "", "answer": "b"}, "_seen": True}
    rows[2] = {"id": 2, "split": "train", "target": {"heard": "", "answer": ""}}
    dataset = read_manifest(manifest(tmp_path, rows[:3]), on_error="skip")
    cleaned = write_clean(check(dataset), dataset, tmp_path / "clean.jsonl")
    again = read_manifest(cleaned.path)
    plain = [(s.id, s.split, s.text, s.image, s.audio, s.references, s.groups, s.tags) for s in dataset.samples]
    assert plain == [(s.id, s.split, s.text, s.image, s.audio, s.references, s.groups, s.tags) for s in again.samples]
    assert dataset.samples[0].tags == {"inputs": "loud", "place": "indoors"}
    lines = [json.loads(line) for line in cleaned.path.read_text(encoding="utf-8").splitlines()]
    assert lines[0]["_source"] == {"page": 3}
    assert lines[1]["_seen"] is True
    assert cleaned.num_left_out == 1


def test_a_folder_can_be_cleaned(tmp_path: Path) -> None:
    for i in range(5):
        picture(tmp_path / f"{i}.png", i)
        (tmp_path / f"{i}.txt").write_text(f"number {i}", encoding="utf-8")
    no_png(tmp_path / "2")
    dataset = read_manifest(tmp_path)
    report = check(dataset)
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert cleaned.num_rows == 4
    assert {s.id: s.split for s in read_manifest(cleaned.path).samples} == {
        s.id: s.split for s in dataset.samples if s.id != "2"
    }


def test_where_a_clean_manifest_is_not_written(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = manifest(tmp_path, rows)
    before = path.read_bytes()
    dataset = read_manifest(path)
    report = check(dataset)
    (tmp_path / "other").mkdir()
    (tmp_path / "old.jsonl").write_text("mine", encoding="utf-8")
    for name, expected in (
        ("m.jsonl", "would replace the manifest itself"),
        ("other/clean.jsonl", "would be in another folder"),
        ("clean.csv", "Give a name that ends in .jsonl"),
        ("old.jsonl", "the file exists"),
    ):
        with pytest.raises(UserError, match=expected):
            write_clean(report, dataset, tmp_path / name)
    assert path.read_bytes() == before
    assert (tmp_path / "old.jsonl").read_text(encoding="utf-8") == "mine"
    assert write_clean(report, dataset, tmp_path / "old.jsonl", overwrite=True).num_rows == 12
    assert not list(tmp_path.glob(".*"))


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = read_manifest(manifest(tmp_path, rows))
    report = check(dataset)
    (tmp_path / "clean.jsonl").write_text("before", encoding="utf-8")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="No space left"):
        write_clean(report, dataset, tmp_path / "clean.jsonl", overwrite=True)
    assert (tmp_path / "clean.jsonl").read_text(encoding="utf-8") == "before"
    assert not list(tmp_path.glob(".*"))


@given(st.lists(st.one_of(st.integers(0, 1000), st.floats(0, 100)), min_size=1, max_size=50))
def test_histograms_count_everything(values: list[float]) -> None:
    found = histogram("x", "u", values)
    assert found is not None
    assert sum(found.counts) == found.count == len(values)
    assert found.low <= found.median <= found.p95 <= found.high
    assert len(found.edges) == len(found.counts) + 1
    assert len(sparkline(found.counts)) == len(found.counts)


def test_words() -> None:
    assert words("Don't stop, 3rd_time!") == ["don't", "stop", ",", "3rd", "_", "time", "!"]
    assert words("红色的 cat") == ["红", "色", "的", "cat"]
    assert words(" ") == []


def spoil(data: bytes, random: random.Random) -> bytes:
    """Random damage to a file."""
    array = bytearray(data)
    for _ in range(random.randint(0, 8)):
        array[random.randrange(len(array))] = random.randrange(256)
    return bytes(array[: random.randint(1, len(array))])


def test_no_damage_makes_the_check_fail(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Whatever 200 files hold, the check ends, and what it leaves in can be trained on."""
    draw = random.Random(0)
    for name in ("x.jpg", "x.gif", "x.webp", "x.bmp", "x.tiff", "x.png"):
        picture(tmp_path / name, 3, (40, 30))
    for name in ("x.flac", "x.ogg", "x.mp3", "x.wav"):
        sound(tmp_path / name)
    sources = [path.read_bytes() for path in sorted(tmp_path.glob("x.*"))]
    found = list(rows)
    for i in range(200):
        (tmp_path / f"bad{i}").write_bytes(spoil(sources[i % len(sources)], draw))
        field = "audio" if i % 2 else "image"
        found.append({"id": f"bad{i}", "split": "train", field: f"bad{i}", "target": "x"})
    dataset = read_manifest(manifest(tmp_path, found))
    report = check(dataset)
    assert not report.ok
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert check(cleaned.path).ok
    assert cleaned.num_rows >= 12
