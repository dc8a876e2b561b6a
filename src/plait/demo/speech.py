"""Speech by eSpeak NG: sentences to 16 kHz files, in child processes of their own.

In: clips, each a sentence, a voice (accent + variant), a rate, a pitch and the file to write.
Out: mono 16-bit WAV files at 16 kHz; the voices of the installed engine that are fit to be heard.
Invariant: the same clips give the same files, whatever the number of processes: the engine's noise and flutter go on
from clip to clip, so clips are spoken in blocks of a fixed size, each in a fresh process.

The engine is a C library that keeps its state in globals; in a child a crash of it costs a message, not the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from plait.errors import UserError

SAMPLE_RATE = 16_000
BLOCK = 500
"""Clips to a process."""
TOLD_EVERY = 20
"""Clips after which a child says how far it is."""
ACCENTS = (
    "en",
    "en-029",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-gb-x-rp",
    "en-shaw",
    "en-us",
    "en-us-nyc",
)
PEAK = 0.7
MARGIN = 0.03
"""Seconds kept before the first and after the last sample louder than one hundredth of the peak."""
TRIAL = "can you tell me what color the rectangle in the picture has"
HUMAN = 75, 135
"""Per cent of a man's first two formants: from a very large man's to a small child's."""

RATE, PITCH = 1, 3  # espeak_PARAMETER
SEED = 1
RETRIEVAL, UTF8 = 2, 1  # AUDIO_OUTPUT_SYNCHRONOUS, espeakCHARS_UTF8
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class Clip:
    """One recording to be made: `rate` in words per minute, `pitch` 0 to 99 around the voice's own (50)."""

    path: str
    text: str
    voice: str
    rate: int
    pitch: int


@dataclass(frozen=True)
class Audition:
    """The variants of the engine: those that are kept, and why each of the others is not."""

    variants: tuple[str, ...]
    refused: dict[str, str]


class SpeechUnavailable(Exception):
    """There is no speech engine here; the text says why."""


class Speaker:
    """The engine, loaded into this process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.data = Path(espeakng_loader.get_data_path())
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.pieces: list[bytes] = []
        self.callback = CALLBACK(self._collect)  # kept: the library holds only its address
        self.rate = self.library.espeak_Initialize(RETRIEVAL, 0, str(self.data).encode(), 0)
        if self.rate <= 0:
            raise RuntimeError(f"espeak_Initialize gave {self.rate}")
        self.library.espeak_ng_SetRandSeed(SEED)  # it seeds its breath noise by the process number
        self.library.espeak_SetSynthCallback.argtypes = [CALLBACK]
        self.library.espeak_SetSynthCallback(self.callback)
        self.library.espeak_Synth.argtypes = [
            *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint),
            *(ctypes.c_void_p, ctypes.c_void_p),
        ]

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], number: int, _: int | None) -> int:
        if samples and number > 0:
            self.pieces.append(ctypes.string_at(samples, 2 * number))
        return 0

    def say(self, text: str, *, voice: str, rate: int, pitch: int) -> np.ndarray:
        """The sentence as float32 samples at the engine's own rate."""
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"the speech engine has no voice {voice!r}")
        self.library.espeak_SetParameter(RATE, rate, 0)
        self.library.espeak_SetParameter(PITCH, pitch, 0)
        self.pieces.clear()
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
        self.library.espeak_Synchronize()
        return np.frombuffer(b"".join(self.pieces), np.int16).astype(np.float32) / 32768

    def variants(self) -> list[str]:
        """The variants that the engine's data folder holds."""
        return sorted(file.name for file in (self.data / "voices" / "!v").iterdir() if file.is_file())

    def definition(self, variant: str) -> str:
        """The text that defines a variant."""
        return (self.data / "voices" / "!v" / variant).read_text(encoding="utf-8", errors="replace")


def trim(wave: np.ndarray, rate: int) -> np.ndarray:
    """The wave without the silence around it, but for a margin."""
    loud = np.flatnonzero(np.abs(wave) > np.abs(wave).max(initial=0) / 100)
    if not len(loud):
        return wave[:0]
    margin = int(MARGIN * rate)
    return wave[max(0, loud[0] - margin) : loud[-1] + 1 + margin]


def vowel_scales(definition: str) -> tuple[float, ...]:
    """How far a variant moves the two formants that tell vowels apart, in per cent of the plain voice's."""
    scales = {"1": 100.0, "2": 100.0}
    for line in definition.splitlines():
        match line.split():
            case ["formant", "1" | "2" as formant, scale, *_]:
                scales[formant] = float(scale)
    return tuple(scales.values())


