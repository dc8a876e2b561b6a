"""`data check` of inputs by name, whatever they are called and whichever modality they are of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from melodies import Melody
from plait.data.check import CheckConfig, CheckReport, Finding, check, write_clean
from plait.data.folder import read_folder
from plait.data.manifest import Dataset, read_manifest
from plait.data.media import MediaFolder
from plait.errors import UserError
from plait.modalities import MODALITIES, register
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.base import Blob
from plait.modalities.image.prepare import ImageConfig
from plait.modalities.text.prepare import TextConfig
from plait.types import Sample

HARD = [("before", "after"), ("type", "values"), ("float", "train")]


@pytest.fixture
def melody() -> Iterator[None]:
    """The modality of the tests, known for one test."""
    register(Melody())
    yield
    del MODALITIES["notes"]


def pairs(folder: Path, one: str, other: str, number: int = 12) -> list[dict[str, Any]]:
    """Rows with two pictures and a text."""
    rows: list[dict[str, Any]] = []
    for i in range(number):
        for name in (one, other):
            noise = np.random.default_rng(2 * i + (name == other)).integers(0, 256, (9, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f"{name}{i}.png")
        split = "train" if i < 8 else "tune" if i < 10 else "test"
        row = {one: f"{one}{i}.png", other: f"{other}{i}.png", "question": "what is new here", "target": "a red one"}
        rows.append({"id": str(i), "split": split, **row})
    return rows


def read(folder: Path, rows: list[dict[str, Any]], inputs: dict[str, str], **options: Any) -> Dataset:
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return read_manifest(path, inputs=inputs, on_error="skip", may_be_empty=True, **options)


def by_code(report: CheckReport) -> dict[str, Finding]:
    return {one.code: one for one in report.findings if one.code != "target-constant"}


@pytest.mark.parametrize(("one", "other"), HARD)
def test_findings_lengths_and_batches_are_those_of_an_input_by_its_name(tmp_path: Path, one: str, other: str) -> None:
    rows = pairs(tmp_path, one, other)
    (tmp_path / f"{one}3.png").write_bytes(b"this is no picture")
    Image.new("RGB", (12, 9)).save(tmp_path / f"{other}4.png")
    shutil.copy(tmp_path / f"{one}5.png", tmp_path / f"{one}5.gif")
    rows[5][one] = f"{one}5.gif"
    rows[6]["question"] = "one two three four five"
    inputs = {one: "image", other: "image", "question": "text"}
    prepare = {one: ImageConfig(size=16), other: ImageConfig(size=8), "question": TextConfig(max_tokens=4)}
    dataset = read(tmp_path, rows, inputs)
    report = check(dataset, CheckConfig(inputs=inputs, prepare=prepare, batch_size=4))
    found = by_code(report)
    assert {code: finding.count for code, finding in found.items()} == {
        f"{one}-corrupt": 1,
        f"{other}-constant": 1,
        f"{one}-suffix": 1,
        "question-long": 1,
    }
    assert found[f"{one}-corrupt"].text == f"{one}: pictures that cannot be decoded"
    assert found[f"{other}-constant"].text.startswith(f"{other}: pictures of one colour")
    assert found["question-long"].examples[0].detail == "5 words, the first 4 are read"
    names = {one.name for one in report.histograms}
    assert names == {"question", "target", f"{one} width", f"{one} height", f"{other} width", f"{other} height"}
    largest = {one.name: one for one in report.worst_batch}
    assert (largest[one].elements, largest[other].elements) == (4 * 3 * 16 * 16, 4 * 3 * 8 * 8)
    assert largest["question"].elements == 4 * 4
    assert {line.field for line in report.unseen} == {"question", "target"}
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    assert cleaned.num_rows == 11
    again = read_manifest(cleaned.path, inputs=inputs)
    assert [sample.inputs for sample in again.samples] == [s.inputs for s in dataset.samples if s.id != "3"]


def test_a_file_that_two_inputs_read_is_one_leak(tmp_path: Path) -> None:
    """What is `before` in one split and `after` in another was seen in training as well."""
    rows = pairs(tmp_path, "before", "after")
    shutil.copy(tmp_path / "after11.png", tmp_path / "before0.png")
    inputs = {"before": "image", "after": "image", "question": "text"}
    dataset = read(tmp_path, rows, inputs)
    found = by_code(check(dataset))
    assert list(found) == ["before-after-file-in-two-splits"]
    assert "data.split.shared: [before, after]" in found["before-after-file-in-two-splits"].text
    assert check(dataset, CheckConfig(shared=("before", "after"))).ok
    assert not check(dataset, CheckConfig(shared=("before",))).ok


def test_a_file_that_inputs_read_alike_is_decoded_once(tmp_path: Path) -> None:
    rows = pairs(tmp_path, "before", "after")
    for row in rows:
        row["after"] = row["before"]
    seen: list[tuple[int, int]] = []
    inputs = {"before": "image", "after": "image", "question": "text"}
    check(read(tmp_path, rows, inputs), progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (12, 12)
    seen.clear()
    other = CheckConfig(prepare={"after": ImageConfig(size=8)})
    check(read(tmp_path, rows, inputs), other, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (24, 24)


def test_an_input_that_no_row_has_is_an_error_with_the_field_that_was_meant(tmp_path: Path) -> None:
    rows = [{"image": row["before"], "target": "x"} for row in pairs(tmp_path, "before", "after")]
    wanted = {"photo": "image", "image": "image"}
    found = by_code(check(read(tmp_path, rows, wanted), CheckConfig(inputs=wanted)))
    assert found["no-input"].severity == "error"
    assert "no row has a field 'photo'. Did you mean data.columns: {photo: image}?" in found["no-input"].text
    assert "no-input" not in by_code(check(read(tmp_path, rows, {"photo": "image"}, columns={"photo": "image"})))


def test_the_clean_manifest_has_the_fields_of_the_data(tmp_path: Path) -> None:
    rows = pairs(tmp_path, "img_a", "img_b")
    columns = {"before": "img_a", "after": "img_b"}
    dataset = read(tmp_path, rows, {"before": "image", "after": "image", "question": "text"}, columns=columns)
    cleaned = write_clean(check(dataset), dataset, tmp_path / "clean.jsonl")
    first = json.loads(cleaned.path.read_text(encoding="utf-8").splitlines()[0])
    assert (first["img_a"], first["img_b"], first["question"]) == ("img_a0.png", "img_b0.png", "what is new here")


def test_bytes_are_looked_at_as_files_are(tmp_path: Path) -> None:
    rows = pairs(tmp_path, "before", "after")
    data = [(tmp_path / row["before"]).read_bytes() for row in rows]
    data[2] = data[2][:60]
    data[11] = data[0]
    samples = [
        Sample(
            row["id"], row["split"], inputs={"photo": (Blob(one, f"{row['id']}.png"),)}, references=({"target": "x"},)
        )
        for row, one in zip(rows, data, strict=True)
    ]
    dataset = Dataset(tmp_path / "m.parquet", samples, ("target",), ("photo",), [], kinds={"photo": "image"})
    report = check(dataset)
    found = by_code(report)
    assert {code.rpartition("-")[0] for code in found} == {"photo", "photo-file-in-two"}
    assert {one.name for one in report.histograms} >= {"photo width", "photo height"}
    assert next(one.low for one in report.histograms if one.name == "photo width") == 12
    with pytest.raises(UserError, match=r"cannot hold the bytes of 1\.png"):
        write_clean(report, dataset, tmp_path / "clean.jsonl")


@pytest.mark.parametrize("silence", [1e-3, 0.5])
def test_what_counts_as_silent_may_be_said(tmp_path: Path, silence: float) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.random.default_rng(i).uniform(-0.3, 0.3, 1600), 16_000)
    rows = [{"voice": f"{i}.wav", "split": split, "target": "x"} for i, split in enumerate(("train", "tune", "test"))]
    config = CheckConfig(silence=silence, prepare={"voice": AudioConfig()})
    found = by_code(check(read(tmp_path, rows, {"voice": "audio"}), config))
    assert [one.count for code, one in found.items() if code == "voice-silent"] == ([3] if silence > 0.3 else [])


@pytest.mark.usefixtures("melody")
def test_a_modality_that_is_only_registered_is_checked(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": str(i),
            "split": "train" if i < 6 else "tune" if i < 8 else "test",
            "tune": [60 + i, 62],
            "target": f"x{i}",
        }
        for i in range(10)
    ]
    rows[1]["tune"], rows[2]["tune"], rows[3]["tune"] = [60, 200], [61] * 4, list(range(20))
    rows[4]["tune"] = "mistyped.notes"
    (tmp_path / "mistyped.notes").write_text("no list", encoding="utf-8")
    inputs = {"tune": "notes"}
    dataset = read(tmp_path, rows, inputs)
    report = check(dataset, CheckConfig(inputs=inputs, batch_size=2))
    found = by_code(report)
    assert {code: one.count for code, one in found.items() if code.startswith("tune")} == {
        "tune-nan": 1,
        "tune-corrupt": 1,
        "tune-monotone": 1,
        "tune-long": 1,
    }
    assert found["tune-monotone"].text == "tune: melodies of one note"
    assert found["tune-long"].examples[0].detail == "20 notes, the first 16 are read"
    assert next(one for one in report.histograms if one.name == "tune").unit == "notes"
    largest = next(one for one in report.worst_batch if one.name == "tune")
    assert (largest.longest, largest.unit, largest.elements) == (16, "notes", 32)
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    kept = read_manifest(cleaned.path, inputs=inputs).samples
    assert [sample.items("tune") for sample in kept] == [s.items("tune") for s in dataset.samples if s.id not in "14"]


@pytest.mark.usefixtures("melody")
def test_its_files_are_rows_of_a_folder_at_once(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.notes").write_text(f"[{60 + i}, 62]", encoding="utf-8")
        (tmp_path / f"{i}.txt").write_text("up", encoding="utf-8")
    rows = list(read_folder(MediaFolder(tmp_path), tmp_path))
    assert [row.fields["notes"] for row in rows if not isinstance(row, Exception)] == ["0.notes", "1.notes", "2.notes"]
    before = list(read_folder(MediaFolder(tmp_path), tmp_path, rules=1))
    assert sum(isinstance(row, Exception) for row in before) == 3


def test_series_of_other_channels_are_found_and_lists_are_written_as_they_were(tmp_path: Path) -> None:
    waves = [[[float(i + n), None if i == 2 else -float(i)] for i in range(8)] for n in range(5)]
    rows: list[dict[str, Any]] = [
        {"id": str(i), "split": split, "arm": waves[i], "target": f"x{i}"}
        for i, split in enumerate(("train", "train", "train", "tune", "test"))
    ]
    rows[1]["arm"] = [[1.0], [2.0]]
    inputs = {"arm": "series"}
    dataset = read(tmp_path, rows, inputs)
    report = check(dataset, CheckConfig(inputs=inputs))
    found = by_code(report)
    assert found["arm-corrupt"].count == 1
    assert "a series of 1 channels" in found["arm-corrupt"].examples[0].detail
    cleaned = write_clean(report, dataset, tmp_path / "clean.jsonl")
    lines = [json.loads(line) for line in cleaned.path.read_text(encoding="utf-8").splitlines()]
    assert [line["arm"] for line in lines] == [waves[0], *waves[2:]]
    assert check(read_manifest(cleaned.path, inputs=inputs)).ok
