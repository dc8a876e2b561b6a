"""A folder of media: every file is in a row or named, and texts are opened as carefully as media."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plait.config.before import BEFORE
from plait.data.manifest import Dataset, read_manifest
from plait.data.row import MAX_TEXT
from plait.data.splits import SplitConfig
from plait.data.suffixes import fields_of_suffixes
from plait.errors import UserError
from plait.modalities import MODALITIES
from plait.modalities.audio.decoding.containers import AMBIGUOUS, tracks_of

ALL = SplitConfig(fractions={"train": 1.0})


def fill(folder: Path, *names: str) -> Path:
    """Files of these names; a text holds its name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() if name.endswith(".txt") else b"something")
    return folder


def read(folder: Path, **options: Any) -> Dataset:
    return read_manifest(folder, split=ALL, on_error="skip", may_be_empty=True, **options)


def gone(dataset: Dataset) -> dict[str, str]:
    """Kind by the name of what was left out."""
    return {left.where.rpartition("/")[2]: left.code for left in dataset.left_out}


@pytest.fixture
def in_time() -> Iterator[None]:
    """A test that waits for a pipe fails; it does not hang."""

    def late(_signal: int, _frame: object) -> None:
        raise TimeoutError("waited for what never comes")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# -- what a text may be --


def test_a_text_that_links_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    """Previously the content of /etc/passwd became a target."""
    folder = fill(tmp_path / "set", "a.png", "b.png", "b.txt")
    (folder / "a.txt").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"'a\.txt' is outside the manifest's folder \(it is /etc/passwd\)"):
        read_manifest(folder)
    assert gone(read(folder)) == {"a.png": "path-outside"}
    outside = tmp_path / "outside.txt"
    outside.write_text("meant", encoding="utf-8")
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(outside)
    assert gone(read(folder)) == {"a.png": "path-outside"}
    assert read(folder, allow_outside=True).samples[0].references == ({"target": "meant"},)


def test_a_text_may_link_within_the_folder(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.png", "b.png", "b.txt")
    (folder / "a.txt").symlink_to("b.txt")
    assert [s.references[0]["target"] for s in read(folder).samples] == ["b.txt", "b.txt"]


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "fifo", "folder", "nowhere"])
def test_what_is_no_ordinary_file_is_neither_waited_for_nor_read(tmp_path: Path, device: str) -> None:
    """Previously a pipe blocked for ever, and /dev/zero was read into memory."""
    folder = fill(tmp_path, "a.png", "b.png", "b.txt")
    if device == "fifo":
        os.mkfifo(folder / "a.txt")
    elif device == "folder":
        (folder / "a.txt").mkdir()
    else:
        (folder / "a.txt").symlink_to(device)
    dataset = read(folder, allow_outside=True)
    assert [sample.id for sample in dataset.samples] == ["b"]
    assert gone(dataset) == {"a.png": "no-target" if device == "folder" else "media-missing"}


def test_a_text_has_a_bound(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.png", "b.png", "b.txt")
    with (folder / "a.txt").open("wb") as file:
        file.truncate(2**33)  # of no size on the disk
    assert gone(read(folder)) == {"a.png": "long-text"}
    (folder / "a.txt").write_text("x" * MAX_TEXT, encoding="utf-8")
    assert gone(read(folder)) == {"a.png": "long-text"}


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.csv", "manifest.tsv", "manifest.parquet"])
@pytest.mark.usefixtures("in_time")
def test_the_manifest_of_a_folder_is_an_ordinary_file_in_it(tmp_path: Path, name: str) -> None:
    folder = fill(tmp_path / "set", "a.png", "a.txt")
    os.mkfifo(folder / name)
    for path in (folder, folder / name):
        with pytest.raises(UserError, match="the manifest is not an ordinary file"):
            read_manifest(path)
    (folder / name).unlink()
    (tmp_path / name).write_text('{"target": "x", "split": "train"}\n', encoding="utf-8")
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(UserError, match=r"is outside the folder .*Name the file itself"):
        read_manifest(folder)


def test_a_second_manifest_in_a_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"target": "x", "split": "train"}\n', encoding="utf-8")
    (tmp_path / "manifest.csv").write_text("target,split\ny,train\n", encoding="utf-8")
    assert read_manifest(tmp_path).reading == (f"{tmp_path}: manifest.jsonl is read, and not manifest.csv",)


