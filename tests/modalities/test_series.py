"""Series: what a field may hold, each bad file its one message, values against closed forms and scipy, lengths, the encoder."""

from __future__ import annotations

import io
import math
import zipfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import resample_poly
from series_helpers import SERIES, as_list, field_in, wave

from plait.errors import UserError
from plait.modalities.base import Blob, FieldError, Parts
from plait.modalities.series.prepare import (
    Moments,
    SeriesAugmentConfig,
    SeriesConfig,
    SeriesPreparer,
    augmented,
    fitted,
    load_series,
    noisy,
    num_steps,
    resampled,
    shifted,
    still_there,
)
from plait.modalities.series.reading import packed, read
from plait.modalities.series.transformer import SeriesTransformerConfig
from plait.types import Items

PLAIN = SeriesConfig(normalise="none")
EXACT = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.5], [-7.0, 8.0]])
"""Numbers that every type below holds exactly."""


def text_of(values: np.ndarray, mark: str, header: str = "") -> str:
    rows = [mark.join("" if np.isnan(one) else repr(float(one)) for one in row) for row in values]
    return "\n".join([*([header] if header else []), *rows]) + "\n"


def decoded(item: Any, options: SeriesConfig = PLAIN) -> torch.Tensor:
    return SeriesPreparer(options).decode(item)


def test_every_format_holds_the_same_series_as_a_path_and_as_bytes(tmp_path: Path):
    files = {
        "a.npy": packed(EXACT),
        "big_endian.npy": packed(EXACT.astype(">f8")),
        "half.npy": packed(EXACT.astype(np.float16)),
        "fortran.npy": packed(np.asfortranarray(EXACT)),
        "comma.csv": text_of(EXACT, ",", "first,second").encode(),
        "bare.csv": text_of(EXACT, ",").encode(),
        "tab.tsv": text_of(EXACT, "\t", '"a, b"\tc').encode(),
        "semicolon.csv": b"\xef\xbb\xbf" + text_of(EXACT, ";", "x;y").encode().replace(b"\n", b"\r\n"),
        "savetxt.csv": b"# x y\n"
        + text_of(np.where(np.isnan(EXACT), np.inf, EXACT), " ").encode().replace(b"inf", b"NaN"),
    }
    single, several = io.BytesIO(), io.BytesIO()
    np.savez(single, series=EXACT)
    np.savez_compressed(several, other=np.zeros(3), wanted=EXACT)
    files |= {"one.npz": single.getvalue(), "two.npz": several.getvalue()}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        options = SeriesConfig(normalise="none", key="wanted" if name == "two.npz" else None)
        for item in (tmp_path / name, Blob(data)):
            found = decoded(item, options)
            assert torch.equal(found.isnan(), torch.from_numpy(np.isnan(EXACT))), name
            assert torch.equal(found.nan_to_num(), torch.from_numpy(EXACT).float().nan_to_num()), name
            assert SeriesPreparer(options).length(item) == 4, name


@pytest.mark.parametrize("kind", ["?", "i1", "<u8", ">i4", "<f2", ">f4", "f8"])
def test_types_and_one_axis(kind: str):
    values = np.array([0, 1, 1, 0]).astype(kind)
    assert decoded(Blob(packed(values))).tolist() == [[0.0], [1.0], [1.0], [0.0]]


def test_a_field_holds_a_path_bytes_a_list_of_numbers_or_of_rows(tmp_path: Path):
    field = field_in(tmp_path)
    assert SERIES.items("a.npy", field) == (tmp_path / "a.npy",)
    assert SERIES.items(["a.npy", "b.csv"], field) == (tmp_path / "a.npy", tmp_path / "b.csv")
    assert SERIES.items({"bytes": packed(EXACT), "path": "x.npy"}, field) == (Blob(packed(EXACT), "x.npy"),)
    for value in (as_list(EXACT), str(as_list(EXACT)).replace("None", "null"), np.array(EXACT)):
        (item,) = SERIES.items(value, field)
        assert hash(item) == hash(SERIES.items(as_list(EXACT), field)[0])
        assert torch.equal(decoded(item).nan_to_num(), torch.from_numpy(EXACT).float().nan_to_num())
    for value, rows in (
        ([1, None, 2.5], [1.0, math.nan, 2.5]),
        ([True, False], [1.0, 0.0]),
        ([2**70, 1], [2.0**70, 1.0]),
    ):
        (item,) = SERIES.items(value, field)
        assert str(decoded(item)[:, 0].tolist()) == str(rows)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, "two"], r"series \[1, 'two'\] is not a series\. Give the path of \.npy, \.npz, or \.csv"),
        ([[1, 2], [3]], r"has rows of 1 and of 2 numbers\. Give every row a number for each channel"),
        ([[1, None], [3]], r"has rows of 1 and of 2 numbers"),
        ([[[1.0]], [[2.0]]], "is not a series"),
        ([[1], 2], "is not a series"),
        ([[], []], "holds no numbers"),
        (5, "series 5 is not a series"),
        ({"values": [1]}, "is not a series"),
        ([1, [2, None]], "is not a series|has rows"),
    ],
)
def test_a_field_that_is_no_series_gets_one_message(value: Any, message: str, tmp_path: Path):
    with pytest.raises(FieldError, match=message) as caught:
        SERIES.items(value, field_in(tmp_path))
    assert "\n" not in str(caught.value)


