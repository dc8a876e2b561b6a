"""Every kind of damage does what it says: signal-to-noise ratios, covered areas, blur, JPEG, who loses an input."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.errors import UserError
from plait.explain.curves.missing import RATES, lost
from plait.explain.curves.run import drawn
from plait.modalities.audio.damage import SNR_DB, VOICES, Babble, WhiteNoise, kin
from plait.modalities.damage import Damage, Source
from plait.modalities.image.damage import GREY, Blur, Jpeg, Occlusion, blurred, compressed, occluded
from plait.types import Sample

SOUND, PICTURE = (WhiteNoise, Babble), (Blur, Occlusion, Jpeg)
DAMAGES: tuple[type[Damage], ...] = (*SOUND, *PICTURE)


def speaker(number: int) -> Sample:
    return Sample(f"s{number}", "test", audio=Path(f"{number}.wav"), groups={"speaker": f"v{number // 2}"})


def clip(path: Path) -> torch.Tensor:
    """Noise of the file's own: 0.1 s and more."""
    number = int(path.stem)
    return 0.1 * torch.randn(1_600 + 100 * number, generator=torch.Generator().manual_seed(number))


ROWS = [speaker(number) for number in range(20)]


def source(seed: int = 0) -> Source:
    return Source(seed, ROWS, clip)


def measured_snr(wave: torch.Tensor, noisy: torch.Tensor) -> float:
    noise = noisy.double() - wave.double()
    return 10 * math.log10(float(wave.double().square().sum() / noise.square().sum()))


def decoded(kind: type[Damage], seed: int = 0) -> torch.Tensor:
    """A clip, or a picture of smooth colours with a darker square."""
    if kind.kind.modality == "audio":
        return clip(Path(f"{seed + 3}.wav"))
    down, right = np.mgrid[0:32, 0:32] / 31
    values = 255 * np.stack([down, right, 0.5 + 0.4 * np.sin(6 * down + seed)])
    values[:, 10:20, 8:23] *= 0.6
    return torch.from_numpy(values.astype(np.uint8))


# all kinds


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_same_sample_is_damaged_alike_and_the_input_stays_as_it_is(kind: type[Damage]):
    for level in kind.kind.levels:
        before = decoded(kind)
        kept = before.clone()
        first = kind(level, source()).damaged(before, ROWS[0], 0)
        again = kind(level, source()).damaged(kept.clone(), ROWS[0], 0)
        assert torch.equal(before, kept)
        assert torch.equal(first, again)
        assert (first.shape, first.dtype) == (before.shape, before.dtype)
        assert not torch.equal(first, before)


@pytest.mark.parametrize("kind", [WhiteNoise, Babble, Occlusion])
def test_other_samples_places_and_seeds_draw_otherwise(kind: type[Damage]):
    one = decoded(kind)
    level = kind.kind.levels[2]
    base = kind(level, source()).damaged(one, ROWS[0], 0)
    assert not torch.equal(base, kind(level, source()).damaged(one, ROWS[2], 0))
    assert not torch.equal(base, kind(level, source()).damaged(one, ROWS[0], 1))
    assert not torch.equal(base, kind(level, source(seed=1)).damaged(one, ROWS[0], 0))


@pytest.mark.parametrize("kind", DAMAGES)
def test_harsher_levels_do_more(kind: type[Damage]):
    """The error grows from level to level."""
    one = decoded(kind)
    errors = [
        float((kind(level, source()).damaged(one, ROWS[0], 0).double() - one.double()).square().mean())
        for level in kind.kind.levels
    ]
    assert errors == sorted(errors)
    assert errors[0] < errors[-1]


def test_every_kind_says_what_it_is_and_goes_from_mild_to_harsh():
    names = [kind.kind.name for kind in DAMAGES]
    assert len(set(names)) == len(names)
    for kind in DAMAGES:
        levels = kind.kind.levels if kind.kind.clean is None else (kind.kind.clean, *kind.kind.levels)
        assert len(set(levels)) == len(levels)
        assert list(levels) in (sorted(levels), sorted(levels, reverse=True))
        assert len(kind.kind.definition) > 20


# sound


@settings(max_examples=40, deadline=None)
@given(
    length=st.integers(1, 4_000),
    loudness=st.floats(1e-6, 1e3),
    level=st.floats(-30, 40),
    seed=st.integers(0, 2**31),
    kind=st.sampled_from(SOUND),
)
def test_the_snr_is_the_one_that_was_asked_for(
    length: int, loudness: float, level: float, seed: int, kind: type[Damage]
):
    """Of very short clips as well; nothing is clipped, however loud."""
    wave = loudness * torch.randn(length, generator=torch.Generator().manual_seed(seed))
    noisy = kind(level, source(seed)).damaged(wave, ROWS[0], 0)
    assert measured_snr(wave, noisy) == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("kind", SOUND)
