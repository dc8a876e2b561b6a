"""The loader: the same tensors from any position, with any number of workers, whatever else happens."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from plait.data.collate import positions
from plait.data.config import DataConfig, SamplingConfig, WeightsConfig
from plait.data.draws import Draw
from plait.data.loader import Loader, Position
from plait.data.preprocess import Preprocessor
from plait.data.text import Tokenizer, WordConfig
from plait.errors import UserError
from plait.modalities.audio.prepare import AudioConfig
from plait.modalities.image.prepare import ImageConfig
from plait.types import Batch, Sample

WORDS = "what is the colour of blue red shape left right above below a circle square here".split()  # noqa: SIM905
SEGMENTS = ("heard", "answer")
INPUTS = ("text", "image", "audio")


def share_padded(batch: Batch) -> float:
    """The share of all positions that is padding."""
    counts = positions(batch).values()
    return 1 - sum(c.filled for c in counts) / sum(c.total for c in counts)


def make_samples(folder: Path, count: int) -> list[Sample]:
    """Spoken, typed and double questions about pictures, one with two pictures, every fifth without any."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(count):
        images, audio, text = (), None, None
        if number % 5:
            pixels = generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            images = tuple(folder / f"{number}-{k}.png" for k in range(1 + (number % 7 == 0)))
            for path in images:
                Image.fromarray(pixels).save(path)
        words = " ".join(generator.choice(WORDS, generator.integers(5, 13)))
        if number % 3 != 1:
            audio = folder / f"{number}.wav"
            length = int(generator.integers(4_000, 12_000))
            soundfile.write(audio, generator.normal(0, 0.1, length).astype(np.float32), 16_000)
        if number % 3:
            text = words
        answers = generator.choice(WORDS, 3)
        samples.append(
            Sample(
                id=f"s{number}",
                split="train",
                text=text,
                image=images,
                audio=audio,
                references=tuple({"heard": words, "answer": str(answer)} for answer in answers[: 1 + number % 3]),
                groups={"language": "en" if number % 4 else "is"},
                where=f"manifest.jsonl:{number + 1}",
            )
        )
    return samples


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return make_samples(tmp_path_factory.mktemp("media"), 41)


def preprocessor_of(**settings: object) -> Preprocessor:
    config = DataConfig.model_validate(
        {"manifest": "manifest.jsonl", "image": ImageConfig(size=16), "audio": AudioConfig(), **settings}
    )
    return Preprocessor(config, Tokenizer.train(WordConfig(), WORDS, SEGMENTS), SEGMENTS, INPUTS)


AUGMENTED = {
    "image": {"size": 16, "augment": {"flip": 0.5}},
    "audio": {"augment": {"noise": 0.5, "time_masks": 1}},
}


def assert_equal(one: Batch, other: Batch) -> None:
    assert one.ids == other.ids
    for name in ("tokens", "targets", "segments", "weights"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert list(one.inputs) == list(other.inputs)
    for modality in one.inputs:
        for name in ("values", "lengths", "index"):
            assert torch.equal(getattr(one.inputs[modality], name), getattr(other.inputs[modality], name)), (
                modality,
                name,
            )


def loader_of(samples: list[Sample], preprocessor: Preprocessor, **settings) -> Loader:
    return Loader(samples, preprocessor, **{"batch_size": 8, "seed": 3, "training": True, **settings})


def everything(loader: Loader, count: int, start: Position = Position()) -> list[tuple[Position, Batch]]:  # noqa: B008
    return list(itertools.islice(loader.batches(start), count))


def test_every_sample_once_per_epoch_the_last_batch_partial(samples: list[Sample]):
    loader = loader_of(samples, preprocessor_of())
    made = everything(loader, 12)
    for epoch in range(2):
        batches = [batch for _, batch in made[6 * epoch : 6 * epoch + 6]]
        assert Counter(id for batch in batches for id in batch.ids) == Counter(sample.id for sample in samples)
        assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 1]
    assert [position for position, _ in made[4:8]] == [Position(0, 5), Position(1, 0), Position(1, 1), Position(1, 2)]
    assert [batch.ids for _, batch in made[:6]] != [batch.ids for _, batch in made[6:]], "each epoch has its own order"


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_resuming_anywhere_gives_equal_tensors(samples: list[Sample], workers: int):
    """With everything random switched on, a cache on the first run and none on the second."""
    whole = everything(loader_of(samples, preprocessor_of(**AUGMENTED)), 14)
    for start in (3, 6, 7):
        resumed = loader_of(samples, preprocessor_of(**AUGMENTED, cache_mb=0), workers=workers)
        for (position, batch), (again, same) in zip(
            whole[start:], everything(resumed, 14 - start, whole[start - 1][0]), strict=True
        ):
            assert position == again
            assert_equal(batch, same)


