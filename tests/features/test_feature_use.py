"""The cache in a run: refused where it cannot be, bypassed where inputs are changed, done without where it is not possible."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from feature_helpers import ALL, Parts, frozen_config, parts_of
from torch import Tensor

from plait.config import make_config
from plait.data.loader import Loader
from plait.errors import UserError
from plait.evaluate.answerer import RunAnswerer
from plait.features import can_cache, use
from plait.features.identity import encoder_id
from plait.features.listing import clear, listing
from plait.features.store import FeatureStore
from plait.modalities.audio import prepare as prepare_audio
from plait.modalities.image import prepare
from plait.run import Run
from plait.train import fit
from plait.train.progress import Quiet
from plait.types import Modality, Sample
from tiny_data import COLOURS, draw, make_manifest, tiny_tree

MEDIA = ["image", "audio"]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were decoded."""
    seen: list[Path] = []
    for module, name in ((prepare, "load_image"), (prepare_audio, "load_audio")):
        original: Callable[..., Tensor] = getattr(module, name)

        def counted(path: Path, config: Any, original: Callable[..., Tensor] = original) -> Tensor:
            seen.append(path)
            return original(path, config)

        monkeypatch.setattr(module, name, counted)
    return seen


def filled(manifest: Path, **parts: Any) -> Parts:
    """Everything of the manifest in the cache."""
    found = parts_of(frozen_config(manifest, cache=ALL, **parts))
    found.cache().fill(found.dataset.samples)
    return found


def contents(paths: Iterable[Path]) -> set[bytes]:
    """What is in the files: some of the pictures are the same."""
    return {path.read_bytes() for path in paths}


def media(samples: list[Sample]) -> set[Path]:
    return {path for s in samples for path in (*s.image, *([s.audio] if s.audio else []))}


def test_a_file_that_changes_before_it_is_decoded_is_not_kept_under_its_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Previously the old content had the new one's features from then on, for every copy of it and every later run."""
    parts = parts_of(frozen_config(make_manifest(tmp_path), cache=["image"]))
    victim = next(path for s in parts.dataset.samples for path in s.image)
    old, load = victim.read_bytes(), prepare.load_image

    def late(path: Path, config: Any) -> Tensor:
        if path.read_bytes() == old:  # whichever file of this content is encoded
            draw(path, "red", 48)
        return load(path, config)

    monkeypatch.setattr(prepare, "load_image", late)
    cache = parts.cache()
    cache.fill(parts.dataset.samples)
    copy = victim.with_name("copy.png")
    copy.write_bytes(old)
    assert cache.known["image"].get(copy) is None


def test_every_file_is_decoded_once_for_all_runs(manifest: Path, decoded: list[Path], tmp_path: Path) -> None:
    """Two trainings with their evaluations, in which neither a picture nor a sound is looked at twice, and then not at all."""
    config = frozen_config(manifest, cache=ALL)
    first = fit(config, tmp_path / "first").run
    samples = parts_of(config).dataset.samples
    seen = [s for s in samples if s.split != "test"]
    assert len(decoded) == len(contents(decoded))
    assert contents(decoded) == contents(media(seen))
    decoded.clear()
    fit(config, tmp_path / "second")
    assert not decoded
    answerer = RunAnswerer(first)
    list(answerer.batches(samples, 5))
    assert contents(decoded) == contents(media(samples)) - contents(media(seen))
    decoded.clear()
    for batch in RunAnswerer(first).batches(samples, 5):
        assert all(items.encoded for items in batch.inputs.values())
    assert not decoded


def test_what_it_says_while_it_fills(manifest: Path, cache: Path) -> None:
    parts = filled(manifest)
    files = {p for s in parts.dataset.samples for p in s.image}
    number = len(contents(files))
    assert number < len(files)
    assert any(line.startswith(f"features: {number} pictures encoded in ") for line in parts.said)
    again = parts_of(parts.config)
    again.cache().fill(again.dataset.samples)
    assert f"features: all {len(files)} pictures are in the cache" in again.said
    rows = {row.modality: row for row in listing().stored}
    assert rows["image"].items == number
    assert rows["image"].kind == "vit"