def test_a_name_that_is_no_utf8_is_a_mistake_that_can_be_written_down(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.png", "a.txt")
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.png")).write_bytes(b"x")
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.txt")).write_bytes(b"x")
    dataset = read(folder)
    assert [left.code for left in dataset.left_out] == ["not-utf8"] * 2
    assert all(text.encode() for left in dataset.left_out for text in (left.where, left.reason))
    assert dataset.left_out[0].where.endswith("caf\\udce9.png")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Previously all that lies in it was gone without a word."""
    folder = fill(tmp_path, "a.png", "a.txt", "closed/b.png", "closed/b.txt")
    look = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("closed"):  # root may read everything, so no mode of a folder does
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(os, "scandir", scandir)
    dataset = read(folder)
    assert gone(dataset) == {"closed": "media-missing"}
    assert "cannot be looked into: Permission denied" in dataset.left_out[0].reason


def test_folders_within_folders_have_no_end(tmp_path: Path) -> None:
    """os.walk calls itself; 1,200 folders deep it raised a RecursionError."""
    before, here = Path.cwd(), tmp_path
    try:
        for _ in range(1200):
            os.chdir(here)
            Path("d").mkdir()
            here = Path("d")
        os.chdir(tmp_path)
        fill(tmp_path, "a.png", "a.txt")
        assert len(read(tmp_path).samples) == 1
    finally:
        os.chdir(before)
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil calls itself as well


# -- every file is used or named --

PHONE = [suffix for modality in MODALITIES.values() for suffixes in modality.packages.values() for suffix in suffixes]


@pytest.mark.parametrize("suffix", PHONE)
def test_what_phones_write_is_in_rows(tmp_path: Path, suffix: str) -> None:
    """Previously 30 JPEG and 5 HEIC pictures with a text each were 30 samples, and nothing was left out."""
    folder = fill(tmp_path, "a.jpg", "a.txt", f"b{suffix}", "b.txt", f"C{suffix.upper()}", "C.txt")
    dataset = read(folder)
    assert len(dataset.samples) == 3
    assert not dataset.left_out
    assert all(sample.present for sample in dataset.samples)
    spoken = [line for line in dataset.reading if "read as sound" in line]
    assert len(spoken) == (suffix in (".3gp", ".3gpp", ".3g2"))


def test_only_pictures_of_phones_are_pictures(tmp_path: Path) -> None:
    """Previously only HEIC, or only m4a, gave a model of text alone."""
    for suffix, modality in ((".heic", "image"), (".m4a", "audio")):
        folder = fill(tmp_path / suffix[1:], *(f"{n}{end}" for n in "abc" for end in (suffix, ".txt")))
        assert read(folder).modalities == (modality,)


@pytest.mark.parametrize("name", ["b.jxl", "b.DNG", "b.cr2", "b.svg", "b.ape", "b.wma", "b.ra", "b.mts"])
@pytest.mark.parametrize("others", [("a.jpg", "a.txt"), ()])
def test_a_text_beside_media_that_are_not_read_is_a_mistake(tmp_path: Path, name: str, others: tuple[str, ...]) -> None:
    """Previously such a text was passed over, or became a sample of text alone."""
    folder = fill(tmp_path, name, "b.txt", "c.txt", *others)
    with pytest.raises(UserError, match=rf"b\.txt: {name.replace('.', '[.]')} is a .* of a kind that is not read"):
        read_manifest(folder)
    dataset = read(folder)
    assert [sample.id for sample in dataset.samples] == ["a"] * bool(others)
    assert gone(dataset) == {"b.txt": "unread-media", "c.txt": "other-file"}
    assert len(dataset.gone) == 1


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("b.JPG_large", b"\xff\xd8\xff\xe0", "a picture"),
        ("b", b"\x89PNG\r\n\x1a\n", "a picture"),
        ("b.dat", b"\0\0\0\x18ftypM4A ", "a recording, a picture or a video"),
        ("b.rec", b"#!AMR\n", "a recording"),
    ],
)
def test_media_of_unknown_suffixes_are_known_by_their_first_bytes(
    tmp_path: Path, name: str, head: bytes, kind: str
) -> None:
    folder = fill(tmp_path, name, "b.txt", "a.jpg", "a.txt")
    (folder / name).write_bytes(head)
    assert gone(read(folder)) == {"b.txt": "unread-media"}
    assert read(folder).left_out[0].reason.startswith(f"{name} is {kind} of a kind that is not read")


def test_texts_with_files_of_other_kinds_beside_them_stay_texts(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.txt", "a.json", "b.txt", "b.srt", "README.md")
    dataset = read(folder)
    assert [sample.id for sample in dataset.samples] == ["a", "b"]
    assert set(gone(dataset).values()) == {"other-file"}
    assert dataset.warnings[0].startswith("3 files belong to no row; the first: ")


def test_of_two_files_of_one_picture_the_one_that_was_read_before_is_read(tmp_path: Path) -> None:
    """Phones write both; a folder that could be read before still can, and says what it does with the other."""
    folder = fill(tmp_path, "a.heic", "a.jpg", "a.txt", "b.heic", "b.avif", "b.txt")
    dataset = read(folder)
    assert [[path.name for path in sample.image] for sample in dataset.samples] == [["a.jpg"]]
    assert gone(dataset) == {"a.heic": "other-file", "b.avif": "twice"}
    assert dataset.left_out[0].reason == "a.jpg of the same stem is read in its place"


def test_a_video_says_how_its_sound_is_read(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.webm", "a.txt", "b.jpg", "b.txt")
    with pytest.raises(
        UserError, match=r"video is not read yet: 'a\.webm'.*the field audio; in a folder, the suffix .m4a"
    ):
        read_manifest(folder)
    # init leaves such rows out and writes the inputs that are left: then they were samples without any input
    dataset = read(folder, inputs=["image"])
    assert [sample.id for sample in dataset.samples] == ["b"]
    assert dataset.left_out[0].reason == "the row has nothing but a video, which is not read yet"


@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".webm", ".mkv"])
@pytest.mark.parametrize("pictures", [False, True])
def test_what_may_be_sound_or_video_is_known_by_its_tracks(tmp_path: Path, suffix: str, pictures: bool) -> None:
    """Containers written by FFmpeg; a folder of recordings in webm, as browsers make them, is a folder of recordings."""
    av = pytest.importorskip("av")
    options = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") and pictures else {}
    with av.open(str(tmp_path / f"a{suffix}"), "w", options=options) as container:
        sound = container.add_stream("libopus" if suffix in (".webm", ".mkv") else "aac", rate=48_000)
        picture = container.add_stream("libvpx" if suffix == ".webm" else "mpeg4", rate=5) if pictures else None
        if picture is not None:
            picture.width = picture.height = 32
            picture.pix_fmt = "yuv420p"
        wave = np.zeros((1, 4800), np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.rate = 48_000
        for packet in (*sound.encode(frame), *sound.encode(None)):
            container.mux(packet)
        if picture is not None:
            still = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            for packet in (*picture.encode(still), *picture.encode(None)):
                container.mux(packet)
    assert tracks_of(tmp_path / f"a{suffix}") == ("video" if pictures else "audio")
    fill(tmp_path, "a.txt", "b.jpg", "b.txt")
    dataset = read(tmp_path)
    if pictures:
        assert gone(dataset) == {"a.txt" if suffix > ".txt" else f"a{suffix}": "video"}
    else:
        assert dataset.samples[0].audio == tmp_path / f"a{suffix}"
        assert dataset.reading == (f"{tmp_path}: 1 {suffix} are read as sound: they hold no pictures, or do not say",)


@pytest.mark.parametrize(
    "content", [b"", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x16\x54\xae\x6b", bytes(16), b"\0\0\0\x08moov"]
)
def test_what_tells_nothing_of_its_tracks_is_what_its_suffix_says(tmp_path: Path, content: bytes) -> None:
    for suffix in AMBIGUOUS:
        (tmp_path / f"a{suffix}").write_bytes(content)
        assert tracks_of(tmp_path / f"a{suffix}") is None


def test_a_sound_in_a_file_of_video_is_read_where_the_row_calls_it_audio(tmp_path: Path) -> None:
    fill(tmp_path, "clip.mp4")
    (tmp_path / "m.jsonl").write_text('{"audio": "clip.mp4", "target": "x", "split": "train"}\n', encoding="utf-8")
    assert read_manifest(tmp_path / "m.jsonl").samples[0].audio == tmp_path / "clip.mp4"


def test_runs_of_the_first_format_find_the_rows_that_they_were_trained_on(tmp_path: Path) -> None:
    """Else rows that are new to them would shift the drawn splits, and tests would hold what was trained on."""
    assert BEFORE[1]["data.rules"] == 1
    assert {".heic", ".m4a", ".3gp", ".avif", ".wave"}.isdisjoint(fields_of_suffixes(1))
    folder = fill(tmp_path, "a.jpg", "a.txt", "b.heic", "b.txt", "c.jxl", "c.txt", "d.avif", "d.jpg", "d.txt")
    dataset = read(folder, rules=1)
    assert [sample.id for sample in dataset.samples] == ["a", "d"]
    assert set(gone(dataset).values()) == {"other-file"}
    texts = fill(tmp_path / "texts", "c.jxl", "c.txt")
    assert [sample.id for sample in read(texts, rules=1).samples] == ["c"]


def test_known_suffixes_are_in_lower_case_and_have_one_meaning() -> None:
    now, first = fields_of_suffixes(2), fields_of_suffixes(1)
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in now)
    assert {suffix: now[suffix] for suffix in first} == first
    stated = [suffix for modality in MODALITIES.values() for suffix in modality.suffixes]
    assert len(stated) == len(set(stated))


def test_a_real_picture_is_read_from_a_folder(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jfif", "JPEG")
    fill(tmp_path, "a.txt")
    assert read(tmp_path).samples[0].image == (tmp_path / "a.jfif",)