def savez(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def pickled(values: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values, dtype=object), allow_pickle=True)
    return file.getvalue()


def stated(shape: str, descr: str = "<f8") -> bytes:
    """A .npy file of which the header states a shape and nothing follows."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def zipped(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


BAD = {
    "no bytes": ("a.npy", b"", "the file is empty"),
    "0 steps": ("a.npy", packed(np.zeros((0, 3))), r"a series of 0 steps\. Leave the field empty"),
    "0 channels": ("a.npy", packed(np.zeros((3, 0))), "a series of 3 steps of 0 channels"),
    "all NaN": ("a.npy", packed(np.full((3, 2), np.nan)), r"every value is missing \(NaN\)"),
    "infinite": ("a.npy", packed(np.array([[1.0, 2], [3, -np.inf]])), r"infinite \(step 2, channel 2\)\. Write NaN"),
    "objects": ("a.npy", pickled([1, "x"]), r"holds Python objects \(pickle\), which are never loaded"),
    "objects in npz": ("a.npz", zipped("x.npy", pickled([{}])), "holds Python objects"),
    "complex": ("a.npy", packed(np.ones(3, complex)), "an array of complex numbers. Whole numbers"),
    "dates": ("a.npy", packed(np.ones(3, "datetime64[s]")), "an array of datetime64"),
    "structured": ("a.npy", packed(np.ones(3, [("x", "f4")])), "an array of "),
    "texts": ("a.npy", packed(np.array(["1", "2"])), "an array of <U1"),
    "3 axes": ("a.npy", packed(np.zeros((2, 3, 4))), r"an array of 3 axes, \(2, 3, 4\)\. Give \(steps, channels\)"),
    "0 axes": ("a.npy", packed(np.array(1.0)), r"an array of 0 axes, \(\)"),
    "cut off": (
        "a.npy",
        packed(np.zeros((100, 2)))[:-9],
        r"cut off: 1,591 of 1,600 bytes are there\. Copy or download",
    ),
    "cut header": ("a.npy", packed(np.zeros((100, 2)))[:60], "cannot be read: .*damaged"),
    "cut npz": ("a.npz", savez(x=EXACT)[:-30], "cannot be read: .*damaged"),
    "negative": ("a.npy", stated("(-3, 2)"), "cannot be read: the header states the shape"),
    "garbage header": ("a.npy", b"\x93NUMPY\x01\x00\x08\x00{__imp__", "cannot be read"),
    "version 9": ("a.npy", b"\x93NUMPY\x09\x00" + b"\x00" * 20, "not an array in numpy's format"),
    "long header": ("a.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "the header is too long"),
    "huge": (
        "a.npy",
        stated("(1250000000, 2)"),
        r"1,250,000,000 steps and 2 channels\. At most series.max_values = 50,000,000",
    ),
    "several": (
        "a.npz",
        savez(left=EXACT, right=EXACT),
        "holds 2 arrays: left, right. Say which one is meant: series.key=left",
    ),
    "none": ("a.npz", zipped("readme.txt", b"hello"), "holds no array. Write it with numpy.savez"),
    "no zip": ("a.npz", b"PK\x03\x04 and no more", "cannot be read: .*damaged"),
    "misnamed": ("a.npy", b"1,2\n3,4\n", r"is named \.npy, but is no such file"),
    "text": ("a.csv", b"x,y\n1,2\n3,four\n", r"line 3: 'four' is not a number\. Write numbers; a missing one is"),
    "ragged": ("a.csv", b"x,y\n1,2\n\n3\n", "line 4 has 1 cells, the first one has 2"),
    "header alone": ("a.csv", b"x,y\n", "a series of 0 steps"),
    "binary": ("a.csv", bytes(range(128, 256)), r"not a series\. Series are \.npy, \.npz, or \.csv"),
    "csv of NaN": ("a.csv", b"x\nNaN\nNA\n", "every value is missing"),
    "csv with inf": ("a.csv", b"1\n-inf\n", r"infinite \(step 2, channel 1\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_each_bad_file_gets_its_one_message_with_where_and_what_is_right(name: str, tmp_path: Path):
    file, data, message = BAD[name]
    path = tmp_path / file
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        load_series(path, SeriesConfig())
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message) as caught:
        load_series(Blob(data, str(path)), SeriesConfig())
    assert caught.value.where == str(path)


def test_a_sparse_file_of_10_gb_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "large.npy"
    with path.open("wb") as file:
        file.write(stated("(1250000000, 1)"))
        file.truncate(10_000_000_128)
    monkeypatch.setattr(np, "frombuffer", None)  # no value is looked at
    with pytest.raises(UserError, match="1,250,000,000 steps and 1 channels"):
        load_series(path, SeriesConfig())
    assert SeriesPreparer(SeriesConfig()).length(path) == 0
    (tmp_path / "large.csv").write_bytes(b"1\n")
    with (tmp_path / "large.csv").open("r+b") as file:
        file.truncate(10_000_000_000)
    with pytest.raises(UserError, match=r"a table of 10,000,000,000 bytes. At most series.max_values = 50,000,000"):
        load_series(tmp_path / "large.csv", SeriesConfig())


def test_keys_of_npz():
    data = Blob(savez(left=EXACT, right=2 * EXACT), "two.npz")
    assert load_series(data, SeriesConfig(key="right")).values[0].tolist() == [2.0, 4.0]
    with pytest.raises(UserError, match=r"holds no array 'rigth' \(series.key\). Did you mean 'right'"):
        load_series(data, SeriesConfig(key="rigth"))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (20, 3),
            {"channels": 6},
            r"a series of 3 channels \(20 steps\)\. series\.channels is 6, found in training or set",
        ),
        ((6, 20), {"channels": 6}, r"a series of 20 channels \(6 steps\)\. .*looks transposed"),
        ((11, 1), {"max_steps": 10}, r"a series of 11 steps\. At most series\.max_steps = 10"),
        ((11, 1), {"source_rate": 2, "max_seconds": 5}, r"a series of 5\.5 s\. At most series\.max_seconds = 5"),
        ((11, 1), {"source_rate": 2, "rate": 4, "max_steps": 21}, r"a series of 22 steps at 4 Hz\."),
    ],
)
def test_what_the_options_do_not_allow_is_refused(shape: tuple[int, int], options: dict[str, Any], message: str):
    item = Blob(packed(np.zeros(shape)), "x.npy")
    with pytest.raises(UserError, match=message) as caught:
        load_series(item, SeriesConfig(**options))
    assert caught.value.where == "x.npy"
    assert SeriesPreparer(SeriesConfig(**options)).length(item) <= SeriesPreparer(SeriesConfig(**options)).longest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 10}, "rate needs source_rate"),
        ({"max_seconds": 10}, "max_seconds needs source_rate"),
        ({"mean": [0.0]}, "give mean and std together"),
        ({"mean": [0.0], "std": [0.0]}, "above 0"),
        ({"mean": [0.0], "std": [1.0], "channels": 2}, "mean has 1 numbers for 2 channels"),
        ({"mean": [0.0], "std": [1.0, 2.0]}, "mean has 1 numbers and std 2"),
        ({"augment": {"snr_db": [9, 3]}}, "the first must not be above"),
    ],
)
def test_options_that_do_not_fit_each_other(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        SeriesConfig.model_validate(options)


# -- resampling --


@given(
    steps=st.integers(1, 300),
    rates=st.sampled_from([(100, 25), (25, 100), (22050, 16000), (29.97, 25), (3, 2), (0.1, 7)]),
)
def test_the_length_after_resampling_is_predicted_exactly(steps: int, rates: tuple[float, float]):
    options = SeriesConfig(source_rate=rates[0], rate=rates[1], max_steps=10**6, normalise="none")
    values = np.ones((steps, 2))
    values[: steps // 2, 0] = np.nan
    item = Blob(packed(values))
    preparer = SeriesPreparer(options)
    found = preparer.decode(item)
    assert len(found) == preparer.length(item) == num_steps(steps, options.ratio)
    assert preparer.value(found).shape == (len(found), 4)
    assert torch.allclose(found[:, 1], torch.ones(len(found)), atol=1e-9), "a constant stays one, to its very ends"


def test_resampling_is_that_of_scipy_and_follows_a_sine():
    ratio, time = Fraction(2, 5), np.arange(400) / 100
    sine = np.sin(2 * np.pi * 3 * time + 0.3)[:, None]
    found = resampled(sine + 5, ratio)
    mean = (sine + 5).mean()
    assert np.allclose(found, mean + resample_poly(sine + 5 - mean, 2, 5, padtype="antireflect"), atol=1e-12)
    assert np.abs(found[:, 0] - 5 - np.sin(2 * np.pi * 3 * np.arange(160) / 40 + 0.3)).max() < 2e-3
    above = np.sin(2 * np.pi * 45 * time)[:, None]  # beyond half of the new rate: it would come back as 5 Hz
    assert np.abs(resampled(above, ratio))[10:-10].max() < 5e-3


def test_what_is_missing_is_missing_where_it_was_and_nowhere_else():
    values = np.full((400, 2), 4.0)
    values[100:110, 0] = np.nan
    down, up = resampled(values, Fraction(1, 4)), resampled(values, Fraction(2))
    # the new step k stands for the old ones from 4 k − 2 up to 4 k + 2: of those of 25 two of four are there, of those of 27 none
    assert np.flatnonzero(np.isnan(down[:, 0])).tolist() == [26, 27]
    assert np.flatnonzero(np.isnan(up[:, 0])).tolist() == list(range(199, 219))
    for found in (down, up):
        assert not np.isnan(found[:, 1]).any()
        assert np.allclose(found[~np.isnan(found)], 4.0, atol=1e-9)
    single = values.copy()
    single[200, 1] = np.nan
    assert not np.isnan(resampled(single, Fraction(1, 4))[:, 1]).any(), "one of four is missing"


@given(up=st.integers(1, 7), down=st.integers(1, 7), bits=st.lists(st.booleans(), min_size=1, max_size=30))
def test_what_is_there_after_resampling_longhand(up: int, down: int, bits: list[bool]):
    ratio = Fraction(up, down)
    found = still_there(np.array(bits)[:, None], ratio, num_steps(len(bits), ratio))[:, 0]
    for k, there in enumerate(found.tolist()):
        low, high = (k - Fraction(1, 2)) / ratio, (k + Fraction(1, 2)) / ratio
        around = [bits[n] for n in range(len(bits)) if low <= n < high]
        nearest = min(math.floor(k / ratio + Fraction(1, 2)), len(bits) - 1)
        if not around:
            around = [bits[nearest]]
        assert there == (2 * sum(around) >= len(around)), (k, around)


# -- normalisation --


def test_the_training_split_gives_mean_and_deviation_as_numpy_does():
    rows = [wave(k, channels=3) for k in range(9)]
    rows[3][:, 2] = np.nan
    items = [Blob(packed(one), f"{k}.npy") for k, one in enumerate(rows)]
    found = fitted(SeriesConfig(), items)
    every = np.concatenate(rows)
    assert found.channels == 3
    assert found.mean is not None
    assert found.std is not None
    np.testing.assert_allclose(found.mean, np.nanmean(every, axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found.std, np.nanstd(every, axis=0), rtol=1e-12)
    value = SeriesPreparer(found).value(decoded(items[0], found))
    there = ~np.isnan(rows[0])
    expected = np.where(there, (rows[0] - np.nanmean(every, 0)) / np.nanstd(every, 0), 0)
    np.testing.assert_allclose(value[:, :3].numpy(), expected, atol=1e-6)
    assert torch.equal(value[:, 3:], torch.from_numpy(there).float()), "validity beside every channel"
    assert fitted(found, []) == found, "what is stated stays"


def test_large_offsets_do_not_cost_digits():
    """Time stamps of today and a few milliseconds between them: in 32 bits they would all be the same."""
    values = 1.7e9 + np.arange(8)[:, None] / 1000
    found = fitted(SeriesConfig(), [Blob(packed(values))])
    shown = decoded(Blob(packed(values)), found)[:, 0]
    expected = (np.arange(8) - 3.5) / np.arange(8).std()
    np.testing.assert_allclose(shown.numpy(), expected, atol=1e-3)


def test_each_series_alone_and_channels_that_never_change():
    values = np.stack([np.arange(5.0), np.full(5, 3.0), np.array([1.0, np.nan, 3.0, np.nan, np.nan])], axis=1)
    found = decoded(Blob(packed(values)), SeriesConfig(normalise="sample"))
    np.testing.assert_allclose(found[:, 0].numpy(), (np.arange(5) - 2) / 2**0.5, atol=1e-6)
    assert found[:, 1].tolist() == [0.0] * 5
    assert found[[0, 2], 2].tolist() == [-1.0, 1.0]
    assert found[:, 2].isnan().tolist() == [False, True, False, True, True]


def test_the_channels_are_those_of_most_files_and_files_that_cannot_be_read_are_passed_over(tmp_path: Path):
    items = [Blob(packed(np.random.default_rng(k).normal(size=(9, c))), f"{k}") for k, c in enumerate((2, 4, 4))]
    for options in (SeriesConfig(), SeriesConfig(normalise="sample")):
        assert fitted(options, [tmp_path / "gone.npy", *items]).channels == 4
        assert fitted(options.model_copy(update={"channels": 2}), items).channels == 2
        with pytest.raises(
            UserError, match=r"none of the training series can be read. The first: cannot be read: No such"
        ):
            fitted(options, [tmp_path / "gone.npy"])
        with pytest.raises(UserError, match=r"no training sample has a series.*Set series.channels"):
            fitted(options, [])
    with pytest.raises(UserError, match="too large to take their deviation"):
        fitted(SeriesConfig(), [Blob(packed(np.array([1e300, -1e300])))])
    with pytest.raises(UserError, match=r"a value of 1e\+300 is too large"):
        decoded(Blob(packed(np.array([1e300, -1e300]))))


@given(cut=st.integers(0, 20))
def test_moments_in_parts_are_those_of_the_whole(cut: int):
    values = np.random.default_rng(cut).normal(5, 2, size=(20, 2))
    values[3:7, 1] = np.nan
    parts = Moments.of(values[:cut])
    parts.add(Moments.of(values[cut:]))
    np.testing.assert_allclose(parts.mean, np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose(parts.std, np.nanstd(values, axis=0), rtol=1e-12)


# -- random changes --


def test_no_change_is_on_by_default_and_each_does_what_it_says():
    values = torch.from_numpy(wave(5)).float()
    draw = torch.Generator().manual_seed(3)
    assert not SeriesPreparer(SeriesConfig()).changes_decoded
    assert augmented(values, SeriesAugmentConfig(), draw) is values
    scaled = augmented(values, SeriesAugmentConfig(scale=0.2), draw) / values
    assert all(0.8 <= one[~one.isnan()].mean() <= 1.2 and one[~one.isnan()].std() < 1e-6 for one in scaled.T)
    gone = [augmented(values, SeriesAugmentConfig(channel_dropout=0.5), draw).isnan().all(dim=0) for _ in range(40)]
    assert {one.sum().item() for one in gone} == {0, 1}, "never both"
    found = [augmented(values, SeriesAugmentConfig(shift=0.25), draw) for _ in range(40)]
    assert all(one.shape == values.shape for one in found)
    assert max(int(one[:, 1].isnan().sum()) for one in found) in (9, 10, 11)
    assert torch.equal(shifted(values, 3)[3:].nan_to_num(), values[:-3].nan_to_num())
    assert torch.equal(shifted(values, -3)[:-3].nan_to_num(), values[3:].nan_to_num())
    assert shifted(values, 3)[:3].isnan().all()
    assert SeriesPreparer(SeriesConfig(augment=SeriesAugmentConfig(shift=0.1))).changes_decoded


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_the_noise_has_the_ratio_that_was_asked_for_in_every_channel(snr_db: float):
    values = torch.from_numpy(wave(5)).double()
    found = noisy(values, snr_db, torch.randn(values.shape, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(found.isnan(), values.isnan())
    for before, after in zip(values.T, found.T, strict=True):
        known = ~before.isnan()
        power = float(before[known].var(unbiased=False))
        noise = float((after - before)[known].square().mean())
        assert 10 * math.log10(power / noise) == pytest.approx(snr_db, abs=1e-4)
    flat = torch.full((9, 1), 3.0)
    assert torch.equal(noisy(flat, 0.0, torch.randn(9, 1)), flat)


# -- the preparer --


def test_batches_lengths_and_sizes():
    preparer = SeriesPreparer(SeriesConfig(channels=2, source_rate=10))
    values = [preparer.value(decoded(Blob(packed(wave(k))))) for k in (0, 1, 6)]
    padded, lengths = preparer.collate(values)
    assert padded.shape == (3, 46, 4)
    assert lengths.tolist() == [40, 41, 46]
    assert padded[0, 40:].eq(0).all()
    assert preparer.collate([])[0].shape == (0, 1, 4)
    assert preparer.shape(7) == (7, 4)
    assert preparer.seconds(25) == 2.5
    assert preparer.decoded_bytes(10) == values[0][:10].numel() * 4
    other = SeriesPreparer(SeriesConfig(channels=2, source_rate=10, augment=SeriesAugmentConfig(noise=0.5)))
    assert other.preparation == preparer.preparation
    assert (
        SeriesPreparer(SeriesConfig(channels=2, source_rate=10, mean=(0, 0), std=(1, 2))).preparation
        != preparer.preparation
    )
    assert SeriesPreparer(SeriesConfig(source_rate=10, rate=20, max_seconds=3)).longest == 60


def test_lengths_by_size_alone_bound_and_sort(tmp_path: Path):
    preparer = SeriesPreparer(SeriesConfig(channels=2, max_steps=100))
    for steps in (4, 40, 400):
        np.save(tmp_path / f"{steps}.npy", np.zeros((steps, 2), np.float32))
    found = [preparer.guessed_length(tmp_path / f"{steps}.npy") for steps in (4, 40, 400)]
    assert found == sorted(found)
    assert found[2] == 100
    assert preparer.guessed_length(tmp_path / "gone.npy") == 0


def test_what_is_looked_at():
    values = np.stack([np.ones(20), np.full(20, np.nan)], axis=1)
    facts = SERIES.look(Blob(packed(values)), SeriesConfig(source_rate=4))
    assert facts.length == 20
    assert facts.sizes == {"": ("seconds", 5.0), "channels": ("channels", 2.0)}
    assert facts.format == "NPY"
    assert facts.remarks == {"constant": "", "empty channel": "(channel 2)", "gaps": "(50% of the values)"}
    assert set(facts.remarks) <= set(SERIES.remarks)
    plain = SERIES.look(Blob(b"1\n2\n3\n"), SeriesConfig())
    assert (plain.sizes[""], plain.format, plain.remarks) == (("steps", 3.0), "CSV", {})


# -- the encoder --


def encoder_of(**options: Any) -> Any:
    parts = Parts(SeriesConfig(channels=3), 1, 0, lambda _: None)
    return SERIES.build_encoder(SeriesTransformerConfig(num_heads=2, dropout=0, **options), 16, parts).eval()


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_nothing_tokens_are_predicted_and_causal_is_causal(stride: int, causal: bool):
    encoder = encoder_of(stride=stride, causal=causal)
    lengths = torch.tensor([24, 17, 1])
    values = torch.randn(3, 24, 6)
    whole = encoder(Items(values, lengths, torch.arange(3)[:, None]))
    for row, length in enumerate(lengths.tolist()):
        alone = encoder(
            Items(values[row : row + 1, :length], lengths[row : row + 1], torch.zeros(1, 1, dtype=torch.long))
        )
        num = encoder.num_tokens(length)
        assert num == -(-length // stride) == int(whole.mask[row].sum()) == alone.values.shape[1]
        assert torch.allclose(whole.values[row, :num], alone.values[0], atol=1e-5)
        assert whole.values[row, num:].eq(0).all()
    changed = values.clone()
    changed[0, 16:] += 1
    moved = (encoder(Items(changed, lengths, torch.arange(3)[:, None])).values[0] - whole.values[0]).abs().sum(
        -1
    ) > 1e-4
    before = 16 // stride
    assert moved[before:].all()
    assert moved[:before].any() == (not causal)


def test_an_encoder_needs_the_channels():
    parts = Parts(SeriesConfig(), 1, 0, lambda _: None)
    with pytest.raises(UserError, match=r"the channels of the series are not known. Set data.series.channels"):
        SERIES.build_encoder(SeriesTransformerConfig(), 16, parts)
    with torch.device("meta"):
        assert SERIES.build_encoder(SeriesTransformerConfig(), 16, parts).num_tokens(9) == 3
    with pytest.raises(UserError, match=r"encoders.series.num_heads"):
        SeriesTransformerConfig(num_heads=3).build(16, num_values=2)


def test_no_values_are_read_before_the_header_was_allowed():
    def allowed(steps: int, channels: int) -> None:
        raise UserError(f"{steps} and {channels}")

    with pytest.raises(UserError, match="4 and 2"):
        read(Blob(packed(np.full((4, 2), np.inf))), key=None, max_values=100, allowed=allowed)