class Left(Quiet):
    """Goes away after the third step."""

    def update(self, step: int, *, bits: float, num_samples: int) -> None:
        if step == 3:
            raise RuntimeError("left")


def test_a_training_that_was_left_and_taken_up_is_the_whole_one(manifest: Path, tmp_path: Path) -> None:
    config = frozen_config(manifest, cache=ALL)
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"steps": 5, "evaluate_every": None, "checkpoint_every": 1})}
    )
    whole = fit(config, tmp_path / "whole").run
    with pytest.raises(RuntimeError, match="left"):
        fit(config, tmp_path / "left", progress=Left())
    later = fit(None, tmp_path / "left", resume=True).run
    for (name, one), other in zip(whole.model.named_parameters(), later.model.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_the_cache_may_be_switched_on_when_a_run_is_resumed(manifest: Path, tmp_path: Path) -> None:
    fit(frozen_config(manifest, cache=[]), tmp_path / "run")
    config = frozen_config(manifest, cache=MEDIA)
    config = config.model_copy(update={"train": config.train.model_copy(update={"steps": 3})})
    run = fit(config, tmp_path / "run", resume=True).run
    assert run.config.encoders.cache == ("image", "audio")
    assert len(listing().stored) == 2


CANNOT: list[tuple[dict[str, Any], str]] = [
    ({"encoders": {"cache": ["image"], "freeze": ["audio"]}}, "encoders.cache: image: the image encoder trains"),
    (
        {"encoders": {"cache": ["image"], "freeze": ["image"]}, "data": {"image": {"augment": {"flip": 0.5}}}},
        r"encoders.cache: image: data.image.augment",
    ),
    (
        {"encoders": {"cache": ["audio"], "freeze": ALL}, "data": {"audio": {"augment": {"noise": 0.5}}}},
        r"data.audio.augment .* encoders.cache: \[text, image\] would do",
    ),
    (
        {"encoders": {"cache": ["image"], "freeze": ALL}, "balance": {"kind": "targeted_augmentation"}},
        r"image: balance hides .* Leave it out",
    ),
    (
        {
            "encoders": {"cache": ["image"], "freeze": ALL},
            "balance": {"kind": "targeted_augmentation", "modality": "image"},
        },
        r"image: balance hides .* encoders.cache: \[text, audio\] would do",
    ),
    ({"encoders": {"cache": ["audio"], "freeze": ALL}, "data": {"inputs": ["image"]}}, "the run reads no audio"),
    ({"encoders": {"cache": ["video"], "freeze": ALL}}, "video is not read yet"),
]


@pytest.mark.parametrize(("parts", "words"), CANNOT)
def test_what_cannot_be_cached_is_refused(manifest: Path, parts: dict[str, Any], words: str, tmp_path: Path) -> None:
    tree = tiny_tree(manifest)
    tree["encoders"] |= parts["encoders"]
    tree["data"] |= parts.get("data", {})
    tree |= {key: value for key, value in parts.items() if key not in ("encoders", "data")}
    config = make_config(tree)
    (modality,) = config.encoders.cache
    assert can_cache(config, modality)
    if parts.get("data", {}).get("inputs"):
        config = config.model_copy(update={"encoders": config.encoders.model_copy(update={"freeze": ("image",)})})
    with pytest.raises(UserError, match=words):
        fit(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert not listing().stored


@pytest.mark.parametrize("modality", [Modality(name) for name in ALL])
def test_what_can_be_cached_is_said(manifest: Path, modality: str) -> None:
    assert can_cache(frozen_config(manifest, cache=[]), modality) == ""
    assert "trains" in can_cache(frozen_config(manifest, cache=[], freeze=[]), modality)


def changed(part: Parts, key: str) -> str:
    """The image encoder's identity after one change."""
    config, encoder = part.config, part.model.encoder("image")
    if key == "weights":
        with torch.no_grad():
            next(encoder.parameters()).view(-1)[0] += 1e-6
    data = config.data
    updates: dict[str, Any] = {
        "size": {"data": data.model_copy(update={"image": data.image.model_copy(update={"size": 40})})},
        "other modality": {"data": data.model_copy(update={"audio": data.audio.model_copy(update={"num_mels": 128})})},
        "seed": {"seed": 17},
        "train": {"train": config.train.model_copy(update={"steps": 99})},
        "encoder": {
            "encoders": config.encoders.model_copy(
                update={"image": config.encoders.image.model_copy(update={"num_heads": 4})}
            )
        },
    }
    return encoder_id(encoder, config.model_copy(update=updates.get(key, {})), "image")


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ("weights", False),
        ("size", False),
        ("encoder", False),
        ("other modality", True),
        ("seed", True),
        ("train", True),
    ],
)
def test_the_identity_of_an_encoder(manifest: Path, key: str, same: bool) -> None:
    config = frozen_config(manifest, cache=[])
    one, other = parts_of(config), parts_of(config)
    assert (changed(one, key) == changed(other, "nothing")) == same


