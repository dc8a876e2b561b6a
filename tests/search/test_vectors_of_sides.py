"""One vector for every distinct item, whoever has it, and whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from plait.data.manifest import read_manifest
from plait.errors import UserError
from plait.run import Run
from plait.search.vectors import check_links, embed, entries, say_words
from plait.types import Modality, Sample

SIDES = ["text", "image", "audio", "target"]


@pytest.fixture
def samples(linked_folder: Path) -> list[Sample]:
    return read_manifest(linked_folder / "data" / "manifest.jsonl").samples


@pytest.mark.parametrize("side", SIDES)
def test_items_are_distinct_and_every_sample_finds_its_own(run: Run, samples: list[Sample], side: str):
    found = entries(run, samples, side, batch_size=5)
    assert len(set(found.items)) == len(found.items) == len(found.vectors)
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(len(found.items)))
    for sample, numbers in zip(samples, found.of_samples, strict=True):
        own = {
            "target": sample.references[0]["answer"],
            "text": sample.text,
            "image": sample.image,
            "audio": (sample.audio,),
        }
        there = side == "target" or sample.has(Modality(side))
        assert [found.items[n] for n in numbers] == ([own[side]] if there else [])
    expected = {"text": 3, "target": 4}.get(side, 12)
    assert len(found.items) == expected


@pytest.mark.parametrize("side", SIDES)
def test_a_vector_depends_on_its_item_alone(run: Run, samples: list[Sample], side: str):
    whole, alone = entries(run, samples, side, batch_size=24), entries(run, samples[::-1], side, batch_size=1)
    places = [alone.items.index(item) for item in whole.items]
    torch.testing.assert_close(alone.vectors[places], whole.vectors, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", SIDES[:3])
def test_one_input_is_embedded_as_the_entry_of_a_manifest(run: Run, samples: list[Sample], side: str):
    found = entries(run, samples, side, batch_size=8)
    row = next(n for n, numbers in enumerate(found.of_samples) if numbers)
    vector = embed(run, samples[row].only({Modality(side)}))
    torch.testing.assert_close(vector, found.vectors[found.of_samples[row][0]], rtol=1e-5, atol=1e-5)


def test_words_are_embedded_as_the_target_and_unknown_ones_are_named(run: Run, samples: list[Sample]):
    found = entries(run, samples, "target", batch_size=8)
    said = say_words(run, "green")
    assert said.unknown == ()
    torch.testing.assert_close(said.vector, found.vectors[found.items.index("green")])
    more = say_words(run, "zebra GREEN quagga zebra")
    assert more.unknown == ("zebra", "quagga")
    torch.testing.assert_close(more.vector, said.vector)
    for words in ("zebra", "  "):
        with pytest.raises(UserError, match=r"knows none of these words|no words to search for"):
            say_words(run, words)


def test_every_reference_and_every_order_of_words_counts(run: Run):
    """The linked segment is `answer`; its vector is a mean over words, so their order makes no other target."""
    one = Sample("a", "test", references=({"heard": "a", "answer": "red green"}, {"heard": "a", "answer": "blue"}))
    other = Sample("b", "test", references=({"heard": "low", "answer": "green red"},))
    none = Sample("c", "test")
    found = entries(run, [one, other, none], "target", batch_size=2)
    assert found.items == ("red green", "blue")
    assert found.of_samples == ((0, 1), (0,), ())


def test_what_cannot_be_read_is_left_out_if_the_user_said_so(run: Run, samples: list[Sample], tmp_path: Path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    rows = [*samples[:5], Sample("broken", "test", image=(broken,), where="m:6")]
    with pytest.raises(UserError, match=r"broken\.png"):
        entries(run, rows, "image", batch_size=4)
    data = run.config.data.model_copy(update={"on_error": "skip"})
    run.config = run.config.model_copy(update={"data": data})
    found = entries(run, rows, "image", batch_size=4)
    assert [gone.id for gone in found.left_out] == ["broken"]
    assert found.of_samples[-1] == ()
    assert len(found.items) == len(found.vectors)
    only = entries(run, rows[-1:], "image", batch_size=4)
    assert (only.items, only.of_samples, only.vectors.shape) == ((), ((),), (0, 16))


def test_a_run_without_links_says_what_to_set(run: Run):
    run.model.links = None
    with pytest.raises(UserError, match=r"trained without links.*train\.alignment\.weight=0\.1"):
        check_links(run)


def test_several_pictures_are_one_item(run: Run, samples: list[Sample]):
    first, second = [sample for sample in samples if sample.image][:2]
    both = replace(first, id="both", image=(*first.image, *second.image))
    turned = replace(both, id="turned", image=both.image[::-1])
    found = entries(run, [first, both, turned], "image", batch_size=3)
    assert found.of_samples == ((0,), (1,), (1,))