def audition(speaker: Speaker) -> Audition:
    """Which variants are kept: audible, not clipped, at a usual pace, with a human voice's vowels, none a double."""
    waves = {name: speaker.say(TRIAL, voice=f"en-us+{name}", rate=200, pitch=50) for name in speaker.variants()}
    usual = float(np.median([len(trim(wave, speaker.rate)) for wave in waves.values()]))
    refused: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    for name, wave in waves.items():
        pace = len(trim(wave, speaker.rate)) / usual
        clipped = float((np.abs(wave) > 0.999).mean()) if len(wave) else 0.0
        if not len(wave) or float(np.sqrt((wave**2).mean())) < 0.01:
            refused[name] = "hardly audible: root mean square under 0.01"
        elif clipped > 0.002:
            refused[name] = f"clipped: {clipped:.1%} of the samples at full scale"
        elif not 0.75 < pace < 1.33:
            refused[name] = f"{pace:.2f} times as long as the median variant"
        elif not all(HUMAN[0] <= scale <= HUMAN[1] for scale in vowel_scales(speaker.definition(name))):
            refused[name] = "the vowels are no human voice's"
        elif wave.tobytes() in seen:
            refused[name] = f"the same sound as {seen[wave.tobytes()]}"
        else:
            seen[wave.tobytes()] = name
    return Audition(tuple(seen.values()), refused)


def write_clip(speaker: Speaker, clip: Clip, folder: Path) -> None:
    """Speak one clip and write it, 16 kHz, trimmed, at a fixed peak."""
    import soundfile
    import soxr

    wave = trim(speaker.say(clip.text, voice=clip.voice, rate=clip.rate, pitch=clip.pitch), speaker.rate)
    if not len(wave):
        raise RuntimeError(f"the speech engine gave no sound for {clip.text!r} by {clip.voice!r}")
    wave = soxr.resample(wave, speaker.rate, SAMPLE_RATE)
    soundfile.write(folder / clip.path, wave * (PEAK / np.abs(wave).max()), SAMPLE_RATE, subtype="PCM_16")


def child() -> None:
    """What a child process does: an audition, or one block of clips, told on standard input; the answers are lines."""
    task = json.load(sys.stdin)
    speaker = Speaker()
    if task["do"] == "audition":
        print(json.dumps(asdict(audition(speaker))))
        return
    clips = [Clip(**clip) for clip in task["clips"]]
    for start in range(0, len(clips), TOLD_EVERY):
        some = clips[start : start + TOLD_EVERY]
        for clip in some:
            write_clip(speaker, clip, Path(task["folder"]))
        print(len(some), flush=True)


def run_child(task: dict[str, object]) -> Iterator[str]:
    """The lines that a child answers; SpeechUnavailable with its last words where it fails."""
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", "plait.demo.speech"]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as last_words,
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=last_words, encoding="utf-8", errors="replace", env=environment
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin as standard_input:
                standard_input.write(json.dumps(task))
            yield from process.stdout
            if process.wait():
                last_words.seek(0)
                lines = last_words.read().strip().splitlines()
                raise SpeechUnavailable(
                    lines[-1] if lines else f"the speech engine ended with code {process.returncode}"
                )
        finally:
            process.kill()


def hold_audition() -> Audition:
    """The voices of the installed engine, or SpeechUnavailable."""
    answer = json.loads("".join(run_child({"do": "audition"})))
    return Audition(tuple(answer["variants"]), answer["refused"])


def record(clips: Sequence[Clip], folder: Path, *, num_processes: int, progress: Callable[[int, int], None]) -> None:
    """Speak and write all clips below `folder`."""
    for parent in {(folder / clip.path).parent for clip in clips}:
        parent.mkdir(parents=True, exist_ok=True)
    blocks = [clips[start : start + BLOCK] for start in range(0, len(clips), BLOCK)]
    spoken: queue.Queue[int | Exception] = queue.Queue()
    stop: list[bool] = []

    def speak(block: Sequence[Clip]) -> None:
        try:
            if stop:
                return
            for line in run_child({"do": "speak", "folder": str(folder), "clips": [asdict(clip) for clip in block]}):
                spoken.put(int(line))
                if stop:
                    return
        except Exception as error:
            spoken.put(error)

    with ThreadPoolExecutor(max(1, num_processes)) as pool:
        try:
            for block in blocks:
                pool.submit(speak, block)
            done = 0
            while done < len(clips):
                told = spoken.get()
                if isinstance(told, Exception):
                    raise UserError(f"the speech engine failed: {told}", right="pip install --upgrade 'plait[demo]'")
                done += told
                progress(done, len(clips))
        finally:
            stop.append(True)


if __name__ == "__main__":
    child()