def test_workers_and_caches_do_not_matter_for_plain_data(samples: list[Sample]):
    one = everything(loader_of(samples, preprocessor_of()), 13)
    other = everything(loader_of(samples, preprocessor_of(cache_mb=0), workers=2), 13)
    for (position, batch), (again, same) in zip(one, other, strict=True):
        assert position == again
        assert_equal(batch, same)


def test_seeds_give_other_orders_and_other_draws(samples: list[Sample]):
    one, other = (everything(loader_of(samples, preprocessor_of(), seed=seed), 3) for seed in (1, 2))
    assert [batch.ids for _, batch in one] != [batch.ids for _, batch in other]


def test_the_global_random_state_is_left_alone(samples: list[Sample]):
    state, drawn = torch.get_rng_state(), np.random.get_state()[1]
    everything(loader_of(samples, preprocessor_of(**AUGMENTED), workers=1), 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], drawn)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_is_one_pass_in_file_order(samples: list[Sample], batch_size: int):
    made = list(loader_of(samples, preprocessor_of(), training=False, batch_size=batch_size).batches())
    assert [id for _, batch in made for id in batch.ids] == [sample.id for sample in samples]
    assert made[-1][0] == Position(0, len(made))
    again = loader_of(samples, preprocessor_of(), training=False, batch_size=batch_size)
    assert [batch.ids for _, batch in again.batches(made[0][0])] == [batch.ids for _, batch in made[1:]]


@pytest.mark.parametrize("workers", [0, 2])
def test_indexed_batches_bring_results_back_into_order(samples: list[Sample], workers: int):
    found = {}
    for numbers, batch in loader_of(samples, preprocessor_of(), training=False, workers=workers).indexed_batches():
        assert len(numbers) == len(batch)
        found |= dict(zip(numbers, batch.ids, strict=True))
    assert [found[number] for number in range(len(samples))] == [sample.id for sample in samples]


def test_indexed_batches_pad_less_than_file_order(samples: list[Sample]):
    loader = loader_of(samples, preprocessor_of(), training=False)
    by_length = np.mean([share_padded(batch) for _, batch in loader.indexed_batches()])
    assert by_length < np.mean([share_padded(batch) for _, batch in loader.batches()])


