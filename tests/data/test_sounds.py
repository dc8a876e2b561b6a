"""Every sample of a file, whatever its header says; nothing printed; what is not all there is refused with the reason.

References: the file whole, read by libsndfile at once; FFmpeg through PyAV; the header fields' own specifications.
"""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from plait.errors import UserError
from plait.modalities.audio.decoding import mpeg, ogg, reading
from plait.modalities.audio.decoding.piece import Piece
from plait.modalities.audio.decoding.reading import OPPOSITE, Wanted, beginning_of, read, seconds_of
from plait.modalities.audio.prepare import SAMPLE_RATE, AudioConfig, AudioPreparer, load_audio

CONFIG = AudioConfig()


def wave(seconds: float, rate: int = SAMPLE_RATE, seed: int = 0) -> np.ndarray:
    """A rising tone that becomes noisy: an encoder of variable bit rate needs ever more for it."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.4 * np.sin(2 * np.pi * (200 + 100 * time) * time) + 0.1 * noise * (time > seconds / 2)).astype(np.float32)


def written(
    samples: np.ndarray, format: str, subtype: str | None = None, rate: int = SAMPLE_RATE, **options: Any
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype, **options)
    return file.getvalue()


def at_once(data: bytes) -> np.ndarray:
    """All samples by libsndfile, in one call."""
    return soundfile.read(io.BytesIO(data), dtype="float32")[0]


def load(folder: Path, data: bytes, config: AudioConfig = CONFIG) -> np.ndarray:
    (folder / "a").write_bytes(data)
    return load_audio(folder / "a", config).numpy()


def refusal(folder: Path, data: bytes, config: AudioConfig = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, data, config)
    assert caught.value.where == str(folder / "a")
    return str(caught.value)


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# mp3


@pytest.fixture(scope="module")
def vbr() -> bytes:
    return written(wave(8), "MP3", bitrate_mode="VARIABLE", compression_level=0.3)


def without_first_frame(data: bytes) -> bytes:
    _, kind = mpeg._FRAMES[data[1] << 8 | data[2]]
    length, _ = mpeg._FRAMES[data[1] << 8 | data[2]]
    assert kind.rate == SAMPLE_RATE
    return data[length:]


ID3 = b"ID3\x04\0\0\0\0\0\x23TSSE\0\0\0\x0f\0\0\0Lavf58.29.100".ljust(45, b"\0")


@pytest.mark.parametrize("block", [1000, 16_384, reading.BLOCK])
def test_an_mp3_is_decoded_as_if_at_once(
    tmp_path: Path, vbr: bytes, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Previously, the wrapper sought after every block of 16,384 samples: the decoder lost what the next frames need, gave
    samples up to .5 away, and said so 2,000 times on the terminal."""
    monkeypatch.setattr(reading, "BLOCK", block)
    same(load(tmp_path, vbr), at_once(vbr))


def test_an_mp3_without_its_xing_frame_is_read_to_its_end(tmp_path: Path, vbr: bytes) -> None:
    """Previously 36,806 of its 129,600 samples: the size of the file divided by that of the first frame."""
    bare = without_first_frame(vbr)
    assert soundfile.info(io.BytesIO(bare)).frames < 60_000, "the estimate that must not be believed"
    found = load(tmp_path, bare)
    assert len(found) == 225 * 576
    delay = 576 + 529  # LAME's and the decoder's, which only the Xing frame states
    np.testing.assert_allclose(found[delay : delay + 120_000], at_once(vbr)[:120_000], atol=1e-5)
    assert seconds_of(tmp_path / "a") == pytest.approx(8.1)


@pytest.mark.parametrize("between", [b"", ID3, b"TAG" + bytes(125), b"TAG" + bytes(125) + ID3, ID3 + ID3 + bytes(500)])
def test_joined_mp3s_are_heard_one_after_the_other(tmp_path: Path, vbr: bytes, between: bytes) -> None:
    """Previously the first only."""
    other = written(wave(2, seed=1), "MP3")
    same(load(tmp_path, vbr + between + other), np.concatenate([at_once(vbr), at_once(other)]))
    assert seconds_of(tmp_path / "a") == 10
    assert AudioPreparer(AudioConfig()).length(tmp_path / "a") == 1000
    assert "10.0 seconds" in refusal(tmp_path, vbr + between + other, AudioConfig(max_seconds=9))