def test_a_changed_file_is_encoded_anew_and_a_copy_is_not(tmp_path: Path, decoded: list[Path]) -> None:
    manifest = make_manifest(tmp_path / "data")
    parts = filled(manifest)
    sample = next(s for s in parts.dataset.samples if s.image)
    decoded.clear()
    other = parts_of(parts.config)
    store = other.cache()
    shutil.copy(sample.image[0], tmp_path / "data" / "copy.png")
    copied = Sample("copy", "train", image=(tmp_path / "data" / "copy.png",), references=sample.references)
    assert other.preprocessor.batch([copied], training=False).inputs["image"].encoded
    assert not decoded
    draw(sample.image[0], "white" if "white" not in str(sample.references) else "red")
    batch = other.preprocessor.batch([sample], training=False)
    assert not batch.inputs["image"].encoded
    assert decoded == [sample.image[0]]
    store.fill([sample])
    again = other.preprocessor.batch([sample], training=False)
    assert again.inputs["image"].encoded
    with torch.no_grad():
        expected, found = (other.model.encode(b.inputs, 1)["image"].values for b in (batch, again))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


class Inverted:
    """Damage that shows."""

    def __init__(self, modality: str) -> None:
        self.input = modality

    def damaged(self, decoded: Tensor, sample: Sample, place: int) -> Tensor:
        return 255 - decoded if self.input == "image" else -0.5 * decoded


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_damaged_inputs_are_encoded_and_the_others_read(manifest: Path, modality: str) -> None:
    parts, plain = filled(manifest), parts_of(frozen_config(manifest, cache=[]))
    samples = parts.dataset.samples[:8]
    clean = parts.preprocessor.batch(samples, training=False)
    for one in (parts, plain):
        one.preprocessor.corruption = Inverted(modality)
    found, expected = (one.preprocessor.batch(samples, training=False) for one in (parts, plain))
    assert {m: items.encoded for m, items in found.inputs.items()} == {m: m is not modality for m in found.inputs}
    with torch.no_grad():
        got, wanted, before = (parts.model.encode(b.inputs, 8)[modality].values for b in (found, expected, clean))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)
    assert not torch.allclose(got, before, atol=1e-3)
    parts.preprocessor.corruption = None
    assert parts.preprocessor.batch(samples, training=False).inputs[modality].encoded


def test_a_cache_that_was_cleared_costs_time_only(manifest: Path, decoded: list[Path]) -> None:
    """Cleared under a process that reads: it reads on. A new process finds nothing, decodes, and gets the same."""
    parts = filled(manifest)
    samples = parts.dataset.samples[:8]
    before = parts.preprocessor.batch(samples, training=False)
    assert len(clear()) == 3
    after = parts.preprocessor.batch(samples, training=False)
    for modality, items in after.inputs.items():
        assert torch.equal(items.values, before.inputs[modality].values)
    other = parts_of(parts.config)
    other.cache()
    decoded.clear()
    batch = other.preprocessor.batch(samples, training=False)
    assert not any(items.encoded for items in batch.inputs.values())
    assert decoded
    with torch.no_grad():
        one, two = (parts.model.encode(b.inputs, 8) for b in (before, batch))
    for modality, features in one.items():
        torch.testing.assert_close(two[modality].values, features.values, rtol=0, atol=1e-5)