@pytest.fixture
def spoilt(samples: list[Sample], tmp_path: Path) -> list[Sample]:
    """One sample with a picture that is none, one whose sound is gone, one with a target that is too long."""
    (tmp_path / "bad.png").write_bytes(b"no picture")
    bad = {
        4: replace(samples[4], image=(tmp_path / "bad.png",)),
        9: replace(samples[9], audio=tmp_path / "gone.wav"),
        11: replace(samples[11], references=({"heard": "what " * 300, "answer": "red"},)),
    }
    return [bad.get(number, sample) for number, sample in enumerate(samples)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_stops_naming_the_row(spoilt: list[Sample], workers: int):
    loader = loader_of(spoilt[:11], preprocessor_of(), workers=workers, batch_size=11)
    with pytest.raises(UserError) as caught:
        everything(loader, 1)
    assert caught.value.where in ("manifest.jsonl:5", "manifest.jsonl:10")
    assert "bad.png" in str(caught.value) or "gone.wav" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_samples_are_listed_and_the_others_stay_where_they_were(spoilt: list[Sample], workers: int):
    loader = loader_of(spoilt, preprocessor_of(on_error="skip"), workers=workers)
    made = everything(loader, 12)
    gone = {"s4", "s9", "s11"}
    assert set(loader.left_out) == gone
    assert loader.left_out["s4"].where == "manifest.jsonl:5"
    assert "bad.png" in loader.left_out["s4"].reason
    assert "max_target_tokens" in loader.left_out["s11"].reason
    for epoch in range(2):
        assert Counter(i for _, b in made[6 * epoch : 6 * epoch + 6] for i in b.ids) == Counter(
            s.id for s in spoilt if s.id not in gone
        )
    plan = loader.plan(0)
    for numbers, (_, batch) in zip(plan, made[:6], strict=True):
        assert list(batch.ids) == [spoilt[n].id for n in numbers if spoilt[n].id not in gone]
    indexed = loader_of(spoilt, preprocessor_of(on_error="skip"), training=False, workers=workers).indexed_batches()
    for numbers, batch in indexed:
        assert tuple(spoilt[number].id for number in numbers) == batch.ids


def test_a_batch_of_which_nothing_is_left_is_passed_over(spoilt: list[Sample]):
    loader = loader_of(spoilt, preprocessor_of(on_error="skip"), training=False, batch_size=1)
    assert len(list(loader.batches())) == len(spoilt) - 3


def test_training_on_nothing_but_bad_files_ends(spoilt: list[Sample]):
    with pytest.raises(UserError, match=r"none of the 1 samples can be used \(manifest\.jsonl:5.*bad\.png"):
        everything(loader_of([spoilt[4]], preprocessor_of(on_error="skip")), 1)
    with pytest.raises(UserError, match="no sample to train on"):
        loader_of([], preprocessor_of())
    assert list(loader_of([], preprocessor_of(), training=False).batches()) == []


def test_temperature_sampling_draws_with_replacement(samples: list[Sample]):
    preprocessor = preprocessor_of(sampling=SamplingConfig(group="language", temperature=0))
    loader = loader_of(samples, preprocessor)
    drawn = [
        samples[number].groups["language"] for epoch in range(40) for rows in loader.plan(epoch) for number in rows
    ]
    assert len(drawn) == 40 * len(samples)
    assert 0.4 < drawn.count("is") / len(drawn) < 0.6
    assert len(everything(loader, 6)) == 6


def test_given_sample_weights_are_probabilities(samples: list[Sample]):
    weights = [float(number == 2) for number in range(len(samples))]
    assert set(everything(loader_of(samples, preprocessor_of(), sample_weights=weights), 1)[0][1].ids) == {"s2"}
    for wrong in ([1.0], [0.0] * len(samples), [-1.0] * len(samples), [float("nan")] * len(samples)):
        with pytest.raises(UserError, match="sample weights"):
            loader_of(samples, preprocessor_of(), sample_weights=wrong)


def test_loss_weights_reach_the_batch_in_training_only(samples: list[Sample]):
    preprocessor = preprocessor_of(weights=WeightsConfig(group="language", inverse_frequency=True))
    weights = {
        id: w
        for _, b in everything(loader_of(samples, preprocessor), 6)
        for id, w in zip(b.ids, b.weights.tolist(), strict=True)
    }
    assert np.mean(list(weights.values())) == pytest.approx(1)
    assert weights["s0"] == pytest.approx(41 / (2 * 11))
    assert weights["s1"] == pytest.approx(41 / (2 * 30))
    assert all((b.weights == 1).all() for _, b in loader_of(samples, preprocessor, training=False).batches())


def test_the_worst_batch_bounds_every_batch(samples: list[Sample]):
    loader = loader_of(samples, preprocessor_of())
    worst = loader.worst_batch()
    for _, batch in everything(loader, 12):
        assert batch.tokens.shape <= worst.shapes["target"]
        for modality, items in batch.inputs.items():
            shape = worst.shapes[modality]
            assert all(found <= bound for found, bound in zip(items.values.shape, shape, strict=True)), modality
    made = worst.make()
    assert {m: tuple(items.values.shape) for m, items in made.inputs.items()} | {
        "target": tuple(made.tokens.shape)
    } == worst.shapes
    tensors = [made.tokens, made.targets, made.segments, *(items.values for items in made.inputs.values())]
    assert worst.num_bytes == sum(tensor.nbytes for tensor in tensors)
    assert worst.seconds == pytest.approx(len(made.inputs["audio"].lengths) * worst.shapes["audio"][1] / 100)


def test_workers_are_chosen_by_whether_the_data_fit_the_cache(samples: list[Sample]):
    assert loader_of(samples, preprocessor_of(), workers=None).workers == 0
    assert loader_of(samples, preprocessor_of(cache_mb=0), workers=None).workers >= 1
    assert loader_of(samples, preprocessor_of(cache_mb=0), workers=0).workers == 0


def test_signals_that_end_a_run_leave_its_workers_alive(samples: list[Sample]):
    """Ctrl-C and a scheduler signal the whole process group; the run saves first, and its batches must still come."""
    batches = loader_of(samples, preprocessor_of(), workers=2).batches()
    made = [next(batches)]
    for worker in multiprocessing.active_children():
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid or 0, number)
    made += itertools.islice(batches, 11)
    batches.close()
    assert multiprocessing.active_children() == [], "leaving in the middle ends the workers"
    for (_, batch), (_, same) in zip(made, everything(loader_of(samples, preprocessor_of()), 12), strict=True):
        assert_equal(batch, same)