def test_joined_mp3s_of_two_rates(tmp_path: Path, vbr: bytes) -> None:
    other = written(wave(2, 44_100), "MP3", rate=44_100)
    assert len(load(tmp_path, vbr + other)) == 10 * SAMPLE_RATE
    bare = without_first_frame(vbr)
    assert len(load(tmp_path, bare + other)) == 225 * 576 + 2 * SAMPLE_RATE


def test_a_wrong_number_of_frames_in_an_mp3(tmp_path: Path, vbr: bytes) -> None:
    place = vbr.index(b"Xing") + 8
    for stated in (1, 112):
        same(load(tmp_path, vbr[:place] + struct.pack(">I", stated) + vbr[place + 4 :]), at_once(vbr))
    assert "cut off" in refusal(tmp_path, vbr[:place] + struct.pack(">I", 450) + vbr[place + 4 :])


def test_what_is_no_sound_in_an_mp3(tmp_path: Path, vbr: bytes) -> None:
    assert "damaged" in refusal(tmp_path, vbr[:9000] + bytes(3000) + vbr[9000:])
    for behind in (b"garbage" * 300, bytes(5000), b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)):
        same(load(tmp_path, vbr + behind), at_once(vbr))


@pytest.mark.parametrize(
    ("head", "length", "samples"),
    [
        ("fffb9000", 417, 1152),  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz
        ("fffb9200", 418, 1152),  # the same, padded
        ("fffda400", 576, 1152),  # MPEG-1 layer II, 192 kbit/s, 48 kHz
        ("ffffc000", 416, 384),  # MPEG-1 layer I, 384 kbit/s, 44.1 kHz: 104 slots of 4 bytes
        ("fff38000", 208, 576),  # MPEG-2 layer III, 64 kbit/s, 22.05 kHz
        ("fff58000", 417, 1152),  # MPEG-2 layer II, 64 kbit/s, 22.05 kHz
        ("ffe31800", 72, 576),  # MPEG-2.5 layer III, 8 kbit/s, 8 kHz
    ],
)
def test_the_sizes_of_mpeg_frames(head: str, length: int, samples: int) -> None:
    """ISO 11172-3, 2.4.3.1: 12 (layer I), 144 or (layer III of MPEG-2) 72 · bit rate / sample rate, in slots, rounded down."""
    data = bytes.fromhex(head)
    found, kind = mpeg._FRAMES[data[1] << 8 | data[2]]
    assert (found, kind.samples) == (length, samples)


def test_what_is_no_mpeg_frame() -> None:
    """Reserved versions, layers and rates, free and forbidden bit rates (indices 0 and 15) are not taken for frames."""
    for head in ("ffeb9000", "fff99000", "fffb9c00", "fffb0000", "fffbf000"):
        data = bytes.fromhex(head)
        assert data[1] << 8 | data[2] not in mpeg._FRAMES


# Ogg


def pages(data: bytes) -> list[bytearray]:
    found, place = [], 0
    while data[place : place + 4] == b"OggS":
        count = data[place + 26]
        length = 27 + count + sum(data[place + 27 : place + 27 + count])
        found.append(bytearray(data[place : place + length]))
        place += length
    return found


