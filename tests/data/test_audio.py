"""Sound: right samples from every format, one message for every broken file, Whisper's features in any batch."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from plait.errors import UserError
from plait.modalities.audio.prepare import (
    SAMPLE_RATE,
    AudioAugmentConfig,
    AudioConfig,
    add_noise,
    augment_wave,
    load_audio,
    log_mels,
    mel_filters,
    num_frames,
    spec_augment,
    warp_frequencies,
)

CONFIG = AudioConfig()


def tone(seconds: float, rate: int, hertz: float = 440.0, loud: float = 0.5) -> np.ndarray:
    return (loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# reading files


@pytest.mark.parametrize(
    ("format", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "PCM_32", 1e-6),
        ("WAV", "FLOAT", 1e-7),
        ("WAV", "DOUBLE", 1e-7),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 2e-2),
        ("MP3", "MPEG_LAYER_III", 2e-2),
    ],
)
def test_every_format_gives_the_samples_whatever_its_name(
    tmp_path: Path, format: str, subtype: str, tolerance: float
) -> None:
    wave = tone(1.0, SAMPLE_RATE)
    for name in ("a.wav", "a.mp3", "a.raw", "a"):
        soundfile.write(tmp_path / "written", wave, SAMPLE_RATE, format=format, subtype=subtype)
        (tmp_path / "written").rename(tmp_path / name)
        read = load_audio(tmp_path / name, CONFIG)
        assert read.dtype == torch.float32
        assert abs(len(read) - len(wave)) <= 1
        middle = slice(2000, 14000)  # lossy formats ring at the edges
        assert np.abs(read.numpy()[middle] - wave[middle]).max() < tolerance


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_16_khz(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0, rate), rate, subtype="FLOAT")
    read = load_audio(tmp_path / "a.wav", CONFIG)
    assert abs(len(read) - SAMPLE_RATE) <= 1
    expected = tone(1.0, SAMPLE_RATE)
    assert np.abs(read.numpy()[500:-500] - expected[500 : len(read) - 500]).max() < 1e-3


def test_what_16_khz_cannot_hold_is_filtered_out_not_folded(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0, 48_000, hertz=11_000), 48_000, subtype="FLOAT")
    assert load_audio(tmp_path / "a.wav", CONFIG)[500:-500].abs().max() < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    waves = np.stack([tone(0.1, SAMPLE_RATE, hertz=300 + 100 * c) for c in range(channels)], axis=1)
    soundfile.write(tmp_path / "a.wav", waves, SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", CONFIG).numpy(), waves.mean(1), atol=1e-7)


def test_nothing_is_clipped(tmp_path: Path) -> None:
    square = np.sign(tone(0.5, 44_100, hertz=100)).astype(np.float32)
    soundfile.write(tmp_path / "square.wav", square, 44_100, subtype="FLOAT")
    assert load_audio(tmp_path / "square.wav", CONFIG).abs().max() > 1.05, "resampling overshoots at the edges"
    soundfile.write(tmp_path / "loud.wav", 3 * square, SAMPLE_RATE, subtype="FLOAT")
    assert load_audio(tmp_path / "loud.wav", CONFIG).max() == 3


def test_full_scale_integers_are_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([-32768, 0, 16384], np.int16), SAMPLE_RATE)
    assert load_audio(tmp_path / "a.wav", CONFIG).tolist() == [-1, 0, 0.5]


# bad files


def refusal(path: Path, config: AudioConfig = CONFIG) -> str:
    with pytest.raises(UserError) as caught:
        load_audio(path, config)
    assert caught.value.where == str(path)
    return str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_no_numbers(tmp_path: Path, bad: float, channels: int) -> None:
    wave = np.stack([tone(2.0, SAMPLE_RATE)] * channels, axis=1)
    wave[24_000] = bad
    soundfile.write(tmp_path / "a.wav", wave, SAMPLE_RATE, subtype="FLOAT")
    assert "not a finite number at 1.500 s" in refusal(tmp_path / "a.wav")


def test_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(8000 * 10_800, np.int16), 8000)
    message = refusal(tmp_path / "a.flac")
    assert "10800.0 seconds" in message
    assert "max_seconds = 30" in message
    soundfile.write(tmp_path / "b.wav", tone(1.0, 8000), 8000)
    assert len(load_audio(tmp_path / "b.wav", AudioConfig(max_seconds=1.0))) == 16_000
    refusal(tmp_path / "b.wav", AudioConfig(max_seconds=0.99))


@pytest.mark.parametrize("num_samples", [0, 1])
def test_no_sound_at_all(tmp_path: Path, num_samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(num_samples, np.float32), 96_000)
    assert "0 seconds" in refusal(tmp_path / "a.wav")


def test_files_that_are_missing_empty_or_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert "No such file" in refusal(path)
    assert "is a folder" in refusal(tmp_path)
    path.write_bytes(b"")
    assert "the file is empty" in refusal(path)
    for content in (
        b"RIFF",
        b"OggS",
        b"hello, this is no sound at all" * 10,
        b"fLaC",
        bytes(5000),
        b"ID3" + bytes(500),
    ):
        path.write_bytes(content)
        refusal(path)


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, format: str, subtype: str | None, kept: float) -> None:
    path = tmp_path / "a"
    soundfile.write(path, tone(3.0, 48_000) * np.linspace(0, 1, 144_000), 48_000, format=format, subtype=subtype)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refusal(path)


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5, SAMPLE_RATE), SAMPLE_RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = content[4:8] = b"\xff\xff\xff\xff"  # as written to a pipe
    (tmp_path / "a.wav").write_bytes(content)
    assert len(load_audio(tmp_path / "a.wav", CONFIG)) == 8000


@given(noise=st.binary(min_size=1, max_size=200), place=st.floats(0, 1), format=st.sampled_from(["WAV", "FLAC", "OGG"]))
def test_damaged_files_are_read_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: float, format: str
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a"
    soundfile.write(path, tone(0.2, 22_050), 22_050, format=format)
    content = bytearray(path.read_bytes())
    start = int(place * (len(content) - 1))
    content[start : start + len(noise)] = noise
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert load_audio(path, CONFIG).isfinite().all()


def test_threads_read_alike(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(2.0, 44_100), 44_100)
    expected = log_mels([load_audio(tmp_path / "a.flac", CONFIG)], CONFIG)[0]
    equal: list[bool] = []

    def read() -> None:
        equal.extend(
            torch.equal(log_mels([load_audio(tmp_path / "a.flac", CONFIG)], CONFIG)[0], expected) for _ in range(5)
        )

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 20


# log-mel


def slaney(hertz: np.ndarray) -> np.ndarray:
    return np.where(hertz < 1000, 3 * hertz / 200, 15 + np.log(np.maximum(hertz, 1) / 1000) * 27 / np.log(6.4))


def longhand_filters(num_mels: int) -> np.ndarray:
    """librosa.filters.mel(sr=16000, n_fft=400, n_mels), as Whisper ships it: each triangle written out bin by bin."""
    mels = np.linspace(0, slaney(np.array(8000.0)), num_mels + 2)
    grid = np.linspace(0, 8000, 800_001)
    corners = np.interp(mels, slaney(grid), grid)
    filters = np.zeros((num_mels, 201))
    for m in range(num_mels):
        low, peak, high = corners[m : m + 3]
        for k in range(201):
            hertz = k * 40.0
            if low < hertz <= peak:
                filters[m, k] = (hertz - low) / (peak - low)
            elif peak < hertz < high:
                filters[m, k] = (high - hertz) / (high - peak)
        filters[m] *= 2 / (high - low)
    return filters


def longhand_log_mel(wave: np.ndarray, num_mels: int) -> np.ndarray:
    """Radford et al. 2022, openai/whisper audio.py `log_mel_spectrogram`, in fp64 and without a fast transform."""
    padded = np.pad(wave.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(400), np.arange(201)) / 400)
    count = max(1, len(wave) // 160)  # Whisper drops the last frame of the transform
    power = np.stack([np.abs((padded[160 * f : 160 * f + 400] * window) @ fourier) ** 2 for f in range(count)])
    logarithm = np.log10(np.maximum(power @ longhand_filters(num_mels).T, 1e-10))
    return (np.maximum(logarithm, logarithm.max() - 8) + 4) / 4


@pytest.mark.parametrize("num_mels", [80, 128])
def test_mel_filters_are_slaneys(num_mels: int) -> None:
    np.testing.assert_allclose(mel_filters(num_mels).numpy().T, longhand_filters(num_mels), atol=1e-8, rtol=1e-5)


@pytest.mark.parametrize("num_mels", [80, 128])
@pytest.mark.parametrize("samples", [201, 400, 16_000, 100_007])
@pytest.mark.parametrize(("loud", "tolerance"), [(0.0, 1e-5), (0.4, 1e-4)])
def test_features_are_whispers(samples: int, num_mels: int, loud: float, tolerance: float) -> None:
    """Beside a loud tone, fp32 rounding shows in bands 80 dB below it (measured: 2.5e-5), in Whisper's code too."""
    time = np.arange(samples) / SAMPLE_RATE
    noise = 0.01 * np.random.default_rng(0).standard_normal(samples)
    wave = (loud * np.sin(2 * np.pi * 300 * time * (1 + time)) + noise).astype(np.float32)
    mel = log_mels([torch.from_numpy(wave)], AudioConfig(num_mels=num_mels))[0]
    np.testing.assert_allclose(mel.numpy(), longhand_log_mel(wave, num_mels), atol=tolerance, rtol=0)


