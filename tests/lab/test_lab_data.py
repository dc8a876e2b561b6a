"""Carriers that a simple statistic reads without error, and the manifests that are made of them."""

from __future__ import annotations

import filecmp
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.lab import make
from plait.lab.carriers import SAMPLE_RATE, TONES, VALUES, paint, sing, tune, write
from plait.lab.make import LabSize, make_task_data, size_of
from plait.lab.truth import TASKS
from plait.types import Modality

SMALL = LabSize(train=20, tune=10, test=8)


def read_picture(pixels: np.ndarray) -> int:
    """The disc is orange where there is more red than blue; its ground is grey."""
    red, _, blue = pixels.astype(float).mean(axis=(0, 1))
    return int(red > blue)


def read_sound(wave: np.ndarray) -> int:
    """A tone is high where its loudest frequency is."""
    spectrum = np.abs(np.fft.rfft(wave))
    return int(np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)[spectrum.argmax()] > 650)


def read_tune(wave: np.ndarray) -> int:
    """How many of the tones are high: an even or an odd number."""
    return sum(read_sound(tone) for tone in np.array_split(wave, TONES)) % 2


def read_text(text: str) -> int:
    """The value that one of the words names."""
    return int(any(word in VALUES[1] for word in text.split()))


@pytest.mark.parametrize(
    ("carrier", "read"), [(paint, read_picture), (sing, read_sound), (tune, read_tune), (write, read_text)]
)
def test_a_simple_statistic_reads_the_bit_without_error(carrier, read) -> None:
    generator = np.random.default_rng(0)
    bits = [int(bit) for bit in generator.integers(2, size=200)]
    assert [read(carrier(bit, generator)) for bit in bits] == bits


def test_fewer_tones_than_all_tell_nothing_of_a_tune() -> None:
    generator = np.random.default_rng(0)
    bits = generator.integers(2, size=400)
    heard = np.array([[read_sound(tone) for tone in np.array_split(tune(int(b), generator), TONES)] for b in bits])
    for left in range(TONES):
        others = np.delete(heard, left, axis=1)
        for pattern in np.unique(others, axis=0):
            rows = (others == pattern).all(axis=1)
            assert abs(bits[rows].mean() - 0.5) < 0.17  # about 100 rows each: 3.4 standard errors


def test_a_slow_task_is_small() -> None:
    assert size_of(TASKS["starved"]).train < size_of(TASKS["xor"]).train == LabSize().train


def test_no_text_names_both_values() -> None:
    assert not set(VALUES[0]) & set(VALUES[1])
    generator = np.random.default_rng(0)
    texts = [write(bit, generator) for bit in (0, 1) for _ in range(200)]
    assert all(sum(word in (*VALUES[0], *VALUES[1]) for word in text.split()) == 1 for text in texts)
    assert len(set(texts)) > 150


def test_nothing_is_carried_twice_alike() -> None:
    generator = np.random.default_rng(0)
    assert len({paint(0, generator).tobytes() for _ in range(50)}) == 50
    waves = [sing(1, generator) for _ in range(50)]
    assert max(abs(w).max() for w in waves) < 1
    assert np.ptp([w.std() for w in waves]) > 0.1


@pytest.mark.parametrize("name", TASKS)
def test_the_ordinary_reader_reads_a_task(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    data = read_manifest(make_task_data(task, tmp_path / name, size=SMALL))
    assert data.segments == ("answer",)
    assert data.left_out == []
    assert set(map(str, data.modalities)) == set(task.modalities)
    assert Counter(sample.split for sample in data.samples) == {"train": 20, "tune": 10, "test": 8}
    for sample in data.samples:
        assert set(map(str, sample.present)) == set(task.modalities)
        bits = tuple(map(int, sample.tags["bits"]))
        assert bits in {outcome.bits for outcome in task.joint}


def test_every_case_is_as_frequent_as_it_is_probable(tmp_path: Path) -> None:
    data = read_manifest(make_task_data(TASKS["and"], tmp_path / "and", size=SMALL))
    for split, number in (("train", 20), ("test", 8)):
        counts = Counter((s.tags["bits"], s.references[0]["answer"]) for s in data.split(split))
        assert counts == dict.fromkeys([("00", "no"), ("01", "no"), ("10", "no"), ("11", "yes")], number // 4)
    assert sum(s.references[0]["answer"] == "yes" for s in data.split("tune")) in (2, 3)


def test_files_carry_the_bits_of_their_rows(tmp_path: Path) -> None:
    import soundfile
    from PIL import Image

    task = TASKS["parity"]
    for sample in read_manifest(make_task_data(task, tmp_path / "parity", size=SMALL)).samples:
        assert sample.audio is not None
        assert sample.text is not None
        with Image.open(sample.image[0]) as picture:
            found = {"image": read_picture(np.array(picture))}
        found |= {"audio": read_sound(soundfile.read(sample.audio)[0]), "text": read_text(sample.text)}
        assert [found[name] for name in task.modalities] == list(map(int, sample.tags["bits"]))
        assert sample.references[0]["answer"] == ("yes" if sum(found.values()) % 2 else "no")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_same_seed_gives_the_same_bytes_and_another_others(tmp_path: Path) -> None:
    first, second, other = (
        make_task_data(TASKS["xor"], tmp_path / name, size=SMALL, seed=seed).parent
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert files(first) == files(second)
    assert filecmp.cmpfiles(first, second, files(first), shallow=False)[1:] == ([], [])
    assert filecmp.cmpfiles(first, other, files(first), shallow=False)[1]


def test_data_are_found_again_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    manifest = make_task_data(TASKS["xor"], tmp_path / "xor", size=SMALL)
    written = manifest.stat().st_mtime_ns
    assert make_task_data(TASKS["xor"], tmp_path / "xor", size=SMALL).stat().st_mtime_ns == written
    with pytest.raises(UserError, match="holds something else"):
        make_task_data(TASKS["xor"], tmp_path / "xor", size=SMALL, seed=1)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    whole = make.write_row

    def fails(task, outcome, id, *rest):
        written.append(id)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        return whole(task, outcome, id, *rest)

    monkeypatch.setattr(make, "write_row", fails)
    with pytest.raises(UserError, match="No space left"):
        make_task_data(TASKS["xor"], tmp_path / "xor", size=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_modalities_stand_in_the_package_s_order() -> None:
    for task in TASKS.values():
        assert task.modalities == tuple(str(m) for m in Modality if m in task.modalities)


def test_a_lesson_has_one_modality_and_its_own_bit(tmp_path: Path) -> None:
    task = TASKS["parity"]
    manifest = make_task_data(task, tmp_path / "data", size=SMALL)
    for place, modality in enumerate(task.modalities):
        dataset = read_manifest(make.lesson_path(manifest, modality))
        assert tuple(map(str, dataset.modalities)) == (modality,)
        for sample in dataset.samples:
            assert sample.references[0]["answer"] == ("no", "yes")[int(sample.tags["bits"][place])]
        assert [s.id for s in dataset.samples] == [s.id for s in read_manifest(manifest).samples]
