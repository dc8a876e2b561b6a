"""Numbers with their units, colours that can be read, media that are small and carry nothing else."""

from __future__ import annotations

import base64
import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from plait.compare.result import Metric, Price
from plait.modalities.audio.view import MAX_SECONDS
from plait.report import words
from plait.report.media import MAX_SIDE, Media
from plait.report.page import breakable
from plait.report.palette import COLOURS, PALETTE, ROLE
from plait.types import FIRST
from tiny_data import draw, sing


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """WCAG 2.2, contrast ratio."""
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_and_marks_can_be_read_in_the_light_and_in_the_dark(scheme: int):
    for word, ground in product(("ink", "muted", "accent", "right", "wrong", "warn"), ("page", "surface", "raised")):
        assert contrast(PALETTE[word][scheme], PALETTE[ground][scheme]) >= 4.5, (word, ground)
    for name, _, _ in ROLE.values():
        assert contrast(PALETTE[name][scheme], PALETTE["surface"][scheme]) >= 3, name


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_second_and_third_input_of_a_modality_can_be_seen_and_told_from_the_others(scheme: int):
    from plait.explain.looks import shades

    found = {name: pair[scheme] for name, pair in shades().items()}
    assert len(set(found.values())) == len(found)
    for name, colour in found.items():
        if name[-1].isdigit():
            assert contrast(colour, PALETTE["surface"][scheme]) >= 3, name
            assert contrast(colour, found[name[:-1]]) >= 1.2, name


def test_a_colour_has_one_name_and_a_modality_the_colour_of_explain():
    from matplotlib.colors import to_hex

    from plait.explain.looks import looks

    assert len(set(COLOURS.values())) == len(COLOURS)
    found = {name: one.colour for name, one in looks({name: name for name in FIRST}).items()}
    assert found == {name: COLOURS[name] for name in FIRST} == {n: to_hex(f"C{k}") for k, n in enumerate(FIRST)}


def test_arms_of_different_roles_have_different_forms():
    assert len({marker for _, marker, _ in ROLE.values()}) == len(ROLE)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (words.seconds(None), "—"),
        (words.seconds(3.21), "3.2 s"),
        (words.seconds(59.6), "1 min 0 s"),
        (words.seconds(208), "3 min 28 s"),
        (words.seconds(7500), "2 h 5 min"),
        (words.size(564_000_000), "564 MB"),
        (words.flops(2.31e8), "231 MFLOP"),
        (words.flops(206_720), "207 kFLOP"),
        (words.millions(1_640_000), "1.64 M"),
        (words.millions(52_000), "52,000"),
        (words.p_value(0.0004), "< 0.001"),
        (words.milliseconds(5.1), "5.1 ms"),
        (words.sentence("take `a` at -0.5 [-1, 2] of x-2"), "Take “a” at −0.5 [−1, 2] of x-2."),
        (words.listed(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_numbers_are_said_with_their_units(said: str, wanted: str):
    assert said == wanted


def test_differences_of_shares_are_points_and_others_have_their_unit():
    share, bits = (
        Metric("a", name, True, percent, "test", 9, {}, 0.95)
        for name, percent in (("accuracy", True), ("bits_per_token", False))
    )
    assert (words.score(share, 0.969), words.gap(share, -0.011)) == ("96.9 %", "−1.1 points")
    assert (words.score(bits, 0.1234), words.gap(bits, 0.02)) == ("0.123 bits per token", "+0.020 bits per token")
    assert words.span(share, -0.019, 0.003) == "−1.9 to +0.3"


def test_every_price_has_words():
    prices = set(Price.__dataclass_fields__) - {"step_spread"}  # how steady the step was: no price
    assert set(words.prices(Price())) == prices
    assert set(words.prices(Price()).values()) == {words.NONE}
    assert set(words.COSTS) | {cost.beside[0] for cost in words.COSTS.values() if cost.beside} == prices


@given(st.text())
def test_breakable_words_stay_the_same_words(text: str):
    import html

    shown = str(breakable(text)).replace("<wbr>", "")
    assert "<" not in shown
    clean = "".join("\ufffd" if (ord(c) < 32 and c not in "\t\n\r") or c == "\x7f" else c for c in text)
    assert html.unescape(shown.replace("&#34;", '"').replace("&#39;", "'")) == html.unescape(html.escape(clean))


def data_of(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def test_a_small_picture_is_kept_exactly(tmp_path: Path):
    draw(tmp_path / "a.png", "blue")
    shown = Media().picture(tmp_path / "a.png")
    with Image.open(io.BytesIO(data_of(shown.uri))) as kept, Image.open(tmp_path / "a.png") as first:
        assert np.array_equal(np.array(kept.convert("RGB")), np.array(first.convert("RGB")))


def test_a_photograph_is_made_small_upright_and_loses_where_it_was_taken(tmp_path: Path):
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    exif[271] = "SECRET CAMERA"
    exif.get_ifd(0x8825)[1] = "SECRET N"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (300, 900, 3), dtype=np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    assert b"SECRET" in (tmp_path / "a.jpg").read_bytes()
    shown = Media().picture(tmp_path / "a.jpg")
    assert (shown.width, shown.height) == (MAX_SIDE / 3, MAX_SIDE)
    assert b"SECRET" not in data_of(shown.uri)


@pytest.mark.parametrize("rate", [16_000, 44_100, 7_350, 96_000])
def test_a_sound_can_be_played_and_is_as_long_as_it_was(rate: int, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(rate) / 9)[:, None] * [0.3, 0.3], rate)
    shown = Media().sound(tmp_path / "a.wav")
    wave, found = soundfile.read(io.BytesIO(data_of(shown.uri)))
    assert len(wave) / found == pytest.approx(1.0, abs=0.12)
    assert wave.ndim == 1
    assert np.abs(wave).max() > 0.2
    assert not shown.note


def test_a_long_sound_is_cut_and_said_to_be(tmp_path: Path):
    sing(tmp_path / "a.wav", "low", MAX_SECONDS + 5)
    assert Media().sound(tmp_path / "a.wav").note == "the first 20 of 25 seconds"


def test_what_is_over_the_limit_is_left_out_and_counted(tmp_path: Path):
    for k in range(4):
        sing(tmp_path / f"{k}.wav", "low", 1.0)
    draw(tmp_path / "a.png", "red")
    one = len(Media().sound(tmp_path / "0.wav").uri)
    media = Media(limit=int(2.5 * one))
    shown = [media.sound(tmp_path / f"{k}.wav") for k in range(4)]
    assert [bool(sound.uri) for sound in shown] == [True, True, False, False]
    assert "at most" in shown[2].reason
    assert media.num_bytes <= media.limit
    assert media.picture(tmp_path / "a.png").uri, "what still fits is shown"
    assert media.notes == [
        f"Left out: 2 sounds, because the page would hold more than {words.size(media.limit)} of pictures and sounds."
    ]


@pytest.mark.parametrize("content", [b"", b"<script>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_or_sound_is_said(content: bytes, tmp_path: Path):
    (tmp_path / "a").write_bytes(content)
    media = Media()
    for shown in (media.picture(tmp_path / "a"), media.sound(tmp_path / "a")):
        assert not shown.uri
        assert shown.reason.startswith("it cannot be read")
    assert len(media.notes) == 2