@pytest.mark.parametrize("samples", [1, 2, 3, 100, 159, 160, 199, 200, 201, 319, 320])
def test_short_waves_are_mirrored_back_and_forth(samples: int) -> None:
    wave = np.random.default_rng(samples).standard_normal(samples).astype(np.float32)
    mel = log_mels([torch.from_numpy(wave)], CONFIG)[0]
    assert len(mel) == num_frames(samples) == max(1, samples // 160)
    np.testing.assert_allclose(mel.numpy(), longhand_log_mel(wave, 80), atol=1e-5, rtol=0)


@given(lengths=st.lists(st.integers(1, 5000), min_size=1, max_size=5), seed=st.integers(0, 2**31))
def test_features_never_depend_on_the_batch(lengths: list[int], seed: int) -> None:
    waves = [torch.randn(n, generator=generator(seed + n)) for n in lengths]
    together = log_mels(waves, CONFIG)
    for wave, mel in zip(waves, together, strict=True):
        assert mel.shape == (num_frames(len(wave)), 80)
        assert torch.equal(mel, log_mels([wave], CONFIG)[0])
    assert log_mels([], CONFIG) == []


def test_silence_and_loudness() -> None:
    silent, quiet, loud = log_mels([torch.zeros(3200), torch.randn(3200) * 1e-3, torch.randn(3200)], CONFIG)
    assert torch.equal(silent, torch.full((20, 80), (-10 + 4) / 4))
    assert quiet.isfinite().all()
    assert loud.max() - loud.min() <= 2
    wave = torch.randn(3200)
    before = wave.clone()
    log_mels([wave], CONFIG)
    assert torch.equal(wave, before), "the wave is left as it was"


# augmentation


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 5.5, 40.0])
def test_the_noise_has_the_asked_ratio(snr_db: float) -> None:
    wave = torch.from_numpy(tone(1.0, SAMPLE_RATE))
    noisy = add_noise(wave, snr_db, generator())
    noise = noisy.double() - wave.double()
    measured = 10 * torch.log10(wave.double().square().mean() / noise.square().mean())
    assert float(measured) == pytest.approx(snr_db, abs=1e-2)
    assert torch.equal(noisy, add_noise(wave, snr_db, generator()))
    assert not torch.equal(noisy, add_noise(wave, snr_db, generator(1)))