def test_lengths_are_those_of_the_batch(samples: list[Sample]):
    loader = loader_of(samples, preprocessor_of(), training=False, batch_size=1)
    lengths = loader.lengths.of(samples, Draw(False))
    for at, (_, batch) in enumerate(loader.batches()):
        counts = {part: count.filled for part, count in positions(batch).items()}
        assert counts == {part: int(of_part[at]) for part, of_part in lengths.items()}


def test_lengths_by_file_size_keep_the_order_and_bound_by_the_limit(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
):
    exact = loader_of(samples, preprocessor_of()).lengths
    monkeypatch.setattr("plait.data.lengths.MAX_HEADERS", 3)
    loader = loader_of(samples, preprocessor_of())
    assert np.abs(loader.lengths.longest["audio"] - exact.longest["audio"]).max() <= 1, (
        "16-bit files at 16 kHz hold 32,000 bytes a second"
    )
    assert loader.worst_batch().shapes["audio"][1] == 3000, "30 s: what is not known exactly bounds nothing"


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_of_nothing_is_refused(samples: list[Sample], batch_size: int):
    with pytest.raises(UserError, match="batch_size must be at least 1"):
        loader_of(samples, preprocessor_of(), batch_size=batch_size)


@pytest.mark.slow
def test_padding_at_batch_64_is_under_a_tenth(tmp_path: Path):
    """Speech of 1.5–4 s and sentences of 5–12 words, through the whole loader."""
    generator = np.random.default_rng(0)
    samples = []
    for number in range(1024):
        words = " ".join(generator.choice(WORDS, generator.integers(5, 13)))
        audio = tmp_path / f"{number}.wav" if number % 3 else None
        if audio:
            soundfile.write(audio, np.full(int(generator.uniform(1.5, 4) * 8_000), 0.1, dtype=np.float32), 8_000)
        references = ({"heard": words, "answer": "red"},)
        samples.append(Sample(f"{number}", "train", text=None if audio else words, audio=audio, references=references))
    made = everything(loader_of(samples, preprocessor_of(), batch_size=64), 16)
    assert np.mean([share_padded(batch) for _, batch in made]) < 0.1
