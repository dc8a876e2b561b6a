"""What every modality keeps: items, lengths, batches, views, damage, two processes. New ones are registered and get a row here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from torch import Tensor

from modalities.melody import registered
from plait.data.row import short
from plait.modalities import MODALITIES, Modality
from plait.modalities.base import Blob, Field, FieldError, Item, Parts, Preparer
from plait.modalities.damage import Source
from plait.modalities.view import Seen
from plait.types import Items, Sample

WIDTH = 16


def encode(text: str) -> tuple[int, ...]:
    return tuple(7 + len(word) for word in text.split())


@dataclass(frozen=True)
class Case:
    """A modality's field values: usual ones from short to long, and bad ones with the words that their message holds."""

    values: Callable[[Path], list[Any]]
    bad: Callable[[Path], dict[str, tuple[Any, str]]]
    options: dict[str, Any] = field(default_factory=dict)
    as_bytes: Callable[[Any], bytes] | None = None


def pictures(folder: Path) -> list[Any]:
    for k, side in enumerate((8, 40, 90)):
        pixels = np.random.default_rng(k).integers(0, 256, (side, side + 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return [f"{k}.png" for k in range(3)]


def sounds(folder: Path) -> list[Any]:
    for k, seconds in enumerate((0.05, 0.4, 1.3)):
        wave = 0.3 * np.sin(np.arange(int(22_050 * seconds)) / (5 + k))
        soundfile.write(folder / f"{k}.wav", wave, 22_050)
    return [f"{k}.wav" for k in range(3)]


def series(folder: Path) -> list[Any]:
    for k, steps in enumerate((5, 60, 400)):
        values = np.random.default_rng(k).normal(size=(steps, 3))
        values[1 : 1 + steps // 9, k] = np.nan
        np.save(folder / f"{k}.npy", values)
    return [f"{k}.npy" for k in range(3)]


def broken(folder: Path) -> dict[str, tuple[Any, str]]:
    (folder / "empty.bin").write_bytes(b"")
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 8)
    return {"missing": ("none.bin", "none.bin"), "noise": ("noise.bin", "noise.bin"), "number": (3, "3")}


CASES = {
    "text": Case(
        lambda _: ["one", "one two three", "a b c d e f g"], lambda _: {"list": (["a"], "'a'"), "nul": ("a\0", "NUL")}
    ),
    "image": Case(pictures, broken, {"size": 24}, lambda path: Path(path).read_bytes()),
    "audio": Case(sounds, broken, {}, lambda path: Path(path).read_bytes()),
    "series": Case(
        series,
        lambda folder: {**broken(folder), "texts": (["a", 1], "'a'"), "channels": ([1, 2], "1 channels")},
        {"channels": 3, "source_rate": 100, "rate": 40, "normalise": "sample", "augment": {"noise": 1.0, "shift": 0.1}},
        lambda path: Path(path).read_bytes(),
    ),
    "melody": Case(
        lambda _: [[[60, 1]], [[60, 1], [64, 0.5], [67, 2]], [[55 + k, 1] for k in range(9)]],
        lambda _: {"text": ("la la", "la la"), "flat": ([1, 2], "[1, 2]")},
    ),
}


@pytest.fixture(autouse=True)
def melody() -> Iterator[None]:
    with registered():
        yield


def test_every_modality_has_a_row_here():
    assert set(MODALITIES) <= set(CASES), "a new modality keeps this contract as well: add its values"


every = pytest.mark.parametrize("name", CASES)


def same(one: Tensor, other: Tensor) -> None:
    """Equal to the bit; what is missing (NaN) is missing in both."""
    torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


class Bench:
    """A modality with its preparation, an encoder, and the items of its usual values."""

    def __init__(self, name: str, folder: Path) -> None:
        self.case, self.modality, self.folder = CASES[name], MODALITIES[name], folder
        self.options = self.modality.Options(**self.case.options)
        self.preparer: Preparer = self.modality.preparer(self.options, encode, 0)
        self.items: list[Item] = [self.item(value) for value in self.case.values(folder)]

    def item(self, value: Any) -> Item:
        def find(path: str) -> Path:
            if not (self.folder / path).is_file():
                raise FieldError("media-missing", f"{path} is missing")
            return self.folder / path

        (item,) = self.modality.items(value, Field("field", short, find))
        return item

    def value(self, item: Item) -> Tensor:
        return self.preparer.value(self.preparer.decode(item))

    def encoder(self) -> Any:
        torch.manual_seed(0)
        parts = Parts(self.options, vocabulary_size=40, pad_id=0, vectors=lambda _: None)
        return self.modality.build_encoder(self.modality.default_encoder(), WIDTH, parts).eval()

    def batch(self, values: list[Tensor]) -> Items:
        tensor, lengths = self.preparer.collate(values)
        return Items(tensor, lengths, torch.arange(len(values))[:, None])


@pytest.fixture
def bench(name: str, tmp_path: Path) -> Bench:
    return Bench(name, tmp_path)


@every
def test_a_file_and_its_bytes_are_the_same(bench: Bench):
    if bench.case.as_bytes is None:
        pytest.skip("its fields hold no files")
    for item in bench.items:
        content = bench.case.as_bytes(item)
        for given in (content, {"bytes": content, "path": "a.bin"}):
            blob = bench.item(given)
            assert isinstance(blob, Blob)
            assert torch.equal(bench.value(item), bench.value(blob))
            assert bench.preparer.length(item) == bench.preparer.length(blob)


@every
def test_the_length_is_known_before_anything_is_decoded(bench: Bench):
    for item in bench.items:
        value, length = bench.value(item), bench.preparer.length(item)
        _, lengths = bench.preparer.collate([value])
        assert lengths.tolist() == [length]
        assert tuple(value.shape) == bench.preparer.shape(length)
        assert length <= bench.preparer.longest
        assert bench.preparer.decoded_bytes(length) >= 0


@every
def test_an_encoder_gives_as_many_tokens_as_it_says_whatever_stands_beside_or_behind(bench: Bench):
    encoder = bench.encoder()
    values = [bench.value(item) for item in bench.items]
    with torch.no_grad():
        together = encoder(bench.batch(values))
        for row, value in enumerate(values):
            alone = encoder(bench.batch([value]))
            num = encoder.num_tokens(*bench.preparer.size(bench.preparer.length(bench.items[row])))
            assert int(together.mask[row].sum()) == int(alone.mask[0].sum()) == num
            torch.testing.assert_close(
                together.values[row][together.mask[row]], alone.values[0][alone.mask[0]], rtol=1e-4, atol=1e-5
            )


@every
def test_an_empty_batch_has_the_type_of_a_full_one(bench: Bench):
    none, lengths = bench.preparer.collate([])
    some, _ = bench.preparer.collate([bench.value(bench.items[0])])
    assert (len(none), len(lengths)) == (0, 0)
    assert (none.dtype, none.dim()) == (some.dtype, some.dim())
    assert some.dtype is bench.preparer.dtype or bench.preparer.dtype is torch.float32


@every
def test_what_is_longer_costs_more(bench: Bench):
    lengths = [bench.preparer.length(item) for item in bench.items]
    sizes = [bench.preparer.decoded_bytes(length) for length in sorted(lengths)]
    assert sizes == sorted(sizes)
    if bench.preparer.cost:
        assert lengths == sorted(lengths)
        assert lengths[0] < lengths[-1]
        guessed = [bench.preparer.guessed_length(item) for item in bench.items]
        assert guessed == sorted(guessed), "a guess keeps the order"


@every
def test_damage_keeps_shape_and_type_and_leaves_the_item_alone(bench: Bench):
    samples = [
        Sample(f"s{k}", "test", inputs={"it": (item,)}, groups={"g": str(k)}) for k, item in enumerate(bench.items)
    ]
    for kind in bench.modality.damages:
        for level in kind.kind.levels:
            damage = kind(level, Source(0, samples, bench.preparer.decode, "it"))
            assert damage.input == "it"
            for sample, item in zip(samples, bench.items, strict=True):
                decoded = bench.preparer.decode(item)
                before = decoded.clone()
                damaged = damage.damaged(decoded, sample, 0)
                assert (damaged.shape, damaged.dtype) == (decoded.shape, decoded.dtype)
                same(decoded, before)
                same(damaged, damage.damaged(decoded, sample, 0))  # the same draws again


@every
def test_a_view_covers_the_whole_item(bench: Bench):
    encoder = bench.encoder()
    for item in bench.items:
        items = bench.batch([bench.value(item)])
        length = int(items.lengths[0])
        value = items.values[0] if items.values.dim() == 4 else items.values[0, :length]
        view = bench.modality.view(value, Seen(encoder, bench.options, str))
        num = encoder.num_tokens(*bench.preparer.size(bench.preparer.length(item)))
        assert len(view.labels) == len(view.near) == num == int(np.prod(view.grid))
        assert all(place in near and max(near) < num for place, near in enumerate(view.near))
        assert len(set(view.labels)) == len(view.labels) or view.drawn == "words"
        if view.seconds:
            assert view.seconds[0][0] == 0
            assert all(one[1] == other[0] for one, other in zip(view.seconds, view.seconds[1:], strict=False))
            assert view.seconds[-1][1] == pytest.approx(bench.preparer.seconds(length), abs=1e-6)


@every
def test_every_item_can_be_shown_and_told(bench: Bench):
    for item in bench.items:
        small = bench.modality.small(item)
        assert small.text if small.form == "text" else small.data and small.mime
        assert bench.modality.told(item)
        facts = bench.modality.look(item, bench.options)
        assert set(facts.remarks) <= set(bench.modality.remarks)


@every
def test_random_changes_keep_the_type_and_the_original(bench: Bench):
    generator = torch.Generator().manual_seed(0)
    for item in bench.items:
        decoded, value = bench.preparer.decode(item), bench.value(item)
        before = value.clone()
        assert bench.preparer.change_decoded(decoded, generator).dtype == decoded.dtype
        assert bench.preparer.change_value(value, generator).shape == value.shape
        assert torch.equal(value, before)


@every
def test_each_bad_value_has_its_one_message(bench: Bench):
    for value, words in bench.case.bad(bench.folder).values():
        with pytest.raises(Exception) as error:  # noqa: PT011 - whichever of the two refuses it
            bench.value(bench.item(value))
        assert type(error.value).__name__ in ("FieldError", "UserError"), repr(error.value)
        assert words in str(error.value)
        assert "\n" not in str(error.value)


PROGRAM = """
import json, sys, torch
sys.path[:0] = json.loads(sys.argv[3])
from modalities.melody import registered
from modalities.test_modality_contract import Bench
from pathlib import Path
with registered():
    bench = Bench(sys.argv[1], Path(sys.argv[2]))
    print(json.dumps([bench.value(item).double().flatten().tolist() for item in bench.items]))
"""


@every
def test_another_process_prepares_the_same_bits(bench: Bench, name: str):
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(bench.folder), json.dumps([str(Path(__file__).parents[1])])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == [bench.value(item).double().flatten().tolist() for item in bench.items]


def test_a_modality_says_what_it_is():
    for modality in MODALITIES.values():
        assert isinstance(modality, Modality)
        assert modality.one
        assert modality.many
        assert modality.holds
        assert modality.default_encoder()