def test_silence_stays_silent() -> None:
    assert torch.equal(add_noise(torch.zeros(100), 5.0, generator()), torch.zeros(100))


def test_everything_is_off_by_default() -> None:
    wave, mel = torch.randn(1000), torch.randn(30, 80)
    assert torch.equal(augment_wave(wave, AudioAugmentConfig(), generator()), wave)
    assert torch.equal(spec_augment(mel, AudioAugmentConfig(), generator()), mel)


def test_noise_comes_as_often_and_as_loud_as_asked() -> None:
    config = AudioAugmentConfig(noise=0.3, snr_db=(10, 20))
    wave, draw = torch.from_numpy(tone(0.05, SAMPLE_RATE)), generator()
    ratios: list[Tensor] = []
    for _ in range(1000):
        noise = augment_wave(wave, config, draw) - wave
        if noise.any():
            ratios.append(10 * torch.log10(wave.square().mean() / noise.square().mean()))
    assert 250 < len(ratios) < 350
    assert 9.9 < min(ratios) < 11
    assert 19 < max(ratios) < 20.1


@given(
    frames=st.integers(1, 300),
    masks=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    widths=st.tuples(st.integers(1, 100), st.integers(1, 100)),
    seed=st.integers(0, 2**31),
)
def test_masks_are_whole_stretches_of_the_mean(
    frames: int, masks: tuple[int, int], widths: tuple[int, int], seed: int
) -> None:
    config = AudioAugmentConfig(time_masks=masks[0], mel_masks=masks[1], time_width=widths[0], mel_width=widths[1])
    mel = torch.randn(frames, 80, generator=generator(seed))
    before = mel.clone()
    masked = spec_augment(mel, config, generator(seed))
    assert torch.equal(mel, before)
    assert torch.equal(masked, spec_augment(mel, config, generator(seed)))
    changed = masked != mel
    rows, columns = changed.all(1), changed.all(0)
    assert bool((changed == (rows[:, None] | columns[None, :])).all()), "whole rows and whole columns, nothing else"
    assert rows.sum() <= masks[0] * min(widths[0], frames // 5) or columns.all()
    assert columns.sum() <= masks[1] * min(widths[1], 80) or rows.all()
    assert torch.all(masked[changed] == mel.mean())


def test_a_range_of_ratios_must_be_in_order() -> None:
    with pytest.raises(ValidationError, match="must not be above"):
        AudioAugmentConfig(snr_db=(20, 10))


@pytest.mark.parametrize("factor", [0.85, 1.0, 1.12])
def test_warped_frequencies_stand_where_they_would_sound(factor: float) -> None:
    """The spectrogram of a tone, warped, has its peak in the band of the tone at f · factor."""
    time = torch.arange(8_000) / 16_000
    tones = [torch.sin(2 * torch.pi * hertz * time) for hertz in (1_500.0, 1_500.0 * factor)]
    tone, wanted = log_mels(tones, AudioConfig())
    warped = warp_frequencies(tone, factor)
    assert warped.shape == tone.shape
    assert abs(int(warped.mean(0).argmax()) - int(wanted.mean(0).argmax())) <= 1
    if factor == 1.0:
        assert torch.equal(warped, tone)


def test_a_vocal_tract_is_drawn_within_its_limits() -> None:
    peaks = set()
    for seed in range(40):
        mel = torch.zeros(3, 80)
        mel[:, 40] = 1.0
        peaks.add(int(spec_augment(mel, AudioAugmentConfig(vocal_tract=0.1), generator(seed))[1].argmax()))
    assert len(peaks) > 3
    assert all(36 <= peak <= 44 for peak in peaks)