def with_positions(data: bytes, change: Callable[[int, bool], int]) -> bytes:
    """The pages with other positions, their checksums right (RFC 3533)."""
    found = pages(data)
    for number, page in enumerate(found):
        position = change(int.from_bytes(page[6:14], "little", signed=True), number == len(found) - 1)
        page[6:14] = position.to_bytes(8, "little", signed=True)
        page[22:26] = bytes(4)
        page[22:26] = ogg._checksum(bytes(page)).to_bytes(4, "little")
    return b"".join(found)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_of_oggs_is_heard_to_its_end(tmp_path: Path, subtype: str) -> None:
    """Previously its first link only."""
    first, second = written(wave(2), "OGG", subtype), written(wave(3, 48_000), "OGG", subtype, rate=48_000)
    found = load(tmp_path, first + second + first)
    assert len(found) == 7 * SAMPLE_RATE
    same(found[: 2 * SAMPLE_RATE], at_once(first))
    same(found[5 * SAMPLE_RATE :], at_once(first))
    assert seconds_of(tmp_path / "a") == 7


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("last", [lambda p: p // 2, lambda p: 0, lambda p: -1, lambda p: 2**62])
def test_an_ogg_whose_last_page_is_wrong_about_its_position(
    tmp_path: Path, subtype: str, last: Callable[[int], int]
) -> None:
    """Previously half the samples, or none."""
    data = written(wave(4), "OGG", subtype)
    found = load(tmp_path, with_positions(data, lambda p, is_last: last(p) if is_last else p))
    wanted = at_once(data)
    assert len(wanted) <= len(found) < len(wanted) + 400
    np.testing.assert_allclose(found[: len(wanted)], wanted, atol=1e-6)


def test_an_ogg_that_states_more_than_it_has(tmp_path: Path) -> None:
    data = with_positions(written(wave(4), "OGG"), lambda p, last: 5 * p if last else p)
    assert "4.00 s of 20.00 s" in refusal(tmp_path, data)


def test_positions_may_begin_anywhere(tmp_path: Path) -> None:
    data = written(wave(2), "OGG")
    same(load(tmp_path, with_positions(data, lambda p, _: p + 10**9 if p else p)), at_once(data))


# FLAC


def with_total(data: bytes, total: int) -> bytes:
    """STREAMINFO's total of samples, the last 36 bits of bytes 21 to 25 (RFC 9639, 8.2)."""
    return data[:21] + bytes([data[21] & 0xF0 | total >> 32]) + struct.pack(">I", total & 2**32 - 1) + data[26:]


@pytest.mark.parametrize("total", [0, 1, 50_000])
@pytest.mark.parametrize("behind", [b"", b"TAG" + bytes(125)])
def test_a_flac_of_unknown_or_wrong_length(tmp_path: Path, total: int, behind: bytes) -> None:
    """Previously "576460752303423.5 seconds", or as many samples as stated."""
    data = written(wave(8), "FLAC")
    same(load(tmp_path, with_total(data, total) + behind), at_once(data))
    assert seconds_of(tmp_path / "a") == 8
    assert "8.0 seconds" in refusal(tmp_path, with_total(data, total), AudioConfig(max_seconds=7))


def test_a_flac_that_states_more_than_it_has(tmp_path: Path) -> None:
    assert "cut off" in refusal(tmp_path, with_total(written(wave(2), "FLAC"), 80_000))
    assert "lost sync" in refusal(tmp_path, with_total(written(wave(2), "FLAC"), 0)[:30_000])


@pytest.mark.parametrize(("first", "second"), [(2.0, 2.0), (2.0, 0.05), (0.05, 2.0), (0.05, 0.05)])
def test_joined_flacs(tmp_path: Path, first: float, second: float) -> None:
    one, two = written(wave(first), "FLAC"), written(wave(second, seed=1), "FLAC")
    for front in (b"", ID3):
        for total in (len(wave(first)), 0):
            same(load(tmp_path, front + with_total(one, total) + two), np.concatenate([at_once(one), at_once(two)]))


# files of chunks

CHUNKED = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "SVX")


def where_stated(data: bytes, format: str) -> tuple[int, str, int]:
    """Where the bytes of sound are stated, how the number is written, and what it counts beside them."""
    if format == "RF64":
        return data.index(b"ds64") + 16, "<Q", 0
    if format == "AU":
        return 8, ">I", 0
    name = {"AIFF": b"SSND", "SVX": b"BODY"}.get(format, b"data")
    place = data.index(name, 100 if format == "CAF" else 0)
    return {
        "W64": (place + 16, "<Q", 24),
        "CAF": (place + 4, ">Q", 4),
        "AIFF": (place + 4, ">I", 8),
        "SVX": (place + 4, ">I", 0),
    }.get(format, (place + 4, "<I", 0))


@pytest.mark.parametrize("format", CHUNKED)
def test_lengths_of_chunks_are_checked(tmp_path: Path, format: str) -> None:
    """Previously 0 seconds of a WAV whose length was never written, and files cut off or longer than they state passed."""
    data = written(wave(1), format, "PCM_16")
    right = at_once(data)
    same(load(tmp_path, data), right)
    same(load(tmp_path, data + bytes(500)), right)
    assert "missing at its end" in refusal(tmp_path, data[: len(data) // 2])
    same(load(tmp_path, data + data), np.concatenate([right, right]))
    assert "belong to nothing" in refusal(tmp_path, data + np.random.default_rng(0).bytes(5000))
    if format == "NIST":
        return
    place, form, more = where_stated(data, format)
    size = struct.calcsize(form)
    assert struct.unpack_from(form, data, place)[0] - more == 32_000
    for unwritten in (0, 2 ** (8 * size) - 1):
        same(load(tmp_path, data[:place] + struct.pack(form, unwritten) + data[place + size :]), right)
        assert seconds_of(tmp_path / "a") == 1
    assert "belong to nothing" in refusal(
        tmp_path, data[:place] + struct.pack(form, 16_000 + more) + data[place + size :]
    )
    assert "missing" in refusal(tmp_path, data[:place] + struct.pack(form, 48_000 + more) + data[place + size :])


def test_chunks_and_tags_behind_the_sound_are_no_sound(tmp_path: Path) -> None:
    data = written(wave(1), "WAV", "PCM_16")
    for behind in (b"LIST\x04\0\0\0INFO", b"id3 \xff\xff\0\0abc" + bytes(90), b"TAG" + bytes(125), b"ID3" + bytes(100)):
        same(load(tmp_path, data + behind), at_once(data))
    empty = written(wave(0), "WAV", "PCM_16")
    assert "0 seconds" in refusal(tmp_path, empty)
    assert "0 seconds" in refusal(tmp_path, empty + b"LIST\x46\0\0\0INFO" + bytes(66)), "empty, and followed by notes"


def test_joined_wavs_of_two_rates(tmp_path: Path) -> None:
    data = written(wave(1), "WAV") + written(wave(2, 48_000), "WAV", rate=48_000)
    assert len(load(tmp_path, data)) == 3 * SAMPLE_RATE


# channels


def stereo(left: np.ndarray, right: np.ndarray) -> bytes:
    return written(np.stack([left, right], axis=1), "WAV", "FLOAT")


def test_one_channel_can_be_chosen(tmp_path: Path) -> None:
    left, right = wave(1), wave(1, seed=1)
    data = stereo(left, right)
    for channel, wanted in (("left", left), ("right", right), ("mean", (left + right) / 2)):
        same(load(tmp_path, data, AudioConfig.model_validate({"channel": channel})), wanted)
    for channel in ("left", "right", "mean"):
        same(load(tmp_path, written(left, "WAV", "FLOAT"), AudioConfig.model_validate({"channel": channel})), left)


@pytest.mark.parametrize(
    ("right", "opposite"),
    [
        (lambda x, n: -x, True),
        (lambda x, n: -0.5 * x, True),
        (lambda x, n: -x + 0.1 * n, True),
        (lambda x, n: x, False),
        (lambda x, n: n, False),
        (lambda x, n: 0 * x, False),
        (lambda x, n: -1e-3 * x, False),
        (lambda x, n: -x + n, False),
    ],
)
def test_opposite_channels_are_told(tmp_path: Path, right: Callable[..., np.ndarray], opposite: bool) -> None:
    """By their correlation (below −.9), and not where one channel is dead."""
    left = wave(1)
    noise = 0.3 * np.random.default_rng(5).standard_normal(len(left)).astype(np.float32)
    (tmp_path / "a").write_bytes(stereo(left, right(left, noise)))
    found = read(tmp_path / "a", Wanted(SAMPLE_RATE, 30.0, watch=True))
    assert found.opposite is opposite
    assert OPPOSITE == -0.9
    first = beginning_of(tmp_path / "a", seconds=0.5)
    assert first is not None
    assert len(first.wave) == 8000


# telephones


def encoded(
    path: Path, codec: str, samples: np.ndarray, rate: int, *, format: str | None = None, **options: Any
) -> bytes:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=format, options=options.pop("mux", {})) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", **options)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, context.frame_size or None)
        place = 0
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts, place = place, place + part.samples
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path.read_bytes()


def by_ffmpeg(path: Path) -> np.ndarray:
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
    scale = 1 if parts[0].dtype.kind == "f" else np.iinfo(parts[0].dtype).max + 1
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32) / scale


@pytest.mark.parametrize(
    ("name", "codec", "format"),
    [
        *(("a.m4a", "aac", None), ("a.aac", "aac", "adts"), ("a.mp4", "alac", None), ("a.mov", "pcm_s16le", None)),
        *(("a.mka", "flac", None), ("a.mkv", "pcm_s16le", None), ("a.mp4", "libmp3lame", None)),
    ],
)
def test_containers_of_telephones(tmp_path: Path, name: str, codec: str, format: str | None) -> None:
    """As many samples as FFmpeg gives, and these, whatever the file is called."""
    data = encoded(tmp_path / name, codec, wave(2), SAMPLE_RATE, format=format)
    (tmp_path / "b.wav").write_bytes(data)
    same(load_audio(tmp_path / "b.wav", CONFIG).numpy(), by_ffmpeg(tmp_path / name))
    assert seconds_of(tmp_path / "b.wav") == pytest.approx(2, abs=0.15)
    for share in (0.3, 0.7):
        refusal(tmp_path, data[: int(len(data) * share)])
    with pytest.raises(UserError, match="seconds"):
        load_audio(tmp_path / "b.wav", AudioConfig(max_seconds=1.5))


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.webm", "libopus", 48_000), ("a.3gp", "libopencore_amrnb", 8000)]
)
def test_containers_of_other_rates(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    av = pytest.importorskip("av")
    if codec not in av.codec.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    encoded(tmp_path / name, codec, wave(2, rate), rate)
    assert len(load_audio(tmp_path / name, CONFIG)) == round(len(by_ffmpeg(tmp_path / name)) * SAMPLE_RATE / rate)


def test_joined_mp4s_are_refused(tmp_path: Path) -> None:
    data = encoded(tmp_path / "a.m4a", "aac", wave(1), SAMPLE_RATE)
    assert "another file was joined" in refusal(tmp_path, data + data)


def test_a_film_is_heard_and_a_silent_one_refused(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        film = container.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5):
            container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(film.encode(None))
    assert "no sound in it" in refusal(tmp_path, (tmp_path / "b.mp4").read_bytes())


def test_without_the_extra_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for head in (b"\0\0\0\x20ftypM4A ", b"\x1a\x45\xdf\xa3", b"#!AMR\n", b"\xff\xf1\x50\x80"):
        message = refusal(tmp_path, head + bytes(500))
        assert "pip install 'plait[phone]'" in message
        assert "\n" not in message
        assert seconds_of(tmp_path / "a") is None


# the rest


def test_decoders_print_nothing(tmp_path: Path, vbr: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    """Previously libmpg123 wrote its own messages to the terminal."""
    generator = np.random.default_rng(0)
    refused = 0
    for data in (vbr, without_first_frame(vbr), written(wave(1), "OGG"), written(wave(1), "FLAC")):
        for _ in range(20):
            damaged = bytearray(data)
            for place in generator.integers(0, len(data), 30):
                damaged[place] = generator.integers(256)
            try:
                load(tmp_path, bytes(damaged))
            except UserError:
                refused += 1
    assert 0 < refused < 80, "some are refused, some are read"
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UserError, match="not an ordinary file"):
        load_audio(tmp_path / "a", CONFIG)
    assert seconds_of(tmp_path / "a") is None


def test_a_piece_is_the_whole_file_unless_it_says_otherwise() -> None:
    assert Piece().is_whole
    assert not Piece(end=5).is_whole
    assert not Piece(patches={1: b"x"}).is_whole