def test_one_sample_alone_is_read_and_not_added(manifest: Path, tmp_path: Path) -> None:
    """What a single request would add is no block: it is answered from the files."""
    run = fit(frozen_config(manifest, cache=ALL), tmp_path / "run").run
    before = {row.modality: row.items for row in listing().stored}
    new = tmp_path / "new.png"
    draw(new, next(iter(COLOURS)), side=48)
    answerer = RunAnswerer(run)
    assert not answerer.batch(Sample("new", "test", image=(new,))).inputs["image"].encoded
    list(answerer.batches([Sample("new", "test", image=(new,))], 8))
    assert {row.modality: row.items for row in listing().stored} == before


def test_a_broken_file_is_named_before_the_first_step(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path / "data")
    broken = tmp_path / "data" / "6.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(UserError, match=rf"manifest.jsonl:7: image .*{broken.name}"):
        fit(frozen_config(manifest, cache=ALL), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_file_is_left_out_as_without_the_cache(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path / "data")
    broken = tmp_path / "data" / "6.png"
    broken.write_bytes(broken.read_bytes()[:60])
    listed = []
    for cached in ([], ALL):
        config = frozen_config(manifest, cache=cached)
        config = config.model_copy(update={"data": config.data.model_copy(update={"on_error": "skip"})})
        fit(config, tmp_path / str(len(cached)))
        listed.append((tmp_path / str(len(cached)) / "left_out.jsonl").read_text(encoding="utf-8"))
    assert listed[0] == listed[1]
    assert [json.loads(line)["id"] for line in listed[0].splitlines()] == ["row6"]


def test_a_full_disk_ends_a_training_and_no_evaluation(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fit(frozen_config(manifest, cache=ALL), tmp_path / "run").run
    clear()

    def full(self: FeatureStore, *rest: object) -> None:
        raise use.CacheUnwritable(self.folder, OSError(28, "No space left on device"))

    monkeypatch.setattr(FeatureStore, "add", full)
    with pytest.raises(UserError, match=r"cannot write the cache of features: No space left on device. Make room"):
        fit(frozen_config(manifest, cache=ALL), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    said: list[str] = []
    answerer = RunAnswerer(Run.load(run.folder), say=said.append)
    samples = parts_of(run.config).dataset.samples
    assert sum(len(batch) for batch in answerer.batches(samples, 5)) == len(samples)
    assert any("going on without more of the cache" in line for line in said)


def test_workers_read_the_cache_as_well(manifest: Path) -> None:
    parts = filled(manifest)
    plans = []
    for workers in (0, 2):
        loader = Loader(
            parts.dataset.split("train"), parts.preprocessor, batch_size=4, seed=0, training=True, workers=workers
        )
        batches = loader.batches()
        plans.append([next(batches)[1] for _ in range(3)])
    for one, other in zip(*plans, strict=True):
        assert one.ids == other.ids
        for modality, items in one.inputs.items():
            assert items.encoded
            assert other.inputs[modality].encoded
            assert torch.equal(items.values, other.inputs[modality].values)


def test_the_largest_batch_is_one_of_features_and_the_plan_is_that_of_files(manifest: Path) -> None:
    parts, plain = filled(manifest), parts_of(frozen_config(manifest, cache=[]))
    loaders = [
        Loader(p.dataset.split("train"), p.preprocessor, batch_size=4, seed=0, training=True, workers=None)
        for p in (parts, plain)
    ]
    one, other = ([batch.tolist() for batch in loader.plan(1)] for loader in loaders)
    assert one == other
    worst = loaders[0].worst_batch()
    made = worst.make()
    assert {name for name, part in worst.inputs.items() if part.encoded} == set(ALL)
    assert worst.num_bytes == sum(i.values.nbytes for i in made.inputs.values()) + 3 * made.tokens.nbytes
    for _, batch in loaders[0].indexed_batches():
        for modality, items in batch.inputs.items():
            assert items.values.shape[1] <= made.inputs[modality].values.shape[1]
            assert items.values.shape[2] == made.inputs[modality].values.shape[2]
    with torch.no_grad():
        assert torch.isfinite(parts.model.loss(made).total)