def test_a_loud_recording_is_not_clipped(kind: type[Damage]):
    wave = torch.sign(torch.randn(1_600, generator=torch.Generator().manual_seed(0)))
    noisy = kind(-5.0, source()).damaged(wave, ROWS[0], 0)
    assert float(noisy.abs().max()) > 1
    assert measured_snr(wave, noisy) == pytest.approx(-5, abs=1e-3)


@pytest.mark.parametrize("kind", SOUND)
def test_levels_only_scale_the_noise(kind: type[Damage]):
    wave = decoded(kind).double()
    noises = [kind(snr, source()).damaged(wave.float(), ROWS[0], 0).double() - wave for snr in SNR_DB]
    for noise, snr in zip(noises, SNR_DB, strict=True):
        factor = 10 ** ((SNR_DB[0] - snr) / 20)
        torch.testing.assert_close(noise, factor * noises[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", SOUND)
def test_silence_stays_silent_and_is_noted(kind: type[Damage]):
    known = source()
    silent = torch.zeros(800)
    assert torch.equal(kind(0.0, known).damaged(silent, ROWS[0], 0), silent)
    ((name, why),) = known.untouched
    assert name == kind.kind.name
    assert "is silent" in why
    assert known.untouched[name, why] == {"s0"}


def heard(known: Source, sample: Sample, length: int = 500) -> list[Path]:
    """The recordings that babble was made of."""
    files: list[Path] = []

    def listen(path: Path) -> torch.Tensor:
        files.append(path)
        return clip(path)

    Babble(0.0, Source(known.seed, known.samples, listen, untouched=known.untouched)).damaged(
        torch.ones(length), sample, 0
    )
    return files


@pytest.mark.parametrize("sample", ROWS[:8])
def test_babble_is_of_other_groups(sample: Sample):
    files = heard(source(), sample)
    rows = {row.audio: row for row in ROWS}
    assert len(set(files)) == len(files) == VOICES
    for file in files:
        assert not kin(rows[file], sample)
    voices = [rows[file].groups["speaker"] for file in files]
    assert len(set(voices)) == VOICES, "four speakers, as there are so many"


def test_babble_takes_two_recordings_of_one_voice_only_where_there_are_not_enough():
    few = [Sample(str(n), "test", audio=Path(f"{n}.wav"), groups={"speaker": "ab"[n % 2]}) for n in range(8)]
    sample = Sample("own", "test", audio=Path("9.wav"), groups={"speaker": "mine"})
    files = heard(Source(0, few, clip), sample)
    assert len(set(files)) == VOICES
    assert {few[int(f.stem)].groups["speaker"] for f in files[:2]} == {"a", "b"}


def test_babble_never_holds_the_samples_own_recording():
    """Also where nobody names groups, or another row has the same file."""
    rows = [Sample(str(n), "test", audio=Path(f"{n % 5}.wav")) for n in range(10)]
    for row in rows:
        files = heard(Source(0, rows, clip), row)
        assert row.audio not in files
        assert len(set(files)) == VOICES


def test_babble_of_equal_parts():
    parts = Babble(0.0, source()).parts(ROWS[0], 0, 700)
    assert [len(part) for part in parts] == [700] * VOICES
    for part in parts:
        assert float(part.double().square().mean()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("num", [0, 2])
def test_where_there_are_not_enough_voices_it_is_noted(num: int):
    sample = Sample("own", "test", audio=Path("9.wav"), groups={"speaker": "mine"})
    known = Source(0, [sample, *ROWS[:num]], clip)
    wave = clip(Path("9.wav"))
    noisy = Babble(0.0, known).damaged(wave, sample, 0)
    assert torch.equal(noisy, wave) == (num == 0)
    ((_, why),) = known.untouched
    assert f"found {num} recordings" in why
    assert ("left as it is" in why) == (num == 0)


def test_recordings_that_cannot_be_read_or_are_silent_are_passed_over():
    def broken(path: Path) -> torch.Tensor:
        if path.stem == "0":
            raise UserError("cut off", where=str(path))
        return torch.zeros(50) if path.stem == "1" else clip(path)

    rows = [Sample(str(n), "test", audio=Path(f"{n}.wav")) for n in range(3)]
    known = Source(0, rows, broken)
    parts = Babble(0.0, known).parts(Sample("own", "test", audio=Path("9.wav")), 0, 100)
    assert len(parts) == 1, "of three: one cannot be read, one is silent"
    ((_, why),) = known.untouched
    assert "cannot be read" in why
    assert known.untouched["babble", why] == {"0"}


# pictures


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    share=st.floats(0, 1),
    down=st.floats(0, 1, exclude_max=True),
    right=st.floats(0, 1, exclude_max=True),
)
def test_occlusion_covers_the_share_to_the_pixel(rows: int, columns: int, share: float, down: float, right: float):
    blank = torch.zeros(3, rows, columns, dtype=torch.uint8)
    covered = occluded(blank, share, down=down, right=right)
    grey = covered == GREY
    assert torch.equal(grey[0], grey[1])
    assert torch.equal(grey[0], grey[2])
    assert int(grey[0].sum()) == round(share * rows * columns)
    more = occluded(blank, (share + 1) / 2, down=down, right=right) == GREY
    assert bool((more | ~grey).all()), "what is covered stays covered"


def test_occlusion_is_one_rectangle():
    blank = torch.zeros(3, 64, 64, dtype=torch.uint8)
    for down, right in ((0.0, 0.0), (0.3, 0.8), (0.99, 0.5)):
        grey = (occluded(blank, 0.25, down=down, right=right) == GREY)[0]
        places = grey.nonzero()
        height, width = (places.max(dim=0).values - places.min(dim=0).values + 1).tolist()
        assert {height, width} <= {32, 33}
        assert grey.sum() >= height * width - max(height, width) - 1, "no hole but in the last rim"


def test_without_blur_nothing_changes_and_with_it_the_mean_stays():
    """To the rounding; the bright edge must neither leak out nor be doubled."""
    noise = torch.randint(0, 256, (3, 40, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise[:, :, -3:] = 255
    assert torch.equal(blurred(noise, 0.0), noise)
    spread = [float(noise.double().std())]
    for share in (0.01, 0.02, 0.04, 0.08, 0.16, 1.0):
        soft = blurred(noise, share)
        assert soft.double().mean((1, 2)).tolist() == pytest.approx(noise.double().mean((1, 2)).tolist(), abs=0.5)
        spread.append(float(soft.double().std()))
    assert spread == sorted(spread, reverse=True)


def test_blur_is_a_gaussian_of_the_stated_width():
    """A point becomes a Gaussian: its variance along each axis is sigma², longhand."""
    point = torch.zeros(3, 101, 201, dtype=torch.uint8)
    point[:, 50 - 2 : 50 + 3, 100 - 2 : 100 + 3] = 255  # 5 × 5: variance 2 by itself
    soft = blurred(point, 0.04).double()[0]  # sigma 4.04 rows, 8.04 columns
    total = soft.sum()
    for axis, size, sigma in ((1, 101, 4.04), (0, 201, 8.04)):
        place = torch.arange(size).double() - size // 2
        variance = float((soft.sum(dim=axis) * place.square()).sum() / total)
        assert variance == pytest.approx(sigma**2 + 2, rel=0.1)


def test_jpeg_at_100_is_near_and_the_size_of_the_picture_stays():
    one = decoded(Jpeg)
    near = compressed(one, 100).double() - one.double()
    assert float(near.abs().mean()) < 1.5
    odd = one[:, :17, :9].contiguous()
    assert compressed(odd, 50).shape == odd.shape
    tiny = torch.full((3, 1, 1), 200, dtype=torch.uint8)
    assert int((compressed(tiny, 90).int() - 200).abs().max()) < 5


# missing inputs, and the samples that are measured


def test_who_loses_an_input_loses_it_at_every_higher_rate():
    before = np.zeros(len(ROWS), dtype=bool)
    for rate in RATES:
        gone = lost(ROWS, "audio", rate, seed=3)
        assert gone.sum() == round(rate * len(ROWS))
        assert not (before & ~gone).any()
        before = gone
    assert before.all()
    half = lost(ROWS, "audio", 0.5, seed=3)
    assert (half == lost(ROWS, "audio", 0.5, seed=3)).all()
    assert (half != lost(ROWS, "image", 0.5, seed=3)).any()
    assert (half != lost(ROWS, "audio", 0.5, seed=4)).any()


def test_a_limit_draws_a_part_in_the_samples_own_order():
    assert drawn(ROWS, 0, seed=1) == ROWS
    assert drawn(ROWS, 100, seed=1) == ROWS
    small, large = drawn(ROWS, 5, seed=1), drawn(ROWS, 9, seed=1)
    assert (len(small), len(large)) == (5, 9)
    assert [row for row in ROWS if row in small] == small
    assert {row.id for row in small} < {row.id for row in large}
    assert drawn(ROWS, 5, seed=2) != small
