"""Preprocessing: what becomes of one sample, whoever stands beside it and whatever the cache holds."""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from plait.data.cache import DecodedCache, cache_key
from plait.data.config import DataConfig
from plait.data.draws import Draw, all_references
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer, WordConfig
from plait.errors import UserError
from plait.model import only_used
from plait.types import IGNORED, Sample

WORDS = "what is the colour of shape a b c red blue".split()  # noqa: SIM905
SEGMENTS = ("heard", "answer")
INPUTS = ("text", "image", "audio")
AUGMENTED = {
    "image": {"size": 16, "augment": {"flip": 0.5}},
    "audio": {"augment": {"noise": 0.5, "time_masks": 1}},
}


def preprocessor_of(**settings: object) -> Preprocessor:
    given = {"manifest": "m.jsonl", "image": {"size": 16}, "audio": {}, **settings}
    config = DataConfig.model_validate(given)
    return Preprocessor(config, Tokenizer.train(WordConfig(min_count=1), WORDS, SEGMENTS), SEGMENTS, INPUTS)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 18, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def sounds(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for number, path in enumerate(paths):
        noise = np.random.default_rng(number).normal(0, 0.1, 6_000 + 1_000 * number)
        soundfile.write(path, noise.astype(np.float32), 16_000)
    return paths


def sample(id: str = "1", **fields) -> Sample:
    heard = {"heard": "what is the colour", "answer": "red"}
    return Sample(id, "train", **{"references": (heard,), "where": f"m.jsonl:{id}", **fields})


def test_each_modality_has_its_shape_and_type(image: Path, sounds: list[Path]):
    samples = [
        sample("1", text="a b c", audio=sounds[0]),
        sample("2", image=(image, image)),
        sample("3", references=()),
    ]
    batch = preprocessor_of().batch(samples, training=False)
    text, picture, sound = (batch.inputs[modality] for modality in INPUTS)
    assert (text.values.dtype, text.values.shape) == (torch.long, (1, 3))
    assert text.lengths.tolist() == [3]
    assert text.index.tolist() == [[0], [-1], [-1]]
    assert (picture.values.dtype, picture.values.shape) == (torch.float32, (1, 3, 16, 16))
    assert picture.index.tolist() == [[-1, -1], [0, 0], [-1, -1]], "one file is one item"
    assert sound.values.dtype == torch.float32
    assert sound.values.shape == (1, int(sound.lengths[0]), 80)
    assert batch.ids == ("1", "2", "3")
    assert batch.weights.tolist() == [1.0, 1.0, 1.0]
    assert (batch.targets[2] == IGNORED).all()
    assert batch.tokens[2, 0] == preprocessor_of().tokenizer.segment_id("heard")


def test_a_modality_that_no_sample_has_stands_in_the_batch_with_no_item():
    batch = preprocessor_of().batch([sample()], training=True)
    assert list(batch.inputs) == list(INPUTS)
    for items in batch.inputs.values():
        assert len(items.values) == len(items.lengths) == 0
        assert items.index.tolist() == [[-1]]
    assert batch.inputs["image"].values.shape == (0, 3, 16, 16)
    assert batch.inputs["audio"].values.shape[2] == 80
    assert batch.inputs["text"].values.dtype == torch.long


def test_inputs_that_the_run_does_not_read_are_not_touched(tmp_path: Path):
    preprocessor = preprocessor_of()
    only = Preprocessor(preprocessor.config, preprocessor.tokenizer, SEGMENTS, ("text",))
    batch = only.batch([sample(text="a", audio=tmp_path / "gone.wav")], training=False)
    assert list(batch.inputs) == ["text"]


def test_video_is_refused():
    with pytest.raises(UserError, match="video is not read yet"):
        Preprocessor(preprocessor_of().config, preprocessor_of().tokenizer, SEGMENTS, ("video",))


def test_a_sample_is_the_same_whoever_stands_beside_it(image: Path, sounds: list[Path]):
    """Bit for bit, also the log-mel: a matrix product of another size must not round another way."""
    samples = [sample(str(number), image=(image,), audio=path, text="a b") for number, path in enumerate(sounds)]
    for settings in ({}, AUGMENTED):
        together = preprocessor_of(**settings).batch(samples, training=True, seed=1, epoch=2)
        for place, alone in enumerate(samples):
            single = preprocessor_of(**settings).batch([alone], training=True, seed=1, epoch=2)
            for modality in INPUTS:
                one, all_of = single.inputs[modality], together.inputs[modality]
                number = int(all_of.index[place, 0])
                length = int(one.lengths[0])
                assert length == int(all_of.lengths[number])
                if modality == "image":
                    assert torch.equal(one.values[0], all_of.values[number])
                else:
                    assert torch.equal(one.values[0, :length], all_of.values[number, :length])


def test_random_changes_are_each_samples_and_each_epochs_own(image: Path, sounds: list[Path]):
    samples = [sample(str(number), image=(image,), audio=sounds[0]) for number in range(4)]
    preprocessor = preprocessor_of(**AUGMENTED)
    one, same, later = (preprocessor.batch(samples, training=True, seed=1, epoch=e) for e in (0, 0, 1))
    for modality in ("image", "audio"):
        assert len(one.inputs[modality].values) == 4, "no sharing where each is changed in its own way"
        assert torch.equal(one.inputs[modality].values, same.inputs[modality].values)
        assert not torch.equal(one.inputs[modality].values, later.inputs[modality].values)
    values = one.inputs["audio"].values
    assert not torch.equal(values[0], values[1])
    plain = preprocessor.batch(samples, training=False)
    assert [len(plain.inputs[m].values) for m in ("image", "audio")] == [1, 1]
    assert torch.equal(
        plain.inputs["image"].values,
        preprocessor_of().batch(samples, training=False).inputs["image"].values,
    )


def test_random_changes_of_one_file_are_known_to_be_of_one_file(image: Path, sounds: list[Path]):
    samples = [sample("1", image=(image,), audio=sounds[0]), sample("2"), sample("3", image=(image,), audio=sounds[1])]
    samples.append(sample("4", image=(image,), audio=sounds[0]))
    preprocessor = preprocessor_of(**AUGMENTED)
    batch = preprocessor.batch(samples, training=True)
    picture, sound = batch.inputs["image"], batch.inputs["audio"]
    assert picture.sources is not None
    assert picture.sources.tolist() == [0, 0, 0]
    assert sound.sources is not None
    assert sound.sources.tolist() == [0, 1, 0]
    some = only_used(replace(sound, index=sound.index[2:]))
    assert some is not None
    assert some.sources.tolist() == [1, 0]
    assert batch.to("cpu").inputs["audio"].sources.tolist() == [0, 1, 0]
    assert batch.inputs["text"].sources is None, "a text is never changed"
    plain = preprocessor.batch(samples, training=False).inputs["audio"]
    assert (len(plain.values), plain.sources) == (2, None), "without changes one file is one item"


def test_training_draws_a_reference_per_epoch_and_use_takes_the_first():
    one = sample(references=tuple({"heard": word, "answer": "red"} for word in ("a", "b", "c")))
    preprocessor = preprocessor_of()
    heard = [preprocessor.batch([one], training=True, seed=0, epoch=e).tokens[0, 1].item() for e in range(30)]
    assert heard == [
        preprocessor.batch([sample("0"), one], training=True, seed=0, epoch=e).tokens[1, 1].item() for e in range(30)
    ]
    assert set(heard) == {preprocessor.encode(word)[0] for word in ("a", "b", "c")}
    assert preprocessor.batch([one], training=False, epoch=5).tokens[0, 1] == preprocessor.encode("a")[0]


def test_every_reference_can_be_asked_for(sounds: list[Path]):
    two = sample("2", audio=sounds[0], references=({"heard": "a", "answer": "red"}, {"heard": "b", "answer": "blue"}))
    one = sample("1")
    preprocessor = preprocessor_of()
    second = preprocessor.batch([one, two], training=False, reference=1)
    assert (second.targets[0] == IGNORED).all(), "it has no second reference"
    assert second.tokens[1, 1] == preprocessor.encode("b")[0]
    expanded, places = all_references([one, two, sample("3", references=())])
    assert places == [0, 1, 1]
    batch = preprocessor.batch(expanded, training=False)
    assert len(batch.inputs["audio"].values) == 1, "the sound is encoded once"
    assert torch.equal(batch.targets[2, :4], second.targets[1, :4])


def test_a_long_text_is_cut_and_counted():
    preprocessor = preprocessor_of(text={"max_tokens": 2})
    batch = preprocessor.batch([sample("1", text="a b c"), sample("2", text="a b")], training=False)
    assert batch.inputs["text"].values.shape == (1, 2), "cut, the two are the same text"
    assert preprocessor.cut == {"1"}


def test_a_long_target_is_refused_and_never_cut():
    with pytest.raises(UserError, match=r"m\.jsonl:1: the target has 7 tokens\. At most 6 .*data\.max_target_tokens"):
        preprocessor_of(max_target_tokens=6).batch([sample()], training=True)
    assert preprocessor_of(max_target_tokens=7).batch([sample()], training=True).tokens.shape == (1, 7)


def test_only_the_runs_segments_are_said_in_its_order():
    preprocessor = preprocessor_of()
    swapped = sample(references=({"answer": "red", "other": "b", "heard": "a"},))
    batch = preprocessor.batch([swapped], training=False)
    assert batch.segments.tolist() == [[0, 0, 1, 1]]
    with pytest.raises(UserError, match=r"m\.jsonl:1: the target has only the segments other"):
        preprocessor.batch([sample(references=({"other": "b"},))], training=False)


def test_a_bad_file_is_named_with_the_row(tmp_path: Path, image: Path):
    bad = sample("7", image=(image, tmp_path / "gone.png"))
    with pytest.raises(UserError, match=r"m\.jsonl:7.*gone\.png"):
        preprocessor_of().batch([sample("1"), bad], training=False)
    skipping = preprocessor_of(on_error="skip")
    batch = skipping.batch([sample("1"), bad, sample("2")], training=False)
    assert batch.ids == ("1", "2")
    assert len(batch.inputs["image"].values) == 0, "what was read of the bad sample is not in the batch"
    assert list(skipping.left_out) == ["7"]
    with pytest.raises(UserError, match=r"^m\.jsonl:7: .*gone\.png"):  # of a single sample only what is wrong with it
        skipping.batch([bad], training=False)
    with pytest.raises(UserError, match=r"none of the batch's 2 samples can be used \(m\.jsonl:7"):
        skipping.batch([bad, bad], training=False)
    assert skipping.prepare([bad, sample("3")], Draw(False)).kept == (1,)


def test_a_file_that_is_bad_for_one_sample_is_bad_for_all(tmp_path: Path):
    skipping = preprocessor_of(on_error="skip")
    gone = tmp_path / "gone.png"
    batch = skipping.batch([sample("1", image=(gone,)), sample("2", image=(gone,)), sample("3")], training=False)
    assert batch.ids == ("3",)


@pytest.mark.parametrize("settings", [{}, AUGMENTED])
def test_a_warm_a_cold_and_no_cache_give_equal_batches(image: Path, sounds: list[Path], settings: dict):
    samples = [sample(str(number), image=(image,), audio=path) for number, path in enumerate(sounds)]
    cached, uncached = preprocessor_of(**settings), preprocessor_of(**settings, cache_mb=0)
    cold, warm, none = (p.batch(samples, training=True) for p in (cached, cached, uncached))
    for modality in INPUTS:
        assert torch.equal(cold.inputs[modality].values, warm.inputs[modality].values)
        assert torch.equal(cold.inputs[modality].values, none.inputs[modality].values)
    assert len(uncached.cache) == uncached.cache.num_bytes == 0
    decoded = 4  # three sounds and a picture
    assert len(cached.cache) == decoded
    assert cached.cache.hits >= decoded


def test_a_changed_file_is_decoded_anew(image: Path):
    preprocessor = preprocessor_of()
    before = preprocessor.batch([sample(image=(image,))], training=False)
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(image)
    os.utime(image, ns=(1, 1))
    after = preprocessor.batch([sample(image=(image,))], training=False)
    assert not torch.equal(before.inputs["image"].values, after.inputs["image"].values)


def test_the_cache_stops_at_its_bound(tmp_path: Path):
    cache = DecodedCache(max_bytes=100)
    keys = []
    for number in range(3):
        path = tmp_path / str(number)
        path.write_text("x", encoding="utf-8")
        keys.append(cache_key(path, "bytes"))
    large = torch.zeros(1000, dtype=torch.uint8)
    cache.put(keys[0], large[:60])
    cache.put(keys[1], large[:60])
    cache.put(keys[2], large[:40])
    assert cache.num_bytes == 100
    kept = [cache.get(key) for key in keys]
    assert kept[0] is not None
    assert kept[0].untyped_storage().nbytes() == 60, "a view does not keep what it was cut from"
    assert kept[1] is None
    assert kept[2] is not None
    assert (cache.hits, cache.misses) == (2, 1)
    cache.put(None, large[:0])
    assert cache_key(tmp_path / "gone", "bytes") is None
    os.utime(tmp_path / "0", ns=(1, 1))
    before = cache_key(tmp_path / "0", "bytes")
    time.sleep(0.02)  # the clock of files ticks every few milliseconds
    (tmp_path / "0").write_text("y", encoding="utf-8")
    os.utime(tmp_path / "0", ns=(1, 1))  # as tar and rsync -t do: previously it was taken for the old file
    assert cache_key(tmp_path / "0", "bytes") != before
    assert keys[0] != cache_key(tmp_path / "0", "another preparation")


def test_a_text_without_any_token_is_no_input():
    batch = preprocessor_of().batch([sample(text=" ")], training=False)
    assert batch.inputs["text"].index.tolist() == [[-1]]


def test_a_preprocessor_can_be_sent_to_another_process(sounds: list[Path]):
    """Where processes are spawned and not forked, workers get it by pickle."""
    preprocessor = preprocessor_of()
    sent = pickle.loads(pickle.dumps(preprocessor))
    samples = [sample(audio=sounds[0])]
    one, other = preprocessor.batch(samples, training=False), sent.batch(samples, training=False)
    assert torch.equal(one.inputs["audio"].values, other.inputs["audio"].values)


def test_a_sample_with_fewer_inputs_loses_only_them(image: Path, sounds: list[Path]):
    whole = sample(image=(image,), audio=sounds[0], text="a b")
    batch = preprocessor_of().batch([whole, whole.only({"image"}), replace(whole, id="2")], training=False)
    assert batch.inputs["audio"].index.tolist() == [[0], [-1], [0]]
    assert batch.inputs["image"].index.tolist() == [[0], [0], [0]]


class Turned:
    """A corruption whose effect can be seen: the wave backwards, or the picture's negative."""

    def __init__(self, modality: str) -> None:
        self.input = modality
        self.asked: list[tuple[str, int]] = []

    def damaged(self, decoded: torch.Tensor, sample: Sample, place: int) -> torch.Tensor:
        self.asked.append((sample.id, place))
        return 255 - decoded if self.input == "image" else decoded.flip(0)


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("cache_mb", [0, 64])
def test_a_corruption_reaches_its_modality_and_never_the_cache(
    image: Path, sounds: list[Path], modality: str, cache_mb: int
):
    samples = [sample(str(number), image=(image, image), audio=sounds[0], text="a") for number in range(2)]
    preprocessor = preprocessor_of(cache_mb=cache_mb)
    clean = preprocessor_of().batch(samples, training=False)
    corruption = Turned(modality)
    for damage in (corruption, None, corruption, None):  # whatever the cache holds by then
        preprocessor.corruption = damage
        batch = preprocessor.batch(samples, training=False)
        for other in INPUTS:
            one, same = batch.inputs[other], clean.inputs[other]
            if damage is None or other is not modality:
                assert torch.equal(one.values, same.values)
                assert torch.equal(one.index, same.index)
            else:
                assert not torch.equal(one.values[:1], same.values)
    places = [0, 1] if modality == "image" else [0]
    assert corruption.asked == 2 * [(id, place) for id in ("0", "1") for place in places]


def test_damage_is_each_samples_own_though_they_share_a_file(image: Path, sounds: list[Path]):
    samples = [sample(str(number), image=(image,), audio=sounds[0]) for number in range(3)]
    preprocessor = preprocessor_of()
    preprocessor.corruption = Turned("audio")
    batch = preprocessor.batch(samples, training=False)
    assert len(batch.inputs["audio"].values) == 3
    assert len(batch.inputs["image"].values) == 1, "what is not damaged is still shared"


def test_decoded_once_for_all_levels(sounds: list[Path], monkeypatch: pytest.MonkeyPatch):
    import plait.modalities.audio.prepare as module

    read: list[Path] = []
    load = module.load_audio
    monkeypatch.setattr(module, "load_audio", lambda path, config: (read.append(path), load(path, config))[1])
    preprocessor = preprocessor_of()
    preprocessor.corruption = Turned("audio")
    for _ in range(3):
        preprocessor.batch([sample(audio=path) for path in sounds], training=False)
    assert read == sounds
