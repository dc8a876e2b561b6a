"""The speaker: real sound, the same every time, and clear words where there is none."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from plait.demo import speech
from plait.demo.speech import Clip
from plait.errors import UserError

pytest.importorskip("espeakng_loader")

VOICES = ["en+f1", "en-us+croak", "en-gb-scotland+m1", "en-029+whisper", "en-us-nyc+klatt", "en-shaw+grandma"]


def clips(number: int) -> list[Clip]:
    return [
        Clip(f"a/{i}.wav", "what shape is the blue thing", VOICES[i % len(VOICES)], 180 + 5 * (i % 10), 40 + i % 20)
        for i in range(number)
    ]


def hashes(folder: Path) -> dict[str, str]:
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.rglob("*.wav"))}


def test_clips_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's noise runs on from clip to clip and was seeded by the process number: no two runs were alike."""
    monkeypatch.setattr(speech, "BLOCK", 7)
    told: list[tuple[int, int]] = []
    speech.record(clips(18), tmp_path / "one", num_processes=1, progress=lambda done, of: told.append((done, of)))
    speech.record(clips(18), tmp_path / "three", num_processes=3, progress=lambda *_: None)
    assert len(hashes(tmp_path / "one")) == 18
    assert hashes(tmp_path / "one") == hashes(tmp_path / "three")
    assert told[-1] == (18, 18)


def test_a_clip_is_16_khz_mono_trimmed_and_heard(tmp_path: Path) -> None:
    speech.record(clips(6), tmp_path, num_processes=1, progress=lambda *_: None)
    for clip in clips(6):
        wave, rate = soundfile.read(tmp_path / clip.path, dtype="float32")
        info = soundfile.info(tmp_path / clip.path)
        assert (rate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert np.abs(wave).max() == pytest.approx(speech.PEAK, abs=1e-3)
        assert 0.8 < len(wave) / rate < 2.5
        loud = np.flatnonzero(np.abs(wave) > 0.02 * speech.PEAK) / rate
        assert loud[0] < 0.08
        assert loud[-1] > len(wave) / rate - 0.08


def test_faster_speech_is_shorter_and_accents_differ(tmp_path: Path) -> None:
    text = "i would like to know what color the rectangle has"
    made = [Clip(f"{voice}-{rate}.wav", text, voice, rate, 50) for voice in speech.ACCENTS for rate in (180, 230)]
    speech.record(made, tmp_path, num_processes=2, progress=lambda *_: None)
    frames = {clip.path: soundfile.info(tmp_path / clip.path).frames for clip in made}
    for voice in speech.ACCENTS:
        assert frames[f"{voice}-230.wav"] < frames[f"{voice}-180.wav"]
    assert len({hashlib.sha256((tmp_path / clip.path).read_bytes()).hexdigest() for clip in made}) == len(made)


def test_the_audition_keeps_most_and_says_why_it_refuses() -> None:
    heard = speech.hold_audition()
    assert len(heard.variants) + len(heard.refused) > 80
    assert len(heard.variants) > 60


class Pretender(speech.Speaker):
    """A speaker that makes up its variants."""

    def __init__(self) -> None:
        self.rate = 1000

    def variants(self) -> list[str]:
        return ["good", "twin", "silent", "loud", "slow", "giant", "usual"]

    def say(self, text: str, *, voice: str, rate: int, pitch: int) -> np.ndarray:
        del text, rate, pitch
        wave = 0.5 * np.sin(np.arange(1000) * 0.3).astype(np.float32)
        name = voice.split("+")[1]
        other = {"silent": wave * 0, "loud": np.sign(wave), "slow": np.tile(wave, 2), "usual": wave * 0.9}
        return other.get(name, wave)

    def definition(self, variant: str) -> str:
        return "name giant\nformant 0 100\nformant 2 60 100 100\n" if variant == "giant" else "formant 1 90 # 2 60\n"


def test_the_rules_of_the_audition() -> None:
    heard = speech.audition(Pretender())
    assert heard.variants == ("good", "usual")
    assert set(heard.refused) == {"twin", "silent", "loud", "slow", "giant"}
    assert "good" in heard.refused["twin"]
    assert "full scale" in heard.refused["loud"]


def test_trimming_keeps_a_margin_and_silence_gives_nothing() -> None:
    wave = np.concatenate([np.zeros(500), np.ones(100), np.zeros(500)]).astype(np.float32)
    assert len(speech.trim(wave, 1000)) == 100 + 2 * 30
    assert len(speech.trim(np.zeros(100, np.float32), 1000)) == 0


def test_a_child_that_cannot_load_the_engine_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError('no engine on this machine')", encoding="utf-8")
    monkeypatch.setattr(speech, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    with pytest.raises(speech.SpeechUnavailable, match="no engine on this machine"):
        speech.hold_audition()


def test_an_unknown_voice_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no voice 'xx'"):
        speech.record(
            [Clip("a.wav", "what shape is it", "xx", 200, 50)], tmp_path, num_processes=1, progress=lambda *_: None
        )
